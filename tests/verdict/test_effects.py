"""What single changes do: the prior, what measured changes teach, and mixtures of normal distributions."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.verdict import effects
from research.verdict.effects import Mixture, normal_cdf
from research.verdict.noise import OFFICIAL

PRIOR = effects.prior_weights()
NUMBERS = st.floats(-0.02, 0.02)
ERRORS = st.floats(1e-5, 0.005)


def learned(values: list[float], error: float) -> np.ndarray:
    log = effects.likelihoods(np.array([values]), np.full((1, len(values)), error**2))
    return effects.learned(PRIOR[None, :], PRIOR, log, 50)[0]


def cdf(known: Mixture, x: float) -> np.ndarray:
    """P(value <= x)."""
    return (known.weights * normal_cdf((x - known.means) / np.maximum(known.sds, 1e-9))).sum(0)


def p_better(value: float, error: float) -> float:
    return float(cdf(effects.posterior(PRIOR, np.array(value), np.array(error**2)), 0.0))


def test_weights_are_shares_before_and_after_learning():
    assert PRIOR.sum() == pytest.approx(1.0)
    rng = np.random.default_rng(0)
    assert learned([rng.normal(0.001, 0.002) for _ in range(50)], 0.0005).sum() == pytest.approx(1.0)


def test_learning_finds_small_effects_where_effects_are_small():
    rng = np.random.default_rng(1)
    small = learned([rng.normal(0.0, 0.0003) for _ in range(200)], 0.0002)
    large = learned([rng.normal(0.0, 0.01) for _ in range(200)], 0.0002)
    assert effects.typical_size(small) < effects.typical_size(PRIOR) < effects.typical_size(large)


def test_a_loud_profile_expects_larger_effects():
    usual = OFFICIAL.noise.paired_sd
    assert effects.usual_doublings(usual) == 0
    assert effects.usual_doublings(0.1 * usual) == 0  # what is quieter than a GPU changes nothing
    assert effects.usual_doublings(8.0 * usual) == 3
    sizes = [effects.typical_size(effects.prior_weights(doublings)) for doublings in range(4)]
    assert sizes == sorted(sizes)


def test_no_change_vouches_for_itself():
    """What is left without an effect's own word is what was assumed, or what the others say."""
    one = effects.likelihoods(np.array([[-0.01]]), np.array([[1e-7]]))
    weights = effects.learned(PRIOR[None, :], PRIOR, one, 50)
    assert weights[0] != pytest.approx(PRIOR, abs=0.01)
    assert effects.without_own(weights, PRIOR, one)[0, 0] == pytest.approx(PRIOR, abs=1e-6)
    two = effects.likelihoods(np.array([[-0.01, 0.002]]), np.full((1, 2), 1e-7))
    both = effects.learned(PRIOR[None, :], PRIOR, two, 50)
    of_second = effects.learned(PRIOR[None, :], PRIOR, two[:, 1:], 50)
    assert effects.without_own(both, PRIOR, two)[0, 0] == pytest.approx(of_second[0], abs=0.02)


@given(NUMBERS, ERRORS)
def test_a_gain_is_taken_for_less_than_it_reads(value: float, error: float):
    known = effects.posterior(PRIOR, np.array(value), np.array(error**2))
    assert -1e-9 <= cdf(known, 0.0) <= 1.0 + 1e-9
    assert known.sd >= 0.0
    assert abs(known.mean) <= abs(value) + 1e-12


@given(NUMBERS, st.floats(0.0, 0.01), ERRORS)
def test_larger_measured_gains_are_more_probably_gains(value: float, more: float, error: float):
    assert p_better(value, error) <= p_better(value - more, error) + 1e-3


# Mixtures ------------------------------------------------------------------------------------------------------------

MIXTURES = st.lists(
    st.tuples(st.floats(0.05, 1.0), st.floats(-0.01, 0.01), st.floats(1e-5, 0.01)), min_size=1, max_size=4
)


def mixture(parts: list[tuple[float, float, float]]) -> Mixture:
    weights, means, sds = (np.array(each) for each in zip(*parts, strict=True))
    return Mixture(weights / weights.sum(), means, sds)


def test_the_normal_distribution_against_the_library():
    z = np.linspace(-8.0, 8.0, 201)
    exact = [NormalDist().cdf(float(each)) for each in z]
    assert np.abs(normal_cdf(z) - exact).max() < 1e-7


@settings(max_examples=20)
@given(MIXTURES)
def test_moments_and_expected_gain_against_draws(parts: list[tuple[float, float, float]]):
    known = mixture(parts)
    rng = np.random.default_rng(0)
    which = rng.choice(len(parts), 20_000, p=known.weights)
    drawn = rng.normal(known.means[which], known.sds[which])
    error = float(known.sd) / math.sqrt(len(drawn))
    assert float(known.mean) == pytest.approx(drawn.mean(), abs=5 * error)
    assert float(known.sd) == pytest.approx(drawn.std(), rel=0.1)
    assert float(known.expected_gain()) == pytest.approx(np.maximum(-drawn, 0.0).mean(), abs=5 * error)


def test_expected_gain_of_what_is_certain():
    one, zero = np.ones(1), np.zeros(1)
    assert Mixture(one, np.array([0.001]), zero).expected_gain() == pytest.approx(0.0, abs=1e-12)
    assert Mixture(one, np.array([-0.001]), zero).expected_gain() == pytest.approx(0.001)
    assert Mixture(one, zero, np.array([0.001])).expected_gain() == pytest.approx(0.001 / math.sqrt(2 * math.pi))
