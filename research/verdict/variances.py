"""Estimates the three standard deviations of a score: of repeats, of seeds, and of a change from seed to seed.

Each is estimated from other runs: that of repeats from runs of one configuration under one condition; the interaction
from the differences of a configuration and its parent under the conditions that both have; that of seeds from one
configuration under several conditions. The likelihood of the three is the restricted one (Patterson and Thompson 1971):
every mean is integrated out under a flat prior. With a log-normal prior on each standard deviation it gives a posterior
on a grid (Searle, Casella and McCulloch, Variance Components, 1992, chapter 9). The grid is cut into strata, over which
everything that depends on the standard deviations is averaged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from research.core.settings import SETTINGS
from research.verdict.noise import Noise, NoisePrior, SdPrior, Spread

Array = npt.NDArray[np.float64]


class Condition(NamedTuple):
    """The seed, machine and initial values of a run: runs under one condition share the effect of the seed."""

    seed: int
    machine: str = ""  # name of the machine or card, "" where there is one only
    initial: str = ""  # name of the family of configurations that begin with the same initial values


@dataclass(frozen=True)
class Variances:
    """The posterior of the standard deviations, in bpb; arrays have the shape (strata,)."""

    weights: Array  # share of each stratum, together 1
    repeat: Array  # sd of repeats in each stratum, root mean square
    seed: Array  # the same of seeds
    interaction: Array  # the same of a change from seed to seed
    noise: Noise  # medians and intervals


class Cell(NamedTuple):
    """The runs of one configuration under one condition, in bpb."""

    n: int
    mean: float
    squares: float  # sum of the squared deviations from the mean
    spread: float = 0.0  # standard deviation of a forecast that stands in place of a score, 0 for scores


Cells = Mapping[Condition, Cell]  # the runs of one configuration by condition


class Sample(NamedTuple):
    """Numbers around one mean, in bpb, one for each condition: differences of two configurations, or scores of one."""

    values: tuple[float, ...]
    repeats: tuple[float, ...]  # factor of the repeats' variance in the variance of each
    forecasts: tuple[float, ...]  # additional variance of each that is a forecast


class Contrasts(NamedTuple):
    """The parts of a contract's runs from which the standard deviations are estimated."""

    squares: float  # sum of the squared deviations of repeats from their means
    repeats: int  # degrees of freedom of that sum
    changes: tuple[Sample, ...]  # differences of configurations from their parents
    seeds: Sample  # scores of the configuration that ran under most conditions


def cells_of(scores: Sequence[tuple[Condition, float, float]]) -> dict[Condition, Cell]:
    """Group one configuration's scores by condition; a forecast counts only where there is no score.

    A score is a condition, a val_bpb, and the standard deviation of a forecast, 0 for a measured one.
    """
    groups: dict[Condition, list[float]] = {}
    for condition, value, spread in scores:
        if not spread:
            groups.setdefault(condition, []).append(value)
    found = {condition: Cell(1, value, 0.0, spread) for condition, value, spread in scores if condition not in groups}
    for condition, values in groups.items():
        mean = math.fsum(values) / len(values)
        found[condition] = Cell(len(values), mean, math.fsum((value - mean) ** 2 for value in values))
    return found


def differences(mine: Cells, theirs: Cells) -> Sample:
    """Return the differences of two configurations under the conditions that both have."""
    shared = [(mine[condition], theirs[condition]) for condition in mine if condition in theirs]
    return Sample(
        tuple(one.mean - two.mean for one, two in shared),
        tuple(1.0 / one.n + 1.0 / two.n for one, two in shared),
        tuple(one.spread**2 + two.spread**2 for one, two in shared),
    )


def contrasts(configurations: Sequence[Cells], pairs: Sequence[tuple[Cells, Cells]]) -> Contrasts:
    """Return the contrasts of the scores of configurations, and of pairs of them and their parents; no forecasts."""
    scored = [_scored(each) for each in configurations]
    cells = [cell for each in scored for cell in each.values()]
    changes = [differences(_scored(one), _scored(two)) for one, two in pairs if len(one) > 1 and len(two) > 1]
    most = max(scored, key=_size, default={})
    return Contrasts(
        math.fsum(cell.squares for cell in cells),
        sum(cell.n - 1 for cell in cells),
        tuple(each for each in changes if len(each.values) > 1)[-SETTINGS.max_compared_changes :],
        Sample(tuple(cell.mean for cell in most.values()), tuple(1.0 / cell.n for cell in most.values()), ()),
    )


