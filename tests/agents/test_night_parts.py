"""The night's pure parts: what its limits allow, and what is worth waking somebody for."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.agents.night import jobs, limits, progress
from research.agents.night.state import NightLimits, NightState
from research.core.records import Decision, Estimate, Judged, Run, Verdict
from research.runs.racing import RACE, Look, Prediction, Race
from tests.support.histories import run

BEGUN = "2026-01-01T00:00:00Z"
NOW = datetime(2026, 1, 1, 1, 0, tzinfo=timezone.utc)


def timed(minutes: float, usd: float | None = None, **more: object) -> Run:
    """A finished run of some length."""
    end = (NOW + timedelta(minutes=minutes)).isoformat()
    return replace(run(1), started_utc=NOW.isoformat(), finished_utc=end, cost_usd=usd, **more)


def night(most: NightLimits, worked_s: float = 3600.0, runs: int = 1, usd: float = 0.0) -> NightState:
    """A night that has used up so much by NOW."""
    begun = NOW - timedelta(seconds=worked_s)
    return NightState("n", "b", "builtin", "local", 0, 1, begun.isoformat(), most, runs, usd)


# Limits ---------------------------------------------------------------------------------------------------------


def test_a_usual_run_is_a_scored_one():
    runs = [timed(6), timed(6), timed(9), timed(0.2, outcome="crash")]
    usual = limits.usual_cost(runs, 10.0)
    assert usual.usd == pytest.approx(1.0)
    assert usual.seconds == pytest.approx(360)
    assert limits.usual_cost(runs[-1:], 10.0).usd == pytest.approx(10 * 0.2 / 60)
    assert limits.usual_cost([timed(6, usd=3.0)], 10.0) == limits.UsualCost(3.0, 360.0)
    assert limits.usual_cost([], 10.0) == limits.UsualCost(0.0)


def test_every_launched_run_that_bears_the_name_of_the_night_counts_whatever_its_time():
    mine = {"facts": {"night": "n"}, "started_utc": "2025-12-31T23:59:00Z"}
    outcomes = ("scored", "crash", "timeout", "interrupted", "infrastructure", "capacity", "configuration")
    runs = [replace(run(number), outcome=outcome, **mine) for number, outcome in enumerate(outcomes)]
    other = replace(run(9), facts={"night": "n-2"})
    assert [one.run for one in limits.runs_of("n", [*runs, other, run(10)])] == ["r0", "r1", "r2", "r3"]


def test_it_ends_at_a_time_of_day():
    state = night(NightLimits(until_utc="2026-01-01T01:00:00Z"))
    shown = NOW.astimezone().strftime("%H:%M")
    none = limits.UsualCost(0.0)
    assert limits.reached(state, NOW, none) == f"it is {shown} (--until)"
    assert limits.reached(state, NOW - timedelta(seconds=1), none) is None


def test_waits_double_up_to_the_longest_however_many_there_were():
    assert [limits.backoff_s(10, 600, before) for before in (0, 1, 5, 6, 5_000)] == [10, 20, 320, 600, 600]


def test_the_last_run_is_the_one_after_which_a_limit_is_reached():
    usual = limits.UsualCost(1.0, 360.0)

    def last(most: NightLimits, worked_s: float = 0.0, runs: int = 3, in_flight: int = 0) -> bool:
        return limits.is_last(night(most, worked_s, runs, 3.0), NOW, usual, in_flight)

    assert [last(NightLimits(max_runs=5), runs=runs) for runs in (3, 4)] == [False, True]
    assert last(NightLimits(max_runs=5), in_flight=1)
    assert [last(NightLimits(hours=1.0), worked_s=minutes * 60) for minutes in (50, 53)] == [False, True]
    assert [last(NightLimits(max_usd=usd)) for usd in (5.0, 4.9)] == [False, True]
    assert [last(NightLimits(until_utc=f"2026-01-01T01:{minute}:00Z")) for minute in ("09", "06")] == [False, True]
    assert not last(NightLimits())


def test_dollars_are_counted_to_the_end_of_what_would_be_running():
    usual = limits.UsualCost(1.0)

    def reached(usd: float, in_flight: int = 0) -> str | None:
        return limits.reached(night(NightLimits(max_usd=10.0), usd=usd), NOW, usual, in_flight)

    assert reached(9.0) is None
    assert reached(9.01) == "$9.01 of $10.00 are spent; another run would cost about $1.00 (--max-usd)"
    assert reached(10.0) == "$10.00 of $10.00 are spent (--max-usd)"
    assert reached(7.5, 1) is None
    assert "and $2.00 are running" in str(reached(7.5, 2))


@given(
    st.integers(1, 8),
    st.floats(0.1, 5.0),
    st.floats(0.0, 60.0),
    st.lists(st.floats(0.5, 1.0), min_size=80, max_size=80),
)
def test_runs_no_longer_than_usual_never_go_beyond_the_dollars(
    workers: int, usual_usd: float, most: float, lengths: list[float]
):
    """However many workers: each launch is asked for with everything that is still running."""
    usual, lengths = limits.UsualCost(usual_usd), list(lengths)
    spent, flying, now = 0.0, list[tuple[float, float]](), 0.0
    while lengths:
        while lengths and len(flying) < workers:
            if limits.reached(night(NightLimits(max_usd=most), usd=spent), NOW, usual, len(flying)):
                break
            flying.append((now, now + 300 * lengths.pop()))
        if not flying:
            break
        first = min(flying, key=lambda one: one[1])
        flying.remove(first)
        now = first[1]
        spent += (first[1] - first[0]) / 300 * usual_usd
    spent += sum((end - begun) / 300 * usual_usd for begun, end in flying)
    assert spent <= most + 1e-9


# What --notify is told ------------------------------------------------------------------------------------------

BETTER, MAYBE = Estimate(-0.003, -0.005, -0.001, 2), Estimate(-0.003, -0.007, 0.001, 2)


def judged(number: int, item: Run, decision: Decision, gain: Estimate | None = None, n: int = 1) -> Judged:
    """A run with its verdict, the first of them the baseline."""
    value = Estimate(0.99, 0.98, 1.0, n)
    verdict = Verdict(item.run, decision, "rule", "", BEGUN, number == 0, estimate=value, difference=gain)
    return Judged(item, verdict, number)


def told(*items: Judged) -> tuple[str | None, str]:
    """The news of the last one, and its words."""
    last = items[-1]
    return progress.news(last.run, last.verdict, items), progress.good_news(last.run, last.verdict, items)


def test_a_win_is_confirmed_and_told_once():
    base, one = judged(0, run(0), "keep"), run(1, "0")
    once = judged(1, one, "keep", BETTER)
    again = judged(2, replace(one, run="r1b", seed=43), "keep", BETTER, 2)
    third = judged(3, replace(one, run="r1c", seed=44), "keep", BETTER, 3)
    assert told(base, once) == ("kept", "Kept, not confirmed (one run only): idea 1; val_bpb 0.990000 (n=1)"
                                "  -0.003000 [-0.005000, -0.001000] against the best before it")  # fmt: skip
    event, words = told(base, once, again)
    assert event == "win"
    assert words.startswith("Confirmed: idea 1;")
    assert told(base, once, again, third)[0] is None


def test_a_confirmed_change_that_is_no_longer_the_best_is_told_so():
    base, one, other = judged(0, run(0), "keep"), run(1, "0"), run(2, "1")
    once, better = judged(1, one, "keep", BETTER), judged(3, other, "keep", BETTER)
    again = judged(2, replace(one, run="r1b", seed=43), "keep", BETTER, 2)
    history = (base, once, better, again)
    words = progress.good_news(again.run, again.verdict, history)
    assert words.startswith("Confirmed: idea 1;")
    assert words.endswith(" against the best before it; the best so far is now idea 2")


def test_two_runs_with_zero_within_the_interval_confirm_nothing():
    base, one = judged(0, run(0), "keep"), run(1, "0")
    first = judged(1, one, "replicate", MAYBE)
    event, words = told(base, first, judged(2, replace(one, run="r1b"), "keep", MAYBE, 2))
    assert event == "kept"
    assert words.startswith("Kept, not confirmed (zero is within the interval):")


def test_the_baseline_and_what_is_not_kept_are_no_news():
    base = judged(0, run(0), "keep")
    assert told(base)[0] is None
    assert told(base, judged(1, replace(run(0), run="r0b"), "keep", BETTER, 2))[0] is None
    assert told(base, judged(1, run(1, "0"), "discard", BETTER, 2))[0] is None


# What is due ----------------------------------------------------------------------------------------------------


def test_a_baseline_that_failed_in_an_earlier_night_is_tried_again():
    crashes = [run(0, val_bpb=None, run=f"c{n}", started_utc=f"2026-01-01T00:0{n}:00Z") for n in range(3)]
    history = [Judged(one, Verdict(one.run, "discard", "evidence", "so", BEGUN), n) for n, one in enumerate(crashes)]
    with pytest.raises(jobs.CannotGoOn):
        jobs.due(history, crashes[0].commit, (), BEGUN)
    job = jobs.due(history, crashes[0].commit, (), "2026-01-02T00:00:00Z")
    assert job.kind == "baseline"


# What a night prints --------------------------------------------------------------------------------------------


@given(st.text("ab ->_.0123456789", min_size=1, max_size=150), st.floats(-9, 9), st.floats(0, 9))
def test_a_line_is_no_wider_than_a_terminal_and_tears_no_number(what: str, mean: float, reach: float):
    gap = Estimate(mean, mean - reach, mean + reach, 2)
    one = replace(run(1, "0"), subject=f"exp: {what} [emitter=local_tuner]")
    verdict = Verdict(one.run, "investigate", "evidence", "", BEGUN, p_better=0.97, difference=gap)
    lines = progress.line_of(123, one, verdict).split("\n")
    assert all(len(line) <= 80 for line in lines)
    assert lines[-1].endswith(f"{mean:+.6f} [{gap.low:+.6f}, {gap.high:+.6f}] P 0.97")
    assert all(line.startswith(" " * 36) for line in lines[1:])


def test_a_stopped_runs_line_says_what_was_foretold():
    looks = (Look(0.5, 0.12, Prediction(0.086, 0.02, 0.001)),)
    facts = {RACE: Race(against="run-0", looks=looks).to_fact()}
    one = replace(run(1, "0"), outcome="stopped", val_bpb=None, facts=facts, subject="exp: DEPTH 4 -> 3")
    line = progress.line_of(7, one, Verdict(one.run, "discard", "evidence", "", BEGUN))
    assert "stopped  discard      DEPTH 4 -> 3" in line
    assert line.endswith("stopped at 50 %, foretold +0.0860")
    assert all(len(part) <= 80 for part in [*line.split("\n"), *progress.LEGEND.split("\n")])


def test_a_baseline_is_called_so_whatever_made_it():
    """A change that was merged is where the next night begins."""
    began = replace(run(1, "0"), subject="exp: wider [emitter=architect]")
    first = Verdict(began.run, "keep", "evidence", "", BEGUN, True, estimate=Estimate(0.99, 0.98, 1.0, 1))
    change = replace(first, baseline=False, difference=BETTER)
    for verdict, words in ((first, True), (change, False)):
        assert (f"baseline {began.commit[:7]}: wider" in progress.line_of(1, began, verdict)) == words
    assert progress.line_of(1, run(0), first).endswith(f"keep         baseline {run(0).commit[:7]}")
