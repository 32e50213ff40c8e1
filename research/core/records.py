"""Defines the records that the memory keeps: runs, verdicts, plans, ideas and events, and the values in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast

from research.core.clock import seconds_between
from research.core.contract import SUMMARY_MARK
from research.core.text import quoted

Outcome = Literal[
    "scored", "crash", "timeout", "stopped",
    "refused", "repeat", "interrupted", "infrastructure", "capacity", "configuration",
]  # fmt: skip
"""The end of a launch, as the runner's end line names it; "stopped" is a run that was ended since it was losing."""

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
"""Kinds of failures that are the machine's and no candidate's, each with the outcome of a run that fails so:
"infrastructure" may pass by itself and is tried again, "configuration" needs a person."""

Decision = Literal["keep", "replicate", "investigate", "discard"]
"""keep makes the commit the tip; discard puts the incumbent back; replicate needs another seed before either;
investigate is too good to be trusted after one run: it needs a replicate and a look."""

OPEN_DECISIONS: frozenset[Decision] = frozenset({"replicate", "investigate"})
"""The decisions that are not final: git does not follow them."""
PERSON = "person"
"""Rule of the verdicts that a person gave, and emitter of the changes that a person asked for."""
LedgerStatus = Literal["keep", "discard", "crash"]
STOPPED_AT = "stopped_at"
"""Name of the fact that holds at which fraction of the budget a run was stopped."""
Origin = Literal["runner", "hand", "log", "import"]
"""The source of a run: the runner; a person who kept its folder; a person who kept a bare log; another lab's ledger."""


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
        """Build the nine from a mapping that holds all of them."""
        return cls(**{f.name: cast("int", values[f.name]) for f in fields(cls)})

    def as_dict(self) -> dict[str, float | int]:
        """Return the nine as a plain mapping, in the public order."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def as_block(self) -> str:
        """Write the nine as train.py prints them."""
        values = {**self.as_dict(), "val_bpb": f"{self.val_bpb:.6f}"}
        return "".join([f"{SUMMARY_MARK}\n", *(f"{key + ':':<18}{value}\n" for key, value in values.items())])


@dataclass(frozen=True)
class Failure:
    """The reason why a run has no score."""

    kind: FailureKind
    signature: str  # the same text for the same fault, without addresses, sizes, paths or line numbers
    text: str  # what the log says, cleaned and bounded; text of others, to be quoted as data

    @property
    def machine(self) -> bool:
        """Return whether the machine failed, not the candidate."""
        return self.kind in MACHINE_KINDS

    @property
    def in_words(self) -> str:
        """Return the kind, where it is known, and the signature, where it says more."""
        if self.signature == self.kind:
            return self.kind
        return quoted(self.signature) if self.kind == "unknown" else f"{self.kind}: {quoted(self.signature)}"


@dataclass(frozen=True)
class Run:
    """One launch of ``uv run train.py``, or one imported from elsewhere. Times are ISO 8601 in UTC, to the second."""

    run: str  # its name: YYYYMMDD-HHMMSS-<7 hex>-<4 hex>, import-<16 hex> for rows of foreign ledgers
    folder: str  # name of its folder under results/runs, "" without one
    origin: Origin
    branch: str  # name of the branch it was made on, "" on a detached HEAD or when unknown
    commit: str  # full hash of what ran, "" when unknown (foreign ledgers give seven digits)
    started_utc: str
    parent: str = ""  # full hash of the commit's first parent
    subject: str = ""  # of the commit
    emitter: str | None = None  # the name in the subject's [emitter=...] tag
    seed: int = 0  # AUTORESEARCH_SEED
    backend: str = ""
    gpu: str = ""  # the GPU asked for
    device: str | None = None  # the device it had
    fingerprint: str = ""  # hash of train.py's syntax tree
    train_sha256: str = ""  # hash of train.py's bytes
    harness: str = ""  # hash of prepare.py and the harness files at the commit
    contract: str | None = None  # name of the contract of its score; scores are compared within one only
    contract_key: str = ""  # hash of what was known of the contract before launch: same key, same contract
    finished_utc: str | None = None  # None while it runs, like the outcome
    outcome: Outcome | None = None
    exit_code: int | None = None  # the runner's
    child_exit: int | None = None  # the command's own, 128+N for signal N
    metrics: Metrics | None = None  # the summary that train.py printed
    val_bpb: float | None = None  # the score, from score.json (lower is better); None without one
    val_bpb_exact: float | None = None  # the same, counted by true UTF-8 bytes
    audit_bpb: float | None = None  # score on the audit text: never printed, in no ledger, never shown to an agent
    audit_bpb_exact: float | None = None
    peak_vram_mb: float | None = None  # MiB
    failure: Failure | None = None
    suspect: tuple[str, ...] = ()  # reasons not to trust the score; a suspect run is never kept by a rule
    counted: bool = True  # whether it is judged and has a ledger row
    why: str = ""  # one sentence for people: why it is not counted, or how it ended
    cost_usd: float | None = None  # estimated
    phases_s: Mapping[str, float] = field(default_factory=dict)  # seconds of each phase of the launch, by its name
    facts: Mapping[str, str] = field(default_factory=dict)  # anything else worth keeping
    additions: int = 0  # lines added to train.py against the parent
    deletions: int = 0
    category: str = ""  # kind of the change, by its syntax trees; "" when unknown
    delta: Mapping[str, str] = field(default_factory=dict)
    """The changed parts by name: constants as "before -> after", functions as "changed", "added" or "removed"."""
    statements_added: int = 0  # statements of the syntax tree
    statements_removed: int = 0
    plan: str | None = None  # name of the plan that it carried out

    @property
    def stopped_at(self) -> float | None:
        """Return the fraction of the budget at which it was stopped, None for any other end."""
        return float(self.facts.get(STOPPED_AT, 0.0)) if self.outcome == "stopped" else None

    @property
    def wall_s(self) -> float:
        """Return the seconds from start to end, 0 while it runs."""
        return seconds_between(self.started_utc, self.finished_utc)


@dataclass(frozen=True)
class Estimate:
    """An estimated value with its 95 % interval, in bpb."""

    mean: float
    low: float
    high: float
    n: int  # runs behind it

    def in_words(self, sign: str = "") -> str:
        """Write the mean with its interval; sign "+" writes that of a gain too."""
        return f"{self.mean:{sign}.6f} [{self.low:{sign}.6f}, {self.high:{sign}.6f}]"


@dataclass(frozen=True)
class Verdict:
    """The decision of a rule or of a person about a run."""

    run: str
    decision: Decision
    rule: str  # name of the rule, or PERSON
    why: str  # one sentence
    created_utc: str
    baseline: bool = False  # whether the run is the baseline of its contract on its branch
    incumbent: str = ""  # commit that a discard goes back to, "" without one
    p_better: float | None = None  # probability that it beats the incumbent, None where the rule knows none
    estimate: Estimate | None = None  # value of the run's configuration, None for a crash
    difference: Estimate | None = None  # that minus the incumbent's (below zero is better), None without both
    terms: Mapping[str, float] = field(default_factory=dict)  # terms of the discovery score, by name
    text: str = ""  # the review for people
    settled_utc: str | None = None  # when the branch followed in git, None before

    @property
    def is_open(self) -> bool:
        """Return whether the decision is still to come, so that git has nothing to follow yet."""
        return self.decision in OPEN_DECISIONS

    @property
    def is_confirmed(self) -> bool:
        """Return whether it keeps a gain that is confirmed."""
        return self.decision == "keep" and is_confirmed(self.difference, self.estimate)


def is_confirmed(gain: Estimate | None, value: Estimate | None) -> bool:
    """Check whether a gain is confirmed: more than one run, and the whole interval a gain."""
    return bool(gain and gain.high < 0 and value and value.n > 1)


@dataclass(frozen=True)
class Judged:
    """A finished run with its verdicts."""

    run: Run
    verdict: Verdict | None = None  # the one that holds now, None before the first
    order: int = 0  # its place among the verdicts of all runs
    earlier: tuple[tuple[int, Decision], ...] = ()  # place and decision of the verdicts before it, oldest first

    @property
    def first_order(self) -> int:
        """Return the place of the run's first verdict."""
        return self.earlier[0][0] if self.earlier else self.order


