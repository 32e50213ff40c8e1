"""Decides whether to order an emitter or to leave the agent free, by the recent gains of both.

A run's credit is the improvement that it probably was (expected improvement under the posterior, Mockus 1975, in
units of the recent average), so that near misses count a little and crashes nothing. Each arm, an emitter that was
ordered or a free choice, has a gamma posterior of the credit of a usual run, and old runs fade, for skills change
(Raj and Kalyani 2017, "Taming non-stationary bandits: a Bayesian approach").

An order restricts the agent, so one is given for two reasons only: an emitter is almost certainly better than leaving
the agent free; or, rarely, so that something is known of every emitter.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable

from research.core.settings import SETTINGS, Settings
from research.core.text import chance


class Bandit:
    """A bandit whose arms are the emitters and the free choice (None), with the credit and cost of each.

    Args:
        emitters: Emitters that can be ordered.
        settings: The thresholds.
    """

    def __init__(self, emitters: Iterable[str], settings: Settings = SETTINGS) -> None:
        self._emitters = tuple(emitters)
        self._settings = settings
        self._credit: defaultdict[str | None, float] = defaultdict(float)
        self._cost: defaultdict[str | None, float] = defaultdict(float)
        self._recent_gain = self._recent_cost = 0.0

    def add(self, arm: str | None, gain: float, cost: float) -> None:
        """Add a run.

        Args:
            arm: The emitter that was ordered, None where the agent was free.
            gain: The run's expected improvement in bpb, at least 0.
            cost: The run's cost, 1 for a usual run.
        """
        fade = self._settings.credit_fade
        self._recent_gain = fade * self._recent_gain + gain
        self._recent_cost = fade * self._recent_cost + cost
        for table in (self._credit, self._cost):
            for each in table:
                table[each] *= fade
        usual = self._recent_gain / self._recent_cost
        if usual > 0.0:  # gains may be too small for the quotient to be told from 0
            self._credit[arm] += min(gain / usual, self._settings.max_credit)
        self._cost[arm] += cost

    def choose(self, rng: random.Random) -> tuple[str | None, str]:
        """Return the emitter to order, None to leave the agent free, and why."""
        if rng.random() < self._settings.emitter_floor:
            emitter = min(self._emitters, key=lambda name: (self._cost[name], rng.random()))
            return emitter, f"{emitter} has its turn, so that what it brings stays known"
        emitter = max(self._emitters, key=self.mean)
        if (p_more := self._p_more(emitter)) >= self._settings.order_p:
            return emitter, f"{emitter} has brought more than the agent's own choice lately (P {chance(p_more)})"
        return None, "no kind of change has done better than the agent's own choice"

    def _gamma(self, arm: str | None) -> tuple[float, float]:
        """Return shape and rate of an arm's posterior."""
        start, n = 1.0 if arm is None else self._settings.emitter_start, self._settings.emitter_prior_n
        return n * start + self._credit[arm], n + self._cost[arm]

    def mean(self, arm: str | None) -> float:
        """Return the expected credit of a usual run of an arm, in recent averages."""
        shape, rate = self._gamma(arm)
        return shape / rate

    def _p_more(self, emitter: str) -> float:
        """Return P(an emitter's credit is above the free choice's), taking the logarithms for normal."""
        mean, variance = self._log_moments(emitter)
        free, free_variance = self._log_moments(None)
        return 0.5 * math.erfc((free - mean) / math.sqrt(2.0 * (variance + free_variance)))

    def _log_moments(self, arm: str | None) -> tuple[float, float]:
        """Return mean and variance of the logarithm of an arm's credit, to second order."""
        shape, rate = self._gamma(arm)
        return math.log(shape / rate) - 0.5 / shape, 1.0 / shape
