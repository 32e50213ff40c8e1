"""Student's t and chi-square, as far as a verdict needs them: the standard library has neither, and hooks no SciPy.

The incomplete beta and gamma functions are evaluated by their continued fractions and series as in Press et al.,
Numerical Recipes (2007), 6.2 and 6.4; quantiles by Newton steps kept inside a bracket. Errors are below 1e-10.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

_TINY = 1e-300
_EPSILON = 1e-15
_STEPS = 300
"""Terms of a series at most: both converge in O(sqrt(n)), and n is a number of runs."""


def t_cdf(t: float, dof: float) -> float:
    """P(T <= t) for Student's t with ``dof`` degrees of freedom (any positive number)."""
    if math.isinf(t):
        return 0.0 if t < 0 else 1.0
    square = t * t
    if square <= dof:  # either form is exact; this choice keeps small differences from 0.5 and small tails both sharp
        tail = 0.5 - 0.5 * _beta_inc(0.5, 0.5 * dof, square / (dof + square))
    else:
        tail = 0.5 * _beta_inc(0.5 * dof, 0.5, dof / (dof + square))
    return tail if t < 0 else 1.0 - tail


@lru_cache(maxsize=4096)
def t_quantile(p: float, dof: float) -> float:
    """The t with P(T <= t) = p, for 0 < p < 1.

    Raises:
        ValueError: if p is not between 0 and 1.
    """
    if not 0.0 < p < 1.0:
        raise ValueError(f"p is {p}, and a quantile needs one between 0 and 1")
    if p < 0.5:
        return -t_quantile(1.0 - p, dof)
    scale = math.lgamma(0.5 * dof + 0.5) - math.lgamma(0.5 * dof) - 0.5 * math.log(dof * math.pi)

    def density(t: float) -> float:
        return math.exp(scale - (0.5 * dof + 0.5) * math.log1p(t * t / dof))

    return _solve(lambda t: t_cdf(t, dof), density, p, 1.0)


def chi2_cdf(x: float, dof: float) -> float:
    """P(X <= x) for chi-square with ``dof`` degrees of freedom."""
    return _gamma_inc(0.5 * dof, 0.5 * x) if x > 0.0 else 0.0


@lru_cache(maxsize=4096)
def chi2_quantile(p: float, dof: float) -> float:
    """The x with P(X <= x) = p, for 0 < p < 1.

    Raises:
        ValueError: if p is not between 0 and 1.
    """
    if not 0.0 < p < 1.0:
        raise ValueError(f"p is {p}, and a quantile needs one between 0 and 1")
    scale = -0.5 * dof * math.log(2.0) - math.lgamma(0.5 * dof)

    def density(x: float) -> float:
        return math.exp(scale + (0.5 * dof - 1.0) * math.log(x) - 0.5 * x)

    return _solve(lambda x: chi2_cdf(x, dof), density, p, max(dof, 1.0))


def _solve(cdf: Callable[[float], float], density: Callable[[float], float], p: float, guess: float) -> float:
    """The x above zero with cdf(x) = p: Newton's method, by bisection where a step would leave the bracket."""
    low, high = 0.0, guess
    while cdf(high) < p:
        low, high = high, high * 2.0
    x = 0.5 * (low + high)
    for _ in range(200):
        off = cdf(x) - p
        if off < 0.0:
            low = x
        else:
            high = x
        slope = density(x)
        step = x - off / slope if slope > _TINY else low
        x, before = (step if low < step < high else 0.5 * (low + high)), x
        if abs(x - before) <= 1e-13 * x:
            break
    return x


def _beta_inc(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    logs = a * math.log(x) + b * math.log1p(-x)
    front = math.exp(logs + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    c = 1.0
    d = 1.0 / _off_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            d = 1.0 / _off_zero(1.0 + term * d)
            c = _off_zero(1.0 + term / c)
            value *= d * c
        if abs(d * c - 1.0) < _EPSILON:
            break
    return value


def _gamma_inc(a: float, x: float) -> float:
    """The regularised lower incomplete gamma function P(a, x)."""
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1.0:
        term = total = 1.0 / a
        for n in range(1, 100 * _STEPS):
            term *= x / (a + n)
            total += term
            if term < total * _EPSILON:
                break
        return front * total
    b = x + 1.0 - a
    c = 1.0 / _TINY
    d = value = 1.0 / b
    for n in range(1, 100 * _STEPS):
        term = -n * (n - a)
        b += 2.0
        d = 1.0 / _off_zero(term * d + b)
        c = _off_zero(b + term / c)
        value *= d * c
        if abs(d * c - 1.0) < _EPSILON:
            break
    return 1.0 - front * value


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
