"""Learns which emitter and category to order, or whether to leave the agent free, from what each brought lately.

A run's credit is the improvement that it probably was (expected improvement under the posterior, Mockus 1975, in
units of the recent average), so that near misses count a little and crashes nothing. Credit is explained by three
factors that multiply: who proposed, what was changed, and how the agent was ordered. Each factor has a gamma posterior
around 1 (a Poisson regression with conjugate priors), and old runs fade, for skills change (Raj and Kalyani 2017,
"Taming non-stationary bandits: a Bayesian approach"). Factors are shared: a free run whose author and category are
known teaches about both, so learning goes on while the agent is free.

An order restricts the agent, so one is given for a reason only: an emitter is better than leaving the agent free, as
good as certainly; or, rarely, to keep an emitter known at all.
"""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from research.core.settings import SETTINGS, Settings
from research.core.text import chance

FREE, EMITTER = "free", "emitter"
"""Whether the agent chose who proposes, or was told."""

Gammas = dict[Hashable, tuple[float, float]]
"""Shape and rate of the gamma posterior of each factor of one kind."""


class Key(NamedTuple):
    """What is known of a run for learning: how it was ordered, who proposed it, what it changed."""

    mode: str
    emitter: str | None
    category: str | None


class Choice(NamedTuple):
    """An order, None leaving either to the agent, and why it was given."""

    emitter: str | None
    category: str | None
    why: str


class Bandit:
    """Factors by mode, emitter and category.

    Args:
        emitters: Emitters that can be ordered.
        categories: Categories that can be ordered.
        settings: The thresholds.
        forgetting: Whether old runs fade.
    """

    def __init__(
        self,
        emitters: Sequence[str],
        categories: Sequence[str],
        settings: Settings = SETTINGS,
        forgetting: bool = True,
    ) -> None:
        self.emitters, self.categories = tuple(emitters), tuple(categories)
        self._settings = settings
        self._fade = settings.credit_fade if forgetting else 1.0
        self._credit: dict[Key, float] = {}
        self._cost: dict[Key, float] = {}
        self._turns = dict.fromkeys(emitters, 0.0)
        self._mean_credit = self._mean_weight = 0.0
        self._factors: tuple[Gammas, Gammas, Gammas] | None = None

    def add(self, key: Key, improvement: float, cost: float) -> None:
        """Take a run in.

        Args:
            key: What is known of it.
            improvement: Probable improvement that it brought, in bpb, at least 0.
            cost: What it cost, 1 for a usual run.
        """
        self._mean_credit = self._settings.credit_fade * self._mean_credit + improvement
        self._mean_weight = self._settings.credit_fade * self._mean_weight + cost
        scale = self._mean_credit / self._mean_weight
        credit = min(improvement / scale, self._settings.max_credit) if scale > 0.0 else 0.0
        for table in (self._credit, self._cost):
            for known in table:
                table[known] *= self._fade
        self._credit[key] = self._credit.get(key, 0.0) + credit
        self._cost[key] = self._cost.get(key, 0.0) + cost
        for name in self.emitters:
            self._turns[name] = self._fade * self._turns[name] + (name == key.emitter)
        self._factors = None

    def choose(self, rng: random.Random) -> Choice:
        """Return the next order."""
        if rng.random() < self._settings.emitter_floor:
            emitter = min(self.emitters, key=lambda name: (self._turns[name], rng.random()))
            return Choice(emitter, None, f"{emitter} has its turn, so that what it brings stays known")
        emitter, p_best = self._best_emitter()
        if p_best >= self._settings.order_p:
            why = f"{emitter} has brought more than the agent's own choice lately (P {chance(p_best)})"
            return Choice(emitter, None, why)
        return Choice(None, None, "no kind of change has done better than the agent's own choice")

    def shares(self) -> Mapping[str | None, float]:
        """Return how emitters, and None for a free choice, compare: each one's factor, in shares of one."""
        worth: dict[str | None, float] = {None: self._mean(0, FREE)}
        worth |= {name: self._mean(0, EMITTER) * self._mean(1, name) for name in self.emitters}
        total = sum(worth.values())
        return {name: value / total for name, value in worth.items()}

    def _best_emitter(self) -> tuple[str, float]:
        """Return the emitter with the best mean, and P(ordering it brings more than leaving the agent free)."""
        modes, emitters, _ = self.factors()
        name = max(self.emitters, key=lambda each: self._mean(1, each))
        ahead = _log_moments(emitters[name]), _log_moments(modes[EMITTER]), _log_moments(modes[FREE])
        mean = ahead[0][0] + ahead[1][0] - ahead[2][0]
        return name, 0.5 * math.erfc(-mean / math.sqrt(2.0 * sum(variance for _, variance in ahead)))

    def _mean(self, side: int, name: Hashable) -> float:
        shape, rate = self.factors()[side][name]
        return shape / rate

    def factors(self) -> tuple[Gammas, Gammas, Gammas]:
        """Return the posteriors of the factors: by mode, by emitter, by category."""
        if self._factors is None:
            self._factors = self._fitted()
        return self._factors

    def _fitted(self) -> tuple[Gammas, Gammas, Gammas]:
        """Fit each kind of factor in turn, given the means of the others."""
        s = self._settings
        start: dict[Hashable, float] = {FREE: 1.0, EMITTER: s.emitter_start}
        priors: tuple[tuple[dict[Hashable, float], float], ...] = (
            (start, s.mode_prior_n),
            (dict.fromkeys(self.emitters, 1.0), s.emitter_prior_n),
            (dict.fromkeys(self.categories, 1.0), s.category_prior_n),
        )
        means = [dict(prior) for prior, _ in priors]
        fitted: tuple[Gammas, Gammas, Gammas] = ({}, {}, {})
        for _ in range(2):
            for side, (prior, weight) in enumerate(priors):
                shapes = {name: weight * mean for name, mean in prior.items()}
                rates = dict.fromkeys(prior, weight)
                one, two = (other for other in range(3) if other != side)
                for key, credit in self._credit.items():
                    name = key[side]
                    if name in shapes:
                        shapes[name] += credit
                        rates[name] += self._cost[key] * means[one].get(key[one], 1.0) * means[two].get(key[two], 1.0)
                for part, shape in shapes.items():
                    fitted[side][part] = (shape, rates[part])
                    means[side][part] = shape / rates[part]
        return fitted


def _log_moments(gamma: tuple[float, float]) -> tuple[float, float]:
    """Return mean and variance of a gamma variable's logarithm, to second order."""
    shape, rate = gamma
    return math.log(shape / rate) - 0.5 / shape, 1.0 / shape
