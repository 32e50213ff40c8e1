"""What hooks show of the lab, and what they leave alone, in a real repository."""

from __future__ import annotations

import json

import pytest

from research.core.records import Plan
from research.core.settings import SETTINGS
from research.verdict.digest import read_digest
from tests.support.codexkit import AT, EVENTS, answer, answer_to, context_of, feed, memory, plan_instead
from tests.support.labkit import Kit

BRANCH = "autoresearch/try"


def a_plan(name: str = "p1", emitter: str = "contrarian", phase: str = "recombine", branch: str = BRANCH) -> Plan:
    """A pending plan."""
    details = {"branch": branch, "phase": phase, "brief": "do it"}
    return Plan(name, AT, emitter, "optimizer", None, "experiment", "because of this", details=details)


def started(kit: Kit) -> str:
    """What SessionStart says."""
    return context_of(answer(kit, "SessionStart", source="startup"))


def warnings_in(text: str) -> list[str]:
    """The lines of the section Warnings."""
    lines = text.split("\n")
    start = next((place for place, line in enumerate(lines) if line.startswith("Warnings:")), None)
    if start is None:
        return []
    found = [lines[start].removeprefix("Warnings:").strip()]
    for line in lines[start + 1 :]:
        if not line.startswith("  "):
            break
        found.append(line.strip())
    return found


# SessionStart -------------------------------------------------------------------------------------------------------


def test_a_session_begins_with_the_plan_that_is_pending_now(kit: Kit):
    kit.measure()
    plan_instead(kit, a_plan())
    text = started(kit)
    shown = [line for line in text.split("\n") if line.startswith("Plan:")]
    assert shown == ["Plan:        contrarian on optimizer: because of this"]
    assert "Phase:       recombine" in text
    assert shown[0] in kit.research("summary").out
    plan_instead(kit)
    assert "Plan:        none pending" in started(kit)
    plan_instead(kit, a_plan("p2", branch="autoresearch/other"))
    assert "Plan:        none pending" in started(kit)


def test_a_session_begins_with_the_warnings_that_the_summary_prints(kit: Kit):
    kit.measure()
    kit.research("settle")
    assert warnings_in(started(kit)) == []
    plan_instead(kit, a_plan())
    kit.commit("exp: something [emitter=simplifier]", val=0.98)
    told = kit.json("summary")["warnings"]
    assert isinstance(told, list)
    assert len(told) == 2
    assert warnings_in(started(kit)) == told
    kit.measure()
    assert warnings_in(started(kit)) == kit.json("summary")["warnings"]


def test_a_run_that_does_not_count_leaves_an_experiment_without_a_result(kit: Kit):
    kit.measure()
    kit.research("settle")
    kit.commit("exp: something [emitter=free]", val=0.98)
    kit.measure("--allow-dirty")
    assert any("without a result" in line for line in warnings_in(started(kit)))
    assert warnings_in(started(kit)) == kit.json("summary")["warnings"]


def test_warnings_of_the_history_stay_behind_those_of_head(kit: Kit):
    kit.measure()
    with memory(kit) as store:
        read_digest(store, BRANCH)
        stored = json.loads(store.fact(f"digest:{BRANCH}") or "")
        stored["digest"]["warnings"] = ["one", *"abcdefg"]
        store.set_fact(f"digest:{BRANCH}", json.dumps(stored))
    kit.commit("exp: something [emitter=simplifier]", val=0.98)
    told = warnings_in(started(kit))
    assert "without a result" in told[0]
    assert told[told.index("one") :] == ["one", *"abcdefg"][: SETTINGS.warnings_shown - told.index("one")]
    assert len(told) == SETTINGS.warnings_shown


def test_a_damaged_summary_is_made_anew(kit: Kit):
    kit.measure()
    with memory(kit) as store:
        store.set_fact(f"digest:{BRANCH}", "Baseline:    0.9")
    text = started(kit)
    assert "0.990000" in text
    assert "Memory:      results/discovery/" in text


def test_a_fresh_lab_says_that_there_is_no_baseline_and_no_best_yet(kit: Kit):
    text = started(kit)
    for words in ("no baseline yet", "no best yet", "Phase:       baseline"):
        assert words in text
    (assumed,) = [line for line in text.splitlines() if line.startswith("Noise:")]
    assert assumed in kit.research("summary").out.splitlines()  # of the profile that a run would have here
    assert kit.research("autonomy", "on").code == 0  # a memory without a run
    again = started(kit)
    for words in ("no baseline yet", "no best yet", "Phase:       baseline"):
        assert words in again
    kit.commit("exp: before any run [emitter=simplifier]", val=0.98)
    assert warnings_in(started(kit)) == kit.json("summary")["warnings"] != []


def test_a_branch_without_runs_has_the_assumed_noise_of_this_machine_whatever_is_on_others(kit: Kit):
    kit.measure()
    kit.git("checkout", "-qb", "autoresearch/next")
    for _ in ("made anew", "stored"):
        (shown,) = [line for line in started(kit).splitlines() if line.startswith("Noise:")]
        assert "sd 0.01000 of repeats" in shown
        assert shown in kit.research("summary").out.splitlines()
        assert kit.json("noise")["repeat"]["sd"] == 0.01
    kit.environment["AUTORESEARCH_PROFILE"] = "official"
    assert kit.json("noise")["repeat"]["sd"] == 0.0003


# UserPromptSubmit ---------------------------------------------------------------------------------------------------


def test_a_prompt_gets_the_best_the_phase_and_the_rules(kit: Kit):
    fresh = context_of(answer(kit, "UserPromptSubmit", prompt="hello"))
    assert "no best yet" in fresh
    assert "Phase: baseline" in fresh
    assert "off until" in fresh
    kit.measure()
    started(kit)  # shows the review
    plan_instead(kit, a_plan())
    text = context_of(answer(kit, "UserPromptSubmit", prompt="hello"))
    best = kit.json("summary")["best"]
    assert isinstance(best, dict)
    assert f"Best: {best['mean']:.6f} [" in text
    assert "Phase: recombine" in text
    for rule in (
        "separate infrastructure commits", "Trust its review", "results.tsv, the public ledger",
        "One run : one `exp:` commit : one row", "scripts/run_experiment.py",
    ):  # fmt: skip
        assert rule in text
    assert len(text) < 900


# Payloads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"{", b"", b"[]", b"null", b"\xff", b'"go autonomous"'])
def test_nothing_is_done_with_what_is_no_object_and_the_log_says_so(kit: Kit, text: bytes):
    assert kit.research("autonomy", "on").code == 0
    for event in EVENTS:
        assert answer_to(kit, event, text) == b""
    assert kit.json("autonomy", "status")["continuations"] == 0
    log = (kit.root / "results/discovery/hooks.log").read_text().splitlines()
    assert len(log) == len(EVENTS)
    assert all(line.endswith("nothing is done") for line in log)
    assert json.loads(feed(kit, "Stop", b"{}"))["decision"] == "block"
