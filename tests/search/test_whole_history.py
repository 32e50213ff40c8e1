"""A scripted history driven by the real planner, memory and judge until it met every phase and every emitter."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from research.code.classify import CATEGORIES
from research.core.contract import DEFAULT_SEED
from research.core.records import REPLICATE, Judged, Plan, Run
from research.search import planner
from research.search.emitters import EMITTERS
from research.verdict.belief import Belief
from research.verdict.comparison import compare
from research.verdict.consequences import consequences
from research.verdict.digest import digest_of
from research.verdict.judge import judge
from research.verdict.memory import recall
from research.verdict.phase import PHASES
from research.verdict.summary import as_text, rows
from tests.support.histories import BRANCH, CONTRACT, FAILURES, METRICS, at, name
from tests.support.histories import run as run_of

EFFECTS_BPB = (-0.003, 0.004, 0.006, 0.0004)
"""What a change does in each stretch, about: gains come, candidates crash, nothing helps, losses are narrow."""
CRASHES = 1  # the stretch in which most candidates crash


@dataclass
class Script:
    """A branch whose candidates score as the script says."""

    seed: int = 3
    history: list[Judged] = field(default_factory=list)
    true: dict[str, float] = field(default_factory=lambda: {name(0): 0.9979})
    plans: list[Plan] = field(default_factory=list)
    luck: dict[object, float] = field(default_factory=dict)
    order: int = 0
    belief: Belief | None = None

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def step(self) -> None:
        """Plan and carry out."""
        memory = recall(self.history, BRANCH, CONTRACT, belief=self.belief)
        plan = planner.plan_with(memory, self.history, self.seed, at(0))
        self.plans.append(plan)
        number, seed = len(self.history), plan.run_seed or DEFAULT_SEED
        if plan.kind != REPLICATE:
            self.experiment(plan, number, seed)
        elif plan.parent:
            known = next(item.run for item in self.history if item.run.commit == plan.parent)
            self.measure(replace(known, run=f"r{number}", plan=plan.plan, seed=seed), number)
        else:
            self.measure(run_of(0, seed=seed), number)

    def experiment(self, plan: Plan, number: int, seed: int) -> None:
        """Make a new candidate, as good as the stretch of the script has it."""
        stretch, parent = number // 25 % len(EFFECTS_BPB), plan.parent or name(0)
        self.true[name(number)] = self.true[parent] + EFFECTS_BPB[stretch] * self.chance.uniform(0.4, 1.2)
        category = plan.category or self.chance.choice(CATEGORIES)
        knob = self.chance.choice(("MATRIX_LR", "DEPTH", "WARMDOWN", "ROPE_BASE", "SOFTCAP"))
        run = run_of(
            number, parent, emitter=plan.emitter, category=category.split("+")[0], seed=seed, plan=plan.plan,
            delta={knob: f"{number} -> {number + 1}"}, statements_added=1, statements_removed=1,
        )  # fmt: skip
        self.measure(run, number, crashes=stretch == CRASHES and self.chance.random() < 0.6)

    def measure(self, run: Run, number: int, crashes: bool = False) -> None:
        """Run and judge."""
        run = replace(run, started_utc=at(number), finished_utc=at(number))
        if crashes:
            run = replace(run, outcome="crash", failure=FAILURES[0], val_bpb=None, metrics=None, peak_vram_mb=None)
        else:
            score = self.true[run.commit] + self.chance.gauss(0.0, 0.0003)
            for key, sd in ((run.seed, 0.002), ((run.commit, run.seed), 0.0008)):
                if key not in self.luck:
                    self.luck[key] = self.chance.gauss(0.0, sd)
                score += self.luck[key]
            run = replace(run, outcome="scored", failure=None, val_bpb=score, metrics=METRICS, peak_vram_mb=45000.0)
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
            earlier = (*item.earlier, (item.order, item.verdict.decision))
            self.history[place] = Judged(item.run, later, self.order, earlier)


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
    for title in ("Baseline", "Best", "Phase", "Plan", "Conjectures", "Elites", "No-fly"):
        assert f"{title}:" in text
    again = planner.plan_with(memory, script.history, 5, "2026-01-02T00:00:00Z")
    assert again.plan == planner.plan_with(memory, script.history, 5, "2026-01-03T00:00:00Z").plan
    others = {planner.plan_with(memory, script.history, seed, "").plan for seed in range(6, 26)}
    assert len(others) > 1
