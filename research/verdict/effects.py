"""Learns what single changes do: the prior that a measured difference is weighed against.

Choosing the best of many noisy tries picks lucky draws, so what is kept looks better than it is (the winner's curse).
With the right prior of effects a posterior needs no further correction for having been chosen (Efron 2011, "Tweedie's
formula and selection bias"). The prior is therefore learned from all changes, kept or not: a mixture of normal
distributions around zero on a fixed grid of sizes, its weights by expectation and maximisation (Stephens 2017, "False
discovery rates: a new deal").

An effect is the true value of a child minus that of its parent in bpb: below zero is better.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from research.core.settings import SETTINGS
from research.verdict.mixture import Array, Mixture

SDS: Array = np.array([SETTINGS.min_effect_bpb * 3.0**power for power in range(SETTINGS.effect_scales)])
"""Standard deviations of the components in bpb, each three times the one before."""


@lru_cache
def prior_weights(doublings: int = 0) -> Array:
    """Return the components' weights before any change was measured: the usual size has the largest.

    Args:
        doublings: How many times the usual size of effects is doubled; see usual_doublings().
    """
    near = 1.0 / (1.0 + np.log2(SDS / (SETTINGS.effect_usual_bpb * 2.0**doublings)) ** 2)
    weights: Array = near / near.sum()
    return weights


def usual_doublings(paired_sd: float, official: float) -> int:
    """Return how many times the usual sizes double where a paired run scatters by more than on a GPU.

    People try what could show: a pocket run scatters by far more than a GPU's, and so do the effects looked for.

    Args:
        paired_sd: Standard deviation of one run whose seed's effect is known, in bpb.
        official: The same in the official profile.
    """
    return max(0, round(math.log2(paired_sd / official))) if paired_sd > 0.0 else 0


def likelihoods(means: Array, variances: Array) -> Array:
    """Return the logarithm of each component's density of measured effects, shape (..., components).

    Args:
        means: Measured effects in bpb, shape (...).
        variances: Squared standard errors, same shape.
    """
    spread = variances[..., None] + SDS**2
    found: Array = -0.5 * np.log(spread) - 0.5 * means[..., None] ** 2 / spread
    return found


def learned(weights: Array, prior: Array, log: Array, steps: int) -> Array:
    """Return the components' weights after measured effects, by steps of expectation and maximisation.

    The prior weights count as if ``effect_prior_n`` effects had been measured (a Dirichlet prior).

    Args:
        weights: Where the search starts, shape (strata, components).
        prior: The weights before any effect, shape (components,).
        log: likelihoods() of the measured effects, shape (strata, effects, components).
        steps: Steps to take.
    """
    density = np.exp(log - log.max(-1, keepdims=True))
    for _ in range(steps):
        joint = weights[:, None, :] * density
        counts = (joint / joint.sum(-1, keepdims=True)).sum(1) + SETTINGS.effect_prior_n * prior
        weights = counts / counts.sum(-1, keepdims=True)
    return weights


def without_own(weights: Array, prior: Array, log: Array) -> Array:
    """Return for each measured effect the components' weights as they are without it, so that none speaks for itself.

    Args:
        weights: learned() weights, shape (strata, components).
        prior: The weights before any effect, shape (components,).
        log: likelihoods() of the measured effects, shape (strata, effects, components).

    Returns:
        Weights, shape (strata, effects, components).
    """
    joint = weights[:, None, :] * np.exp(log - log.max(-1, keepdims=True))
    joint /= joint.sum(-1, keepdims=True)
    assumed = SETTINGS.effect_prior_n * prior
    counts = np.maximum((log.shape[1] + SETTINGS.effect_prior_n) * weights[:, None, :] - joint, assumed)
    left: Array = counts / counts.sum(-1, keepdims=True)
    return left


def posterior(weights: Array, means: Array, variances: Array) -> Mixture:
    """Return the posterior of effects that were measured, with the components along the first axis.

    Args:
        weights: Weights of the components, shape (..., components).
        means: Measured effects in bpb, shape (...).
        variances: Squared standard errors, same shape.
    """
    log = likelihoods(means, variances)
    joint = weights * np.exp(log - log.max(-1, keepdims=True))
    joint /= joint.sum(-1, keepdims=True)
    gain = SDS**2 / (SDS**2 + variances[..., None])
    centres = gain * means[..., None]
    sds = np.sqrt(gain * variances[..., None])
    return Mixture(np.moveaxis(joint, -1, 0), np.moveaxis(centres, -1, 0), np.moveaxis(sds, -1, 0))


def log_densities(weights: Array, means: Array, variances: Array) -> Array:
    """Return how probable measured effects are, as logarithms of densities up to a constant, shape (...).

    Args:
        weights: Weights of the components, shape (..., components).
        means: Measured effects in bpb, shape (...).
        variances: Squared standard errors, same shape.
    """
    log = likelihoods(means, variances)
    top = log.max(-1)
    found: Array = top + np.log((weights * np.exp(log - top[..., None])).sum(-1))
    return found


def typical_size(weights: Array) -> float:
    """Return the typical size of an effect in bpb: the root mean square, the largest components left out.

    Args:
        weights: Weights of the components, shape (components,).
    """
    counted = np.cumsum(weights) - weights < SETTINGS.effect_size_share
    return float(np.sqrt((weights[counted] * SDS[counted] ** 2).sum() / weights[counted].sum()))
