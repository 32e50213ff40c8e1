"""What a recollection consists of: the values that planner, briefs and pages read. Values only, no arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from research.core.records import Decision, Estimate, FailureKind, Run
from research.verdict.archive import Archive
from research.verdict.phase import NO_INPUTS, PhaseInputs

if TYPE_CHECKING:  # numpy is loaded where a posterior is made, not where one is shown
    from research.verdict.belief import Belief


@dataclass(frozen=True)
class Configuration:
    """One configuration and everything measured of it.

    Attributes:
        key: Its identity: train.py's fingerprint, or the commit where that is unknown.
        commit: Full hash of the commit that was measured first.
        fingerprint: Hash of its syntax tree, "" when unknown.
        parent: The commit that it was made from.
        subject: The commit's subject.
        emitter: Who proposed it, None where the agent was free.
        category: What it changed.
        delta: What changed, by name: constants as "before -> after".
        estimate: Its val_bpb, lower is better; None if no score of it counts.
        gain: Its parent's val_bpb minus its own, above zero is better; None where either is unknown.
        runs: Names of its runs, in order.
        decision: What was decided last about it, None before.
        by_person: Whether a person decided that.
        why: The reason given with that decision.
        niche: Its place in the archive.
        peak_vram_mb: Peak memory in MiB.
        params_m: Parameters in millions.
        failure: Signature of its failure, "" if it scored.
        statements_added: Statements that the change added.
        statements_removed: Statements that it removed.
        finished_utc: When its latest run ended.
        surprise: How many sd it lies from what changes usually do, above zero for a win; 0 where nothing can be said.
        suspect: Why a run of it does not count, "" if all do.
        against: Key of the configuration that was the best so far when it was judged, "" for the first.
        change: Its val_bpb minus that one's, below zero is better; None where either has no score.
        p_better: P(it is better than that one).
        seeds: The seeds that both ran with; its own where there is nothing to compare.
    """

    key: str
    commit: str
    fingerprint: str
    parent: str
    subject: str
    emitter: str | None
    category: str
    delta: Mapping[str, str]
    estimate: Estimate | None
    gain: Estimate | None
    runs: tuple[str, ...]
    decision: Decision | None
    why: str
    niche: str
    peak_vram_mb: float | None
    params_m: float | None
    failure: str = ""
    statements_added: int = 0
    statements_removed: int = 0
    finished_utc: str = ""
    surprise: float = 0.0
    suspect: str = ""
    against: str = ""
    change: Estimate | None = None
    p_better: float | None = None
    seeds: tuple[int, ...] = ()
    by_person: bool = False


@dataclass(frozen=True)
class FailurePattern:
    """One way to fail, to be avoided.

    Attributes:
        signature: The same text for the same fault; text of others, to be quoted as data.
        kind: Class of the failure.
        count: Configurations that failed so.
        category: What the latest of them changed.
        commit: The latest of them.
        last_seen: When that ended, ISO 8601.
    """

    signature: str
    kind: FailureKind
    count: int
    category: str
    commit: str
    last_seen: str


HABIT = "Failing with "
"""What a conjecture begins with whose numbers are a share of crashes, not a gain."""


@dataclass(frozen=True)
class Conjecture:
    """A sentence that the evidence supports, or supported and no longer does.

    Attributes:
        text: One sentence.
        n: Configurations behind it.
        mean: Mean gain over their parents in bpb, above zero is better; for failures the share of crashes.
        low: Lower end of the mean's 95 % interval.
        high: Upper end.
        withdrawn: Whether later evidence contradicts it.
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

    Attributes:
        name: A category, or a constant's name.
        direction: For a constant "up" or "down", else "".
        n: Configurations that scored.
        mean: Mean gain over their parents in bpb, above zero is better.
        low: Lower end of the mean's 95 % interval.
        high: Upper end.
        kept: How many were kept.
        crashed: How many crashed instead of scoring.
        latest: The commit of the latest of them.
    """

    name: str
    direction: str
    n: int
    mean: float
    low: float
    high: float
    kept: int
    crashed: int
    latest: str


@dataclass(frozen=True)
class Trial:
    """One value that a constant was given.

    Attributes:
        before: The parent's value, as source text.
        after: The value tried, as source text.
        alone: Whether nothing else changed.
        known: The configuration.
    """

    before: str
    after: str
    alone: bool
    known: Configuration


@dataclass(frozen=True)
class Memory:
    """What the lab knows of one branch under one contract.

    Attributes:
        branch: The branch.
        contract: The contract, None before the first score.
        belief: The posterior that all numbers here are read from.
        baseline: The run that the branch began with.
        incumbent: The configuration that the branch is on.
        best: Of the configurations that are kept, the one with the lowest posterior mean.
        archive: The best of every niche.
        near_misses: Losses so close to the incumbent that they may be none, newest last.
        no_fly: Ways to fail, the most frequent first.
        conjectures: What the evidence supports, strongest first, then what was withdrawn.
        recent: The latest configurations, newest last.
        trend: Kind of change to what it did so far.
        constant_trends: What moving constants did, by (name, direction).
        anomalies: Surprising wins, losses and crashes, newest last.
        tried: Constant to the values it was given, in order.
        warnings: Sentences that somebody should read.
        fingerprints: Everything measured, by what it does.
        known: Every configuration of the branch, by its key, in order.
        runs: Runs that were counted.
        scored: Runs among them that came to a score.
        kept: Configurations that are kept.
        inputs: What tells the phase of the search.
    """

    branch: str
    contract: str | None
    belief: Belief
    baseline: Run | None = None
    incumbent: Configuration | None = None
    best: Configuration | None = None
    archive: Archive = field(default_factory=Archive)
    near_misses: tuple[Configuration, ...] = ()
    no_fly: tuple[FailurePattern, ...] = ()
    conjectures: tuple[Conjecture, ...] = ()
    recent: tuple[Configuration, ...] = ()
    trend: Mapping[str, Trend] = field(default_factory=dict)
    constant_trends: Mapping[tuple[str, str], Trend] = field(default_factory=dict)
    anomalies: tuple[Configuration, ...] = ()
    tried: Mapping[str, tuple[Trial, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    fingerprints: frozenset[str] = frozenset()
    known: Mapping[str, Configuration] = field(default_factory=dict)
    runs: int = 0
    scored: int = 0
    kept: int = 0
    inputs: PhaseInputs = NO_INPUTS

    @property
    def stall(self) -> int:
        """Configurations since the last kept one."""
        return self.inputs.stall

    def of(self, commit: str) -> Configuration | None:
        """What is known of a commit, by its full hash or the beginning of it."""
        return next((known for known in self.known.values() if commit and known.commit.startswith(commit)), None)
