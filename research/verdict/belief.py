"""Computes the posterior of values, changes and noise from the runs of one contract; everything else reads it.

The model of a score is::

    score = value(configuration) + effect(condition) + interaction(configuration, condition) + repeat noise
    value(child) = value(parent) + effect(change)

A condition is a seed on a machine (research.verdict.variances). Two configurations are compared on the conditions that
both ran under, so that the effects of conditions cancel. P(better) comes from that comparison alone. The effect of a
change is discounted for luck, since the best of many tries reads better than it is: it is a posterior mean under the
distribution of research.verdict.effects, which is learned from these very runs. A value is the sum of the changes from
the first configuration on, and a difference is that of two values. The standard deviations are averaged over: arrays
have a first axis of strata of their posterior.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from research.core.records import Estimate
from research.core.settings import SETTINGS
from research.verdict import effects
from research.verdict.effects import Mixture
from research.verdict.noise import OFFICIAL, REACH, NoisePrior
from research.verdict.variances import Array, Cells, Condition, Variances, cells_of, contrasts, differences, estimate


@dataclass(frozen=True)
class Score:
    """The score of one run, or the forecast of one that was stopped."""

    config: Hashable  # its configuration
    parent: Hashable | None  # configuration that it was made from, None for a first one or an unknown one
    condition: Condition
    val_bpb: float  # lower is better
    spread: float = 0.0  # the forecast's standard deviation in bpb, 0 for a score


class _Value(NamedTuple):
    """The posterior of a value, in bpb."""

    mean: float
    variance: float

    def estimate(self, n: int) -> Estimate:
        """Return it as a mean with its 95 % interval; n is the number of runs behind it."""
        reach = REACH * math.sqrt(self.variance)
        return Estimate(self.mean, self.mean - reach, self.mean + reach, n)


class _Effects(NamedTuple):
    """The effects of all changes on their parents, in bpb; measured and variance have the shape (strata, children)."""

    place: Mapping[Hashable, int]  # index on the children's axis of each configuration that has a parent
    measured: Array  # effects as the runs show them
    variance: Array  # squared standard errors of those
    known: Mixture  # the posterior of the effects, given those of all changes
    weights: Array  # shares of the components among all changes, shape (strata, components)


class Belief:
    """The posterior of all scored runs of one contract.

    A configuration of which all runs were stopped is not contained, yet the forecasts of those runs are evidence about
    its change.

    Args:
        scores: The scores and forecasts, in order.
        prior: The standard deviations as they are assumed before any run.
        previous: A posterior of the first of these scores, from which is taken what the new ones don't move.
    """

    def __init__(self, scores: Iterable[Score], prior: NoisePrior = OFFICIAL, previous: Belief | None = None) -> None:
        self.prior = prior
        every: dict[Hashable, list[Score]] = {}
        for score in scores:
            every.setdefault(score.config, []).append(score)
        self._scores = {
            config: scored for config, mine in every.items() if (scored := [one for one in mine if not one.spread])
        }
        self._every, self._parents = every, _parents(every)
        self._cells: dict[Hashable, Cells] = {}
        for config, mine in every.items():
            if previous and previous._every.get(config) == mine:
                self._cells[config] = previous._cells[config]
            else:
                self._cells[config] = cells_of([(one.condition, one.val_bpb, one.spread) for one in mine])
        known = {config: self._cells[config] for config in self._scores}
        pairs = [(known[one], known[two]) for one, two in self._parents.items() if one in known and two in known]
        self._contrasts = contrasts([*known.values()], pairs)
        self._differences: dict[tuple[Hashable, Hashable], tuple[Array, Array]] = {}
        if previous and (previous._contrasts, previous.prior) == (self._contrasts, prior):
            self.variances: Variances = previous.variances
            same = {config for config, cells in self._cells.items() if cells is previous._cells.get(config)}
            self._differences = {pair: one for pair, one in previous._differences.items() if same.issuperset(pair)}
        else:
            self.variances = estimate(self._contrasts, prior)

    # What was measured ---------------------------------------------------------------------------------------------

    def __contains__(self, config: object) -> bool:
        return config in self._scores

    @property
    def configs(self) -> tuple[Hashable, ...]:
        """Return the scored configurations in order of their first run."""
        return tuple(self._scores)

    def n(self, config: Hashable) -> int:
        """Return how many runs a configuration has; 0 for an unknown one."""
        return len(self._scores.get(config, ()))

    def scores(self, config: Hashable) -> tuple[Score, ...]:
        """Return the runs of a configuration in order; none for an unknown one."""
        return tuple(self._scores.get(config, ()))

    def seeds(self, config: Hashable, machine: str = "") -> tuple[int, ...]:
        """Return the seeds of a configuration in order of their first run, those on a machine if one is given."""
        conditions = (score.condition for score in self._scores.get(config, ()))
        return tuple(dict.fromkeys(one.seed for one in conditions if machine in ("", one.machine)))

    def shared_seeds(self, config: Hashable, other: Hashable) -> tuple[int, ...]:
        """Return the seeds that both ran with on the same machine, in the order in which the first did."""
        theirs = {(score.condition.seed, score.condition.machine) for score in self._scores.get(other, ())}
        conditions = (score.condition for score in self._scores.get(config, ()))
        return tuple(dict.fromkeys(one.seed for one in conditions if (one.seed, one.machine) in theirs))

    def parent(self, config: Hashable) -> Hashable | None:
        """Return the configuration that one was made from, None without a known one."""
        return self._parents.get(config)

    def ancestry(self, config: Hashable, until: Mapping[Hashable, object] | None = None) -> Iterator[Hashable]:
        """Yield a configuration and its ancestors, up to the first that is in a mapping."""
        while not (until and config in until):
            yield config
            if config not in self._parents:
                return
            config = self._parents[config]

    # Differences and values; KeyError for a configuration that is not known -------------------------------------------

    def p_better(self, config: Hashable, other: Hashable, margin: float = 0.0) -> float:
        """Return P(a configuration's value is lower than another's by more than a margin in bpb), as their runs say it.

        The prior of the difference is flat: what other changes did is no evidence against this one.
        """
        if config == other:
            return 0.5 if not margin else float(margin < 0.0)
        means, sds = self._compared(config, other)
        strata = zip(self.variances.weights.tolist(), means.tolist(), sds.tolist(), strict=True)
        return math.fsum(share * 0.5 * math.erfc((mean + margin) / (sd * math.sqrt(2))) for share, mean, sd in strata)

    def _compared(self, config: Hashable, other: Hashable) -> tuple[Array, Array]:
        """Return mean and standard deviation of a difference in every stratum."""
        means, variances = self._measured(config, other)
        return means, np.sqrt(np.maximum(variances, SETTINGS.rounding_bpb**2))

    def _measured(self, config: Hashable, other: Hashable) -> tuple[Array, Array]:
        """Return the difference that runs show, with its variance, in every stratum; it is computed once."""
        pair = config, other
        if pair not in self._differences:
            if (via := self.common(config, other)) is None:
                found = _difference(self._cells[config], self._cells[other], self.variances)
            else:
                (one, two), (its, more) = self._measured(config, via), self._measured(other, via)
                found = one - its, two + more
            self._differences[pair] = found
        return self._differences[pair]

    def common(self, config: Hashable, other: Hashable) -> Hashable | None:
        """Return the nearest ancestor that shares a condition with each of two that share none, None without one.

        So a run that was in progress while another change was kept is compared with it: each with what both were made
        from.
        """

        def is_paired(one: Hashable, two: Hashable) -> bool:
            return not self._cells[one].keys().isdisjoint(self._cells[two].keys())

        if is_paired(config, other):
            return None
        above = {*self.ancestry(config), *self.ancestry(other)}
        paired = [each for each in above if is_paired(each, config) and is_paired(each, other)]
        return max(paired, key=lambda each: (len([*self.ancestry(each)]), repr(each)), default=None)

    def value(self, config: Hashable) -> Estimate:
        """Return a configuration's val_bpb under the usual seed, discounted for luck, with its 95 % interval."""
        return self._values[config].estimate(self.n(config))

    def mean(self, config: Hashable) -> float:
        """Return the posterior mean of a configuration's val_bpb."""
        return self._values[config].mean

    def best(self, among: Iterable[Hashable] | None = None) -> Hashable | None:
        """Return the configuration with the lowest posterior mean, of those given or of all; None without any."""
        known = [config for config in (self._scores if among is None else among) if config in self._scores]
        return min(known, key=self.mean, default=None)

    def difference(self, config: Hashable, other: Hashable) -> Estimate:
        """Return a configuration's value minus another's, discounted for luck, in bpb: below zero is better."""
        return self._value_difference(config, other).estimate(self.n(config) + self.n(other))

    def largest_gain(self, chain: Iterable[Hashable]) -> float:
        """Return the largest gain from one configuration of a chain to the next with a score, in bpb."""
        means = [self.mean(config) for config in chain if config in self]
        return max((one - two for one, two in pairwise(means)), default=0.0)

    def expected_gain(self, config: Hashable, other: Hashable) -> float:
        """Return E[max(0, other's value minus the configuration's)], the expected improvement, in bpb."""
        if config in self._parents and self._parents[config] == other:
            return self._gains[self._effects.place[config]]
        apart = self._value_difference(config, other)
        return float(Mixture(np.ones(1), np.array([apart.mean]), np.array([math.sqrt(apart.variance)])).expected_gain())

    @cached_property
    def _gains(self) -> list[float]:
        """Return the expected improvement of every change on its parent."""
        found: list[float] = self._effects.known.expected_gain().tolist()
        return found

    def surprise(self, config: Hashable) -> float:
        """Return a change's measured gain divided by the standard deviation of usual effects and of its measurement.

        It is 0 where there is no scored parent. The usual size leaves out the largest effects, which are the surprises.
        """
        if config not in self._effects.place:
            return 0.0
        at = self._effects.place[config]
        spread = np.sqrt(self.effect_size**2 + self._effects.variance[:, at])
        return float((self.variances.weights * -self._effects.measured[:, at] / spread).sum())

    @cached_property
    def effect_size(self) -> float:
        """Return the typical size of an effect in bpb."""
        return effects.typical_size((self.variances.weights[:, None] * self._effects.weights).sum(0))

    # How it is estimated ---------------------------------------------------------------------------------------------

    @cached_property
    def _effects(self) -> _Effects:
        """Return the effects of all changes, each measured one weighed against those of all others."""
        children = [config for config in self._cells if config in self._parents]
        measured, variance = np.empty((2, len(self.variances.weights), len(children)))
        for at, config in enumerate(children):
            measured[:, at], variance[:, at] = self._measured(config, self._parents[config])
        prior = effects.prior_weights(effects.usual_doublings(self.variances.noise.paired_sd))
        latest = slice(max(0, len(children) - SETTINGS.effects_remembered), None)
        weights = np.tile(prior, (len(self.variances.weights), 1))
        log = effects.likelihoods(measured[:, latest], variance[:, latest])
        weights = effects.learned(weights, prior, log, SETTINGS.learning_steps)
        others = np.repeat(weights[:, None, :], len(children), axis=1)  # strata by children by components
        others[:, latest] = effects.without_own(weights, prior, log)
        # Most changes do little, so measured effects that are all large are more probable where the noise is large.
        evidence = effects.log_densities(others[:, latest], log).sum(1)  # logarithms, one for each stratum
        share = self.variances.weights * np.exp(evidence - evidence.max())
        known = effects.posterior(others, measured, variance)  # components by strata by children
        parts = (known.weights * (share / share.sum())[:, None], known.means, known.sds)
        flat = Mixture(*(each.reshape(len(share) * weights.shape[1], len(children)) for each in parts))
        return _Effects({config: at for at, config in enumerate(children)}, measured, variance, flat, weights)

    @cached_property
    def _values(self) -> dict[Hashable, _Value]:
        """Return every configuration's value: its parent's plus its change's effect; a first one's by its runs."""
        place, known = self._effects.place, self._effects.known
        means, variances = known.mean.tolist(), (known.sd**2).tolist()
        found: dict[Hashable, _Value] = {}
        first: Hashable = None
        for config in self._cells:
            for each in reversed([*self.ancestry(config, found)]):
                if each in self._parents:
                    above, at = found[self._parents[each]], place[each]
                    found[each] = _Value(above.mean + means[at], above.variance + variances[at])
                else:
                    found[each] = self._root(each, first, found)
                    first = each if first is None else first
        return found

    def _root(self, config: Hashable, first: Hashable, found: Mapping[Hashable, _Value]) -> _Value:
        """Return the value of a configuration without a parent: by the seeds that it shares with the first one."""
        cells = self._cells[config]
        if first is not None and cells.keys() & self._cells[first].keys():
            apart = Mixture(self.variances.weights, *self._compared(config, first))
            return _Value(found[first].mean + float(apart.mean), found[first].variance + float(apart.sd) ** 2)
        mean, variance = _alone(cells, self.variances)
        return _Value(mean, float((self.variances.weights * variance).sum()))

    def _value_difference(self, config: Hashable, other: Hashable) -> _Value:
        """Return one value minus another's; the changes that both descend from cancel."""
        one, two = self._values[config], self._values[other]
        above = set(self.ancestry(config))
        common = [self._values[each].variance for each in self.ancestry(other) if each in above][:1]
        variance = one.variance + two.variance - 2.0 * sum(common)
        return _Value(one.mean - two.mean, max(variance, SETTINGS.rounding_bpb**2))


