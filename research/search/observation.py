"""Defines an observation, what a search knows of one run, which planner, policies and simulator exchange."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from research.core.contract import DEFAULT_SEED


@dataclass(frozen=True)
class Observation:
    """One run of a real night or a simulated one; policies take anything with these attributes."""

    index: int  # place in the history, from 0 (the baseline)
    id: Hashable  # id of the run's configuration, for a replicate one of its own
    parent_id: Hashable | None = None  # id of the configuration it was made from, None for the baseline
    emitter: str | None = None  # name of the emitter that ordered it, None where the agent was free
    category: str | None = None  # kind of the change; may be "a+b"
    val_bpb: float | None = None  # the score, lower is better; None for a crash
    crash: str | None = None  # a crash's signature, None without one
    peak_gb: float | None = None  # peak memory in GiB
    params_m: float | None = None  # parameters in millions
    additions: int = 0  # statements (or lines) added against the parent
    deletions: int = 0  # statements (or lines) removed
    diff_text: str = ""  # the change as text, may be ""
    delta: Mapping[str, Any] = field(default_factory=dict)  # the changed parts by name; may be empty
    replicate_of: Hashable | None = None  # the id of the configuration that it repeats, None for a new one
    gpu_s: float = 0.0  # seconds of GPU time it took
    seed: int = DEFAULT_SEED  # seed of the run
    stopped_at: float | None = None  # fraction of the budget at which it was ended; None for a whole run


@dataclass(frozen=True)
class Partial:
    """A look at a run that is going on."""

    id: Hashable  # as in Observation, like the seed
    seed: int
    fraction: float  # share of the budget that is spent
    gap: float | None
    """The run's smoothed training loss minus that of the incumbent's run with the same seed at the same fraction, in
    nats; None where there is no such run."""


def configuration(result: Observation) -> Hashable:
    """Return the configuration that a result measures: its own, or the one it repeats."""
    return result.id if result.replicate_of is None else result.replicate_of
