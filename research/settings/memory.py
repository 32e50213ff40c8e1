"""Thresholds of what the lab knows: niches, near-misses, conjectures, surprises and warnings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, init=False, repr=False, eq=False)
class MemorySettings:
    """What memory/ decides by."""

    niche_params_m: tuple[float, ...] = (25.0, 75.0, 150.0)
    """Millions of parameters at which a size bucket begins: models differ by factors, not percents."""
    niche_memory_gb: tuple[float, ...] = (20.0, 40.0, 60.0)
    """GiB of peak memory at which a bucket begins: cards of 24, 48 and 80 GB, with some air."""
    near_miss_bpb: float = 0.0015
    """How far above the incumbent a loss is still near: about two sd of one run at the official profile."""
    near_misses_kept: int = 12
    """Near misses that are remembered: enough for pairs to combine, few enough to read."""
    recent_kept: int = 20
    """Configurations that count as recent: one evening's worth."""
    phase_window: int = 5
    """Latest configurations whose crashes and gains tell the phase of the search."""
    conjecture_least_n: int = 3
    """Configurations behind a conjecture: two agree by accident half the time."""
    spread_prior_n: float = 2.0
    """Weight, in configurations, of the assumed spread of effects: soon overruled, yet never zero after two."""
    spread_prior_bpb: float = 0.0015
    """Assumed sd of what one idea does: the published night's median effect is about 0.0020."""
    digest_least_runs: int = 500
    """Runs from which on the recollection is kept in the store: below it, folding takes less time than writing."""
    stabilize_crashes: int = 2
    """Crashes among the latest few that call for steadiness before new ideas."""
    explore_stall: int = 4
    """Configurations without a kept one after which the neighbourhood counts as searched."""
    recombine_stall: int = 6
    """The same after which near misses are worth putting together."""
    plateau_stall: int = 5
    """Configurations without a kept one that are a plateau: with a third of ideas gaining, one chance in eight."""
    conjectures_shown: int = 4
    """Conjectures that are told at once."""
    anomaly_sd: float = 3.5
    """How many sd from its neighbours makes a result surprising: one honest result in two thousand."""
    anomalies_kept: int = 8
    """Anomalies that are remembered; older ones were looked at or will not be."""
    anomaly_neighbours: int = 4
    """Neighbours without which nothing can be called surprising."""
    rare_crash_share: float = 0.1
    """Share of crashes in a kind of change below which one more is a surprise."""
    no_fly_shown: int = 3
    """Failure patterns that are told at once."""
    collapse_window: int = 8
    """Latest emitters that are looked at for a collapse onto one."""
    collapse_count: int = 6
    """How many of them by one emitter are a collapse."""
    elites_shown: int = 4
    """Elites in the summary; the archive shows all."""
