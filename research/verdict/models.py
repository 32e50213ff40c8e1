"""The values that a recollection consists of: what planner, agents and pages read of a branch."""

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
    emitter: str | None  # who proposed it, None where the agent was free
    category: str
    delta: Mapping[str, str]  # what changed, by name: constants as "before -> after"
    statements_added: int
    statements_removed: int
    estimate: Estimate | None  # its val_bpb, lower is better; None if no score of it counts
    gain: Estimate | None  # its parent's val_bpb minus its own, above zero is better; None where either is unknown
    runs: tuple[str, ...]  # names of its runs, in order
    decision: Decision | None  # what was decided last about it
    by_person: bool  # whether a person keeps it
    device: str | None
    niche: str
    failure: str  # signature of its failure, "" if it scored
    failure_kind: FailureKind | None
    finished_utc: str  # when its latest run ended
    surprise: float  # how many sd it lies from what changes usually do, above zero for a win; 0 for the usual
    suspect: str  # why a run of it does not count, "" if all do
    change: Estimate | None  # its val_bpb minus the best's at its first verdict; None where either is unknown
    p_better: float | None  # P(it is better than that one)
    seeds: tuple[int, ...]  # that both ran with; its own where there is nothing to compare


@dataclass(frozen=True)
class Elite:
    """The best configuration of a niche; count is the configurations that fell into it, run one that measured it."""

    niche: str
    commit: str
    mean: float
    n: int
    emitter: str | None
    description: str
    count: int
    run: str


@dataclass(frozen=True)
class FailurePattern:
    """One way to fail, how many configurations did, and the latest of them; the signature is text of others."""

    signature: str
    kind: FailureKind | None
    count: int
    category: str
    commit: str
    last_seen: str


HABIT = "Failing with "  # what a conjecture begins with whose numbers are a share of crashes, not a gain


@dataclass(frozen=True)
class Conjecture:
    """A sentence that the evidence supports, or supported and no longer does (withdrawn).

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
    """What changes of one kind, or of one constant in one direction, did so far.

    Mean and 95 % interval are those of the n gains over their parents in bpb, above zero is better.
    """

    name: str
    direction: str
    n: int
    mean: float
    low: float
    high: float
    kept: int
    crashed: int


@dataclass(frozen=True)
class Trial:
    """One value that a constant was given, as source text; alone where nothing else changed."""

    before: str
    after: str
    alone: bool
    known: Configuration


@dataclass(frozen=True, kw_only=True)
class Digest:
    """What summary and archive show of one branch under one contract."""

    branch: str
    contract: str | None  # None before the first score
    noise: Noise
    baseline: Configuration | None = None  # what the branch began with
    incumbent: Configuration | None = None  # what the branch is on
    best: Configuration | None = None  # of those that are kept, the one with the lowest posterior mean
    change: Estimate | None = None  # the best's val_bpb minus the baseline's, None where it is that itself
    elites: tuple[Elite, ...] = ()  # the best of every niche, lowest mean first
    no_fly: tuple[FailurePattern, ...] = ()  # ways to fail, the most frequent first
    conjectures: tuple[Conjecture, ...] = ()  # what the evidence supports, then what was withdrawn
    warnings: tuple[str, ...] = ()  # sentences that somebody should read
    phase: str = "baseline"
    stall: int = 0  # configurations since the last kept one
    runs: int = 0
    scored: int = 0
    kept: int = 0  # configurations that are kept


@dataclass(frozen=True, kw_only=True)
class Memory(Digest):
    """All that the lab knows of one branch under one contract."""

    belief: Belief  # the posterior that all numbers here are read from
    near_misses: tuple[Configuration, ...] = ()  # losses that may be none, newest last
    trends: Mapping[Topic, Trend] = field(default_factory=dict)
    anomalies: tuple[Configuration, ...] = ()  # surprising wins and losses, newest last
    tried: Mapping[str, tuple[Trial, ...]] = field(default_factory=dict)  # the values of each constant, in order
    fingerprints: frozenset[str] = frozenset()  # of everything measured
    known: Mapping[str, Configuration] = field(default_factory=dict)  # those of the branch, by key, in order

    @property
    def recent(self) -> tuple[Configuration, ...]:
        """Return the latest configurations, newest last."""
        return tuple(self.known.values())[-SETTINGS.recent_kept :]

    def of(self, commit: str) -> Configuration | None:
        """Return what is known of a commit, by its full hash or the beginning of it."""
        return next((known for known in self.known.values() if commit and known.commit.startswith(commit)), None)
