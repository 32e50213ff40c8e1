"""The forecast of a run that is going on: its probabilities, what it learns, and what the belief makes of a stop."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.core.records import STOPPED_AT, Judged, Run
from research.runs.racing import LOOKS, RACE, Look, Race
from research.verdict.belief import Belief, Score
from research.verdict.comparison import compare
from research.verdict.evidence import Keys, belief_of
from research.verdict.forecast import Checked, Fit, Forecast, checked, fit, prior_fit, t_cdf
from research.verdict.judge import judge
from research.verdict.noise import REACH
from research.verdict.variances import Condition


def test_the_t_distribution_is_the_textbook_s():
    assert t_cdf(0.0) == 0.5
    assert t_cdf(2.776) == pytest.approx(0.975, abs=1e-4)  # 4 degrees of freedom
    assert t_cdf(-3.747) == pytest.approx(0.01, abs=1e-4)


@given(st.floats(-1, 1), st.floats(-1, 1), st.sampled_from(LOOKS))
def test_a_larger_gap_is_never_a_better_sign(one: float, other: float, fraction: float):
    low, high = sorted((one, other))
    forecast = Forecast()
    assert forecast.predict(low, fraction).p_better >= forecast.predict(high, fraction).p_better - 1e-12


@given(st.floats(0.2, 2), st.booleans())
def test_the_same_large_gap_says_more_later(gap: float, is_pocket: bool):
    chances = [prior_fit(fraction, is_pocket).predict(gap).p_better for fraction in LOOKS]
    assert chances == sorted(chances, reverse=True)


def test_the_error_moves_from_the_prior_s_to_that_of_the_runs():
    rng = random.Random(0)
    prior = Fit(0.36, 0.002)
    gaps = [rng.gauss(0, 0.05) for _ in range(400)]
    found = fit([(gap, 0.36 * gap + rng.gauss(0, 0.0005)) for gap in gaps], prior)
    assert found.scale == pytest.approx(0.0005, rel=0.5)
    assert fit([], prior) == prior
    assert found.scale < fit([(0.05, 0.02), (-0.05, -0.02)], prior).scale < prior.scale * 1.1


def test_many_changes_that_do_nothing_let_a_large_gap_foretell_as_much_harm_as_before():
    rng = random.Random(0)
    prior = Fit(0.24, 0.001)
    found = fit([(rng.gauss(0, 0.005), rng.gauss(0, 0.0004)) for _ in range(200)], prior)
    assert found.predict(0.05).mean == prior.predict(0.05).mean
    assert found.predict(0.05).p_better < 0.01


def run(name: str, val: float | None, gap: float | None = None, against: str = "base", **more: object) -> Run:
    facts = {}
    if gap is not None:
        facts[RACE] = Race(against, "", (Look(0.5, gap, Forecast().predict(gap, 0.5)),)).to_fact()
    if val is None:
        facts[STOPPED_AT] = "0.5"
    outcome = "stopped" if val is None else "scored"
    known = {
        "parent": "" if name == "base" else "base",
        "seed": 42,
        "contract": "official-0123456789ab",
        "fingerprint": name,
    }
    return Run(
        name, name, "runner", "autoresearch/x", name, "2026-01-01T00:00:00Z", outcome=outcome,
        val_bpb=val, facts=facts, why="stopped at 50%" if val is None else "", **{**known, **more},
    )  # fmt: skip


def test_the_forecast_learns_from_the_lab_s_own_runs_and_counts_its_errors():
    runs = [run("base", 0.99), *(run(f"r{i}", 0.99 + 0.001 * i, gap=0.01 * i) for i in range(-9, 10))]
    learnt, prior = Forecast.of_runs(runs), Forecast()
    assert learnt.at(0.5).scale > prior.at(0.5).scale
    assert learnt.at(0.3) == prior.at(0.3)
    runs = [run("base", 0.99), run("lost", 1.05, gap=0.2), run("late", 0.98, gap=0.2), run("ended", None, gap=0.2)]
    assert checked(runs) == Checked(stopped=1, tested=2, wrong=1)


def test_a_stopped_run_has_no_score_and_still_says_something_of_its_change():
    base, stopped = run("base", 0.99), run("ended", None, gap=0.05)
    belief = belief_of([base, stopped], Keys([base, stopped]))
    assert "ended" not in belief
    assert (belief.configs, belief.n("ended"), belief.best()) == (("base",), 0, "base")
    assert 0 < belief.difference("ended", "base").mean < 0.25 * 0.05
    assert belief.value("base").mean == pytest.approx(0.99, abs=2e-4)
    scored = belief_of([base, stopped, run("again", 1.0, fingerprint="ended")], Keys([base, stopped]))
    assert "ended" in scored


def test_a_forecast_counts_less_than_a_score_and_nothing_beside_one():
    condition = Condition(42)
    base = Score("a", None, condition, 0.99)

    def effect(*scores: Score) -> float:
        return Belief([base, *scores]).difference("b", "a").mean

    score, foretold = Score("b", "a", condition, 1.01), Score("b", "a", condition, 1.01, spread=0.02)
    assert 0 < effect(foretold) < effect(score)
    assert effect(score, foretold) == pytest.approx(effect(score), abs=1e-6)
    alone = Belief([foretold]).value("b")
    assert alone.high - alone.low > 2 * REACH * foretold.spread


def test_a_stopped_run_is_discarded_with_its_reason_and_is_no_incumbent():
    base, stopped = run("base", 0.99), run("ended", None, gap=0.05)
    kept = judge(compare(base, []), "2026-01-01T00:00:01Z")
    history = [Judged(base, replace(kept, decision="keep", baseline=True), 1)]
    verdict = judge(compare(stopped, history), "2026-01-01T00:00:02Z")
    assert (verdict.decision, verdict.why, verdict.estimate) == ("discard", "stopped at 50%", None)
    assert verdict.incumbent == "base"
    case = compare(run("next", 1.0), [*history, Judged(stopped, verdict, 2)])
    assert case.incumbent == base