_ASSIGNMENT = re.compile(r"\s*([A-Z][A-Z0-9_]*)\s*=(?!=)\s*(\S.*?)\s*\Z", re.S)


@dataclass(frozen=True)
class Idea:
    """An experiment that a person asks for."""

    idea: int  # its number, from 1
    text: str  # the person's words, or NAME=VALUE
    created_utc: str
    plan: str | None = None  # name of the latest plan to carry it out, None before the first
    closed_utc: str | None = None  # when it was given up without a run, None for all else
    why: str = ""  # the reason for giving it up; "" where a person has withdrawn it
    run: str | None = None  # name of the run that tried it, None before it ended

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
    """One planned experiment."""

    plan: str  # its name
    created_utc: str
    emitter: str | None  # name of the emitter that orders it, None leaves the agent free
    category: str | None  # kind of change to make, None leaves it open; may be "a+b"
    parent: str | None  # commit to start from, None for the tip
    kind: str  # EXPERIMENT or REPLICATE
    reason: str
    run: str | None = None  # name of the run that carried it out, None while pending
    closed_utc: str | None = None  # when it was carried out or dropped
    details: Mapping[str, str] = field(default_factory=dict)  # anything else the planner keeps

    @property
    def run_seed(self) -> int | None:
        """Return the seed that its run is to have, None where it names none."""
        seed = self.details.get(RUN_SEED, "")
        return int(seed) if seed.isdecimal() else None


@dataclass(frozen=True)
class Event:
    """Something that happened, kept for good."""

    seq: int  # its number, in order of time
    at_utc: str
    kind: str
    run: str | None  # name of the run that it is about
    data: Mapping[str, Any]
