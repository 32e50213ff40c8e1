"""What a night is at, in one word: baseline, explore, exploit, recombine or stabilize.

A phase tells people (and briefs) how the night goes; it also decides when the recombinator has its turn. It is a pure
function of the latest results. Near misses age and are consumed: recombining is over when it had its tries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from research.core.settings import SETTINGS, Settings

PHASES = ("baseline", "explore", "exploit", "recombine", "stabilize")


@dataclass(frozen=True)
class Step:
    """One experiment as phases see it; replicates are none.

    Attributes:
        crashed: Whether it came to no score.
        improved: Whether it is probably better than what it was made from.
        near_miss: Whether it is nearly as good as the best, yet not built upon.
        combined: Whether the recombinator proposed it.
    """

    crashed: bool = False
    improved: bool = False
    near_miss: bool = False
    combined: bool = False


def phase_of(steps: Sequence[Step], baseline_known: bool = True, settings: Settings = SETTINGS) -> str:
    """The phase after these experiments.

    Args:
        steps: The experiments so far, in order.
        baseline_known: Whether the baseline was measured as often as it needs.
        settings: The thresholds.
    """
    if not baseline_known:
        return "baseline"
    latest = steps[-settings.phase_window :]
    if sum(step.crashed for step in latest) >= settings.phase_crashes:
        return "stabilize"
    if stall_of(steps) >= settings.phase_stall and open_near_misses(steps, settings) >= 2:
        return "recombine"
    if sum(step.improved for step in latest) >= settings.phase_wins:
        return "exploit"
    return "explore"


def stall_of(steps: Sequence[Step]) -> int:
    """Experiments since the last improvement."""
    for back, step in enumerate(reversed(steps)):
        if step.improved:
            return back
    return len(steps)


def open_near_misses(steps: Sequence[Step], settings: Settings = SETTINGS) -> int:
    """Near misses of late that were not yet combined: every try of the recombinator uses up two."""
    latest = steps[-settings.near_miss_age :]
    return sum(step.near_miss for step in latest) - 2 * sum(step.combined for step in latest)
