"""A night that was interrupted: what counts as its time, which command takes it up, what that says."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from research.agents.night import limits, progress
from research.agents.night.state import NightLimits, NightState, worked_s
from research.lab.plan import POLICY_FACT, SEED_FACT
from research.report.watch import budget_left
from tests.support.histories import run
from tests.support.labkit import alive, wait_for
from tests.support.nightkit import NIGHT, NightKit, make_night_kit

BEGUN = "2026-01-01T00:00:00Z"
AT_2 = datetime(2026, 1, 1, 2, 0, tzinfo=timezone.utc)
NEXT_DAY = AT_2 + timedelta(hours=20)
CUT = NightState("night-1", run(1).branch, "builtin", "local", 0, 1, BEGUN, NightLimits(hours=8.0), runs=2)
NO_COST = limits.UsualCost(0.0)


def resumed(before: NightState, wanted: NightLimits) -> NightState:
    """A night that is taken up on the next day, two runs on record."""
    times = {"started_utc": "2026-01-01T01:00:00Z", "finished_utc": "2026-01-01T01:30:00Z"}
    runs = [replace(run(number), **times) for number in (1, 2)]
    return limits.resumed(before, replace(before, limits=wanted), runs, NEXT_DAY)


def stop(kit: NightKit, number: signal.Signals, *words: str, rows: int = 2) -> None:
    """Starts a night and ends it by a signal once so many runs are in the ledger."""
    night = kit.start(*NIGHT, *words)
    ledger = kit.root / "results.tsv"
    wait_for(lambda: ledger.exists() and ledger.read_text().count("\n") > rows, 60)
    os.kill(night.pid, number)
    night.wait(30)
    wait_for(lambda: not alive(str(kit.root / "results")), 20)


def test_it_is_ended_from_another_terminal(tmp_path: Path):
    kit = make_night_kit(tmp_path)
    assert "No night is going on" in kit.printed("night", "--stop").err
    night = kit.start(*NIGHT, "--max-runs", "90")
    wait_for((kit.root / "results.tsv").exists, 60)
    assert "uv run research night --stop" in kit.printed("watch", "--once").out
    assert "End it: uv run research night --stop" in kit.printed(*NIGHT).err
    assert "The night has ended" in kit.printed("night", "--stop").out
    assert night.wait(30) == 0
    assert "to end it" not in kit.printed("watch", "--once").out


def said(kit: NightKit, *words: str) -> str:
    """The first line of a night."""
    done = kit.printed(*NIGHT, *words)
    assert done.code == 0, done.err
    return done.out.splitlines()[0]


# Its time -------------------------------------------------------------------------------------------------------


def test_a_pause_is_not_counted_as_work():
    state = resumed(replace(CUT, alive_utc="2026-01-01T02:12:00Z"), NightLimits(hours=8.0))
    assert worked_s(state, NEXT_DAY) == pytest.approx(2.2 * 3600)
    assert limits.reached(state, NEXT_DAY, NO_COST) is None
    assert "(resumed after 2 runs, 5.8 hours left)" in progress.opening(state, NEXT_DAY)
    again = limits.resumed(state, state, [], NEXT_DAY + timedelta(hours=1))
    assert worked_s(again, NEXT_DAY + timedelta(hours=2)) == pytest.approx(3.2 * 3600)
    over = NEXT_DAY + timedelta(hours=5.9)
    ended = limits.reached(state, over, NO_COST)
    assert ended == "8 hours are over (--hours)"


def test_a_clock_that_was_set_back_in_between_gives_no_hours():
    ahead = replace(CUT, alive_utc="2026-01-01T03:00:00Z")
    earlier = datetime(2025, 12, 31, tzinfo=timezone.utc)
    state = limits.resumed(ahead, ahead, [], earlier)
    assert worked_s(state, earlier) == pytest.approx(3 * 3600)


def test_watch_shows_the_hours_at_work():
    state = resumed(replace(CUT, alive_utc="2026-01-01T02:12:00Z"), NightLimits(hours=8.0))
    assert budget_left(state, NEXT_DAY)[:2] == ["2 runs", "2.2 of 8 h"]


def test_what_is_left_is_told_for_every_limit():
    state = replace(resumed(replace(CUT, alive_utc=BEGUN), NightLimits(3, 0.5, 20.0)), usd=1.5)
    assert "(resumed after 2 runs, 1 run and 30 minutes and $18.50 left)" in progress.opening(state, NEXT_DAY)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_taken_up_a_day_later_it_has_its_hours_left(tmp_path: Path, number: signal.Signals):
    kit = make_night_kit(tmp_path)
    stop(kit, number, "--hours", "1")
    if number is signal.SIGINT:
        end = (kit.root / "night.out").read_text().splitlines()[-2]
        assert end.startswith("Ended: interrupted: Ctrl-C. ")
        assert end.endswith(" The same command goes on with it.")
    state = kit.state()
    day = timedelta(days=1)

    def earlier(at: str) -> str:
        return (datetime.fromisoformat(at.replace("Z", "+00:00")) - day).strftime("%Y-%m-%dT%H:%M:%SZ")

    kit.state(started_utc=earlier(state.started_utc), alive_utc=earlier(state.alive_utc))
    first = said(kit, "--hours", "1", "--max-runs", str(state.runs + 3))
    assert re.search(r"resumed after \d runs, \d runs and (59|60) minutes left", first), first
    ended = kit.state()
    assert ended.runs == state.runs + 3
    assert "--max-runs" in str(ended.stop_reason)


# Which command takes it up --------------------------------------------------------------------------------------


def why(wanted: NightState, before: NightState = CUT) -> str | None:
    """Why a command that wants this begins a night of its own."""
    return limits.why_new(replace(before, alive_utc="2026-01-01T02:12:00Z"), wanted, [], NEXT_DAY)


def test_another_agent_backend_policy_or_seed_is_another_night():
    assert why(CUT) is None
    assert why(replace(CUT, workers=3, timeout_s=60.0)) is None
    assert why(replace(CUT, agent="codex")) == "had --agent builtin"
    assert why(replace(CUT, backend="modal")) == "had --backend local"
    assert why(replace(CUT, policy="greedy")) == "had --policy discovery"
    assert why(replace(CUT, seed=9)) == "had --seed 0"
    assert why(replace(CUT, gpu="H200")) is None, "runs at home choose no GPU by it"
    remote = replace(CUT, backend="modal")
    assert why(replace(remote, gpu="H200"), remote) == "had --gpu H100"


def test_other_limits_are_the_same_night_while_they_leave_something_to_do():
    four = replace(CUT, limits=NightLimits(max_runs=4), runs=4)
    assert why(four, four) is None, "a finished count ends at once"
    assert why(replace(four, limits=NightLimits()), four) is None
    assert why(replace(four, limits=NightLimits(max_runs=5)), four) is None
    one = "has nothing left to do under these limits: 1 run was made (--max-runs)"
    assert why(replace(four, limits=NightLimits(max_runs=1)), four) == one
    assert why(replace(CUT, limits=NightLimits(hours=3.0))) is None
    assert "2 hours are over" in str(why(replace(CUT, limits=NightLimits(hours=2.0))))
    assert "--max-runs" in str(why(replace(CUT, limits=NightLimits(2, 8.0))))


def test_a_command_for_one_run_makes_it_after_a_longer_night_was_interrupted(tmp_path: Path):
    kit = make_night_kit(tmp_path)
    stop(kit, signal.SIGINT, "--max-runs", "12")
    before = kit.state()
    first = said(kit, "--max-runs", "1")
    assert f"(a new night: {before.night}, interrupted after {before.runs} runs, has nothing left to do" in first
    ended = kit.state()
    assert (ended.runs, ended.branch) == (1, before.branch)
    assert ended.night != before.night


def test_policy_and_seed_apply_to_the_whole_of_a_night(tmp_path: Path):
    """One rule that plans and another one that judges would be no policy at all."""
    kit = make_night_kit(tmp_path)
    stop(kit, signal.SIGINT, "--max-runs", "12")
    before = kit.state()
    assert f"(a new night: {before.night}" in said(kit, "--max-runs", "1", "--policy", "greedy", "--seed", "9")
    ended = kit.state(finished_utc=None)
    assert (ended.policy, ended.seed) == ("greedy", 9)
    again = ("--max-runs", "3", "--policy", "greedy", "--seed", "9")
    assert "resumed after 1 run, 2 runs left" in said(kit, *again)
    with kit.lab().open_as_it_is() as store:
        assert (store.fact(POLICY_FACT), store.fact(SEED_FACT)) == ("greedy", "9")
