"""The planner: the same history and seed give the same plan, orders become plans that can be carried out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from research.core.records import Plan
from research.core.settings import SETTINGS
from research.search import planner
from research.verdict.memory import recall
from tests.support import histories
from tests.support.histories import night as made_up
from tests.support.purenight import BRANCH, CONTRACT, PureNight

NOW = "2026-01-01T00:00:00Z"


class Scripted:
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


@pytest.fixture
def night() -> PureNight:
    night = PureNight(seed=5, crash_share=0.0)
    night.run(night.first, "base", "", None)
    night.run(night.first, "base", "", None)
    text = night.changed("MATRIX_LR = 0.03", "MATRIX_LR = 0.02")
    night.run(night.commit(text), "exp: MATRIX_LR 0.03 -> 0.02 [emitter=local_tuner]", night.first, "local_tuner")
    return night


def plan_with(monkeypatch, night: PureNight, order, in_flight=()) -> tuple[Plan, Scripted]:
    policy = Scripted(order)
    monkeypatch.setattr(planner, "make_policy", lambda name, seed: policy)
    return planner.plan_for(night.history, BRANCH, CONTRACT, 0, NOW, in_flight), policy


def test_an_empty_history_asks_for_the_baseline():
    plan = planner.plan_for([], BRANCH, None, 0, NOW)
    assert (plan.kind, plan.parent, plan.emitter) == ("replicate", None, None)
    assert "baseline" in plan.reason


def test_results_hold_every_run_with_its_configuration(night: PureNight):
    results = planner.results_of(night.history)
    assert [result.index for result, _ in results] == [0, 1, 2]
    first, again, third = (result for result, _ in results)
    assert (first.id, first.parent_id, first.replicate_of) == (night.first, None, None)
    assert again.replicate_of == night.first
    assert again.id != night.first
    assert (third.parent_id, third.emitter) == (night.first, "local_tuner")
    assert third.delta == {"MATRIX_LR": "0.03 -> 0.02"}


def test_the_policy_is_told_the_decisions_on_record(monkeypatch, night: PureNight):
    item = night.history[-1]
    assert item.verdict is not None
    night.history[-1] = replace(item, verdict=replace(item.verdict, decision="keep", rule="person"))
    _, policy = plan_with(monkeypatch, night, (None, None, None))
    assert [decision for _, decision in policy.told][-1] == "keep"


def test_the_same_history_and_seed_give_the_same_plan(night: PureNight):
    plans = [planner.plan_for(night.history, BRANCH, CONTRACT, 4, NOW) for _ in range(2)]
    assert plans[0] == plans[1]
    names = {planner.plan_for(night.history, BRANCH, CONTRACT, seed, NOW).plan for seed in range(6)}
    assert len(names) == 6


def test_orders_become_commits(monkeypatch, night: PureNight):
    target = night.history[-1].run.commit
    plan, _ = plan_with(monkeypatch, night, ("replicate", None, target))
    assert (plan.kind, plan.parent) == ("replicate", target)
    plan, _ = plan_with(monkeypatch, night, ("local_tuner", "optimizer", target))
    assert (plan.kind, plan.parent, plan.emitter, plan.category) == ("experiment", target, "local_tuner", "optimizer")
    plan, _ = plan_with(monkeypatch, night, (None, None, None))
    incumbent = night.memory().incumbent
    assert incumbent is not None
    assert (plan.emitter, plan.parent) == (None, incumbent.commit)


def test_an_emitter_that_cannot_work_gives_way_and_the_reason_says_so(monkeypatch, night: PureNight):
    plan, _ = plan_with(monkeypatch, night, ("recombinator", None, None))
    assert plan.emitter != "recombinator"
    assert "Not recombinator: " in plan.reason


def test_a_replicate_that_is_running_is_not_planned_again(monkeypatch, night: PureNight):
    target = night.history[-1].run.commit
    first, _ = plan_with(monkeypatch, night, ("replicate", None, target))
    second, _ = plan_with(monkeypatch, night, ("replicate", None, target), (first,))
    assert second.kind == "experiment"
    assert second.plan != first.plan


def test_a_replicates_prompt_is_one_command(night: PureNight):
    plan = Plan("p", NOW, None, None, night.first, "replicate", "It decides.")
    text = planner.prompt(plan, night.memory(), night.read_source)
    assert f"uv run research replicate {night.first[:12]}" in text


def test_what_was_not_believed_is_no_baseline(night: PureNight):
    first = night.history[0]
    doubted = replace(first, run=replace(first.run, run="doubted", fingerprint="f", commit="c", suspect=("a doubt",)))
    results = planner.results_of([replace(doubted, order=0), *night.history])
    assert [result.id for result, _ in results] == [result.id for result, _ in planner.results_of(night.history)]


def test_a_long_history_is_planned_from_what_a_plan_can_turn_on():
    history = made_up(1200)
    memory, results = recall(history, histories.BRANCH), planner.results_of(history)
    reach = planner.within_reach(results, memory)
    assert len(reach) < 700
    assert reach[0] == results[0]
    assert list(reach[-SETTINGS.replay_runs :]) == results[-SETTINGS.replay_runs :]
    runs = [sum(configuration(result) == results[0][0].id for result, _ in some) for some in (reach, results)]
    assert runs[0] == runs[1]
    assert memory.incumbent is not None
    assert memory.incumbent.commit in {configuration(result) for result, _ in reach}
    short = planner.results_of(made_up(SETTINGS.replay_runs))
    assert planner.within_reach(short, memory) == short


def test_a_replicate_that_crashed_leaves_what_was_decided_before():
    first, kept = histories.run(0), histories.run(1, histories.name(0), 0.98)
    crash = replace(histories.run(1, histories.name(0), None), run="r2", folder="r2", seed=43)
    history = [histories.judged(first, 1, "keep", baseline=True), histories.judged(kept, 2, "keep")]
    told = planner.results_of([*history, histories.judged(crash, 3)])
    assert [decision for _, decision in told] == ["keep", "keep", "keep"]
    worse = replace(crash, outcome="scored", val_bpb=0.999, failure=None)
    assert [decision for _, decision in planner.results_of([*history, histories.judged(worse, 3)])][-1] == "discard"
