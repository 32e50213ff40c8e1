"""The planner: the same history and seed give the same plan, orders become plans that can be carried out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from research.core.records import RUN_SEED, Plan
from research.search import planner
from research.search.observation import configuration
from research.search.policies.baselines import Climber
from research.search.policy import make_policy
from research.verdict.memory import recall
from tests.support import histories
from tests.support.histories import night as made_up
from tests.support.purenight import BRANCH, CONTRACT, PureNight

NOW = "2026-01-01T00:00:00Z"


class Scripted(Climber):
    """A policy that orders what a test says, and remembers what it was told."""

    reason = "The script says so."
    phase = "explore"

    def __init__(self, order) -> None:
        self.order, self.told = order, []

    def start(self, baseline) -> None:
        self.told = [(baseline, "keep")]

    def note(self, result, decision) -> None:
        self.told.append((result, decision))

    def ask(self, history):
        return self.order

    def next_seed(self) -> int:
        return 44


@pytest.fixture
def night() -> PureNight:
    night = PureNight(seed=5, crash_share=0.0)
    night.run(night.first, "base", "", None)
    night.run(night.first, "base", "", None)
    text = night.changed("MATRIX_LR = 0.03", "MATRIX_LR = 0.02")
    night.run(night.commit(text), "exp: MATRIX_LR 0.03 -> 0.02 [emitter=local_tuner]", night.first, "local_tuner")
    return night


def plan_for(history, seed: int, in_flight=()) -> Plan:
    return planner.plan_with(recall(history, BRANCH, CONTRACT), history, seed, NOW, in_flight)


def plan_with(monkeypatch, night: PureNight, order, in_flight=()) -> tuple[Plan, Scripted]:
    policy = Scripted(order)
    monkeypatch.setattr(planner, "make_policy", lambda name, seed: policy)
    return plan_for(night.history, 0, in_flight), policy


def test_an_empty_history_asks_for_the_baseline():
    plan = plan_for([], 0)
    assert (plan.kind, plan.parent, plan.emitter) == ("replicate", None, None)
    assert "baseline" in plan.reason


def test_results_hold_every_run_with_its_configuration(night: PureNight):
    results = planner.results_of(night.history)
    assert [result.index for result, _ in results] == [0, 1, 2]
    first, again, third = (result for result, _ in results)
    base = night.history[0].run.fingerprint
    assert (first.id, first.parent_id, first.replicate_of, first.seed) == (base, None, None, 42)
    assert (again.replicate_of, again.seed) == (base, 43)
    assert again.id != base
    assert (third.parent_id, third.emitter) == (base, "local_tuner")
    assert third.delta == {"MATRIX_LR": "0.03 -> 0.02"}


def test_a_persons_idea_earns_nobody_credit(night: PureNight):
    last = night.history[-1]
    win = replace(last.run, run="win", fingerprint="win", commit="e" * 40, val_bpb=0.9, category="data")

    def credit_after(*more: str | None):
        wins = [replace(last, run=replace(win, emitter=emitter), order=9) for emitter in more]
        results = planner.results_of([*night.history, *wins])
        policy = make_policy("discovery", 0)
        policy.start(results[0][0])
        for result, decision in results[1:]:
            policy.note(result, decision)
        return policy.credit().mean(None)

    assert credit_after("person") == credit_after()
    assert credit_after(None) != credit_after()


def test_the_policy_is_told_the_decisions_on_record(monkeypatch, night: PureNight):
    item = night.history[-1]
    assert item.verdict is not None
    night.history[-1] = replace(item, verdict=replace(item.verdict, decision="keep", rule="person"))
    _, policy = plan_with(monkeypatch, night, (None, None, None))
    assert [decision for _, decision in policy.told][-1] == "keep"


def test_the_same_history_and_seed_give_the_same_plan(night: PureNight):
    plans = [plan_for(night.history, 4) for _ in range(2)]
    assert plans[0] == plans[1]
    names = {plan_for(night.history, seed).plan for seed in range(6)}
    assert len(names) == 6


def test_orders_become_commits(monkeypatch, night: PureNight):
    latest = night.history[-1].run
    target, commit = latest.fingerprint, latest.commit
    plan, _ = plan_with(monkeypatch, night, ("replicate", None, target))
    assert (plan.kind, plan.parent) == ("replicate", commit)
    plan, _ = plan_with(monkeypatch, night, ("local_tuner", "optimizer", target))
    assert (plan.kind, plan.parent, plan.emitter, plan.category) == ("experiment", commit, "local_tuner", "optimizer")
    plan, _ = plan_with(monkeypatch, night, (None, None, None))
    incumbent = night.memory().incumbent
    assert incumbent is not None
    assert (plan.emitter, plan.parent) == (None, incumbent.commit)


def test_an_emitter_that_cannot_work_gives_way_and_the_reason_says_so(monkeypatch, night: PureNight):
    plan, _ = plan_with(monkeypatch, night, ("recombinator", None, None))
    assert plan.emitter != "recombinator"
    assert "Not recombinator: " in plan.reason


def test_a_replicate_that_is_running_is_not_planned_again(monkeypatch, night: PureNight):
    target = night.history[-1].run.fingerprint
    first, _ = plan_with(monkeypatch, night, ("replicate", None, target))
    second, _ = plan_with(monkeypatch, night, ("replicate", None, target), (first,))
    assert second.kind == "experiment"
    assert second.plan != first.plan


def test_a_replicates_prompt_is_one_command(night: PureNight):
    plan = Plan("p", NOW, None, None, night.first, "replicate", "It decides.")
    text = planner.prompt(plan, night.memory())
    assert f"uv run research replicate {night.first[:12]}" in text


def test_what_was_not_believed_is_no_baseline(night: PureNight):
    first = night.history[0]
    doubted = replace(first, run=replace(first.run, run="doubted", fingerprint="f", commit="c", suspect=("a doubt",)))
    results = planner.results_of([replace(doubted, order=0), *night.history])
    assert [result.id for result, _ in results] == [result.id for result, _ in planner.results_of(night.history)]


def test_a_plan_names_the_seed_of_its_run(monkeypatch, night: PureNight):
    plan = plan_for(night.history, 4)
    incumbent = night.memory().incumbent
    assert incumbent is not None
    assert plan.kind == "experiment"
    assert int(plan.details[RUN_SEED]) in night.memory().belief.seeds(incumbent.key)
    plan, _ = plan_with(monkeypatch, night, (None, None, None))
    assert plan.details[RUN_SEED] == "44"


def test_the_policy_plans_with_the_posterior_of_the_memory(monkeypatch, night: PureNight):
    used = []

    class Asking(Scripted):
        def set_belief(self, belief) -> None:
            used.append(belief)

    monkeypatch.setattr(planner, "make_policy", lambda name, seed: Asking((None, None, None)))
    memory = night.memory()
    planner.plan_with(memory, night.history, 0, NOW)
    assert used == [memory.belief]


def test_a_long_history_is_planned_from_what_memory_knows():
    history = made_up(1200)
    memory = recall(history, histories.BRANCH)
    assert planner.plan_with(memory, history, 0, NOW).kind in ("experiment", "replicate")
    results = planner.results_of(history)
    assert {configuration(result) for result, _ in results if result.val_bpb is not None} == {*memory.belief.configs}


def test_a_replicate_that_crashed_leaves_what_was_decided_before():
    first, kept = histories.run(0), histories.run(1, histories.name(0), 0.98)
    crash = replace(histories.run(1, histories.name(0), None), run="r2", folder="r2", seed=43)
    history = [histories.judged(first, 1, "keep", baseline=True), histories.judged(kept, 2, "keep")]
    told = planner.results_of([*history, histories.judged(crash, 3)])
    assert [decision for _, decision in told] == ["keep", "keep", "keep"]
    worse = replace(crash, outcome="scored", val_bpb=0.999, failure=None)
    assert [decision for _, decision in planner.results_of([*history, histories.judged(worse, 3)])][-1] == "discard"
