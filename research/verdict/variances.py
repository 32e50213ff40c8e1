"""Estimates the three standard deviations of a score: of repeats, of seeds, and of a change from seed to seed.

A score is value(configuration) + effect(seed) + interaction(configuration, seed) + repeat noise. The likelihood of the
three standard deviations is the restricted one (Patterson and Thompson 1971): every configuration's value is
integrated out under a flat prior, and the effects of seeds under their normal distribution. With a log-normal prior
on each standard deviation it gives a posterior on a grid (Searle, Casella and McCulloch, Variance Components, 1992,
chapter 9), which is then cut into strata, so that whatever is computed from it is an average over what the standard
deviations may be, and not a plug-in at their best guess.

Runs of one seed share the effect of the seed only where they began from the same initial values on the same machine.
Elsewhere the two effects are correlated; the correlation has a wide prior of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from research.core.settings import SETTINGS
from research.verdict.mixture import Array
from research.verdict.noise import NoisePrior, SdPrior, Spread

Ints = npt.NDArray[np.intp]


class Condition(NamedTuple):
    """Where a run drew its luck from: runs under one condition share the effect of the seed.

    Attributes:
        seed: The seed.
        machine: Name of the machine or card, "" where there is one only.
        initial: Name of a family of initial values: configurations that keep each other's are of one family.
    """

    seed: int
    machine: str = ""
    initial: str = ""


@dataclass(frozen=True)
class Variances:
    """The posterior of the standard deviations: strata of it, equally thorough, and each one's summary.

    Attributes:
        weights: Share of each stratum, shape (strata,).
        repeat: Standard deviation of repeats in each, in bpb, same shape.
        seed: Standard deviation of the effects of seeds, same.
        interaction: Standard deviation of what a change does differently from seed to seed, same.
        correlation: Correlation of a seed's effects under two conditions, same.
        of_repeat: The posterior of the first in one line.
        of_seed: Of the second.
        of_interaction: Of the third.
    """

    weights: Array
    repeat: Array
    seed: Array
    interaction: Array
    correlation: Array
    of_repeat: Spread
    of_seed: Spread
    of_interaction: Spread

    @property
    def paired_sd(self) -> float:
        """Return the standard deviation of one run whose seed's effect is known, in bpb."""
        return paired_sd(self.of_repeat.sd, self.of_interaction.sd)


@dataclass(frozen=True)
class Cells:
    """Scores grouped by configuration and condition; configurations are numbered, and so are conditions.

    Attributes:
        config: Number of each cell's configuration, in ascending order, shape (cells,).
        condition: Number of its condition, same shape.
        n: Its runs, same.
        mean: Mean of their scores in bpb, same.
        spread: Standard deviation in bpb of a forecast that stands in place of its scores, 0 for scores, same.
        squares: Sum of squared deviations of all runs from their cells' means, in bpb squared.
        conditions: The conditions by their number.
    """

    config: Ints
    condition: Ints
    n: Array
    mean: Array
    spread: Array
    squares: float
    conditions: tuple[Condition, ...]


def cell_variance(repeat: Array, interaction: Array, n: Array) -> Array:
    """Return the variance of the mean of n runs of one configuration under one condition whose effect is known.

    The interaction is what a change does differently from seed to seed, which is a difference of two configurations,
    so that each of them has half of its variance.
    """
    found: Array = 0.5 * interaction**2 + repeat**2 / n
    return found


def paired_sd(repeat: float, interaction: float) -> float:
    """Return the standard deviation of one run whose seed's effect is known, in bpb."""
    return math.sqrt(float(cell_variance(np.array(repeat), np.array(interaction), np.ones(()))))


