"""Estimates all values and changes at once, by expectation propagation along the tree of parents.

Given the standard deviations, everything but the effects of changes is normal. Each effect's mixture is replaced by a
normal factor that gives the right mean and variance together with all else (Minka 2001). What is left is a sparse
linear system, solved by elimination from the leaves of the tree to its roots and back, with a column for each
condition's effect. A sweep costs time in proportion to the runs. Every array has a first axis of strata of the standard
deviations' posterior; S is the number of conditions, C that of configurations.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from research.core.settings import SETTINGS
from research.verdict import effects
from research.verdict.mixture import Array, Mixture
from research.verdict.variances import Cells, Ints, Variances, cell_variance, prior_covariance


@dataclass(frozen=True)
class Tree:
    """The configurations in breadth-first order along the tree of parents.

    Attributes:
        parent: Place of each one's parent, -1 for a root; it never falls within a level, shape (C,).
        bounds: Where each level begins, the roots first, and C.
    """

    parent: Ints
    bounds: tuple[int, ...]

    @cached_property
    def children(self) -> slice:
        """Return the places of all configurations that have a parent."""
        return slice(self.bounds[1] if len(self.bounds) > 1 else 0, len(self.parent))

    @cached_property
    def above(self) -> Ints:
        """Return the places of the parents of all configurations that have one."""
        return self.parent[self.children]

    @cached_property
    def once(self) -> tuple[Ints, Ints]:
        """Return the places of all parents, each once, and where their children begin among all children."""
        once, begins = np.unique(self.above, return_index=True)
        return once, begins

    @cached_property
    def levels(self) -> tuple[tuple[slice, Ints, Ints, Ints], ...]:
        """Return for each level below the roots its places, their parents, each parent once, and where its begin."""
        found = []
        for start, end in pairwise(self.bounds[1:]):
            above = self.parent[start:end]
            once, begins = np.unique(above, return_index=True)
            found.append((slice(start, end), above, once, begins))
        return tuple(found)


@dataclass(frozen=True)
class Factors:
    """Normal factors that stand for the effects of changes: precision and precision times mean, shape (strata, C)."""

    precision: Array
    shift: Array

    @classmethod
    def of_size(cls, tree: Tree, strata: int, size: float) -> Factors:
        """Return factors that take every effect for one of a usual size around none."""
        precision, shift = (np.zeros((strata, len(tree.parent))) for _ in range(2))
        precision[:, tree.children] = size**-2
        return cls(precision, shift)


@dataclass(frozen=True)
class Solution:
    """The joint normal posterior of values and conditions, given the factors; see _solve().

    Attributes:
        mean: Posterior means of the values, less the centre, shape (strata, C).
        own: Variance of each value with the conditions known, same shape.
        carry: Share of its parent's variation that a value follows, conditions known, same shape.
        slope: How a value moves against each condition's effect, shape (strata, C, S).
        conditions: Posterior covariance of the conditions' effects, shape (strata, S, S).
    """

    mean: Array
    own: Array
    carry: Array
    slope: Array
    conditions: Array


@dataclass(frozen=True)
class Fit:
    """What the sweeps came to.

    Attributes:
        solution: The joint normal posterior.
        factors: The factors that stand for the effects of changes.
        cavity: What all else says of every change's effect: means and variances, shape (strata, children).
        weights: Weights of the components of effects, as all changes taught them, shape (strata, components).
        others: The same for each change as the other changes taught them, shape (strata, children, components).
    """

    solution: Solution
    factors: Factors
    cavity: tuple[Array, Array]
    weights: Array
    others: Array


def fit(
    tree: Tree,
    cells: Cells,
    known: Variances,
    prior_weights: Array,
    places: Sequence[int],
    centre: float,
    start: tuple[Array, Factors],
) -> Fit:
    """Find the factors by sweeps of expectation propagation over all changes at once.

    Args:
        tree: The configurations.
        cells: Their scores.
        known: The strata of the standard deviations.
        prior_weights: Weights of the components of effects before any was measured, shape (components,).
        places: The changes in order of their first run, as places among the children.
        centre: What is taken off all scores, in bpb, so that numbers stay small.
        start: Weights of the components, and factors, to start from.
    """
    weights, factors = start
    children = tree.children
    latest, older = places[-SETTINGS.effects_remembered :], places[: -SETTINGS.effects_remembered]
    others = np.repeat(weights[:, None, :], len(places), axis=1)
    solution = _solve(tree, cells, known, factors, centre)
    cavity = _cavity(*_changes(solution, tree), factors, children)
    for sweep in range(SETTINGS.max_sweeps if places else 0):
        log = effects.likelihoods(cavity[0][:, latest], cavity[1][:, latest])
        weights = effects.learned(weights, prior_weights, log, SETTINGS.learning_steps)
        others[:, latest] = effects.without_own(weights, prior_weights, log)
        others[:, older] = weights[:, None, :]
        tilted = effects.posterior(others, *cavity)
        factors = _updated(factors, children, cavity, tilted, SETTINGS.damping if sweep else 1.0)
        solution = _solve(tree, cells, known, factors, centre)
        before, cavity = cavity, _cavity(*_changes(solution, tree), factors, children)
        if np.abs(cavity[0] - before[0]).max() < SETTINGS.sweep_tolerance_bpb:
            break
    return Fit(solution, factors, cavity, weights, others)


def tree_of(configs: Sequence[Hashable], parents: Mapping[Hashable, Hashable]) -> tuple[tuple[Hashable, ...], Tree]:
    """Return the configurations in breadth-first order, and the tree; a link that closes a circle is left out."""
    parents = dict(parents)
    rooted: set[Hashable] = set()
    for config in configs:
        line, met, place = [config], {config}, config
        while place not in rooted and place in parents:
            place = parents[place]
            if place in met:
                del parents[line[-1]]
                break
            line.append(place)
            met.add(place)
        rooted.update(line)
    below: dict[Hashable, list[Hashable]] = {}
    for config in configs:
        if config in parents:
            below.setdefault(parents[config], []).append(config)
    order: list[Hashable] = []
    bounds, level = [0], [config for config in configs if config not in parents]
    while level:
        order += level
        bounds.append(len(order))
        level = [child for config in level for child in below.get(config, ())]
    place_of = {config: place for place, config in enumerate(order)}
    above = [place_of[parents[config]] if config in parents else -1 for config in order]
    return tuple(order), Tree(np.array(above, dtype=np.intp), tuple(bounds))


def _solve(tree: Tree, cells: Cells, known: Variances, factors: Factors, centre: float) -> Solution:
    """Solve for the joint normal posterior: elimination along the tree, then of the conditions' effects."""
    strata, count, width = len(known.weights), len(tree.parent), len(cells.conditions)
    variance = cell_variance(known.repeat[:, None], known.interaction[:, None], cells.n) + cells.spread**2
    weight = 1.0 / variance  # (strata, cells)
    scaled = weight * (cells.mean - centre)
    tau, children = factors.precision, tree.children
    # Columns of the system: each condition's, then the right-hand side, then the pivots.
    design = np.zeros((strata, count, width))
    design[:, cells.config, cells.condition] = weight
    system = np.zeros((strata, count, width + 2))
    system[:, :, :width] = design
    system[:, :, width + 1] = design.sum(-1) + tau
    starts = np.flatnonzero(np.diff(cells.config, prepend=-1))
    system[:, :, width] = np.add.reduceat(scaled, starts, axis=1) + factors.shift
    if tree.levels:
        once, begins = tree.once
        system[:, once, width] -= np.add.reduceat(factors.shift[:, children], begins, axis=1)
        system[:, once, width + 1] += np.add.reduceat(tau[:, children], begins, axis=1)
    for level, _, once, begins in reversed(tree.levels):
        message = system[:, level].copy()
        share = tau[:, level] / message[:, :, -1]
        message[:, :, -1] = -tau[:, level]
        message *= share[:, :, None]
        system[:, once] += np.add.reduceat(message, begins, axis=1)
    own = 1.0 / system[:, :, -1]
    solved = system[:, :, :-1] * own[:, :, None]
    carry = tau * own
    for level, above, _, _ in tree.levels:
        share = carry[:, level]
        solved[:, level] += share[:, :, None] * solved[:, above]
        own[:, level] += share**2 * own[:, above]
    slope, right = solved[:, :, :width], solved[:, :, width]
    prior = np.stack([prior_covariance(cells.conditions, float(each)) for each in known.correlation])
    information = np.linalg.inv(prior) / known.seed[:, None, None] ** 2
    information += design.sum(1)[:, :, None] * np.eye(width) - design.transpose(0, 2, 1) @ slope
    covariance = np.linalg.inv(information)
    by_condition = np.empty((strata, width))
    for each in range(width):
        by_condition[:, each] = scaled[:, cells.condition == each].sum(1)
    vector = by_condition - (design.transpose(0, 2, 1) @ right[:, :, None])[:, :, 0]
    conditions = covariance @ vector[:, :, None]
    mean: Array = right - (slope @ conditions)[:, :, 0]
    return Solution(mean, own, carry, slope, np.asarray(covariance, dtype=np.float64))


