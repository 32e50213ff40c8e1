"""Draws what simulated scores scatter by: repeats of a seed, seeds, and what a change does differently on each seed.

    score = value(configuration) + effect(seed) + interaction(configuration, seed) + repeat noise

Every term is drawn by hashing what it belongs to, so that it is the same whatever was run before: policies that play
one night meet the same seeds, and a run that two of them make gives both the same score.
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

Interactions = Literal["change", "configuration"]
"""What has an effect of its own on every seed: each change, which children inherit, or each configuration anew."""

LOOKS = 20  # parts of the budget after each of which a policy may end a run
GAP_SLOPE, GAP_SLOPE_FROM, GAP_ERROR_END, GAP_ERROR_MORE = 0.22, 0.5, 0.0003, 0.0008
"""What a gap in training loss foretells: bpb of the final difference a nat, the fraction of the budget from which
that holds (before it, in proportion), the scale of the error at the end in bpb, and what it has more at the beginning;
eleven changes on two H200 (docs/search.md)."""
GAP_FREEDOM = 4  # degrees of freedom of the error's t distribution
GAP_SHARED = 0.7
"""Share of the error's variance that stays the same during a run: neighbouring points of a curve hardly differ."""
TAIL_FACTOR = 4.0
"""How much larger the repeat noise of a run in the tail is: a throttled or disturbed GPU, seen now and then."""


@dataclass(frozen=True)
class Noise:
    """Standard deviations in bpb; the defaults are near those that were measured on a GPU (docs/search.md)."""

    repeat: float = 0.0003  # of two runs of one configuration on one seed
    seed: float = 0.002  # of one configuration on different seeds
    interaction: float = 0.0008  # of what one change (or configuration) does differently on each seed


USUAL_NOISE = Noise()


def normal(*key: object) -> float:
    """Return a number from the standard normal distribution that depends on the key alone."""
    first, second = struct.unpack("<QQ", blake2b(repr(key).encode(), digest_size=16).digest())
    return math.sqrt(-2.0 * math.log((first + 1) / 2**64)) * math.cos(2.0 * math.pi * second / 2**64)


_shared_normal = lru_cache(maxsize=4096)(normal)
"""The same for what many runs of a night share."""


class NightNoise:
    """The seed effects, interactions and repeat noise of one night.

    Args:
        night: The night's seed.
        noise: The standard deviations.
        interactions: What has an effect of its own on every seed.
        tail: Probability that a run's repeat noise is TAIL_FACTOR times as large.
    """

    def __init__(self, night: int, noise: Noise, interactions: Interactions = "change", tail: float = 0.0) -> None:
        self._night, self._noise, self._interactions, self._tail = night, noise, interactions, tail
        self._runs: Counter[tuple[tuple[int, ...], int]] = Counter()

    def draw(self, config: tuple[int, ...], seed: int) -> float:
        """Return the sum of all noise of the next run of a configuration on a seed, in bpb."""
        return self.seed_effect(seed) + self.interaction(config, seed) + self._repeat(config, seed)

    def seed_effect(self, seed: int) -> float:
        """Return what a seed does to every configuration, in bpb."""
        return self._noise.seed * _shared_normal(self._night, "seed", seed)

    def interaction(self, config: tuple[int, ...], seed: int) -> float:
        """Return what a seed does to this configuration beyond the seed's effect, in bpb."""
        if not self._noise.interaction:
            return 0.0
        if self._interactions == "configuration":
            return self._noise.interaction * normal(self._night, "configuration", config, seed)
        changes = ((place, level, seed) for place, level in enumerate(config) if level)
        return sum(self._noise.interaction * _shared_normal(self._night, "change", key) for key in changes)

    def gaps(
        self, config: tuple[int, ...], seed: int, difference: float | None
    ) -> Iterator[tuple[float, float | None]]:
        """Yield the fraction of the budget and the gap in training loss, in nats, at each look at a run.

        The error of the forecast is what was measured (docs/search.md): most of it stays the same during the run.

        Args:
            config: The configuration.
            seed: Its seed.
            difference: The score that it will come to minus that of the run that it is compared with, in bpb; None
                without one, and then the gaps are None.
        """
        if difference is None:
            yield from ((look / LOOKS, None) for look in range(1, LOOKS))
            return
        key = self._night, "gap", config, seed
        lasting = math.sqrt(GAP_SHARED) * normal(*key)
        tail = math.sqrt(sum(normal(*key, "tail", i) ** 2 for i in range(GAP_FREEDOM)) / GAP_FREEDOM)
        for look in range(1, LOOKS):
            fraction = look / LOOKS
            scale = GAP_ERROR_END + GAP_ERROR_MORE * (1.0 - fraction)
            error = lasting + math.sqrt(1.0 - GAP_SHARED) * normal(*key, fraction)
            yield fraction, (difference + scale * error / tail) / (GAP_SLOPE * min(1.0, fraction / GAP_SLOPE_FROM))

    def _repeat(self, config: tuple[int, ...], seed: int) -> float:
        self._runs[config, seed] += 1
        key = self._night, config, seed, self._runs[config, seed]
        is_loud = self._tail and normal("tail", *key) > NormalDist().inv_cdf(1.0 - self._tail)
        return self._noise.repeat * (TAIL_FACTOR if is_loud else 1.0) * normal("repeat", *key)
