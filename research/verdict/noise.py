"""Defines the noise of a score: three standard deviations, as they are estimated and as they are assumed beforehand.

Nothing here loads numpy, so that a summary can be shown without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

from research.core.contract import PROFILES
from research.core.records import Run
from research.core.settings import SETTINGS

REACH = NormalDist().inv_cdf(0.5 + 0.5 * SETTINGS.interval_share)
"""Standard deviations from the mean to an end of the intervals shown, for a normal distribution."""


@dataclass(frozen=True)
class Spread:
    """A standard deviation with its 95 % interval, in bpb."""

    sd: float
    low: float
    high: float
    n: int  # degrees of freedom that the runs give it


@dataclass(frozen=True)
class Noise:
    """The noise of a score, by its three sources."""

    repeat: Spread  # of repeats of one program with one seed
    seed: Spread  # of the seeds' effects
    interaction: Spread  # of a change's effect from seed to seed

    @property
    def paired_sd(self) -> float:
        """Return the standard deviation of one run whose seed's effect is known, in bpb.

        The interaction is of a difference of two configurations, so that each has half of its variance.
        """
        return math.sqrt(0.5 * self.interaction.sd**2 + self.repeat.sd**2)


class SdPrior(NamedTuple):
    """A log-normal prior of a standard deviation."""

    median: float  # in bpb
    log_sd: float  # sd of its natural logarithm

    @property
    def spread(self) -> Spread:
        """Return the standard deviation as it is assumed before any run."""
        factor = math.exp(REACH * self.log_sd)
        return Spread(self.median, self.median / factor, self.median * factor, 0)


class NoisePrior(NamedTuple):
    """The priors of the three standard deviations of a score."""

    repeat: SdPrior
    seed: SdPrior
    interaction: SdPrior

    @property
    def noise(self) -> Noise:
        """Return the three as they are assumed before any run."""
        return Noise(self.repeat.spread, self.seed.spread, self.interaction.spread)


OFFICIAL = NoisePrior(
    SdPrior(SETTINGS.repeat_sd_bpb, SETTINGS.repeat_log_sd),
    SdPrior(SETTINGS.seed_sd_bpb, SETTINGS.seed_log_sd),
    SdPrior(SETTINGS.interaction_sd_bpb, SETTINGS.interaction_log_sd),
)
"""The prior of the official profile."""
POCKET = NoisePrior(
    SdPrior(SETTINGS.pocket_repeat_sd_bpb, SETTINGS.pocket_log_sd),
    SdPrior(SETTINGS.pocket_seed_sd_bpb, SETTINGS.pocket_log_sd),
    SdPrior(SETTINGS.pocket_interaction_sd_bpb, SETTINGS.pocket_log_sd),
)
"""The prior of the pocket profile."""


def is_pocket(runs: Sequence[Run]) -> bool:
    """Return whether runs of one contract are the pocket profile's; under a custom budget the device decides."""
    contract = next((run.contract for run in runs if run.contract), "")
    on_cpu = any("cpu" in (run.device or run.facts.get("device_class") or "").lower() for run in runs)
    return contract.startswith(PROFILES[1]) or (on_cpu and not contract.startswith(PROFILES[0]))
