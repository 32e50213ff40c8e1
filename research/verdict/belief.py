"""Computes the posterior that everything reads: what the runs of a contract say of values, changes and noise.

The model of a score is::

    score = value(configuration) + effect(condition) + interaction(configuration, condition) + repeat noise
    value(child) = value(parent) + effect(change)

A condition is a seed on a machine (research.verdict.variances). Its effect is shared by all runs under it, so it
cancels where two configurations ran under the same one. Effects of changes have the distribution of
research.verdict.effects, learned from these very runs; research.verdict.propagation solves for all of it at once. The
standard deviations are averaged over: every array has a first axis of strata of their posterior.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from research.core.records import Estimate
from research.core.settings import SETTINGS
from research.verdict import effects
from research.verdict.mixture import Array, Mixture
from research.verdict.noise import OFFICIAL, NoisePrior
from research.verdict.propagation import Factors, fit, tree_of
from research.verdict.variances import (
    Cells,
    Condition,
    Variances,
    cells_of,
    estimate,
    paired_sd,
)


@dataclass(frozen=True)
class Score:
    """One scored run, or what was foretold of one that was stopped.

    Attributes:
        config: Its configuration.
        parent: The configuration that it was made from, None for a first one or an unknown one.
        condition: Seed, machine and family of initial values.
        val_bpb: Its score, lower is better.
        spread: The forecast's standard deviation in bpb, 0 for a score.
    """

    config: Hashable
    parent: Hashable | None
    condition: Condition
    val_bpb: float
    spread: float = 0.0


@dataclass(frozen=True)
class _Effects:
    """What all changes did: means, ends of the 95 % intervals, P(better) and expected gain, shape (children,)."""

    mean: Array
    low: Array
    high: Array
    p_better: Array
    gain: Array

    def estimate(self, at: int, n: int) -> Estimate:
        """Return one of them, with the runs behind it."""
        return Estimate(float(self.mean[at]), float(self.low[at]), float(self.high[at]), n)


class Belief:
    """The posterior; make one by from_history().

    Attributes:
        variances: The posterior of the three standard deviations.
        runs: Scored runs behind it. A stopped run is none: its configuration has no score and is not contained, yet
            what was foretold of it, with its spread, says something of its change.
    """

    def __init__(self, scores: Sequence[Score], prior: NoisePrior = OFFICIAL, previous: Belief | None = None) -> None:
        self.prior = prior
        self._scores: dict[Hashable, list[Score]] = {}
        for score in scores:
            if not score.spread:
                self._scores.setdefault(score.config, []).append(score)
        self.runs = sum(map(len, self._scores.values()))
        configs = dict.fromkeys(score.config for score in scores)
        parents: dict[Hashable, Hashable] = {}
        for score in scores:
            if score.parent is not None and score.parent != score.config and score.parent in configs:
                parents.setdefault(score.config, score.parent)
        self._order, self._tree = tree_of([*configs], parents)
        self._number = {config: place for place, config in enumerate(self._order)}
        numbered = [(self._number[one.config], one.condition, one.val_bpb) for one in scores]
        self._cells = cells_of(numbered, [one.spread for one in scores])
        self.variances = _variances(self._cells, prior, previous)
        self._centre = float(self._cells.mean.mean()) if self.runs else 0.0
        usual = paired_sd(OFFICIAL.repeat.median, OFFICIAL.interaction.median)
        doublings = effects.usual_doublings(self.variances.paired_sd, usual)
        self._prior_weights = effects.prior_weights(doublings)
        first = self._tree.children.start
        latest = [at - first for config in configs if (at := self._number[config]) >= first]
        start = self._start(previous)
        self._fit = fit(self._tree, self._cells, self.variances, self._prior_weights, latest, self._centre, start)

    @classmethod
    def from_history(
        cls, scores: Iterable[Score], prior: NoisePrior = OFFICIAL, previous: Belief | None = None
    ) -> Belief:
        """Make the posterior of all scored runs of one contract.

        Args:
            scores: The runs, in order.
            prior: What is assumed of the standard deviations.
            previous: The posterior of the first of these runs, from which the search for this one starts: faster, with
                the same result up to the tolerance.
        """
        return cls([*scores], prior, previous)

    def _start(self, previous: Belief | None) -> tuple[Array, Factors]:
        """Return where the search for the fit starts: from what was usual, or from where the one before ended."""
        strata = len(self.variances.weights)
        weights = np.tile(self._prior_weights, (strata, 1))
        factors = Factors.of_size(self._tree, strata, effects.typical_size(self._prior_weights))
        if previous is not None and len(previous.variances.weights) == strata:
            weights = previous._fit.weights
            same = [config for config in previous.configs if previous.parent(config) is not None and config in self]
            mine, theirs = [self._number[one] for one in same], [previous._number[one] for one in same]
            factors.precision[:, mine] = previous._fit.factors.precision[:, theirs]
            factors.shift[:, mine] = previous._fit.factors.shift[:, theirs]
        return weights, factors

    # What was measured ---------------------------------------------------------------------------------------------

    def __contains__(self, config: object) -> bool:
        return config in self._scores

    def __len__(self) -> int:
        return len(self._scores)

    @property
    def configs(self) -> tuple[Hashable, ...]:
        """Return the scored configurations in order of their first run."""
        return tuple(self._scores)

    def is_foretold(self, config: object) -> bool:
        """Return whether a configuration has no score, but a run of it was stopped."""
        return config in self._number and config not in self._scores

    def n(self, config: Hashable) -> int:
        """Return how many runs a configuration has; 0 for an unknown one."""
        return len(self._scores.get(config, ()))

    def scores(self, config: Hashable) -> tuple[Score, ...]:
        """Return the runs of a configuration in order; none for an unknown one."""
        return tuple(self._scores.get(config, ()))

    def seeds(self, config: Hashable) -> tuple[int, ...]:
        """Return the seeds of a configuration in the order in which they were first run."""
        return tuple(dict.fromkeys(score.condition.seed for score in self._scores.get(config, ())))

    def shared_seeds(self, config: Hashable, other: Hashable) -> tuple[int, ...]:
        """Return the seeds that both ran with, in the order in which the first did."""
        theirs = set(self.seeds(other))
        return tuple(seed for seed in self.seeds(config) if seed in theirs)

    def parent(self, config: Hashable) -> Hashable | None:
        """Return the scored configuration that one was made from, None without one."""
        place = self._number.get(config)
        above = -1 if place is None else int(self._tree.parent[place])
        return self._order[above] if above >= 0 else None

    # What is estimated ---------------------------------------------------------------------------------------------

    def value(self, config: Hashable) -> Estimate:
        """Return a configuration's val_bpb under the usual seed, with its 95 % interval.

        Raises:
            KeyError: if it has no score.
        """
        place = self._number[config]
        one = self._values
        return Estimate(float(one[0][place]), float(one[1][place]), float(one[2][place]), self.n(config))

    def mean(self, config: Hashable) -> float:
        """Return the posterior mean of a configuration's val_bpb.

        Raises:
            KeyError: if it has no score.
        """
        return float(self._means[self._number[config]])

    def best(self, among: Iterable[Hashable] | None = None) -> Hashable | None:
        """Return the configuration with the lowest posterior mean, of those given or of all; None without any."""
        known = [config for config in (self._scores if among is None else among) if config in self._scores]
        return min(known, key=self.mean, default=None)

    def difference(self, config: Hashable, other: Hashable) -> Estimate:
        """Return a configuration's value minus another's with its 95 % interval, in bpb; below zero is better.

        Raises:
            KeyError: if one has no score.
        """
        one, two, n = self._number[config], self._number[other], self.n(config) + self.n(other)
        if self._tree.parent[one] == two:
            return self._effects.estimate(self._child(one), n)
        if self._tree.parent[two] == one:
            back = self._effects.estimate(self._child(two), n)
            return Estimate(-back.mean, -back.high, -back.low, n)
        known = self._apart(one, two)
        ends = known.interval(SETTINGS.interval_share)
        return Estimate(float(known.mean), float(ends[0]), float(ends[1]), n)

    def p_better(self, config: Hashable, other: Hashable, margin: float = 0.0) -> float:
        """Return P(a configuration's value is lower than another's by more than a margin in bpb).

        Raises:
            KeyError: if one has no score.
        """
        one, two = self._number[config], self._number[other]
        if not margin and self._tree.parent[one] == two:
            return float(self._effects.p_better[self._child(one)])
        return float(self._difference(one, two).cdf(-margin))

    def effect(self, config: Hashable) -> Estimate | None:
        """Return what a configuration's change did to its parent's value, in bpb; None without a scored parent.

        Raises:
            KeyError: if it has no score.
        """
        parent = self.parent(config)
        return None if parent is None else self.difference(config, parent)

    def expected_gain(self, config: Hashable, other: Hashable) -> float:
        """Return E[max(0, other's value minus the configuration's)], the expected improvement, in bpb."""
        one, two = self._number[config], self._number[other]
        if self._tree.parent[one] == two:
            return float(self._effects.gain[self._child(one)])
        return float(self._difference(one, two).expected_gain())

    def _child(self, place: int) -> int:
        """Return where a configuration stands among those that have a parent."""
        return place - int(self._tree.children.start)

    def surprise(self, config: Hashable) -> float:
        """Return a change's measured effect in standard deviations of what changes usually do and of the measurement.

        Above zero for a gain; 0 where there is no scored parent. The usual size leaves out the largest effects, which
        are what is to be noticed.
        """
        at = self._number.get(config, -1) - self._tree.children.start
        if at < 0:
            return 0.0
        mean, variance = (each[:, at] for each in self._fit.cavity)
        return float((self.variances.weights * -mean / np.sqrt(self.effect_size**2 + variance)).sum())

    @property
    def effect_size(self) -> float:
        """Return the typical size of an effect in bpb."""
        return effects.typical_size((self.variances.weights[:, None] * self._fit.weights).sum(0))

    @cached_property
    def _means(self) -> Array:
        found: Array = self._centre + (self.variances.weights[:, None] * self._fit.solution.mean).sum(0)
        return found

    @cached_property
    def _values(self) -> tuple[Array, Array, Array]:
        """Return means and ends of the 95 % intervals of all values."""
        one = self._fit.solution
        spread = one.own + ((one.slope @ one.conditions) * one.slope).sum(-1)
        weights = np.broadcast_to(self.variances.weights[:, None], one.mean.shape)
        known = Mixture(weights, self._centre + one.mean, np.sqrt(spread))
        low, high = known.interval(SETTINGS.interval_share)
        return known.mean, low, high

    @cached_property
    def _effects(self) -> _Effects:
        """Return what all changes did, from the exact posterior of each given all else."""
        known = effects.posterior(self._fit.others, *self._fit.cavity)  # components by strata by children
        share = self._shares
        over_strata = Mixture(share, known.mean, known.sd)
        low, high = over_strata.interval(SETTINGS.interval_share)
        gain = (share * known.expected_gain()).sum(0)
        return _Effects(over_strata.mean, low, high, (share * known.cdf(0.0)).sum(0), gain)

    @cached_property
    def _shares(self) -> Array:
        """Return shares of the strata for each change, given what was measured of it, shape (strata, children).

        Most changes do little, so a large measured effect is more probable where the noise is large; without this the
        first lucky score of a night, whose noise is hardly known, would be taken for a gain.
        """
        log = effects.log_densities(self._fit.others, *self._fit.cavity)
        share = self.variances.weights[:, None] * np.exp(log - log.max(0, initial=-np.inf))
        return np.asarray(share / share.sum(0), dtype=np.float64)

    def _difference(self, one: int, two: int) -> Mixture:
        """Return the posterior of one value minus another's; for a child and its parent that of the change."""
        if self._tree.parent[one] == two:
            return self._change(one, 1.0)
        if self._tree.parent[two] == one:
            return self._change(two, -1.0)
        return self._apart(one, two)

    def _apart(self, one: int, two: int) -> Mixture:
        """Return the posterior of one value minus another's from their joint normal distribution."""
        solution = self._fit.solution
        variance = solution.own[:, one] + solution.own[:, two] - 2.0 * self._covariance(one, two)
        slope = solution.slope[:, one] - solution.slope[:, two]
        variance = variance + np.einsum("ks,kst,kt->k", slope, solution.conditions, slope)
        means = solution.mean[:, one] - solution.mean[:, two]
        return Mixture(self.variances.weights, means, np.sqrt(np.maximum(variance, SETTINGS.rounding_bpb**2)))

    def _change(self, child: int, sign: float) -> Mixture:
        """Return the posterior of one change's effect, times a sign: components by strata, in one axis."""
        at = self._child(child)
        known = effects.posterior(self._fit.others[:, at], self._fit.cavity[0][:, at], self._fit.cavity[1][:, at])
        weights = known.weights * self._shares[:, at]
        used = weights > SETTINGS.min_effect_weight
        return Mixture(weights[used] / weights[used].sum(), sign * known.means[used], known.sds[used])

    def _covariance(self, one: int, two: int) -> Array:
        """Return the covariance of two values with the conditions known, shape (strata,)."""
        carry, parent = self._fit.solution.carry, self._tree.parent
        above: dict[int, Array] = {}
        share = np.ones(carry.shape[0])
        place = one
        while place >= 0:
            above[place] = share
            share = share * carry[:, place]
            place = int(parent[place])
        share, place = np.ones(carry.shape[0]), two
        while place >= 0 and place not in above:
            share = share * carry[:, place]
            place = int(parent[place])
        if place < 0:
            return np.zeros(carry.shape[0])
        return share * above[place] * self._fit.solution.own[:, place]


def _variances(cells: Cells, prior: NoisePrior, previous: Belief | None) -> Variances:
    """Estimate the standard deviations; a new cell of a configuration with one cell only says nothing new of them."""
    if previous is not None and previous.prior == prior and len(cells.n) and _tells_the_same(cells, previous._cells):
        return previous.variances
    return estimate(cells, prior)


def _tells_the_same(cells: Cells, before: Cells) -> bool:
    """Return whether two sets of cells say the same of the standard deviations."""
    if cells.conditions != before.conditions or cells.squares != before.squares:
        return False
    mine, theirs = (np.bincount(each.config[each.spread == 0.0]) for each in (cells, before))
    return bool(
        (mine > 1).sum() == (theirs > 1).sum()
        and mine[mine > 1].sum() == theirs[theirs > 1].sum()
        and cells.n.sum() - len(cells.n) == before.n.sum() - len(before.n)
    )
