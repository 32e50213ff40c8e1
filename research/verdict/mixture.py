"""Computes probabilities, intervals and expectations of mixtures of normals, as every posterior here is one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_SMALLEST_SD = 1e-9
"""Standard deviation, in bpb, below which a component is taken as a point: scores have six decimals."""


@dataclass(frozen=True)
class Mixture:
    """A mixture of normal distributions, or many of them side by side.

    Attributes:
        weights: Shares of the components, shape (components, ...), summing to one along the first axis.
        means: Their means in bpb, same shape.
        sds: Their standard deviations in bpb, same shape.
    """

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
        variance = (self.weights * (self.sds**2 + around**2)).sum(0)
        root: Array = np.sqrt(variance)
        return root

    def cdf(self, x: Array | float) -> Array:
        """Return P(value <= x), shape (...)."""
        z = (x - self.means) / np.maximum(self.sds, _SMALLEST_SD)
        share: Array = (self.weights * normal_cdf(z)).sum(0)
        return share

    def interval(self, share: float) -> tuple[Array, Array]:
        """Return the ends of an interval around the mean, as of a normal distribution with the mixture's own deviation.

        Where the deviation itself is uncertain the mixture has heavier tails than a normal distribution, and a larger
        deviation, so that the interval still holds about this share (tests measure it).
        """
        reach = NormalDist().inv_cdf(0.5 + 0.5 * share) * self.sd
        return self.mean - reach, self.mean + reach

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