def _parents(every: Mapping[Hashable, Sequence[Score]]) -> dict[Hashable, Hashable]:
    """Return the parent of each configuration that has a known one, without links that would close a circle."""
    found: dict[Hashable, Hashable] = {}
    for config, mine in every.items():
        for parent in (score.parent for score in mine if score.parent in every):
            above = parent
            while above != config and above in found:
                above = found[above]
            if above != config:
                found[config] = parent
                break
    return found


def _difference(mine: Cells, theirs: Cells, known: Variances) -> tuple[Array, Array]:
    """Return one configuration's value minus another's, as their runs say it, and its variance, shape (strata,).

    Under conditions that both have, the conditions' effects cancel. Without one, they scatter by the seeds' standard
    deviation, less where they ran with one seed under two conditions, whose effects are correlated.
    """
    shared = differences(mine, theirs)
    if shared.values:
        repeat, interaction = known.repeat[:, None] ** 2, known.interaction[:, None] ** 2
        spread = interaction + repeat * np.array(shared.repeats) + np.array(shared.forecasts)
        precision = 1.0 / spread
        total = precision.sum(1)
        return (precision * np.array(shared.values)).sum(1) / total, 1.0 / total
    (one, its), (two, more) = _alone(mine, known), _alone(theirs, known)
    both = sum(here.seed == there.seed for here in mine for there in theirs) / (len(mine) * len(theirs))
    variance = its + more - 2.0 * SETTINGS.condition_correlation * known.seed**2 * both
    return np.full_like(variance, one - two), variance


def _alone(cells: Cells, known: Variances) -> tuple[float, Array]:
    """Return a configuration's mean score and its variance, shape (strata,), the effects of its seeds included."""
    parts = [
        0.5 * known.interaction**2 + known.repeat**2 / cell.n + known.seed**2 + cell.spread**2
        for cell in cells.values()
    ]
    variance: Array = sum(parts[1:], parts[0]) / len(cells) ** 2
    return math.fsum(cell.mean for cell in cells.values()) / len(cells), variance
