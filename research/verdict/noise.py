"""How much two runs of the same code differ: the one number that every verdict is measured against.

Runs of one configuration with different seeds are normal around its true value with one standard deviation for the
whole contract. That deviation has a scaled inverse chi-square prior (Gelman et al., Bayesian Data Analysis, 2013,
2.6 and 3.2), so a lab without a single replicate has an honest guess, and a few replicates outweigh it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from research.core.settings import SETTINGS
from research.verdict.distributions import chi2_quantile, t_quantile


@dataclass(frozen=True)
class Prior:
    """What is believed of the noise before the first replicate.

    Attributes:
        sd: Standard deviation of one run, in bpb.
        n: How many replicates the belief is worth (degrees of freedom).

    Raises:
        ValueError: unless both are above zero.
    """

    sd: float
    n: float

    def __post_init__(self) -> None:
        if not (self.sd > 0.0 and self.n > 0.0):
            raise ValueError(f"a noise prior needs sd and n above zero, not {self.sd} and {self.n}")


PRIOR = Prior(SETTINGS.noise_prior_sd_bpb, SETTINGS.noise_prior_n)
"""The prior in use."""


@dataclass(frozen=True)
class Noise:
    """The noise of a contract.

    Attributes:
        sd: Standard deviation of one run, in bpb: what prior and replicates say together.
        n: Degrees of freedom that the replicates bring: runs of replicated configurations less the configurations.
        prior_sd: The prior's standard deviation, in bpb.
        prior_n: The prior's degrees of freedom.
        groups: Configurations with two runs or more.
    """

    sd: float
    n: int
    prior_sd: float
    prior_n: float
    groups: int

    @property
    def dof(self) -> float:
        """Degrees of freedom of the deviation, the prior's included."""
        return self.n + self.prior_n

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval of ``sd``, in bpb."""
        return self._bound(0.5 + 0.5 * SETTINGS.interval_share)

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval of ``sd``, in bpb."""
        return self._bound(0.5 - 0.5 * SETTINGS.interval_share)

    @property
    def t(self) -> float:
        """How many standard errors the 95 % interval of a mean reaches to each side."""
        return t_quantile(0.5 + 0.5 * SETTINGS.interval_share, self.dof)

    def _bound(self, p: float) -> float:
        return self.sd * math.sqrt(self.dof / chi2_quantile(p, self.dof))


def from_sums(squares: float, n: int, groups: int, prior: Prior = PRIOR) -> Noise:
    """The noise from what replicates add up to.

    Args:
        squares: Sum of squared deviations from each configuration's mean, in bpb squared.
        n: Their degrees of freedom.
        groups: Configurations with two runs or more.
        prior: What was believed before.
    """
    variance = (prior.n * prior.sd * prior.sd + max(squares, 0.0)) / (prior.n + n)
    return Noise(math.sqrt(variance), n, prior.sd, prior.n, groups)


def fit(groups: Iterable[Sequence[float]], prior: Prior = PRIOR) -> Noise:
    """The noise from the scores of replicated configurations.

    Args:
        groups: Scores of one configuration each, in bpb; groups of one say nothing and may be among them.
        prior: What was believed before.
    """
    squares, n, count = 0.0, 0, 0
    for values in groups:
        if len(values) < 2:
            continue
        mean = math.fsum(values) / len(values)
        squares += math.fsum((value - mean) ** 2 for value in values)
        n += len(values) - 1
        count += 1
    return from_sums(squares, n, count, prior)
