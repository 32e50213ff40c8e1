"""What single ideas do: the prior that a measured gain is weighed against, learned from every gain measured so far.

Choosing the best of many noisy tries picks lucky draws: what is kept looks better than it is (the winner's curse).
With the right prior of effects a posterior needs no further correction for having been chosen (Efron 2011, "Tweedie's
formula and selection bias"), so the prior is learned from all effects, kept or not: a mixture of normals on a fixed
grid of scales, its weights by expectation and maximisation (Stephens 2017, "False discovery rates: a new deal"). Its
parts say "does nothing", "a little either way" and "makes it worse", because most ideas do; the probability of not
being better that follows is the local false sign rate of that paper.

Effects are true values of a child minus those of its parent in bpb: below zero is better.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from research.settings import SETTINGS
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
    """One normal part of the mixture: mean and standard deviation in bpb, and the weight it starts with."""

    mean: float
    sd: float
    weight: float


def _parts() -> tuple[Part, ...]:
    """Nothing at all; either way, and worse, each on scales that double from far below to far above any effect seen."""
    scales = [SETTINGS.effect_least_bpb * 2.0**step for step in range(SETTINGS.effect_scales)]
    near = [1.0 / (1.0 + (math.log2(scale / SETTINGS.spread_prior_bpb)) ** 2) for scale in scales]
    share = 1.0 / sum(near)
    either = (1.0 - SETTINGS.effect_null_share) * (1.0 - SETTINGS.effect_worse_share) * share
    worse = (1.0 - SETTINGS.effect_null_share) * SETTINGS.effect_worse_share * share
    return (
        Part(0.0, 0.0, SETTINGS.effect_null_share),
        *(Part(0.0, scale, either * weight) for scale, weight in zip(scales, near, strict=True)),
        *(Part(scale, 0.5 * scale, worse * weight) for scale, weight in zip(scales, near, strict=True)),
    )


PARTS = _parts()
"""The parts in use; only their weights are learned."""
ASSUMED = tuple(each.weight for each in PARTS)
"""Their weights before any effect was measured."""


class Effects:
    """The distribution of effects.

    Args:
        weights: One weight for each of PARTS; they sum to one.
    """

    def __init__(self, weights: Sequence[float] = ASSUMED) -> None:
        self.weights = tuple(weights)

    def learned(self, gaps: Iterable[Gap], sweeps: int = SETTINGS.effect_sweeps) -> Effects:
        """The distribution after measured effects, these weights being where the search for it starts.

        The starting weights of PARTS stay in as if ``effect_prior_n`` effects had been seen (a Dirichlet prior).
        """
        return self.refined([likelihoods(gap) for gap in gaps], sweeps)

    def refined(self, rows: Sequence[Sequence[float]], sweeps: int) -> Effects:
        """The same from likelihoods(gap) of each effect: for callers who keep them."""
        weights: Sequence[float] = self.weights
        prior_n = SETTINGS.effect_prior_n
        for _ in range(sweeps if rows else 0):
            counts = [prior_n * part.weight for part in PARTS]
            for row in rows:
                joint = [weight * value for weight, value in zip(weights, row, strict=True)]
                total = sum(joint) or 1.0
                counts = [count + value / total for count, value in zip(counts, joint, strict=True)]
            total = sum(counts)
            weights = [count / total for count in counts]
        return Effects(weights)

    @property
    def size(self) -> float:
        """Typical size of an effect, whatever its sign: the mixture's root mean square, the widest parts left out."""
        known = sorted((part.mean**2 + part.sd**2, weight) for part, weight in zip(PARTS, self.weights, strict=True))
        total = weights = 0.0
        for square, weight in known:
            if weights >= SETTINGS.effect_size_share:
                break
            total += square * weight
            weights += weight
        return math.sqrt(total / weights)

    def posterior(self, gap: Gap) -> Belief:
        """What is believed of an effect that was measured: its mean is free of the winner's curse."""
        mean = square = 0.0
        for weight, centre, sd in self._mixture(gap):
            mean += weight * centre
            square += weight * (sd * sd + centre * centre)
        return Belief(mean, math.sqrt(max(square - mean * mean, 0.0)))

    def p_better(self, gap: Gap) -> float:
        """P(a measured effect is below zero)."""
        return sum(weight * normal_cdf(-centre / sd) for weight, centre, sd in self._mixture(gap) if sd > 0.0)

    def _mixture(self, gap: Gap) -> list[tuple[float, float, float]]:
        """The parts after a measurement: weight, mean, standard deviation."""
        value, error = gap[0], max(gap[1], SETTINGS.rounding_bpb)
        joint = [weight * density for weight, density in zip(self.weights, likelihoods(gap), strict=True)]
        total = sum(joint)
        if total <= 0.0:
            return [(1.0, value, error)]
        mixture = []
        for weight, part in zip(joint, PARTS, strict=True):
            if weight > total * SETTINGS.effect_least_weight:
                trust = part.sd * part.sd / (part.sd * part.sd + error * error)
                mixture.append((weight / total, part.mean + trust * (value - part.mean), error * math.sqrt(trust)))
        return mixture