def cells_of(scores: Sequence[tuple[int, Condition, float]], spreads: Sequence[float] = ()) -> Cells:
    """Group scores into cells; a forecast counts only where there is no score.

    Args:
        scores: Number of the configuration, condition, and val_bpb of every run.
        spreads: Standard deviation of each that is a forecast, 0 for a score; by default all are scores.
    """
    conditions = tuple(dict.fromkeys(condition for _, condition, _ in scores))
    number = {condition: place for place, condition in enumerate(conditions)}
    groups: dict[tuple[int, int], list[float]] = {}
    spread_of: dict[tuple[int, int], float] = {}
    told = zip(scores, spreads or [0.0] * len(scores), strict=True)
    for (config, condition, value), spread in sorted(told, key=lambda one: one[1] > 0.0):
        key = (config, number[condition])
        if not spread or key not in groups:
            groups.setdefault(key, []).append(value)
            spread_of[key] = spread
    keys = sorted(groups)
    means = [math.fsum(groups[key]) / len(groups[key]) for key in keys]
    squares = math.fsum(
        (value - mean) ** 2
        for key, mean in zip(keys, means, strict=True)
        if len(groups[key]) > 1
        for value in groups[key]
    )
    return Cells(
        np.array([config for config, _ in keys], dtype=np.intp),
        np.array([condition for _, condition in keys], dtype=np.intp),
        np.array([float(len(groups[key])) for key in keys]),
        np.array(means),
        np.array([spread_of[key] for key in keys]),
        squares,
        conditions,
    )


def estimate(cells: Cells, prior: NoisePrior) -> Variances:
    """Estimate the standard deviations from all cells of one contract."""
    repeat, seed, interaction = (_grid(each) for each in (prior.repeat, prior.seed, prior.interaction))
    linked = _linked(cells)
    correlations = _correlations(linked.conditions)
    extra = float(cells.n.sum()) - len(cells.n)
    # Axes of the posterior: correlation, repeat, interaction, seed.
    log = _restricted(linked, repeat, interaction, seed, correlations)
    log += (-extra * np.log(repeat) - 0.5 * cells.squares / repeat**2)[None, :, None, None]
    log += _log_prior(repeat, prior.repeat)[None, :, None, None]
    log += _log_prior(interaction, prior.interaction)[None, None, :, None]
    log += _log_prior(seed, prior.seed)[None, None, None, :]
    weights = np.exp(log - log.max())
    weights /= weights.sum()
    groups = len(np.unique(linked.config))
    seeds = len({linked.conditions[place].seed for place in set(linked.condition.tolist())})
    crossed = max(0, len(linked.n) - groups - max(seeds - 1, 0))
    return Variances(
        *_strata(weights, correlations, repeat, interaction, seed),
        _spread(repeat, weights.sum((0, 2, 3)), round(extra)),
        _spread(seed, weights.sum((0, 1, 2)), max(seeds - 1, 0)),
        _spread(interaction, weights.sum((0, 1, 3)), crossed),
    )


def _grid(prior: SdPrior) -> Array:
    """Return the values of a standard deviation that are distinguished, evenly spaced in its logarithm."""
    reach = SETTINGS.sd_grid_reach * prior.log_sd
    points: Array = prior.median * np.exp(np.linspace(-reach, reach, SETTINGS.sd_grid_points))
    return points


def _log_prior(grid: Array, prior: SdPrior) -> Array:
    found: Array = -0.5 * (np.log(grid / prior.median) / prior.log_sd) ** 2
    return found


def _linked(cells: Cells) -> Cells:
    """Return the scored cells of the latest configurations that have two or more: only they compare conditions."""
    measured = cells.spread == 0.0
    several = np.flatnonzero(np.bincount(cells.config[measured]) > 1)[-SETTINGS.max_linked_configurations :]
    mine = measured & np.isin(cells.config, several)
    n, mean, spread = (each[mine] for each in (cells.n, cells.mean, cells.spread))
    return Cells(cells.config[mine], cells.condition[mine], n, mean, spread, 0.0, cells.conditions)


def _correlations(conditions: Sequence[Condition]) -> Array:
    """Return the correlations to consider: one where no seed was used under two conditions."""
    several = len({condition.seed for condition in conditions}) < len(conditions)
    return np.array(SETTINGS.condition_correlations if several else SETTINGS.condition_correlations[:1])


def prior_covariance(conditions: Sequence[Condition], correlation: float) -> Array:
    """Return the covariance of the effects of conditions in units of the seeds' variance, shape (S, S)."""
    seeds = np.array([condition.seed for condition in conditions])
    same: Array = np.where(seeds[:, None] == seeds[None, :], correlation, 0.0)
    np.fill_diagonal(same, 1.0)
    return same


