"""Defines the values that a branch's memory consists of, which planner, agents and pages read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from research.core.records import Decision, Estimate, FailureKind
from research.core.settings import SETTINGS
from research.verdict.noise import Noise

if TYPE_CHECKING:  # numpy is loaded where a posterior is made, not where one is shown
    from research.verdict.belief import Belief

Topic = tuple[str, str]
"""A category with "", or a constant with "up" or "down"."""


@dataclass(frozen=True)
class Configuration:
    """One configuration and everything measured of it."""

    key: str  # train.py's fingerprint, or the commit where that is unknown
    commit: str  # full hash of the commit that was measured first
    parent: str  # the commit that it was made from
    subject: str
    emitter: str | None  # name of the emitter that ordered it, None where the agent was free
    category: str  # kind of the change
    delta: Mapping[str, str]  # the changed parts by name: constants as "before -> after"
    statements_added: int
    statements_removed: int
    estimate: Estimate | None  # its val_bpb, lower is better; None if no score of it counts
    gain: Estimate | None  # its parent's val_bpb minus its own, above zero is better; None where either is unknown
    runs: tuple[str, ...]  # names of its runs, in order
    decision: Decision | None  # the decision that holds
    by_person: bool  # whether a person keeps it, or discarded it for its own sake
    device: str | None
    niche: str
    failure: str  # signature of its failure, "" if it scored
    failure_kind: FailureKind | None
    finished_utc: str  # when its latest run ended
    surprise: float  # sds between its effect and usual ones, above zero for a gain; 0 for a usual effect
    suspect: str  # why a run of it does not count, "" if all do
    change: Estimate | None  # its val_bpb minus the best's at its first verdict; None where either is unknown
    p_better: float | None  # P(it is better than that one)
    seeds: tuple[int, ...]  # seeds that both ran with; its own where there is nothing to compare


@dataclass(frozen=True)
class Elite:
    """The best configuration of a niche."""

    niche: str
    commit: str
    mean: float  # posterior mean of its val_bpb
    n: int  # its runs
    emitter: str | None
    description: str  # subject of its commit
    count: int  # configurations in the niche
    run: str  # name of one of its runs


@dataclass(frozen=True)
class FailurePattern:
    """One way to fail, with the configurations that failed so."""

    signature: str  # text of others, to be quoted as data
    kind: FailureKind | None
    count: int  # configurations
    category: str  # kind of the latest one's change
    commit: str  # of the latest one
    last_seen: str  # when its run ended, UTC


HABIT = "Failing with "  # begins the conjectures whose numbers are a share of crashes, not a gain


@dataclass(frozen=True)
class Conjecture:
    """A sentence that the evidence supports, or no longer supports (withdrawn).

    Mean and 95 % interval are those of the gains of n configurations over their parents in bpb, above zero is better;
    for failures they are the share of crashes.
    """

    text: str
    n: int
    mean: float
    low: float
    high: float
    withdrawn: bool = False


@dataclass(frozen=True)
class Trend:
    """The gains so far of changes of one kind, or of one constant in one direction.

    Mean and 95 % interval are those of the n gains over their parents in bpb, above zero is better.
    """

    name: str  # of the category or constant
    direction: str  # "up" or "down", "" for a category
    n: int
    mean: float
    low: float
    high: float
    kept: int  # changes that are kept
    crashed: int  # changes that crashed


@dataclass(frozen=True)
class Trial:
    """One value that a constant was given."""

    before: str  # value in the parent, as source text
    after: str  # value given, as source text
    alone: bool  # whether nothing else changed
    known: Configuration


@dataclass(frozen=True, kw_only=True)
class Digest:
    """The part of a branch's memory under one contract that summary and archive show."""

    branch: str
    contract: str | None  # None before the first score
    noise: Noise
    baseline: Configuration | None = None  # the one that the branch began with
    incumbent: Configuration | None = None  # the one that the branch is on
    best: Configuration | None = None  # of those that are kept, the one with the lowest posterior mean
    change: Estimate | None = None  # the best's val_bpb minus the baseline's, None where the baseline is the best
    elites: tuple[Elite, ...] = ()  # the best of every niche, lowest mean first
    near_misses: tuple[Configuration, ...] = ()  # discarded ones that may be as good as the incumbent, newest last
    no_fly: tuple[FailurePattern, ...] = ()  # ways to fail, the most frequent first
    conjectures: tuple[Conjecture, ...] = ()  # supported ones, then withdrawn ones
    warnings: tuple[str, ...] = ()  # sentences that somebody should read
    phase: str = "baseline"
    stall: int = 0  # configurations since the last kept one
    runs: int = 0  # runs on the branch
    scored: int = 0  # those of them with a score
    kept: int = 0  # changes that are kept, the baseline left out


@dataclass(frozen=True, kw_only=True)
class Memory(Digest):
    """Everything that the lab knows of one branch under one contract."""

    belief: Belief  # the posterior that all numbers here are read from
    trends: Mapping[Topic, Trend] = field(default_factory=dict)
    anomalies: tuple[Configuration, ...] = ()  # surprising wins and losses, newest last
    tried: Mapping[str, tuple[Trial, ...]] = field(default_factory=dict)  # the values of each constant, in order
    fingerprints: frozenset[str] = frozenset()  # of every train.py that was measured
    known: Mapping[str, Configuration] = field(default_factory=dict)  # configurations of the branch, by key, in order

    @property
    def recent(self) -> tuple[Configuration, ...]:
        """Return the latest configurations, newest last."""
        return tuple(self.known.values())[-SETTINGS.recent_kept :]

    def of(self, commit: str) -> Configuration | None:
        """Return the configuration of a commit, by its full hash or the beginning of it, None for an unknown one."""
        return next((known for known in self.known.values() if commit and known.commit.startswith(commit)), None)
