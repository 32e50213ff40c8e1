"""Draws the noise of simulated scores: of repeats, of seeds, and of a change from seed to seed.

    score = value(configuration) + effect(seed) + interaction(configuration, seed) + repeat noise

Every term is drawn by hashing what it belongs to, so that it does not depend on the runs before: policies that play one
night meet the same seeds, and a run that two of them make gives both the same score.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from statistics import NormalDist
from typing import Literal

InteractionKind = Literal["change", "configuration"]
"""The thing that has an effect of its own on every seed: each change, which children inherit, or each configuration."""

LOOKS = 20  # parts of the budget after each of which a policy may end a run
GAP_SLOPE, GAP_SLOPE_FROM, GAP_ERROR_END, GAP_ERROR_MORE = 0.36, 0.75, 0.0009, 0.0008
"""The relation of a gap in training loss to the final difference: bpb of the difference for each nat, the fraction of
the budget from which that holds (before it, in proportion), the scale of the error at the end in bpb, and what is added
to it at the beginning; from 34 pairs of runs on H200 (docs/search.md)."""
GAP_FREEDOM = 4  # degrees of freedom of the error's t distribution
GAP_SHARED = 0.7
"""Share of the error's variance that stays the same during a run: neighbouring points of a curve hardly differ."""
TAIL_FACTOR = 4.0
"""Factor of the repeat noise of a run in the tail: a throttled or disturbed GPU, seen now and then."""


@dataclass(frozen=True)
class NoiseLevels:
    """The true standard deviations in bpb; the defaults are near those measured on a GPU (docs/search.md)."""

    repeat: float = 0.0003  # of repeats of one configuration on one seed
    seed: float = 0.002  # of the seeds' effects
    interaction: float = 0.0008  # of the effect of one change (or configuration) from seed to seed
    forecast: float = 1.0  # factor of the forecast's error, 1 as it was measured


USUAL_NOISE = NoiseLevels()


def normal(*key: object) -> float:
    """Return a number from the standard normal distribution that depends on the key alone."""
    first, second = struct.unpack("<QQ", blake2b(repr(key).encode(), digest_size=16).digest())
    return math.sqrt(-2.0 * math.log((first + 1) / 2**64)) * math.cos(2.0 * math.pi * second / 2**64)


_shared_normal = lru_cache(maxsize=4096)(normal)
"""The same function with a cache, for numbers that many runs of a night share."""


class NightNoise:
    """The seed effects, interactions and repeat noise of one night.

    Args:
        night: The night's seed.
        noise: The standard deviations.
        interactions: The thing that has an effect of its own on every seed.
        tail: Probability that a run's repeat noise is TAIL_FACTOR times as large.
    """

    def __init__(
        self, night: int, noise: NoiseLevels, interactions: InteractionKind = "change", tail: float = 0.0
    ) -> None:
        self._night, self._noise, self._interactions, self._tail = night, noise, interactions, tail
        self._runs: Counter[tuple[tuple[int, ...], int]] = Counter()

    def draw(self, config: tuple[int, ...], seed: int) -> float:
        """Return the sum of all noise of the next run of a configuration on a seed, in bpb."""
        return self.seed_effect(seed) + self.interaction(config, seed) + self._repeat(config, seed)

    def seed_effect(self, seed: int) -> float:
        """Return the effect of a seed on every configuration, in bpb."""
        return self._noise.seed * _shared_normal(self._night, "seed", seed)

    def interaction(self, config: tuple[int, ...], seed: int) -> float:
        """Return the effect of a seed on this configuration beyond the seed's own, in bpb."""
        if not self._noise.interaction:
            return 0.0
        if self._interactions == "configuration":
            return self._noise.interaction * normal(self._night, "configuration", config, seed)
        changes = ((place, level, seed) for place, level in enumerate(config) if level)
        return sum(self._noise.interaction * _shared_normal(self._night, "change", key) for key in changes)

    def gaps(self, config: tuple[int, ...], seed: int, difference: float) -> Iterator[tuple[float, float]]:
        """Yield the fraction of the budget and the gap in training loss, in nats, at each look at a run.

        The error of the forecast is as it was measured (docs/search.md): most of it stays the same during the run.

        Args:
            config: The configuration.
            seed: Its seed.
            difference: Its final score minus that of the run that it is compared with, in bpb.
        """
        key = self._night, "gap", config, seed
        lasting = math.sqrt(GAP_SHARED) * normal(*key)
        tail = math.sqrt(sum(normal(*key, "tail", i) ** 2 for i in range(GAP_FREEDOM)) / GAP_FREEDOM)
        for look in range(1, LOOKS):
            fraction = look / LOOKS
            scale = self._noise.forecast * (GAP_ERROR_END + GAP_ERROR_MORE * (1.0 - fraction))
            error = lasting + math.sqrt(1.0 - GAP_SHARED) * normal(*key, fraction)
            yield fraction, (difference + scale * error / tail) / (GAP_SLOPE * min(1.0, fraction / GAP_SLOPE_FROM))

    def _repeat(self, config: tuple[int, ...], seed: int) -> float:
        self._runs[config, seed] += 1
        key = self._night, config, seed, self._runs[config, seed]
        is_loud = self._tail and normal("tail", *key) > NormalDist().inv_cdf(1.0 - self._tail)
        return self._noise.repeat * (TAIL_FACTOR if is_loud else 1.0) * normal("repeat", *key)
