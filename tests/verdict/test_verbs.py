"""The verbs summary and archive, from the outside."""

from __future__ import annotations

from research.store.db import Store
from tests.support.histories import fill, night
from tests.support.labkit import Kit, kit

__all__ = ["kit"]


def fill_memory(kit: Kit) -> None:
    path = kit.root / "results" / "discovery" / "memory.db"
    path.parent.mkdir(parents=True)
    with Store(path) as store:
        fill(store, night(60))


def test_an_empty_lab_is_told_of_and_left_untouched(kit: Kit):
    data = kit.json("summary")
    assert data["branch"] == "autoresearch/try"
    assert (data["autonomy"], data["baseline"], data["best"], data["plan"]) == (False, None, None, None)
    assert (data["phase"], data["warnings"]) == ("baseline", [])
    assert kit.json("archive")["niches"] == []
    text = kit.research("summary").out
    assert "no baseline yet" in text
    assert "no best yet" in text
    assert not (kit.root / "results").exists()


def test_a_night_is_told_of(kit: Kit):
    fill_memory(kit)
    data = kit.json("summary")
    best = data["best"]
    assert best["low"] < best["mean"] < best["high"]
    assert best["n"] >= 1
    niches = kit.json("archive")["niches"]
    assert {"niche", "commit", "mean", "n", "emitter", "description"} <= niches[0].keys()
    means = [niche["mean"] for niche in niches]
    assert means == sorted(means)
    near = data["near_misses"]
    assert {"commit", "mean", "n", "description"} <= near[-1].keys()
    text = kit.research("summary").out
    for word in ("Branch:", "Autonomy:", "Baseline:", "Best:", "Phase:", "Elites:", "Near misses:", "No-fly:"):
        assert word in text
    assert "\x1b" not in text


def test_an_experiment_in_flight_is_warned_of(kit: Kit):
    fill_memory(kit)
    kit.commit("exp: something new [emitter=simplifier]", val=0.5)
    warnings = kit.json("summary")["warnings"]
    assert any("without a result" in text for text in warnings)


def test_a_run_records_what_its_commit_changed(kit: Kit):
    assert kit.run().code == 0
    kit.commit("exp: better [emitter=local_tuner]", val=0.9)
    assert kit.run().code == 0
    with Store(kit.root / "results" / "discovery" / "memory.db") as store:
        first, second = store.runs()
    assert (first.category, dict(first.delta)) == ("", {})
    assert dict(second.delta) == {"VAL": "0.99 -> 0.9"}
    assert (second.statements_added, second.statements_removed) == (1, 1)
    assert second.category


def test_another_branch_has_no_plan_of_this_one(kit: Kit):
    kit.run()
    kit.commit("exp: a", val=0.98)
    kit.run()
    assert kit.json("summary")["plan"] is not None
    for place in (("-b", "autoresearch/other"), ("main",), ("--detach", "main")):
        kit.git("checkout", "-q", *place)
        seen = kit.json("summary")
        assert (seen["plan"], seen["phase"]) == (None, "baseline"), place


def test_the_change_is_the_one_that_the_review_says(kit: Kit):
    kit.run()
    kit.run("--seed", "43")
    kit.commit("exp: a [emitter=free]", val=0.93)
    kit.run()
    kit.run("--seed", "43")
    (change,) = [line for line in kit.research("summary").out.splitlines() if line.startswith("Change:")]
    assert change.split(":")[1].split(" against")[0].strip() in str(kit.json("last-review")["text"])
