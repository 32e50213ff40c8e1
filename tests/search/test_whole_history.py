"""A scripted history driven by the real planner, memory and judge until it met every phase and every emitter."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field, replace

from research.code.classify import CATEGORIES
from research.core.contract import DEFAULT_SEED
from research.core.records import RUN_SEED, Failure, Judged, Metrics, Plan, Run
from research.search import planner
from research.search.emitters import EMITTERS
from research.verdict.belief import Belief
from research.verdict.comparison import compare
from research.verdict.consequences import consequences
from research.verdict.judge import judge
from research.verdict.memory import recall
from research.verdict.phase import PHASES
from research.verdict.summary import as_text, digest_of, rows

BRANCH, CONTRACT = "autoresearch/whole", "official-0123456789ab"
SCENES = ("luck", "crashes", "drought", "near")
"""What stretches of the script are about: gains that come, candidates that crash, nothing at all, narrow losses."""


@dataclass
class Script:
    """A branch whose candidates score as the script says."""

    seed: int = 3
    history: list[Judged] = field(default_factory=list)
    true: dict[str, float] = field(default_factory=dict)
    plans: list[Plan] = field(default_factory=list)
    luck: dict[object, float] = field(default_factory=dict)
    order: int = 0
    belief: Belief | None = None

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def step(self) -> None:
        """Plans and carries out."""
        memory = recall(self.history, BRANCH, CONTRACT, belief=self.belief)
        plan = planner.plan_with(memory, self.history, self.seed, "2026-01-01T00:00:00Z")
        self.plans.append(plan)
        number = len(self.history)
        seed = int(plan.details.get(RUN_SEED, DEFAULT_SEED))
        if not self.history:
            self.true["0" * 40] = 0.9979
            base = "0" * 40
            self.measure(Run("r0", "", "runner", BRANCH, base, _time(0), subject="base", fingerprint=base, seed=seed))
            return
        if plan.kind == "replicate":
            known = next(item.run for item in self.history if item.run.commit == plan.parent)
            self.measure(replace(known, run=f"r{number}", started_utc=_time(number), plan=plan.plan, seed=seed))
            return
        self.experiment(plan, number, seed)

    def experiment(self, plan: Plan, number: int, seed: int) -> None:
        """A new candidate, as good as the scene has it."""
        commit = hashlib.sha1(b"%d" % number).hexdigest()
        parent = plan.parent or "0" * 40
        scene = SCENES[number // 25 % len(SCENES)]
        step = {"luck": -0.003, "crashes": 0.004, "drought": 0.006, "near": 0.0004}[scene]
        self.true[commit] = self.true[parent] + step * self.chance.uniform(0.4, 1.2)
        category = plan.category or self.chance.choice(CATEGORIES)
        knob = self.chance.choice(("MATRIX_LR", "DEPTH", "WARMDOWN", "ROPE_BASE", "SOFTCAP"))
        run = Run(
            f"r{number}", "", "runner", BRANCH, commit, _time(number), parent, f"exp: {knob} moved", plan.emitter,
            fingerprint=commit, category=category.split("+")[0], delta={knob: f"{number} -> {number + 1}"},
            statements_added=1, statements_removed=1, plan=plan.plan, seed=seed,
        )  # fmt: skip
        self.measure(run, crashes=scene == "crashes" and self.chance.random() < 0.6)

    def measure(self, run: Run, crashes: bool = False) -> None:
        """Runs and judges."""
        run = replace(run, finished_utc=run.started_utc, contract=CONTRACT)
        if crashes:
            failure = Failure("oom", "OutOfMemoryError: CUDA out of memory", "")
            run = replace(run, outcome="crash", failure=failure, val_bpb=None, metrics=None)
        else:
            score = self.true[run.commit] + self.chance.gauss(0.0, 0.0003)
            for key, sd in ((run.seed, 0.002), ((run.commit, run.seed), 0.0008)):
                if key not in self.luck:
                    self.luck[key] = self.chance.gauss(0.0, sd)
                score += self.luck[key]
            metrics = Metrics(score, 300.0, 330.0, 45000.0, 40.0, 400.0, 900, 60.0, 9)
            run = replace(run, outcome="scored", val_bpb=score, metrics=metrics, peak_vram_mb=45000.0, failure=None)
        case = compare(run, self.history)
        self.belief = case.belief
        verdict = judge(case, run.started_utc)
        self.order += 1
        self.history.append(Judged(run, verdict, self.order))
        for later in consequences(case, verdict):
            place = next(n for n, item in enumerate(self.history) if item.run.run == later.run)
            item = self.history[place]
            assert item.verdict is not None
            self.order += 1
            self.history[place] = Judged(
                item.run, later, self.order, (*item.earlier, (item.order, item.verdict.decision))
            )


def _time(number: int) -> str:
    return f"2026-01-{1 + number // 200:02d}T{number // 10 % 20:02d}:{number % 10 * 6:02d}:00Z"


def test_a_long_history_reaches_every_phase_and_every_emitter():
    script = Script()
    phases, decisions = set(PHASES) - {"baseline"}, {"keep", "replicate", "discard"}
    while len(script.history) < 100 or not (
        {plan.details.get("phase") for plan in script.plans} >= phases
        and {plan.emitter for plan in script.plans} >= set(EMITTERS)
        and {item.verdict.decision for item in script.history if item.verdict} >= decisions
    ):
        assert len(script.history) < 400
        script.step()
    memory = recall(script.history, BRANCH, CONTRACT)
    digest = digest_of(memory)
    text = as_text(rows(digest, script.plans[-1], memory.warnings))
    for name in ("Baseline", "Best", "Phase", "Plan", "Conjectures", "Elites", "No-fly"):
        assert f"{name}:" in text
    again = planner.plan_with(memory, script.history, 5, "2026-01-02T00:00:00Z")
    assert again.plan == planner.plan_with(memory, script.history, 5, "2026-01-03T00:00:00Z").plan
    others = {planner.plan_with(memory, script.history, seed, "").plan for seed in range(6, 26)}
    assert len(others) > 1