def _scored(cells: Cells) -> Cells:
    return {condition: cell for condition, cell in cells.items() if not cell.spread}


def _size(cells: Cells) -> tuple[int, int, float]:
    """Return the key by which the configuration with the most conditions, then the most runs, is chosen."""
    return len(cells), sum(cell.n for cell in cells.values()), -sum(cell.mean for cell in cells.values())


def estimate(known: Contrasts, prior: NoisePrior) -> Variances:
    """Return the posterior of the standard deviations."""
    repeat, seed, interaction = (_grid(each) for each in (prior.repeat, prior.seed, prior.interaction))
    # Axes of the posterior: repeat, interaction, seed.
    log = (-known.repeats * np.log(repeat) - 0.5 * known.squares / repeat**2)[:, None, None]
    log = log + _restricted(known.changes, repeat[:, None, None], interaction[:, None] ** 2)[..., None]
    own = 0.5 * interaction[:, None, None] ** 2 + seed[:, None] ** 2
    log = log + _restricted([known.seeds], repeat[:, None, None, None], own)
    log = log + _log_prior(repeat, prior.repeat)[:, None, None]
    log = log + _log_prior(interaction, prior.interaction)[:, None]
    log = log + _log_prior(seed, prior.seed)
    weights = np.exp(log - log.max())
    weights /= weights.sum()
    noise = Noise(
        _spread(repeat, weights.sum((1, 2)), known.repeats),
        _spread(seed, weights.sum((0, 1)), max(len(known.seeds.values) - 1, 0)),
        _spread(interaction, weights.sum((0, 2)), sum(len(each.values) - 1 for each in known.changes)),
    )
    return Variances(*_strata(weights, repeat, interaction, seed), noise)


def _grid(prior: SdPrior) -> Array:
    """Return the values of a standard deviation that are distinguished, evenly spaced in its logarithm."""
    reach = SETTINGS.sd_grid_reach * prior.log_sd
    points: Array = prior.median * np.exp(np.linspace(-reach, reach, SETTINGS.sd_grid_points))
    return points


def _log_prior(grid: Array, prior: SdPrior) -> Array:
    return -0.5 * (np.log(grid / prior.median) / prior.log_sd) ** 2


def _restricted(groups: Sequence[Sample], repeat: Array, rest: Array) -> Array:
    """Return the restricted log-likelihood of groups of numbers, each around a mean of its own.

    Standard deviations of repeats, and the rest of the variance of each number, have a last axis of length one.
    """
    groups = [each for each in groups if len(each.values) > 1]
    if not groups:
        return np.zeros(np.broadcast_shapes(repeat.shape, rest.shape)[:-1])
    y = np.concatenate([np.array(each.values) - np.mean(each.values) for each in groups])
    starts = np.cumsum([0, *(len(each.values) for each in groups[:-1])])
    precision = 1.0 / (rest + repeat**2 * np.concatenate([each.repeats for each in groups]))
    total = np.add.reduceat(precision, starts, axis=-1)
    weighted = np.add.reduceat(precision * y, starts, axis=-1)
    square = (precision * y * y).sum(-1) - (weighted**2 / total).sum(-1)
    found: Array = 0.5 * np.log(precision).sum(-1) - 0.5 * np.log(total).sum(-1) - 0.5 * square
    return found


def _strata(weights: Array, repeat: Array, interaction: Array, seed: Array) -> tuple[Array, Array, Array, Array]:
    """Cut the posterior into strata of equal weight, by the sd of a paired difference and by that of seeds.

    Returns:
        Weights, then the root mean square of the sd of repeats, seeds and interaction in every stratum.
    """
    axes = np.broadcast_arrays(weights, repeat[:, None, None], interaction[None, :, None], seed)
    w, one, two, three = (each.ravel() for each in axes)
    paired = _stratum(0.5 * two**2 + one**2, w, SETTINGS.paired_strata)
    number = paired * SETTINGS.seed_strata
    for each in range(SETTINGS.paired_strata):
        mine = paired == each
        number[mine] += _stratum(three[mine], w[mine], SETTINGS.seed_strata)
    count = SETTINGS.paired_strata * SETTINGS.seed_strata
    share = np.bincount(number, w, count)
    used = share > 0.0
    means = [np.sqrt(np.bincount(number, w * sd**2, count)[used] / share[used]) for sd in (one, three, two)]
    return share[used] / share[used].sum(), means[0], means[1], means[2]


def _stratum(values: Array, weights: Array, count: int) -> npt.NDArray[np.intp]:
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
