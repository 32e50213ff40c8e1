"""What runs say about configurations: more with every run, whatever the order, and never less for agreeing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from research.verdict.noise import PRIOR, fit

from research.verdict.evidence import Evidence

SCORES = st.floats(0.5, 3.0)
RUNS = st.lists(st.tuples(st.sampled_from("abcd"), SCORES), min_size=1, max_size=20)


def evidence(runs: list[tuple[str, float]]) -> Evidence:
    """The evidence of some runs."""
    found = Evidence()
    for config, value in runs:
        found.add(config, value)
    return found


def test_one_run_each():
    known = evidence([("a", 1.0), ("b", 0.99)])
    assert (known.n("a"), known.mean("b"), known.values("b"), known.n("c"), known.values("c")) == (
        1,
        0.99,
        (0.99,),
        0,
        (),
    )
    assert known.posterior("a").sd == PRIOR.sd
    gap = known.difference("b", "a")
    assert gap.mean == pytest.approx(-0.01)
    assert gap.n == 2
    assert gap.low < gap.mean < gap.high < 0
    assert known.p_better("b", "a") > 0.99
    assert known.p_better("b", "a") + known.p_better("a", "b") == pytest.approx(1.0)
    assert known.p_better("a", "a") == 0.5
    assert ("a" in known, "c" in known, len(known), list(known)) == (True, False, 2, ["a", "b"])


def test_what_was_not_run_is_known_by_a_prior_alone():
    known = evidence([("a", 1.0)])
    with pytest.raises(KeyError):
        known.posterior("b")
    assert known.posterior("b", 0.9, 0.1) == type(known.posterior("a"))(0.9, 0.1, 0)


def test_a_margin_asks_for_more():
    known = evidence([("a", 1.0), ("b", 0.999)])
    ps = [known.p_better("b", "a", margin=margin) for margin in (-0.001, 0.0, 0.001, 0.002)]
    assert ps == sorted(ps, reverse=True)
    assert ps[2] == pytest.approx(0.5)


def test_a_prior_of_effects_shrinks():
    known = evidence([("a", 1.0), ("b", 0.99)])
    flat, narrow = known.difference("b", "a"), known.difference("b", "a", 0.0, 0.001)
    assert flat.mean < narrow.mean < 0
    assert narrow.high - narrow.low < flat.high - flat.low
    assert known.posterior("b", 1.0, 0.0001).mean == pytest.approx(1.0, abs=0.001)


@given(RUNS)
def test_it_is_what_all_runs_say_at_once(runs: list[tuple[str, float]]):
    known = evidence(runs)
    groups = [[value for config, value in runs if config == name] for name in "abcd"]
    assert known.noise().sd == pytest.approx(fit(groups).sd)
    assert (known.noise().n, known.noise().groups) == (fit(groups).n, fit(groups).groups)
    for name, group in zip("abcd", groups, strict=True):
        assert known.n(name) == len(group)
        if group:
            assert known.mean(name) == pytest.approx(sum(group) / len(group))


@given(RUNS, st.randoms(use_true_random=False))
def test_order_means_nothing(runs: list[tuple[str, float]], random):
    mixed = list(runs)
    random.shuffle(mixed)
    one, other = evidence(runs), evidence(mixed)
    assert set(one) == set(other)
    assert one.noise().sd == pytest.approx(other.noise().sd)
    for config in one:
        assert one.estimate(config).mean == pytest.approx(other.estimate(config).mean)
        assert one.estimate(config).high == pytest.approx(other.estimate(config).high)


@given(RUNS, st.sampled_from("abcd"))
def test_a_replicate_that_equals_the_mean_never_widens(runs: list[tuple[str, float]], config: str):
    known = evidence([*runs, (config, 1.0), ("base", 1.1)])
    before, gap = known.estimate(config), known.difference(config, "base")
    known.add(config, known.mean(config))
    after, closer = known.estimate(config), known.difference(config, "base")
    assert after.high - after.low < before.high - before.low
    assert closer.high - closer.low < gap.high - gap.low
    assert after.mean == pytest.approx(before.mean)


@given(RUNS, st.floats(-0.01, 0.01), st.floats(0.0, 0.01), st.sampled_from([math.inf, 0.005]))
def test_a_better_score_is_never_less_likely_better(runs, gain: float, more: float, spread: float):
    ps = [
        evidence([*runs, ("base", 1.0), ("new", 1.0 - g)]).p_better("new", "base", 0.0, spread)
        for g in (gain, gain + more)
    ]
    assert ps[0] <= ps[1]
