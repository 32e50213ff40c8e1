"""Defines what a search knows of one run: the value that planner, policies and simulator exchange."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from research.core.contract import DEFAULT_SEED


@dataclass(frozen=True)
class Observation:
    """One run of a real night or a simulated one; policies take anything with these attributes.

    Attributes:
        index: Place in the history, from 0 (the baseline).
        id: The run's configuration, or for a replicate its own name.
        parent_id: The configuration it was made from, None for the baseline.
        emitter: Who proposed it, None where the agent was free.
        category: What it changed; may be "a+b".
        val_bpb: The score, lower is better; None for a crash.
        crash: A crash's signature, None without one.
        peak_gb: Peak memory in GiB.
        params_m: Parameters in millions.
        additions: Statements (or lines) added against the parent.
        deletions: Statements (or lines) removed.
        diff_text: The change as text, may be "".
        delta: What changed, by name; may be empty.
        replicate_of: The id of the configuration that it repeats, None for a new one.
        gpu_s: Seconds of GPU time it took.
        seed: Seed of the run.
        stopped_at: Fraction of the budget at which it was ended; None for a whole run.
    """

    index: int
    id: Hashable
    parent_id: Hashable | None = None
    emitter: str | None = None
    category: str | None = None
    val_bpb: float | None = None
    crash: str | None = None
    peak_gb: float | None = None
    params_m: float | None = None
    additions: int = 0
    deletions: int = 0
    diff_text: str = ""
    delta: Mapping[str, Any] = field(default_factory=dict)
    replicate_of: Hashable | None = None
    gpu_s: float = 0.0
    seed: int = DEFAULT_SEED
    stopped_at: float | None = None


@dataclass(frozen=True)
class Partial:
    """A run that is going on.

    Attributes:
        id: As in Observation.
        seed: Seed of the run.
        fraction: Share of the budget that is spent.
        gap: Its smoothed training loss minus that of the incumbent's run with the same seed at the same fraction, in
            nats; None where there is none.
    """

    id: Hashable
    seed: int
    fraction: float
    gap: float | None


def configuration(result: Observation) -> Hashable:
    """Return the configuration that a result measures: its own, or the one it repeats."""
    return result.id if result.replicate_of is None else result.replicate_of
