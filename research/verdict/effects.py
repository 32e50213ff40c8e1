"""What single ideas do: the prior that a measured gain is weighed against, learned from every gain measured so far.

Choosing the best of many noisy tries picks lucky draws: what is kept looks better than it is (the winner's curse).
With the right prior of effects a posterior needs no further correction for having been chosen (Efron 2011, "Tweedie's
formula and selection bias"), so the prior is learned from all effects, kept or not: a mixture on a fixed grid of
scales, its weights by expectation and maximisation (Stephens 2017, "False discovery rates: a new deal"). Its parts are
half-normals, one set for the better and one for the worse: most ideas make it worse, so the density jumps at zero, and
how often ideas help is learned apart from how much. The probability of not being better that follows is the local
false sign rate of that paper.

Effects are true values of a child minus those of its parent in bpb: below zero is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from research.core.settings import SETTINGS
from research.verdict.evidence import Evidence

Gap = tuple[float, float]
"""A measured effect and its standard error, in bpb."""


@dataclass(frozen=True)
class Belief:
    """What is believed of a true value or an effect: mean and standard deviation, in bpb."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Part:
    """One part of the mixture: a normal around zero, of which one half is meant.

    Attributes:
        side: -1 for the better half, 1 for the worse, 0 for no effect at all.
        sd: Standard deviation of the whole normal, in bpb; 0 for no effect.
    """

    side: Literal[-1, 0, 1]
    sd: float


_SCALES = tuple(SETTINGS.min_effect_bpb * 2.0**step for step in range(SETTINGS.effect_scales))
PARTS = (
    Part(0, 0.0),
    *(Part(-1, scale) for scale in _SCALES),
    *(Part(1, scale) for scale in _SCALES),
)
"""The parts in use, on scales that double from below any noise to above any effect; only their weights are learned."""


def assumed(noise_sd_bpb: float) -> tuple[float, ...]:
    """Weights of PARTS before any effect was measured.

    People try what could show: where the noise is known to be larger than usual, so are the effects looked for (a
    pocket run's differ by a hundred times those of a GPU's), so the assumed scales move up with it.

    Args:
        noise_sd_bpb: Standard deviation of one run.
    """
    above = noise_sd_bpb / SETTINGS.noise_prior_sd_bpb
    return _assumed(max(0, round(math.log2(above))) if above > 1.0 else 0)


@lru_cache
def _assumed(doublings: int) -> tuple[float, ...]:
    """The same with the scales moved up by so many steps of the grid."""
    better = _around(SETTINGS.effect_better_bpb * 2.0**doublings)
    worse = _around(SETTINGS.effect_worse_bpb * 2.0**doublings)
    some = 1.0 - SETTINGS.effect_null_share
    helps = SETTINGS.effect_better_share
    return (
        SETTINGS.effect_null_share,
        *(some * helps * weight for weight in better),
        *(some * (1.0 - helps) * weight for weight in worse),
    )


def _around(centre: float) -> list[float]:
    """Weights of the scales, the largest at the centre, with heavy tails either way; they sum to one."""
    near = [1.0 / (1.0 + math.log2(scale / centre) ** 2) for scale in _SCALES]
    total = sum(near)
    return [weight / total for weight in near]


ASSUMED = _assumed(0)
"""The assumed weights where the noise is not known to be larger than usual."""


