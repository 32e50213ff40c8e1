"""The switch and the plan: turned off, the lab drops what is pending; the verb or the next verdict plans anew."""

from __future__ import annotations

import re
import sqlite3

import pytest

from research.agents import autonomy
from research.core.records import Plan
from tests.support.codexkit import AT, answer, context_of, memory, order, refusal, with_baseline
from tests.support.labkit import Kit


@pytest.fixture
def kit(kit: Kit) -> Kit:
    """A repository with the hooks, autonomy on, a run and the plan that followed it."""
    with_baseline(kit)
    assert pending(kit) is not None
    return kit


def pending(kit: Kit) -> Plan | None:
    """The pending plan."""
    with memory(kit) as store:
        return store.pending_plan()


def turn(kit: Kit, way: str, how: str) -> None:
    """Turns the switch by a phrase in a prompt or by the verb."""
    if how == "verb":
        assert kit.research("autonomy", way).code == 0
    else:
        prompt = {"on": "start the loop", "off": "stop the loop"}[way]
        assert f"now {way}" in context_of(answer(kit, "UserPromptSubmit", prompt=prompt))
    assert kit.json("autonomy", "status")["enabled"] is (way == "on")


def test_zero_takes_a_limit_away(kit: Kit):
    assert "after 1 run, " in kit.research("autonomy", "on", "--runs", "1").out
    assert "after 1 run, " in kit.research("autonomy", "on").out
    assert "run" not in kit.research("autonomy", "on", "--runs", "0").out.split("after")[1]


def test_a_limit_of_more_than_a_week_names_no_day(kit: Kit):
    told = kit.research("autonomy", "on", "--hours", "1e15")
    assert (told.code, "1e+15 hours." in told.out) == (0, True)
    assert "until" not in kit.research("autonomy").out


def test_limits_without_on_are_refused_with_what_to_type(kit: Kit):
    told = kit.research("autonomy", "--runs", "5", "--usd", "2.5")
    assert (told.code, "uv run research autonomy on --runs 5 --usd 2.5" in told.err) == (2, True)


@pytest.mark.parametrize("how", ["phrase", "verb"])
def test_turned_off_the_plan_is_dropped_and_another_is_made_later(kit: Kit, how: str):
    first = pending(kit)
    with memory(kit) as store:
        store.add_plan(Plan("second", AT, "contrarian", None, None, "experiment", "why"))
    turn(kit, "off", how)
    assert pending(kit) is None
    assert kit.json("next")["plan"]["pending"] is False
    assert kit.json("summary")["plan"] is None
    with memory(kit) as store:
        closed = {plan.plan: plan for plan in store.plans()}
    assert closed[first.plan].closed_utc
    assert closed[first.plan].run is None
    assert closed["second"].closed_utc
    turn(kit, "on", how)
    if how == "phrase":  # a hook plans nothing
        assert pending(kit) is None
        assert "`uv run research next` shows what" in order(kit)
        assert kit.measure("--seed", "7").end["outcome"] == "scored"
    after = pending(kit)
    assert after.plan not in closed
    assert kit.json("next")["plan"]["plan"] == after.plan
    if how == "verb":
        turn(kit, "on", how)
        assert pending(kit) == after


@pytest.mark.parametrize("how", ["phrase", "verb"])
def test_a_plan_that_is_being_carried_out_is_left_to_its_run(kit: Kit, how: str):
    plan = pending(kit)
    with sqlite3.connect(kit.root / "results/discovery/memory.db") as db:
        db.execute("UPDATE runs SET outcome = NULL, plan = ?", (plan.plan,))
    db.close()
    turn(kit, "off", how)
    with memory(kit) as store:
        assert [held.closed_utc for held in store.plans() if held.plan == plan.plan] == [None]


def test_a_stop_is_heard_where_the_plan_can_not_be_dropped(kit: Kit):
    with sqlite3.connect(kit.root / "results/discovery/memory.db") as db:
        db.execute("CREATE TRIGGER held BEFORE UPDATE ON plans BEGIN SELECT RAISE(ABORT, 'held'); END")
    db.close()
    turn(kit, "off", "phrase")
    log = (kit.root / "results/discovery/hooks.log").read_text()
    assert "the plan was left as it is" in log
    assert "held" in log


def test_what_limits_hold_is_said_when_the_switch_or_they_change(kit: Kit):
    def said(prompt: str) -> str:
        return context_of(answer(kit, "UserPromptSubmit", prompt=prompt)).split("\n")[0]

    turn(kit, "off", "verb")
    assert re.search(r"Limits: 20 runs, 24 hours \(until \w+ \d\d:\d\d\)\.$", said("start the loop for 20 runs"))
    assert said("start the loop for 30 runs, $5").startswith("The limits of the loop are now: 30 runs, 24 hours (until")
    assert said("start the loop").startswith("The limits of the loop are now: 30 runs, 24 hours (until")
    assert re.search(r"now: 30 runs, [\d.]+ hours \(until \w+ 06:00\), \$5\.$", said("go on until 6am, then stop"))
    assert said("stop after 5 runs").startswith("The limits of the loop are now: 5 runs, ")
    assert said("at most 8 runs please").startswith("The limits of the loop are now: 8 runs, ")
    text = said("start the loop until the loss is good, for a few hours")
    assert "Not understood as a limit: 'until the loss is good', 'for a few hours'." in text


def test_a_new_limit_does_not_stretch_those_that_hold(kit: Kit):
    before = autonomy.turned_on(autonomy.Autonomy(), "", 0.0, 10, {"runs": 20, "hours": 8.0, "usd": 5.0})
    after = autonomy.turned_on(before, "", 6 * 3600.0, 14, {"runs": 3}, 4.0)
    assert (after.runs, after.hours, after.usd) == (3, 2.0, 1.0)
    kit.research("autonomy", "on", "--runs", "3")
    kit.measure("--seed", "7")
    assert kit.json("autonomy", "on", "--usd", "10")["limits"] == {"runs": 2, "hours": 24.0, "usd": 10.0}
    text = context_of(answer(kit, "UserPromptSubmit", prompt="at most $9 please, no more than 4 hours"))
    assert text.startswith("The limits of the loop are now: 2 runs, 4 hours (until ")


@pytest.mark.parametrize("prompt", ["don't stop", "at most 5 runs please", "stop after 5 runs"])
def test_a_plea_to_go_on_and_a_limit_alone_start_no_loop(kit: Kit, prompt: str):
    turn(kit, "off", "verb")
    assert "off until the person starts it" in context_of(answer(kit, "UserPromptSubmit", prompt=prompt))


def test_a_message_that_asks_for_nothing_says_how_the_loop_ends_while_it_is_on(kit: Kit):
    turn(kit, "on", "verb")
    told = answer(kit, "UserPromptSubmit", prompt="what is the best so far?")
    assert told["systemMessage"] == "Autoresearch: the loop is still on; to end it, type stop."
    assert context_of(told).startswith("the loop is still on; to end it, type stop. If this message asks to end it,")
    assert refusal(kit, "uv run research autonomy off") == ""
    kit.git("checkout", "-q", "main")
    assert "still on" in context_of(answer(kit, "UserPromptSubmit", prompt="what is the best so far?"))
    told = answer(kit, "UserPromptSubmit", prompt="stpo")
    assert "now off" in str(told["systemMessage"])
    assert answer(kit, "UserPromptSubmit", prompt="what is the best so far?") is None
