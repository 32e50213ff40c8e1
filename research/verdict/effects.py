"""Learns the distribution of the effects of single changes, the prior of measured differences.

Choosing the best of many noisy tries picks lucky draws, so what is kept looks better than it is (the winner's curse).
With the right prior of effects a posterior needs no further correction for having been chosen (Efron 2011, "Tweedie's
formula and selection bias"). The prior is therefore learned from all changes, kept or not: a mixture of normal
distributions around zero on a fixed grid of sizes, its weights by expectation and maximisation (Stephens 2017, "False
discovery rates: a new deal").

An effect is the true value of a child minus that of its parent in bpb: below zero is better. Arrays of weights have
the components of the mixture as their last axis, and all variances are squared standard errors of measured effects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from research.core.settings import SETTINGS
from research.verdict.noise import OFFICIAL
from research.verdict.variances import Array

SDS: Array = np.array([SETTINGS.min_effect_bpb * 3.0**power for power in range(SETTINGS.effect_scales)])
"""Standard deviations of the components in bpb, each three times the one before."""

_SMALLEST_SD = 1e-9  # standard deviation, in bpb, below which a component is taken as a point: scores have six decimals


@lru_cache
def prior_weights(doublings: int = 0) -> Array:
    """Return the components' weights before any change was measured; the usual size, so often doubled, weighs most."""
    near = 1.0 / (1.0 + np.log2(SDS / (SETTINGS.effect_usual_bpb * 2.0**doublings)) ** 2)
    weights: Array = near / near.sum()
    return weights


def usual_doublings(paired_sd: float) -> int:
    """Return how many times the usual size of effects doubles where paired runs scatter more than on a GPU.

    Where runs scatter more, as in the pocket profile, people try larger changes, which could be seen.
    """
    return max(0, round(math.log2(paired_sd / OFFICIAL.noise.paired_sd))) if paired_sd > 0.0 else 0


def likelihoods(means: Array, variances: Array) -> Array:
    """Return the logarithm of each component's density of measured effects, shape (..., components)."""
    spread = variances[..., None] + SDS**2
    found: Array = -0.5 * np.log(spread) - 0.5 * means[..., None] ** 2 / spread
    return found


def _shares(weights: Array, density: Array) -> Array:
    joint = weights * density
    found: Array = joint / joint.sum(-1, keepdims=True)
    return found


def _scaled(log: Array) -> Array:
    """Return the densities of logarithms, scaled so that the largest component's is one."""
    found: Array = np.exp(log - log.max(-1, keepdims=True))
    return found


def learned(weights: Array, prior: Array, log: Array, steps: int) -> Array:
    """Return the components' weights after measured effects, by steps of expectation and maximisation.

    The prior, shape (components,), counts as if ``effect_prior_n`` effects had been measured (a Dirichlet prior).
    The search starts at weights of shape (strata, components); log are the likelihoods() of the measured effects.
    """
    density = _scaled(log)
    for _ in range(steps):
        counts = _shares(weights[:, None, :], density).sum(1) + SETTINGS.effect_prior_n * prior
        weights = counts / counts.sum(-1, keepdims=True)
    return weights


def without_own(weights: Array, prior: Array, log: Array) -> Array:
    """Return for each measured effect the learned() weights without it, so that it is no evidence about itself.

    Shapes are those of learned(); that of the result is (strata, effects, components).
    """
    assumed = SETTINGS.effect_prior_n * prior
    all_of_them = (log.shape[1] + SETTINGS.effect_prior_n) * weights[:, None, :]
    counts = np.maximum(all_of_them - _shares(weights[:, None, :], _scaled(log)), assumed)
    left: Array = counts / counts.sum(-1, keepdims=True)
    return left


def posterior(weights: Array, means: Array, variances: Array) -> Mixture:
    """Return the posterior of effects that were measured, with the components along the first axis."""
    joint = _shares(weights, _scaled(likelihoods(means, variances)))
    gain = SDS**2 / (SDS**2 + variances[..., None])
    centres, sds = gain * means[..., None], np.sqrt(gain * variances[..., None])
    return Mixture(np.moveaxis(joint, -1, 0), np.moveaxis(centres, -1, 0), np.moveaxis(sds, -1, 0))


def log_densities(weights: Array, log: Array) -> Array:
    """Return the log-densities of measured effects by their likelihoods(), up to a constant, shape (...)."""
    found: Array = log.max(-1) + np.log((weights * _scaled(log)).sum(-1))
    return found


def typical_size(weights: Array) -> float:
    """Return the typical size of an effect in bpb: the root mean square, the largest components left out."""
    counted = np.cumsum(weights) - weights < SETTINGS.effect_size_share
    return float(np.sqrt((weights[counted] * SDS[counted] ** 2).sum() / weights[counted].sum()))


@dataclass(frozen=True)
class Mixture:
    """A mixture of normal distributions, or many of them side by side: its components are along the first axis."""

    weights: Array
    means: Array
    sds: Array

    @cached_property
    def mean(self) -> Array:
        """Return the mean, shape (...)."""
        total: Array = (self.weights * self.means).sum(0)
        return total

    @cached_property
    def sd(self) -> Array:
        """Return the standard deviation, shape (...)."""
        around = self.means - self.mean
        root: Array = np.sqrt((self.weights * (self.sds**2 + around**2)).sum(0))
        return root

    def expected_gain(self) -> Array:
        """Return E[max(0, -value)], the expected improvement (Mockus 1975), shape (...)."""
        sds = np.maximum(self.sds, _SMALLEST_SD)
        z = -self.means / sds
        density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
        gain: Array = (self.weights * sds * np.maximum(z * normal_cdf(z) + density, 0.0)).sum(0)
        return gain


def normal_cdf(z: Array) -> Array:
    """Return P(Z <= z) of a standard normal; the error is below 1e-7 (Abramowitz and Stegun 1964, 26.2.17)."""
    size = np.abs(z)
    t = 1.0 / (1.0 + 0.2316419 * size)
    poly = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = np.exp(-0.5 * np.minimum(size, 38.0) ** 2) / np.sqrt(2.0 * np.pi) * poly
    found: Array = np.where(z < 0.0, tail, 1.0 - tail)
    return found
