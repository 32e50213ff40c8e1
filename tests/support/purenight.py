"""A night without processes: the real planner, agent, memory and judge over runs whose scores come from a formula."""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from research.agents.builtin import NothingToPropose, Proposal, propose
from research.agents.builtin.source import Source
from research.code import diff
from research.code.fingerprint import fingerprint
from research.core.contract import DEFAULT_SEED
from research.core.records import Failure, Judged, Metrics, Plan, Run
from research.search import planner
from research.verdict.comparison import compare
from research.verdict.judge import judge as by_evidence
from research.verdict.memory import recall
from research.verdict.models import Memory

ROOT = Path(__file__).resolve().parents[2]
OURS = ROOT / "train.py"
PUBLIC = ROOT / "tests" / "support" / "bases" / "nano.txt"
BRANCH, CONTRACT = "autoresearch/pure", "pocket-0123456789ab"
BEST = {"EMBEDDING_LR": 0.5, "MATRIX_LR": 0.02, "WARMDOWN": 0.6, "MATRIX_WD": 0.1, "SOFTCAP": 20, "X0_INIT": 0.1}


@dataclass
class PureNight:
    """A branch that lives in memory only."""

    seed: int = 0
    noise: float = 0.003
    crash_share: float = 0.05
    base: bytes = field(default_factory=OURS.read_bytes)
    history: list[Judged] = field(default_factory=list)
    sources: dict[str, bytes] = field(default_factory=dict)
    plans: list[Plan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.clock = datetime(2026, 1, 1, tzinfo=timezone.utc)
        self.first = self.commit(self.base)

    def now(self) -> str:
        """The time, a minute later at each look."""
        self.clock += timedelta(minutes=1)
        return self.clock.strftime("%Y-%m-%dT%H:%M:%SZ")

    def commit(self, text: bytes) -> str:
        """Keeps a text under a hash of its own."""
        name = hashlib.sha1(b"%d" % len(self.sources) + text).hexdigest()
        self.sources[name] = text
        return name

    def changed(self, old: str, new: str) -> bytes:
        """The base with a piece of its text replaced, which must stand there once."""
        assert self.base.count(old.encode()) == 1, f"the base does not hold {old!r} once"
        return self.base.replace(old.encode(), new.encode())

    def read_source(self, commit: str) -> bytes | None:
        """The text of a commit."""
        return self.sources.get(commit)

    def memory(self) -> Memory:
        """What the lab knows."""
        return recall(self.history, BRANCH, CONTRACT)

    def true_bpb(self, text: bytes) -> float:
        """What a text would score without noise."""
        known = Source(text, "pocket").values
        value = 1.9 + 0.004 * (int(hashlib.sha1(text).hexdigest(), 16) % 100) / 100
        for name, best in BEST.items():
            if isinstance(known.get(name), (int, float)) and known[name] > 0:
                value += 0.01 * math.log(known[name] / best) ** 2
        return value

    def run(self, commit: str, subject: str, parent: str, emitter: str | None, plan: Plan | None = None) -> Judged:
        """Measures a commit, judges it, and remembers both."""
        text = self.sources[commit]
        number = len(self.history)
        difference = diff.change_between(self.sources[parent], text) if parent else diff.NO_CHANGE
        started = self.now()
        run = Run(
            run=f"20260101-000000-{commit[:7]}-{number:04x}",
            folder="",
            origin="runner",
            branch=BRANCH,
            commit=commit,
            started_utc=started,
            parent=parent,
            subject=subject,
            emitter=emitter,
            seed=self.seed_of(commit, plan),
            fingerprint=fingerprint(text),
            contract=CONTRACT,
            finished_utc=self.now(),
            category=difference.category,
            delta=difference.delta,
            statements_added=difference.statements_added,
            statements_removed=difference.statements_removed,
            peak_vram_mb=900.0,
            plan=plan.plan if plan else None,
        )
        if number > 1 and parent and self.random.random() < self.crash_share:
            signature = f"OutOfMemoryError: tried to allocate {self.random.randrange(3)}"
            failure = Failure("oom", signature, "no memory left")
            run = replace(run, outcome="crash", exit_code=1, failure=failure, contract=None, peak_vram_mb=None)
        else:
            score = self.true_bpb(text) + self.random.gauss(0, self.noise)
            metrics = Metrics(score, 30.0, 40.0, 900.0, 0.0, 1.0, 400, 2.4, 4)
            run = replace(run, outcome="scored", exit_code=0, val_bpb=score, metrics=metrics)
        case = compare(replace(run, contract=CONTRACT), self.history)
        verdict = by_evidence(case, run.finished_utc or started)
        self.history.append(Judged(run, verdict, number + 1))
        return self.history[-1]

    def seed_of(self, commit: str, plan: Plan | None) -> int:
        """Return the seed that the plan names, else the next one of the commit."""
        if plan and planner.RUN_SEED in plan.details:
            return int(plan.details[planner.RUN_SEED])
        return DEFAULT_SEED + sum(item.run.commit == commit for item in self.history)

    def plan(self, attempt: int = 0) -> Plan:
        """The next plan."""
        return planner.plan_with(self.memory(), self.history, self.seed + attempt, "2026-01-01T00:00:00Z")

    def propose(self, plan: Plan, memory: Memory | None = None) -> Proposal:
        """The built-in agent's proposal."""
        return propose(plan, memory or self.memory(), self.read_source, self.seed)

    def carry_out(self, plan: Plan) -> Judged:
        """Carries one plan out.

        Raises:
            NothingToPropose: if the agent has no idea.
        """
        self.plans.append(plan)
        if plan.kind == "replicate":
            commit = plan.parent or self.first
            known = next((item.run for item in self.history if item.run.commit == commit), None)
            parent, subject = (known.parent, known.subject) if known else ("", "base")
            return self.run(commit, subject, parent, known.emitter if known else None, plan)
        proposal = self.propose(plan)
        return self.run(self.commit(proposal.text), proposal.subject, proposal.parent, plan.emitter, plan)

    def step(self) -> Judged:
        """Plans and carries out; a plan without an idea is dropped and another made."""
        for attempt in range(50):
            try:
                return self.carry_out(self.plan(attempt))
            except NothingToPropose:
                continue
        raise AssertionError("fifty plans without an idea")

    def night(self, runs: int) -> None:
        """Goes on until so many runs were made."""
        while len(self.history) < runs:
            self.step()
