"""What is believed of true values: a configuration's own runs, its parent's value, and what its children say of it.

A child's value is its parent's and one effect more, so every score speaks of the whole line, and news flows both ways
(belief propagation on a tree, Pearl 1988; with normal effects it is Kalman smoothing, Rauch, Tung and Striebel 1965).
Downwards, a score is weighed against the parent's value and the distribution of effects (research.verdict.effects).
Upwards, a child tells its parent how probable each value of the parent makes the child's own score. Twenty ideas in a
row that come out worse than one lucky score say by this that it was luck; one disaster says next to nothing, for
effects have heavy tails.

What a child says is no normal, the density of effects having a jump at zero and long tails, so it is kept as numbers
over the parent's possible values. What is passed on from there is taken as normal by its mean and spread, the one
approximation here. Whoever is judged against its parent is left out of what the parent hears, or its score would count
twice.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from functools import lru_cache
from operator import add, mul, sub

from research.core.settings import SETTINGS, Settings
from research.verdict.effects import Belief, Effects, Gap, apart, likelihoods, noise_sd
from research.verdict.evidence import Evidence

_PLACES = tuple(
    SETTINGS.heard_reach * (2.0 * point / (SETTINGS.heard_points - 1) - 1.0) for point in range(SETTINGS.heard_points)
)
"""The possible values of a parent, in standard errors of its runs from their mean."""
_OWN = tuple(-0.5 * place * place for place in _PLACES)
"""Logarithms of how probable the parent's own runs make them."""
_NARROWEST = (0.5 * (_PLACES[1] - _PLACES[0])) ** 2
"""Variance below which the places lie too far apart to tell more."""
_LEAST_DENSITY = 1e-300
"""Density below which one more disaster is like another: its logarithm exists, and it says nothing."""


class Beliefs:
    """What is believed of the values of configurations.

    Args:
        evidence: All runs.
        parents: Parent of each configuration that has one.
        effects: The distribution of effects.
        heard: Configurations that their parents hear of, in order of the first run, so that children speak before
            their parents do. Without any, every value follows from the configuration's own line of ancestors.
        settings: The thresholds.
    """

    def __init__(
        self,
        evidence: Evidence,
        parents: Mapping[Hashable, Hashable],
        effects: Effects,
        heard: Iterable[Hashable] = (),
        settings: Settings = SETTINGS,
    ) -> None:
        self.evidence, self.parents, self.effects = evidence, parents, effects
        self._trust = settings.heard_trust
        self._sd = noise_sd(evidence)
        self._said: dict[Hashable, dict[Hashable, list[float]]] = {}
        self._sums: dict[Hashable, list[float]] = {}
        self._tables: dict[int, _Table] = {}
        self._values: dict[tuple[Hashable, Hashable | None], Belief] = {}
        for config in reversed([*heard]):
            self.hear(config)

    def hear(self, config: Hashable) -> None:
        """Lets a configuration's parent hear of it, or hear of it anew; nothing if the parent has no score."""
        parent = self.parent(config)
        if parent is None:
            return
        mean, error = self.seen(config)
        level = round(math.log2(error) * SETTINGS.heard_errors)
        table = self._tables.get(level)
        if table is None:
            table = self._tables[level] = _Table(self.effects, level)
        middle, unit = self._runs(parent)
        said = [self._trust * table.log_density(mean - middle - unit * place) for place in _PLACES]
        siblings = self._said.setdefault(parent, {})
        total = self._sums.get(parent, _OWN)
        if config in siblings:
            total = [*map(sub, total, siblings[config])]
        siblings[config] = said
        self._sums[parent] = [*map(add, total, said)]
        self._values.clear()

    def parent(self, config: Hashable) -> Hashable | None:
        """A configuration's parent if it has a score."""
        parent = self.parents.get(config)
        return parent if parent in self.evidence and parent != config else None

    def seen(self, config: Hashable, without: Hashable | None = None) -> Gap:
        """A configuration's value by its own runs and its children, as a mean and its standard error.

        Args:
            config: A configuration with runs.
            without: A child that is left out.

        Raises:
            KeyError: if the configuration has no run.
        """
        mean, error = self._runs(config)
        said = self._said.get(config, {})
        if len(said) == (without in said):
            return mean, error
        logs = self._sums[config]
        if without in said:
            logs = [*map(sub, logs, said[without])]
        top = max(logs)
        weights = [math.exp(log - top) for log in logs]
        total = sum(weights)
        off = sum(map(mul, weights, _PLACES)) / total
        square = sum(weight * place * place for weight, place in zip(weights, _PLACES, strict=True)) / total
        return mean + error * off, error * math.sqrt(max(square - off * off, _NARROWEST))

    def value(self, config: Hashable, without: Hashable | None = None) -> Belief:
        """What is believed of a configuration's true value.

        The line of ancestors is followed from the first measured one on, each being the prior of the next; what comes
        down the line is not told to an ancestor by the line's own next member.

        Args:
            config: A configuration with runs.
            without: A child that is left out, because it is to be weighed against this value.

        Raises:
            KeyError: if the configuration has no run.
        """
        line = [(config, without if without in self._said.get(config, ()) else None)]
        met = {config}
        while line[-1] not in self._values:
            last = line[-1][0]
            parent = self.parent(last)
            if parent is None or parent in met:
                self._values[line[-1]] = Belief(*self.seen(*line[-1]))
            else:
                met.add(parent)
                line.append((parent, last if last in self._said.get(parent, ()) else None))
        belief = self._values[line.pop()]
        for each in reversed(line):
            belief = self._values[each] = child(belief, self.seen(*each), self.effects)
        return belief

    def gap(self, config: Hashable) -> Gap:
        """A configuration's value, as seen, minus what is believed of its parent's; see over()."""
        return self.over(config, self.parents[config])

    def over(self, config: Hashable, other: Hashable) -> Gap:
        """A configuration's value, as seen, minus what is believed of another's, and the standard error, in bpb.

        Args:
            config: A configuration with runs.
            other: Its parent, which is taken without it, or whatever it is said to be made from.

        Raises:
            KeyError: if one of the two has no run.
        """
        mean, error = self.seen(config)
        held = self.value(other, config)
        return mean - held.mean, math.hypot(held.sd, error)

    def apart(self, config: Hashable, other: Hashable) -> Belief:
        """What is believed of a configuration's true value minus another's, whatever lies between them."""
        return self.ahead(config, other) or apart(self.value(config), self.value(other))

    def ahead(self, config: Hashable, ancestor: Hashable) -> Belief | None:
        """What is believed of a configuration's true value minus that of one it descends from; None if it does not.

        Both share what is not known of the ancestor, which so counts once and only as far as the runs between leave
        it. The ancestor's value is that without the line between the two, which is weighed against it.

        Args:
            config: A configuration with runs.
            ancestor: Another with runs.
        """
        line = [config]
        while (parent := self.parent(line[-1])) != ancestor:
            if parent is None or parent in line:
                return None
            line.append(parent)
        held = belief = self.value(ancestor, line[-1])
        shared = held.sd * held.sd
        for place in reversed(range(len(line))):
            seen = self.seen(line[place], line[place - 1] if place else None)
            shared *= _left_open((seen[0] - belief.mean, math.hypot(belief.sd, seen[1])), seen[1], self.effects)
            belief = child(belief, seen, self.effects)
        variance = belief.sd**2 + held.sd**2 - 2.0 * shared
        return Belief(belief.mean - held.mean, math.sqrt(max(variance, 0.0)))

    def _runs(self, config: Hashable) -> Gap:
        """Mean and standard error of a configuration's own runs."""
        return self.evidence.mean(config), self._sd / math.sqrt(self.evidence.n(config))