def _changes(solution: Solution, tree: Tree) -> tuple[Array, Array]:
    """Return mean and variance of every change's effect under the joint posterior, shape (strata, children)."""
    children, above = tree.children, tree.above
    mean = solution.mean[:, children] - solution.mean[:, above]
    own = solution.own[:, above]
    variance = solution.own[:, children] + own - 2.0 * solution.carry[:, children] * own
    apart = solution.slope[:, children] - solution.slope[:, above]
    variance = variance + ((apart @ solution.conditions) * apart).sum(-1)
    return mean, np.maximum(variance, SETTINGS.rounding_bpb**2)


def _cavity(mean: Array, variance: Array, factors: Factors, children: slice) -> tuple[Array, Array]:
    """Return what all else says of every change's effect, its own factor taken out: mean and variance."""
    precision = 1.0 / variance - factors.precision[:, children]
    precision = np.maximum(precision, SETTINGS.least_information / variance)
    return (mean / variance - factors.shift[:, children]) / precision, 1.0 / precision


def _updated(factors: Factors, children: slice, cavity: tuple[Array, Array], tilted: Mixture, step: float) -> Factors:
    """Return factors that give every change the mean and variance of its tilted distribution."""
    mean, variance = cavity
    information = 1.0 / variance
    wanted = np.maximum(tilted.sd, SETTINGS.rounding_bpb) ** -2
    precision = np.maximum(wanted - information, SETTINGS.least_information * information)
    shift = tilted.mean * (precision + information) - mean * information
    old_precision, old_shift = factors.precision[:, children], factors.shift[:, children]
    new = Factors(factors.precision.copy(), factors.shift.copy())
    new.precision[:, children] = old_precision + step * (precision - old_precision)
    new.shift[:, children] = old_shift + step * (shift - old_shift)
    return new
