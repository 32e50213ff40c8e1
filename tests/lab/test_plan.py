"""Plans and the runs that carry them out: tied together where the commit does what was planned, and only there."""

from __future__ import annotations

import dataclasses

import pytest
from support.labkit import Kit, kit

from research.core.records import Plan, Run
from research.store.db import Store

__all__ = ["kit"]


def stored(kit: Kit) -> Store:
    return Store(kit.root / "results" / "discovery" / "memory.db")


def test_a_baseline_that_another_branch_has_measured_is_run_again(kit: Kit):
    kit.measure()
    kit.git("checkout", "-q", "-b", "autoresearch/second")
    launch = str(kit.json("next")["prompt"]).split("Launch: ")[1]
    assert " --again -- uv run train.py" in launch
    assert kit.measure("--again").end["outcome"] == "scored"
    assert "--again" not in str(kit.json("next")["prompt"])


def test_before_any_run_the_baseline_comes_next(kit: Kit):
    text = kit.research("next").out
    assert text.startswith("Would be planned now: the baseline: Nothing was measured here yet")
    assert "\nBaseline: Nothing was measured here yet" in text
    assert "replicate of" not in text
    assert kit.json("next")["plan"]["kind"] == "replicate"


def test_an_idea_waits_where_train_py_does_not_parse(kit: Kit):
    (kit.root / "train.py").write_text("def f(:\n")
    kit.git("commit", "-qam", "exp: broken")
    assert [one["status"] for one in kit.json("idea", "DEPTH=6")["ideas"]] == ["waiting"]


def planned(kit: Kit, **changes: object) -> Plan:
    """The pending plan, put on record anew with changes."""
    kit.json("next")
    with stored(kit) as store:
        plan = store.pending_plan()
        store.close_plan(plan.plan, plan.created_utc, None)
        plan = dataclasses.replace(plan, **{"plan": "f" * 12, "kind": "experiment", **changes})
        store.add_plan(plan)
    return plan


def ran(kit: Kit, *options: str) -> tuple[Run, Plan | None]:
    """Runs HEAD; its record, and the plan that was pending."""
    end = kit.measure(*options).end
    with stored(kit) as store:
        run = store.run(str(end["run"]))
        return run, store.plan("f" * 12)


@pytest.mark.parametrize(
    ("emitter", "tag", "is_carried_out", "recorded"),
    [
        ("simplifier", " [emitter=simplifier]", True, "simplifier"),
        ("simplifier", "", True, "simplifier"),
        ("simplifier", " [emitter=contrarian]", False, "contrarian"),
        ("simplifier", " [emitter=free]", False, None),
        (None, " [emitter=free]", True, None),
        (None, " [emitter=simplifier]", False, "simplifier"),
    ],
)
def test_a_commit_that_does_what_was_planned_carries_it_out(kit, emitter, tag, is_carried_out, recorded):
    kit.measure()
    planned(kit, emitter=emitter, parent=kit.head())
    kit.commit(f"exp: a{tag}", val=0.98)
    run, plan = ran(kit)
    assert run.emitter == recorded
    assert (run.plan == "f" * 12) is is_carried_out
    assert (plan.run == run.run) is is_carried_out
    assert (", phase " in str(kit.json("last-review")["text"])) is is_carried_out


@pytest.mark.parametrize("is_new", [True, False])
def test_a_commit_from_elsewhere_and_what_was_measured_before_carry_nothing_out(kit: Kit, is_new: bool):
    kit.measure()
    base = kit.head()
    kit.commit("exp: a", val=0.98)
    kit.measure()
    planned(kit, emitter=None, parent=base)
    if is_new:
        kit.commit("exp: b", val=0.97)
    run, plan = ran(kit, "--seed", "7")
    assert run.plan is plan.run is None


def test_a_replicate_that_was_planned_is_tied_to_its_run(kit: Kit):
    kit.measure()
    plan = planned(kit, kind="replicate", parent=kit.head())
    end = kit.json("replicate")
    with stored(kit) as store:
        run = store.run(str(end["run"]))
        assert run.plan == plan.plan


# The seed of another run -----------------------------------------------------------------------------------------


def seeds_of(kit: Kit, commit: str) -> list[int]:
    """Seeds of a commit's runs, in order."""
    with stored(kit) as store:
        return [run.seed for run in store.runs() if run.commit == commit]


def test_a_replicate_has_the_seed_that_the_best_so_far_has_and_it_has_not(kit: Kit):
    """Else the next unused one; a seed that is asked for may be one that it ran with already."""
    base = kit.head()
    kit.measure("--seed", "7")
    kit.research("replicate", "--seed", "9")
    worse = kit.commit("exp: worse", val=1.2)
    kit.measure("--seed", "7")
    for _ in range(2):
        assert kit.research("replicate", worse).code == 0
    assert seeds_of(kit, worse) == [7, 9, 42]
    assert kit.research("replicate", worse, "--seed", "7").code == 0
    assert seeds_of(kit, worse) == [7, 9, 42, 7]
    assert kit.research("replicate", base).code == 0
    assert seeds_of(kit, base) == [7, 9, 42]
    assert kit.research("replicate", base, "--seed", "x").code == 2


def test_a_plan_names_the_seed_of_its_run(kit: Kit):
    """An idea runs on the seed that the best so far has; what gains far more than any waits for a second seed."""
    kit.measure("--seed", "7")
    kit.json("next")
    with stored(kit) as store:
        plan = store.pending_plan()
    assert (plan.kind, plan.run_seed) == ("experiment", 7)
    base = kit.head()
    far = kit.commit("exp: far better", val=0.5)
    kit.measure("--seed", "7")
    asked = []
    for _ in range(2):
        with stored(kit) as store:
            plan = store.pending_plan()
        assert plan.kind == "replicate"
        asked.append((plan.parent, plan.run_seed))
        assert f"research replicate {str(plan.parent)[:12]} --seed {plan.run_seed}" in str(kit.json("next")["prompt"])
        kit.research("replicate", str(plan.parent), "--seed", str(plan.run_seed))
    (first, seed), (second, same) = asked
    assert (first, second, seed) == (base, far, same)
    assert seed != 7
    with stored(kit) as store:
        decided = {item.run.commit: item.verdict.decision for item in store.judged() if item.verdict}
    assert decided == {base: "keep", far: "keep"}
