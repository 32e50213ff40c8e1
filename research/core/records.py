"""The nouns of the lab: what a run is, what was measured, what was judged and what was planned. Values only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast

from research.core.clock import seconds_between
from research.core.contract import SUMMARY_MARK

Outcome = Literal[
    "scored",
    "crash",
    "timeout",
    "stopped",
    "refused",
    "repeat",
    "interrupted",
    "infrastructure",
    "capacity",
    "configuration",
]
"""How a launch ended, as the runner's end line says it; "stopped" is a run that was ended since it was losing."""

FailureKind = Literal[
    "oom", "assertion", "import", "shape", "nan", "kernel", "probe", "timeout", "killed", "unknown",
    "disk_full", "read_only", "gpu_lost", "gpu_taken", "cuda", "toolchain", "uv_missing", "package_missing", "uv",
]  # fmt: skip
MACHINE_KINDS: Mapping[FailureKind, Outcome] = {
    "disk_full": "infrastructure",
    "read_only": "configuration",
    "gpu_lost": "infrastructure",
    "gpu_taken": "infrastructure",
    "cuda": "infrastructure",
    "toolchain": "configuration",
    "uv_missing": "configuration",
    "package_missing": "configuration",
    "uv": "infrastructure",
}
"""Kinds of failures that are the machine's and no candidate's, and how a run that fails so ends: what may pass by
itself is tried again, what needs a person is not."""

Decision = Literal["keep", "replicate", "investigate", "discard"]
"""keep makes the commit the tip; discard puts the incumbent back; replicate needs another seed before either;
investigate is too good to be trusted after one run: it needs a replicate and a look."""

OPEN_DECISIONS: frozenset[Decision] = frozenset({"replicate", "investigate"})
"""What git does not follow yet."""
PERSON = "person"
"""Rule of the verdicts that a person gave, and emitter of the changes that a person asked for."""
LedgerStatus = Literal["keep", "discard", "crash"]
STOPPED_AT = "stopped_at"
"""Name of the fact that holds at which fraction of the budget a run was stopped."""
Origin = Literal["runner", "hand", "log", "import"]
"""Who made the run: the runner; a person, with a folder; a person, with a bare log; another lab's ledger."""