class Effects:
    """The distribution of effects.

    Args:
        weights: One weight for each of PARTS; they sum to one.
        prior: The weights that were assumed before any effect was measured.
    """

    def __init__(self, weights: Sequence[float] = ASSUMED, prior: Sequence[float] = ASSUMED) -> None:
        self.weights, self.prior = tuple(weights), tuple(prior)

    def learned(self, gaps: Iterable[Gap], sweeps: int = SETTINGS.effect_sweeps) -> Effects:
        """The distribution after measured effects, these weights being where the search for it starts.

        The assumed weights stay in as if ``effect_prior_n`` effects had been seen (a Dirichlet prior).
        """
        return self.refined([likelihoods(gap) for gap in gaps], sweeps)

    def refined(self, rows: Sequence[Sequence[float]], sweeps: int) -> Effects:
        """The same from likelihoods(gap) of each effect, for callers who keep them; without any, what was assumed."""
        weights: Sequence[float] = self.weights if rows else self.prior
        seen = [SETTINGS.effect_prior_n * weight for weight in self.prior]
        for _ in range(sweeps if rows else 0):
            counts = seen
            for row in rows:
                joint = [weight * value for weight, value in zip(weights, row, strict=True)]
                total = sum(joint) or 1.0
                counts = [count + value / total for count, value in zip(counts, joint, strict=True)]
            total = sum(counts)
            weights = [count / total for count in counts]
        return Effects(weights, self.prior)

    @property
    def size(self) -> float:
        """Typical size of an effect, whatever its sign: the mixture's root mean square, the widest parts left out."""
        known = sorted((part.sd**2, weight) for part, weight in zip(PARTS, self.weights, strict=True))
        total = weights = 0.0
        for square, weight in known:
            if weights >= SETTINGS.effect_size_share:
                break
            total += square * weight
            weights += weight
        return math.sqrt(total / weights)

    def posterior(self, gap: Gap) -> Belief:
        """What is believed of an effect that was measured: its mean is free of the winner's curse."""
        joint = self._joint(gap)
        total = sum(joint)
        if total <= 0.0:
            return Belief(gap[0], gap[1])
        mean = square = 0.0
        for weight, part in zip(joint, PARTS, strict=True):
            if part.side and weight > total * SETTINGS.min_effect_weight:
                centre, variance = _half_posterior(part, gap)
                mean += weight / total * centre
                square += weight / total * (variance + centre * centre)
        return Belief(mean, math.sqrt(max(square - mean * mean, 0.0)))

    def p_better(self, gap: Gap) -> float:
        """P(a measured effect is below zero); it never falls when the measured effect does."""
        joint = self._joint(gap)
        total = sum(joint)
        if total <= 0.0:
            return normal_cdf(-gap[0] / max(gap[1], SETTINGS.rounding_bpb))
        return sum(weight for weight, part in zip(joint, PARTS, strict=True) if part.side < 0) / total

    def _joint(self, gap: Gap) -> list[float]:
        """Weight of every part after a measurement, up to a common factor."""
        return [weight * density for weight, density in zip(self.weights, likelihoods(gap), strict=True)]


def likelihoods(gap: Gap) -> list[float]:
    """Density of a measured effect under each of PARTS, up to a common factor."""
    value, error = gap
    error = max(error, SETTINGS.rounding_bpb)
    row = []
    for part in PARTS:
        variance = part.sd * part.sd + error * error
        density = math.exp(-0.5 * value * value / variance) / math.sqrt(variance)
        if part.side:
            density *= math.erfc(-part.side * value * part.sd / (error * math.sqrt(2.0 * variance)))
        row.append(density)
    return row


def _half_posterior(part: Part, gap: Gap) -> tuple[float, float]:
    """Mean and variance of an effect of one half-normal part after a measurement: a normal cut off at zero."""
    value, error = gap[0], max(gap[1], SETTINGS.rounding_bpb)
    trust = part.sd * part.sd / (part.sd * part.sd + error * error)
    centre, sd = trust * value, error * math.sqrt(trust)
    z = part.side * centre / sd
    inside = normal_cdf(z)
    if inside < _FAR:  # the measurement lies far on the other side: what is left is an exponential tail at zero
        return part.side * sd / -z, (sd / z) ** 2
    hazard = math.exp(-0.5 * z * z) / (math.sqrt(2.0 * math.pi) * inside)
    return centre + part.side * sd * hazard, sd * sd * max(0.0, 1.0 - z * hazard - hazard * hazard)


_FAR = 1e-12
"""Probability below which a normal's tail is taken as exponential: its own formula loses all digits there."""


def apart(one: Belief, other: Belief) -> Belief:
    """One value minus another that is believed independently of it."""
    return Belief(one.mean - other.mean, math.hypot(one.sd, other.sd))


def p_below_zero(effect: Belief) -> float:
    """P(an effect is for the better), taken as normal."""
    return normal_cdf(-effect.mean / max(effect.sd, SETTINGS.rounding_bpb))


def expected_gain(effect: Belief) -> float:
    """E[max(0, -effect)], taken as normal: the expected improvement (Mockus 1975), in bpb."""
    if effect.sd <= 0.0:
        return max(0.0, -effect.mean)
    z = -effect.mean / effect.sd
    return effect.sd * (z * normal_cdf(z) + math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi))


def noise_sd(evidence: Evidence) -> float:
    """Standard deviation of one run, in bpb; that of rounding where replicates, more than two, all gave the same."""
    noise = evidence.noise()
    of_prior = noise.prior_n * noise.prior_sd**2 / noise.dof
    repeats_exactly = noise.n >= SETTINGS.min_noise_n and noise.sd**2 - of_prior < SETTINGS.rounding_bpb**2
    return SETTINGS.rounding_bpb if repeats_exactly else noise.sd


def normal_cdf(z: float) -> float:
    """P(Z <= z) for a standard normal."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))