def _restricted(cells: Cells, repeat: Array, interaction: Array, seed: Array, correlations: Array) -> Array:
    """Return the restricted log-likelihood, shape (correlations, repeat, interaction, seed)."""
    shape = (len(correlations), len(repeat), len(interaction), len(seed))
    if not len(cells.n):
        return np.zeros(shape)
    _, starts, config = np.unique(cells.config, return_index=True, return_inverse=True)
    y = cells.mean - (np.add.reduceat(cells.mean, starts) / np.diff([*starts, len(cells.mean)]))[config]
    variance = cell_variance(repeat[:, None, None], interaction[None, :, None], cells.n)  # (repeat, interaction, cells)
    precision = 1.0 / variance
    total = np.add.reduceat(precision, starts, axis=-1)
    weighted = np.add.reduceat(precision * y, starts, axis=-1)
    base = 0.5 * np.log(precision).sum(-1) - 0.5 * np.log(total).sum(-1)
    square = (precision * y * y).sum(-1) - (weighted**2 / total).sum(-1)
    # The effects of conditions: their information matrix and vector once the configurations' values are gone.
    count, groups = len(cells.conditions), len(starts)
    design = np.zeros((*variance.shape[:2], groups, count))
    design[:, :, config, cells.condition] = precision
    centred = design / total[..., None]
    matrix = np.einsum("...cs,cs->...s", design, np.ones((groups, count)))[..., None] * np.eye(count)
    matrix = matrix - np.einsum("...cs,...ct->...st", design, centred)
    by_condition = np.stack([(precision * y)[..., cells.condition == each].sum(-1) for each in range(count)], axis=-1)
    vector = by_condition - np.einsum("...cs,...c->...s", centred, weighted)
    found = np.empty(shape)
    for place, correlation in enumerate(correlations):
        root = np.linalg.cholesky(prior_covariance(cells.conditions, float(correlation)))
        values, vectors = np.linalg.eigh(root.T @ matrix @ root)
        projected = np.einsum("...st,...s->...t", vectors, vector @ root) ** 2
        grown = 1.0 + seed[:, None] ** 2 * np.maximum(values, 0.0)[:, :, None, :]
        gained = (seed[:, None] ** 2 * projected[:, :, None, :] / grown).sum(-1)
        found[place] = base[..., None] - 0.5 * np.log(grown).sum(-1) - 0.5 * (square[..., None] - gained)
    return found


def _strata(
    weights: Array, correlations: Array, repeat: Array, interaction: Array, seed: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Cut the posterior into strata of equal weight, by what a paired difference scatters by and by the seeds' sd.

    Returns:
        Weights, then the mean of each standard deviation (root mean square) and of the correlation in every stratum.
    """
    axes = np.broadcast_arrays(
        correlations[:, None, None, None], repeat[None, :, None, None], interaction[None, None, :, None], seed
    )
    w, rho, one, two, three = (each.ravel() for each in (weights, *axes))
    paired = _stratum(cell_variance(one, two, np.ones(1)), w, SETTINGS.paired_strata)
    number = paired * SETTINGS.seed_strata
    for each in range(SETTINGS.paired_strata):
        mine = paired == each
        number[mine] += _stratum(three[mine], w[mine], SETTINGS.seed_strata)
    count = SETTINGS.paired_strata * SETTINGS.seed_strata
    share = np.bincount(number, w, count)
    used = share > 0.0

    def mean(values: Array) -> Array:
        found: Array = np.bincount(number, w * values, count)[used] / share[used]
        return found

    return (
        share[used] / share[used].sum(),
        np.sqrt(mean(one**2)),
        np.sqrt(mean(three**2)),
        np.sqrt(mean(two**2)),
        mean(rho),
    )


def _stratum(values: Array, weights: Array, count: int) -> Ints:
    """Return for every point which of ``count`` strata of equal weight, in ascending order, it falls into."""
    order = np.argsort(values, kind="stable")
    above = np.cumsum(weights[order]) - 0.5 * weights[order]
    found = np.empty(len(values), dtype=np.intp)
    total = float(weights.sum())
    found[order] = np.minimum((above / total * count).astype(np.intp), count - 1) if total > 0.0 else 0
    return found


def _spread(grid: Array, weights: Array, n: int) -> Spread:
    """Return a standard deviation's median and 95 % interval, read off its marginal posterior."""
    reach = 0.5 * SETTINGS.interval_share
    below = np.cumsum(weights) - 0.5 * weights
    low, middle, high = np.exp(np.interp([0.5 - reach, 0.5, 0.5 + reach], below, np.log(grid)))
    return Spread(float(middle), float(low), float(high), n)