@dataclass(frozen=True)
class Metrics:
    """The nine values of the public summary, in its order and units; val_bpb is better when lower."""

    val_bpb: float
    training_seconds: float
    total_seconds: float
    peak_vram_mb: float
    mfu_percent: float
    total_tokens_M: float
    num_steps: int
    num_params_M: float
    depth: int

    @classmethod
    def from_values(cls, values: Mapping[str, float | int]) -> Metrics:
        """Builds the nine from a mapping that holds all of them.

        Raises:
            KeyError: if one is missing.
        """
        return cls(**{f.name: cast("int", values[f.name]) for f in fields(cls)})

    def as_dict(self) -> dict[str, float | int]:
        """The nine as a plain mapping, in the public order."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def as_block(self) -> str:
        """Writes the nine as train.py prints them."""
        values = {**self.as_dict(), "val_bpb": f"{self.val_bpb:.6f}"}
        return "".join([f"{SUMMARY_MARK}\n", *(f"{key + ':':<18}{value}\n" for key, value in values.items())])


@dataclass(frozen=True)
class Failure:
    """Why a run has no score.

    Attributes:
        kind: The class of the failure.
        signature: The same text for the same fault, without addresses, sizes, paths or line numbers.
        text: What the log says, cleaned and bounded; text of others, to be quoted as data.
    """

    kind: FailureKind
    signature: str
    text: str

    @property
    def machine(self) -> bool:
        """Return whether the machine failed, not the candidate."""
        return self.kind in MACHINE_KINDS


@dataclass(frozen=True)
class Run:
    """One launch of ``uv run train.py``, or one imported from elsewhere.

    Attributes:
        run: Its name, YYYYMMDD-HHMMSS-<7 hex>-<4 hex> (import-<16 hex> for rows of foreign ledgers).
        folder: Name of its folder under results/runs; "" without one.
        origin: Who made it.
        branch: Branch it was made on, "" on a detached HEAD or when unknown.
        commit: Full hash of what ran, "" when unknown (foreign ledgers give seven digits).
        parent: The commit's first parent, "".
        subject: The commit's subject.
        emitter: The name in its ``[emitter=...]`` tag.
        seed: AUTORESEARCH_SEED of the run.
        backend: Name of the backend.
        gpu: The GPU asked for, "".
        device: Name of the device it had.
        fingerprint: Hash of train.py's syntax tree.
        train_sha256: Hash of train.py's bytes.
        harness: Hash of prepare.py and the harness files at the commit.
        contract: Contract that the score belongs to; scores are compared within one only.
        contract_key: What was known of the contract before launch (same key, same contract).
        started_utc: ISO 8601, seconds.
        finished_utc: ISO 8601, None while it runs.
        outcome: How it ended, None while it runs.
        exit_code: What the runner exited with.
        child_exit: The command's own exit code, 128+N for signal N.
        metrics: The printed summary.
        val_bpb: The score, from score.json (lower is better); None without one.
        val_bpb_exact: The score by true UTF-8 bytes.
        audit_bpb: Score of the audit text: never printed, never in the ledger, never shown to an agent.
        audit_bpb_exact: The same by true UTF-8 bytes.
        peak_vram_mb: Peak memory in MiB.
        failure: Why there is no score.
        suspect: Reasons not to trust the score; a suspect run is never kept by a rule.
        counted: Whether it is judged and has a ledger row.
        why: One sentence for people: why it is not counted, or how it ended.
        cost_usd: Estimated cost.
        phases_s: Seconds per phase.
        facts: Anything else worth keeping, text to text.
        additions: Lines added to train.py against the parent.
        deletions: Lines deleted.
        category: What the change touched, by its syntax trees; "" when unknown.
        delta: What changed: constants as "before -> after", functions as "changed", "added" or "removed".
        statements_added: Statements of the syntax tree that the change added.
        statements_removed: Statements that it removed.
        plan: The plan it carried out.
    """

    run: str
    folder: str
    origin: Origin
    branch: str
    commit: str
    started_utc: str
    parent: str = ""
    subject: str = ""
    emitter: str | None = None
    seed: int = 0
    backend: str = ""
    gpu: str = ""
    device: str | None = None
    fingerprint: str = ""
    train_sha256: str = ""
    harness: str = ""
    contract: str | None = None
    contract_key: str = ""
    finished_utc: str | None = None
    outcome: Outcome | None = None
    exit_code: int | None = None
    child_exit: int | None = None
    metrics: Metrics | None = None
    val_bpb: float | None = None
    val_bpb_exact: float | None = None
    audit_bpb: float | None = None
    audit_bpb_exact: float | None = None
    peak_vram_mb: float | None = None
    failure: Failure | None = None
    suspect: tuple[str, ...] = ()
    counted: bool = True
    why: str = ""
    cost_usd: float | None = None
    phases_s: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    additions: int = 0
    deletions: int = 0
    category: str = ""
    delta: Mapping[str, str] = field(default_factory=dict)
    statements_added: int = 0
    statements_removed: int = 0
    plan: str | None = None

    @property
    def stopped_at(self) -> float | None:
        """Fraction of the budget at which it was stopped, None for any other end."""
        return float(self.facts.get(STOPPED_AT, 0.0)) if self.outcome == "stopped" else None

    @property
    def wall_s(self) -> float:
        """Seconds from start to end, 0 while it runs."""
        return seconds_between(self.started_utc, self.finished_utc)


@dataclass(frozen=True)
class Estimate:
    """A value that decides, with its spread: mean and interval in bpb, and the number of runs behind it."""

    mean: float
    low: float
    high: float
    n: int

    def in_words(self, sign: str = "") -> str:
        """Writes the mean with its interval; sign "+" writes that of a gain too."""
        return f"{self.mean:{sign}.6f} [{self.low:{sign}.6f}, {self.high:{sign}.6f}]"


@dataclass(frozen=True)
class Verdict:
    """What a rule or a person decided about a run.

    Attributes:
        run: The run judged.
        decision: What to do with the run's configuration.
        rule: Name of the rule, or PERSON.
        why: One sentence.
        created_utc: ISO 8601, seconds.
        baseline: Whether the run is the baseline of its contract on its branch.
        incumbent: Commit that a discard goes back to, "" without one.
        p_better: Probability that it beats the incumbent, None where the rule knows none.
        estimate: Its configuration's value, None for a crash.
        difference: Its configuration's value minus the incumbent's (below zero is better), None without both.
        terms: Terms of the score by name.
        text: The review for people, "".
        settled_utc: When git followed, None before.
    """

    run: str
    decision: Decision
    rule: str
    why: str
    created_utc: str
    baseline: bool = False
    incumbent: str = ""
    p_better: float | None = None
    estimate: Estimate | None = None
    difference: Estimate | None = None
    terms: Mapping[str, float] = field(default_factory=dict)
    text: str = ""
    settled_utc: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether git has nothing to follow yet."""
        return self.decision in OPEN_DECISIONS

    @property
    def is_confirmed(self) -> bool:
        """Whether it keeps a gain that is confirmed."""
        return self.decision == "keep" and is_confirmed(self.difference, self.estimate)


