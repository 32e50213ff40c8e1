"""Defines what a search knows of one run: the value that planner, policies and simulator exchange."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from research.core.contract import DEFAULT_SEED


@dataclass(frozen=True)
class Observation:
    """One run of a real night or a simulated one; policies take anything with these attributes."""

    index: int  # place in the history, from 0 (the baseline)
    id: Hashable  # the run's configuration, or for a replicate its own name
    parent_id: Hashable | None = None  # the configuration it was made from, None for the baseline
    emitter: str | None = None  # who proposed it, None where the agent was free
    category: str | None = None  # what it changed; may be "a+b"
    val_bpb: float | None = None  # the score, lower is better; None for a crash
    crash: str | None = None  # a crash's signature, None without one
    peak_gb: float | None = None  # peak memory in GiB
    params_m: float | None = None  # parameters in millions
    additions: int = 0  # statements (or lines) added against the parent
    deletions: int = 0  # statements (or lines) removed
    diff_text: str = ""  # the change as text, may be ""
    delta: Mapping[str, Any] = field(default_factory=dict)  # what changed, by name; may be empty
    replicate_of: Hashable | None = None  # the id of the configuration that it repeats, None for a new one
    gpu_s: float = 0.0  # seconds of GPU time it took
    seed: int = DEFAULT_SEED  # seed of the run
    stopped_at: float | None = None  # fraction of the budget at which it was ended; None for a whole run


@dataclass(frozen=True)
class Partial:
    """A run that is going on; id and seed as in Observation.

    The gap is its smoothed training loss minus that of the incumbent's run with the same seed at the same fraction, in
    nats.
    """

    id: Hashable
    seed: int
    fraction: float  # share of the budget that is spent
    gap: float | None  # None where there is no such run


def configuration(result: Observation) -> Hashable:
    """Return the configuration that a result measures: its own, or the one it repeats."""
    return result.id if result.replicate_of is None else result.replicate_of
