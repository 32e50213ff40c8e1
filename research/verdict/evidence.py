"""What the runs of one contract say about its configurations: means with their spread, differences, probabilities.

The real judge and every simulated policy weigh the same evidence, so adding a run costs the same however many there
are (Welford 1962), and nothing here knows of records or stores.

A configuration's runs are normal around its true value with the contract's noise (research.verdict.noise). With a flat
prior on values, a mean is then Student t distributed with the noise's degrees of freedom; with a normal prior on them
(mean ``centre``, standard deviation ``spread``) means are weighted by their precision, the noise taken at its estimate,
and the t distribution kept for what is not known of the noise.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from research.core.records import Estimate
from research.verdict.distributions import t_cdf
from research.verdict.noise import PRIOR, Noise, Prior, from_sums


@dataclass(frozen=True)
class Posterior:
    """What is believed of a configuration's true value: mean and standard error in bpb, runs behind it."""

    mean: float
    sd: float
    n: int


class _Group:
    """The runs of one configuration."""

    __slots__ = ("mean", "squares", "values")

    def __init__(self) -> None:
        self.values: list[float] = []
        self.mean = 0.0
        self.squares = 0.0


class Evidence:
    """Scores by configuration, in bpb, lower is better.

    Args:
        prior: What is believed of the noise before the first replicate.
    """

    def __init__(self, prior: Prior = PRIOR) -> None:
        self.prior = prior
        self._groups: dict[Hashable, _Group] = {}
        self._squares = 0.0
        self._dof = 0
        self._replicated = 0
        self._noise: Noise | None = None

    def add(self, config: Hashable, value: float) -> None:
        """Adds a run's score, in bpb."""
        group = self._groups.get(config)
        if group is None:
            group = self._groups[config] = _Group()
        values = group.values
        values.append(value)
        count = len(values)
        off = value - group.mean
        group.mean += off / count
        if count > 1:
            gained = off * (value - group.mean)
            group.squares += gained
            self._squares += gained
            self._dof += 1
            self._replicated += count == 2
            self._noise = None

    def __contains__(self, config: object) -> bool:
        return config in self._groups

    def __iter__(self) -> Iterator[Hashable]:
        """The configurations, in order of their first run."""
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def n(self, config: Hashable) -> int:
        """Runs of a configuration; 0 for an unknown one."""
        group = self._groups.get(config)
        return len(group.values) if group else 0

    def mean(self, config: Hashable) -> float:
        """Mean score of a configuration, in bpb.

        Raises:
            KeyError: if it has no run.
        """
        return self._groups[config].mean

    def values(self, config: Hashable) -> tuple[float, ...]:
        """Scores of a configuration in order; empty for an unknown one."""
        group = self._groups.get(config)
        return tuple(group.values) if group else ()

    def noise(self) -> Noise:
        """The noise that prior and replicates speak of."""
        if self._noise is None:
            self._noise = from_sums(self._squares, self._dof, self._replicated, self.prior)
        return self._noise

    def posterior(self, config: Hashable, centre: float = 0.0, spread: float = math.inf) -> Posterior:
        """What is believed of a configuration's true value.

        Args:
            config: A configuration; one without runs is known by the prior alone.
            centre: Mean of the prior of true values, in bpb.
            spread: Its standard deviation; infinite for a flat prior, which the runs' mean then follows.

        Raises:
            KeyError: if it has no run and the prior is flat.
        """
        group = self._groups.get(config)
        count = len(group.values) if group else 0
        if math.isinf(spread):
            return Posterior(self._groups[config].mean, self.noise().sd / math.sqrt(count), count)
        if group is None:
            return Posterior(centre, spread, 0)
        mean, sd = _shrunk(group.mean, self.noise().sd / math.sqrt(count), centre, spread)
        return Posterior(mean, sd, count)

    def estimate(self, config: Hashable, centre: float = 0.0, spread: float = math.inf) -> Estimate:
        """A configuration's value with its 95 % interval, in bpb; arguments and errors as of posterior()."""
        known = self.posterior(config, centre, spread)
        reach = self.noise().t * known.sd
        return Estimate(known.mean, known.mean - reach, known.mean + reach, known.n)

    def gap(
        self, config: Hashable, other: Hashable, centre: float = 0.0, spread: float = math.inf
    ) -> tuple[float, float]:
        """Mean and standard error of a configuration's true value minus another's, in bpb; below zero is better.

        Args:
            config: A configuration with runs.
            other: Another with runs.
            centre: Mean of the prior of such differences, in bpb.
            spread: Its standard deviation; infinite for a flat prior.

        Raises:
            KeyError: if one has no run.
        """
        one, two = self._groups[config], self._groups[other]
        error = self.noise().sd * math.sqrt(1.0 / len(one.values) + 1.0 / len(two.values))
        return _shrunk(one.mean - two.mean, error, centre, spread)

    def p_better(
        self,
        config: Hashable,
        other: Hashable,
        centre: float = 0.0,
        spread: float = math.inf,
        margin: float = 0.0,
    ) -> float:
        """P(a configuration's true value is lower than another's by more than ``margin``); see gap().

        Args:
            config: A configuration with runs.
            other: Another with runs.
            centre: Mean of the prior of such differences, in bpb.
            spread: Its standard deviation; infinite for a flat prior.
            margin: In bpb; below zero it asks for the probability of being no worse than that.
        """
        mean, error = self.gap(config, other, centre, spread)
        return t_cdf((-margin - mean) / error, self.noise().dof)

    def difference(self, config: Hashable, other: Hashable, centre: float = 0.0, spread: float = math.inf) -> Estimate:
        """A configuration's true value minus another's with its 95 % interval, in bpb; see gap().

        Returns:
            The estimate; its n is the runs of both.
        """
        mean, error = self.gap(config, other, centre, spread)
        reach = self.noise().t * error
        return Estimate(mean, mean - reach, mean + reach, self.n(config) + self.n(other))


def _shrunk(mean: float, error: float, centre: float, spread: float) -> tuple[float, float]:
    """A measured value weighed against its prior, each by its precision: mean and standard error."""
    if math.isinf(spread):
        return mean, error
    weight = spread * spread / (spread * spread + error * error)
    return centre + weight * (mean - centre), error * math.sqrt(weight)
