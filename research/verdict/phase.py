"""Names the phase that a night is in: baseline, explore, exploit, recombine or stabilize.

People and briefs read it, and it decides when the recombinator has its turn.
"""

from __future__ import annotations

from dataclasses import dataclass

from research.core.settings import SETTINGS, Settings

PHASES = ("baseline", "explore", "exploit", "recombine", "stabilize")


@dataclass(frozen=True)
class PhaseInputs:
    """What tells the phase of a search; counts of configurations.

    Attributes:
        configurations: Configurations measured, crashes included.
        stall: How many came since the last kept one.
        recent_crashes: Crashes among the latest few.
        recent_keeps: Kept ones among the latest few.
        near_misses: Near misses remembered.
    """

    configurations: int
    stall: int
    recent_crashes: int
    recent_keeps: int
    near_misses: int


NO_INPUTS = PhaseInputs(0, 0, 0, 0, 0)
"""What there is before the first run."""


def phase_of(inputs: PhaseInputs, settings: Settings = SETTINGS) -> str:
    """Return the phase of a search by its latest results."""
    if inputs.configurations == 0:
        return "baseline"
    if inputs.recent_crashes >= settings.stabilize_crashes:
        return "stabilize"
    if inputs.stall >= settings.recombine_stall and inputs.near_misses >= 2:
        return "recombine"
    if inputs.stall < settings.explore_stall and inputs.recent_keeps >= settings.exploit_keeps:
        return "exploit"
    return "explore"
