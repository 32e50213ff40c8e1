"""The values that a recollection consists of: what planner, agents and pages read of a branch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from research.core.records import Decision, Estimate, FailureKind, Run
from research.core.settings import SETTINGS

if TYPE_CHECKING:  # numpy is loaded where a posterior is made, not where one is shown
    from research.verdict.belief import Belief

Topic = tuple[str, str]
"""A category with "", or a constant with "up" or "down"."""


@dataclass(frozen=True)
class Configuration:
    """One configuration and everything measured of it.

    Attributes:
        key: train.py's fingerprint, or the commit where that is unknown.
        commit: Full hash of the commit that was measured first.
        parent: The commit that it was made from.
        emitter: Who proposed it, None where the agent was free.
        delta: What changed, by name: constants as "before -> after".
        estimate: Its val_bpb, lower is better; None if no score of it counts.
        gain: Its parent's val_bpb minus its own, above zero is better; None where either is unknown.
        runs: Names of its runs, in order.
        decision: What was decided last about it, None before.
        by_person: Whether a person decided about it.
        niche: Its place in the archive.
        failure: Signature of its failure, "" if it scored.
        finished_utc: When its latest run ended.
        surprise: How many sd it lies from what changes usually do, above zero for a win; 0 where nothing can be said.
        suspect: Why a run of it does not count, "" if all do.
        change: Its val_bpb minus that of the best so far when it was judged; None where either has no score.
        p_better: P(it is better than that one).
        seeds: The seeds that both ran with; its own where there is nothing to compare.
    """

    key: str
    commit: str
    parent: str
    subject: str
    emitter: str | None
    category: str
    delta: Mapping[str, str]
    statements_added: int
    statements_removed: int
    estimate: Estimate | None
    gain: Estimate | None
    runs: tuple[str, ...]
    decision: Decision | None
    by_person: bool
    niche: str
    failure: str
    failure_kind: FailureKind | None
    finished_utc: str
    surprise: float
    suspect: str
    change: Estimate | None
    p_better: float | None
    seeds: tuple[int, ...]


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


HABIT = "Failing with "
"""What a conjecture begins with whose numbers are a share of crashes, not a gain."""


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


@dataclass(frozen=True)
class Memory:
    """What the lab knows of one branch under one contract.

    Attributes:
        contract: The contract, None before the first score.
        belief: The posterior that all numbers here are read from.
        baseline: The run that the branch began with.
        incumbent: The configuration that the branch is on.
        best: Of the configurations that are kept, the one with the lowest posterior mean.
        elites: The best of every niche, lowest mean first.
        near_misses: Losses so close to the incumbent that they may be none, newest last.
        no_fly: Ways to fail, the most frequent first.
        conjectures: What the evidence supports, strongest first, then what was withdrawn.
        trends: What was tried so far, and what it did.
        anomalies: Surprising wins, losses and crashes, newest last.
        tried: Constant to the values it was given, in order.
        warnings: Sentences that somebody should read.
        fingerprints: Everything measured, by what it does.
        known: Every configuration of the branch, by its key, in order.
        runs: Runs that were counted.
        scored: Runs among them that came to a score.
        kept: Configurations that are kept.
        phase: What the search is doing.
        stall: Configurations since the last kept one.
    """

    branch: str
    contract: str | None
    belief: Belief
    baseline: Run | None = None
    incumbent: Configuration | None = None
    best: Configuration | None = None
    elites: tuple[Elite, ...] = ()
    near_misses: tuple[Configuration, ...] = ()
    no_fly: tuple[FailurePattern, ...] = ()
    conjectures: tuple[Conjecture, ...] = ()
    trends: Mapping[Topic, Trend] = field(default_factory=dict)
    anomalies: tuple[Configuration, ...] = ()
    tried: Mapping[str, tuple[Trial, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    fingerprints: frozenset[str] = frozenset()
    known: Mapping[str, Configuration] = field(default_factory=dict)
    runs: int = 0
    scored: int = 0
    kept: int = 0
    phase: str = ""
    stall: int = 0

    @property
    def recent(self) -> tuple[Configuration, ...]:
        """Return the latest configurations, newest last."""
        return tuple(self.known.values())[-SETTINGS.recent_kept :]

    def of(self, commit: str) -> Configuration | None:
        """Return what is known of a commit, by its full hash or the beginning of it."""
        return next((known for known in self.known.values() if commit and known.commit.startswith(commit)), None)