def likelihoods(gap: Gap) -> list[float]:
    """Density of a measured effect under each of PARTS, up to a common factor."""
    value, error = gap
    error = max(error, SETTINGS.rounding_bpb)
    row = []
    for part in PARTS:
        variance = part.sd * part.sd + error * error
        off = value - part.mean
        row.append(math.exp(-0.5 * off * off / variance) / math.sqrt(variance))
    return row


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
    """Standard deviation of one run, in bpb; that of rounding where every replicate gave the same score again."""
    noise = evidence.noise()
    assumed = noise.prior_n * noise.prior_sd**2 / noise.dof
    repeats_exactly = noise.n > 0 and noise.sd**2 - assumed < SETTINGS.rounding_bpb**2
    return SETTINGS.rounding_bpb if repeats_exactly else noise.sd


def normal_cdf(z: float) -> float:
    """P(Z <= z) for a standard normal."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def believe(evidence: Evidence, parents: Mapping[Hashable, Hashable], config: Hashable, effects: Effects) -> Belief:
    """What is believed of a configuration's true value: its runs, and its parent's value with a typical effect.

    The line of ancestors is followed from the first measured one on (its runs alone count there), each being the prior
    of the next. Children do not inform their parents: that gains little and costs the simple order.

    Args:
        evidence: All runs.
        parents: Parent of each configuration that has one.
        config: A configuration with runs.
        effects: The distribution of effects.

    Raises:
        KeyError: if the configuration has no run.
    """
    line = [config]
    sd = noise_sd(evidence)
    while (parent := parents.get(line[-1])) is not None and parent in evidence and parent not in line:
        line.append(parent)
    root = line.pop()
    belief = Belief(evidence.mean(root), sd / math.sqrt(evidence.n(root)))
    while line:
        belief = child(belief, evidence.mean(line[-1]), sd / math.sqrt(evidence.n(line[-1])), effects)
        line.pop()
    return belief


def ahead(
    evidence: Evidence,
    parents: Mapping[Hashable, Hashable],
    config: Hashable,
    ancestor: Hashable,
    held: Belief,
    effects: Effects,
) -> Belief | None:
    """What is believed of a configuration's true value minus that of one it descends from; None if it does not.

    Both share what is not known of the ancestor, which so counts once and only as far as the runs between leave it.

    Args:
        evidence: All runs.
        parents: Parent of each configuration that has one.
        config: A configuration with runs.
        ancestor: Another with runs.
        held: What is believed of the ancestor's value.
        effects: The distribution of effects.
    """
    line = [config]
    while (parent := parents.get(line[-1])) != ancestor:
        if parent is None or parent not in evidence or parent in line:
            return None
        line.append(parent)
    sd, belief = noise_sd(evidence), held
    shared = held.sd * held.sd
    for each in reversed(line):
        error = sd / math.sqrt(evidence.n(each))
        gap = evidence.mean(each) - belief.mean, math.hypot(belief.sd, error)
        shared *= _left_open(gap, error, effects)
        belief = child(belief, evidence.mean(each), error, effects)
    variance = belief.sd**2 + held.sd**2 - 2.0 * shared
    return Belief(belief.mean - held.mean, math.sqrt(max(variance, 0.0)))


def _left_open(gap: Gap, error: float, effects: Effects) -> float:
    """Share of a parent's error that stays in its child's believed value after the child was measured."""
    total, after = gap[1] * gap[1], effects.posterior(gap).sd ** 2
    if after >= total:
        return 0.0  # effects are so wide that the child's own runs say all
    spread = 1.0 / max(1.0 / max(after, SETTINGS.rounding_bpb**2) - 1.0 / total, SETTINGS.rounding_bpb)
    return error * error / (spread + total)


def child(parent: Belief, mean: float, error: float, effects: Effects) -> Belief:
    """What is believed of a child's true value.

    Args:
        parent: What is believed of the parent's.
        mean: The child's measured mean, in bpb.
        error: Its standard error.
        effects: The distribution of effects.
    """
    spread = math.hypot(parent.sd, error)
    if spread <= 0.0:
        return Belief(mean, 0.0)
    effect = effects.posterior((mean - parent.mean, spread))
    # The effect is known up to the parent's error; of what the measurement leaves open between parent and effect, the
    # parent's share is parent.sd^2 / spread^2.
    share = (parent.sd / spread) ** 2
    value = parent.mean + share * (mean - parent.mean - effect.mean) + effect.mean
    return Belief(value, math.sqrt(share * error * error + ((1.0 - share) * effect.sd) ** 2))