def is_confirmed(gain: Estimate | None, value: Estimate | None) -> bool:
    """Whether a gain is confirmed, the same for everybody who says so: more than one run, the whole interval a gain."""
    return bool(gain and gain.high < 0 and value and value.n > 1)


@dataclass(frozen=True)
class Judged:
    """A finished run with what was decided about it.

    Attributes:
        run: The run.
        verdict: The verdict that holds now, None before the first.
        order: That verdict's place among all verdicts.
        earlier: Place and decision of the verdicts that it overrules, oldest first.
    """

    run: Run
    verdict: Verdict | None = None
    order: int = 0
    earlier: tuple[tuple[int, Decision], ...] = ()


_ASSIGNMENT = re.compile(r"\s*([A-Z][A-Z0-9_]*)\s*=(?!=)\s*(\S.*?)\s*\Z", re.S)


@dataclass(frozen=True)
class Idea:
    """What a person wants tried.

    Attributes:
        idea: Its number, from 1.
        text: Their words, or NAME=VALUE.
        created_utc: ISO 8601, seconds.
        plan: The latest plan to carry it out, None before the first.
        closed_utc: When it was given up without a run, None for all else.
        why: Why it was given up, "".
        run: The run that tried it, None before it ended.
    """

    idea: int
    text: str
    created_utc: str
    plan: str | None = None
    closed_utc: str | None = None
    why: str = ""
    run: str | None = None

    @property
    def is_waiting(self) -> bool:
        """Return whether it was neither tried nor given up."""
        return self.run is None and self.closed_utc is None

    @property
    def assignment(self) -> tuple[str, str] | None:
        """Return the constant and its value where it is NAME=VALUE, which needs nobody who writes code."""
        match = _ASSIGNMENT.match(self.text)
        return (match[1], match[2]) if match else None


EXPERIMENT, REPLICATE = "experiment", "replicate"
"""Kinds of plans: something new, or another run of what was measured."""
IDEA = "idea"
"""Name of a plan's detail that holds the number of the person's idea that it carries out."""
RUN_SEED = "run_seed"
"""Name of a plan's detail that holds the seed of its run."""


@dataclass(frozen=True)
class Plan:
    """One planned experiment.

    Attributes:
        plan: Its name.
        created_utc: ISO 8601, seconds.
        emitter: Who should propose, None leaves the agent free.
        category: What to change, None leaves it open; may be "a+b".
        parent: Commit to start from, None for the tip.
        kind: "experiment" or "replicate".
        reason: Why this one.
        run: The run that carried it out, None while pending.
        closed_utc: When it was carried out or dropped.
        details: Anything else the planner keeps, text to text.
    """

    plan: str
    created_utc: str
    emitter: str | None
    category: str | None
    parent: str | None
    kind: str
    reason: str
    run: str | None = None
    closed_utc: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def run_seed(self) -> int | None:
        """Return the seed that its run is to have, None where it names none."""
        seed = self.details.get(RUN_SEED, "")
        return int(seed) if seed.isdecimal() else None


@dataclass(frozen=True)
class Event:
    """Something that happened, kept for good."""

    seq: int
    at_utc: str
    kind: str
    run: str | None
    data: Mapping[str, Any]