def child(parent: Belief, seen: Gap, effects: Effects) -> Belief:
    """What is believed of a child's true value.

    Args:
        parent: What is believed of the parent's.
        seen: The child's value as seen, in bpb, and its standard error.
        effects: The distribution of effects.
    """
    mean, error = seen
    spread = math.hypot(parent.sd, error)
    if spread <= 0.0:
        return Belief(mean, 0.0)
    effect = effects.posterior((mean - parent.mean, spread))
    # The effect is known up to the parent's error; of what the measurement leaves open between parent and effect, the
    # parent's share is parent.sd^2 / spread^2.
    share = (parent.sd / spread) ** 2
    value = parent.mean + share * (mean - parent.mean - effect.mean) + effect.mean
    return Belief(value, math.sqrt(share * error * error + ((1.0 - share) * effect.sd) ** 2))


def _left_open(gap: Gap, error: float, effects: Effects) -> float:
    """Share of a parent's error that stays in its child's believed value after the child was measured."""
    total, after = gap[1] * gap[1], effects.posterior(gap).sd ** 2
    if after >= total:
        return 0.0  # effects are so wide that the child's own runs say all
    spread = 1.0 / max(1.0 / max(after, SETTINGS.rounding_bpb**2) - 1.0 / total, SETTINGS.rounding_bpb)
    return error * error / (spread + total)


# Densities ------------------------------------------------------------------------------------------------------------


class _Table:
    """Logarithms of the density of an effect measured with one error; only what is asked for is worked out.

    Its places lie evenly in asinh(value / error): dense where the error decides, wider apart the farther out.

    Args:
        effects: The distribution of effects.
        level: Which of the errors for which densities are worked out; see heard_errors.
    """

    def __init__(self, effects: Effects, level: int) -> None:
        self._weights, self._level = effects.weights, level
        self._error = _error(level)
        self._known: dict[int, float] = {}

    def log_density(self, value: float) -> float:
        """Logarithm of the density of a measured effect, up to a constant; a straight line between two places."""
        place = math.asinh(value / self._error) / SETTINGS.heard_step
        below = math.floor(place)
        low, high = self._at(below), self._at(below + 1)
        return low + (place - below) * (high - low)

    def _at(self, place: int) -> float:
        known = self._known.get(place)
        if known is None:
            density = sum(map(mul, self._weights, _densities(place, self._level)))
            known = self._known[place] = math.log(max(density, _LEAST_DENSITY))
        return known


def _error(level: int) -> float:
    return math.pow(2.0, level / SETTINGS.heard_errors)


@lru_cache(maxsize=8192)
def _densities(place: int, level: int) -> list[float]:
    """Density of a measured effect under each part, at a place of a table: the same whatever effects are like."""
    error = _error(level)
    return likelihoods((math.sinh(place * SETTINGS.heard_step) * error, error))
