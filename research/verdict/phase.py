"""Names the phase that a night is in: baseline, explore, exploit, recombine or stabilize.

People and briefs read it, and it decides when the recombinator has its turn.
"""

from __future__ import annotations

from typing import NamedTuple

from research.core.settings import SETTINGS, Settings

PHASES = ("baseline", "explore", "exploit", "recombine", "stabilize")


class PhaseInputs(NamedTuple):
    """The counts of configurations that decide the phase of a search."""

    configurations: int
    stall: int  # since the last kept one
    recent_crashes: int  # among the latest few
    recent_keeps: int  # among the latest few
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
