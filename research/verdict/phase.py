"""Names the phase that a night is in: baseline, explore, exploit, recombine or stabilize.

People and briefs read it, and it decides when the recombinator has its turn.
"""

from __future__ import annotations

from typing import NamedTuple

from research.core.settings import SETTINGS, Settings

PHASES = ("baseline", "explore", "exploit", "recombine", "stabilize")


class PhaseInputs(NamedTuple):
    """What tells the phase of a search: counts of configurations, the recent ones among the latest few."""

    configurations: int
    stall: int
    recent_crashes: int
    recent_keeps: int
    near_misses: int


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
