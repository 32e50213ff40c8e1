"""The two distributions against printed tables, and the noise that replicates speak of."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from research.verdict.distributions import chi2_cdf, chi2_quantile, t_cdf, t_quantile
from research.verdict.noise import PRIOR, Prior, fit

SCORES = st.floats(0.5, 3.0)


@pytest.mark.parametrize(
    ("p", "dof", "printed"),
    [
        (0.975, 1, 12.7062047362), (0.975, 2, 4.3026527297), (0.95, 5, 2.0150483733), (0.975, 10, 2.2281388520),
        (0.95, 30, 1.6972608866), (0.995, 200, 2.6006344362), (0.025, 10, -2.2281388520),
    ],
)  # fmt: skip
def test_student_t_against_tables(p: float, dof: float, printed: float):
    assert t_quantile(p, dof) == pytest.approx(printed, abs=1e-9)
    assert t_cdf(printed, dof) == pytest.approx(p, abs=1e-10)


@pytest.mark.parametrize(
    ("p", "dof", "printed"),
    [
        (0.025, 2, 0.0506356160), (0.975, 2, 7.3777589082), (0.025, 10, 3.2469727802), (0.975, 100, 129.5611971858),
        (0.95, 1, 3.8414588207), (0.5, 4, 3.3566939800),
    ],
)  # fmt: skip
def test_chi_square_against_tables(p: float, dof: float, printed: float):
    assert chi2_quantile(p, dof) == pytest.approx(printed, abs=1e-9)
    assert chi2_cdf(printed, dof) == pytest.approx(p, abs=1e-10)


def test_student_t_between_cauchy_and_normal():
    assert t_cdf(1.0, 1) == pytest.approx(0.75)
    assert t_cdf(1.0, 2) == pytest.approx(0.5 + 1 / math.sqrt(12))
    assert t_cdf(1.0, 1e7) == pytest.approx(0.5 * (1 + math.erf(1 / math.sqrt(2))), abs=1e-7)
    assert (t_cdf(math.inf, 3), t_cdf(-math.inf, 3), t_cdf(0.0, 3)) == (1.0, 0.0, 0.5)


@pytest.mark.parametrize("quantile", [t_quantile, chi2_quantile])
@pytest.mark.parametrize("p", [0.0, 1.0, -1.0, math.nan])
def test_no_quantile_of_what_is_no_probability(quantile, p: float):
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile(p, 3)


@given(st.floats(0.001, 0.999), st.floats(0.5, 500))
def test_quantiles_invert(p: float, dof: float):
    assert t_cdf(t_quantile(p, dof), dof) == pytest.approx(p, abs=1e-9)
    assert chi2_cdf(chi2_quantile(p, dof), dof) == pytest.approx(p, abs=1e-9)


def test_without_replicates_the_prior_speaks():
    noise = fit([[1.0], [0.9], []])
    assert (noise.sd, noise.n, noise.groups) == (PRIOR.sd, 0, 0)
    assert noise.low < PRIOR.sd < noise.high


def test_replicates_outweigh_the_prior():
    noise = fit([[1.90, 1.92], [1.91, 1.89, 1.90]])
    assert (noise.n, noise.groups) == (3, 2)
    assert 0.006 < noise.sd < 0.014
    assert noise.low < noise.sd < noise.high


def test_one_value_over_and_over_is_not_no_noise():
    assert 0 < fit([[1.0] * 50]).sd < PRIOR.sd


@given(st.lists(st.lists(SCORES, max_size=5), max_size=8))
def test_the_order_of_groups_means_nothing(groups: list[list[float]]):
    one, other = fit(groups), fit([list(reversed(group)) for group in reversed(groups)])
    assert one.sd == pytest.approx(other.sd)
    assert (one.n, one.groups) == (other.n, other.groups)
    assert 0 < one.low < one.sd < one.high


@pytest.mark.parametrize(("sd", "n"), [(0.0, 1.0), (0.1, 0.0), (-1.0, 1.0), (math.nan, 1.0)])
def test_a_prior_is_above_zero(sd: float, n: float):
    with pytest.raises(ValueError, match="above zero"):
        Prior(sd, n)
