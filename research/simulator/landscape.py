"""Defines a landscape: the true value of every configuration, its cost, and whether it crashes.

A configuration is a tuple with one whole number per idea: steps of a knob from the baseline, or 1 where a switch is
changed. Its value is a sum over ideas and over pairs: a knob's term is quadratic, and a pair's bilinear, so that a pair
of knobs is a tilted valley and a switch moves a knob's best value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from research.code.classify import MIXED, SIMPLIFICATION
from research.simulator.catalogue import CatalogueEntry
from research.simulator.families import Family

Config = tuple[int, ...]

KNOB_REACH = 5  # steps a knob can go from the baseline, either way: beyond, nobody tries
FULL_RUN_S = 300.0  # GPU seconds of a run that ends by itself
BASE_M = 50.0  # parameters of the baseline, in millions
MEMORY_LIMIT_GB = 80.0  # memory of the GPU
DESCENTS = 3  # descents behind reachable(), in different orders: a basin swallows some of them
TINY_BPB = 1e-9  # differences below this are rounding


def moved(config: Config, index: int, level: int) -> Config:
    """Return the configuration with one idea at another level."""
    return (*config[:index], level, *config[index + 1 :])


class Interaction(NamedTuple):
    """An interaction of two ideas: the product of their levels, times bpb."""

    first: int  # index of an idea
    second: int  # index of the other
    bpb: float


class Crash(NamedTuple):
    """The crash of a configuration."""

    signature: str
    share: float  # share of a full run that passes before it


@dataclass(frozen=True)
class DrawnIdea:
    """One idea with its drawn effects.

    Its term at every level is indexed by the level itself, 0 being the baseline: negative levels count from the end, as
    Python's indices do.
    """

    entry: CatalogueEntry
    effect_bpb: tuple[float, ...]  # its term at every level
    step_gb: float  # memory that one level adds, in GiB
    step_m: float  # parameters that one level adds, in millions
    statements: int  # statements that a switch or removal is made of
    diverges: frozenset[int] = frozenset()  # levels at which training diverges

    def spelled(self, level: int) -> str:
        """Return the value at a level, as a script would spell it."""
        if self.entry.kind == "knob":
            return f"{self.entry.start * self.entry.factor**level:.4g}"
        return "on" if (level == 0) == (self.entry.kind == "removal") else "off"


@dataclass(frozen=True)
class Landscape:
    """One landscape; everything about it is drawn once, by seed."""

    family: Family
    seed: int  # the seed it was drawn with
    ideas: tuple[DrawnIdea, ...]
    pairs: tuple[Interaction, ...]  # interactions of ideas
    crash_pairs: frozenset[tuple[int, int]]  # pairs of ideas that crash when both are changed
    base_bpb: float  # true val_bpb of the baseline
    base_gb: float  # peak memory of the baseline, in GiB
    saturation_bpb: float  # gain at which further gains shrink to 1/e; 0 for none
    slip: float  # probability that a proposal has a bug
    skills: dict[str, tuple[float, ...]]  # skill of each emitter at SKILL_POINTS evenly spaced moments of the night
    self_image: dict[str, float]  # skill that the agent thinks it has with each emitter
    _values: dict[Config, float] = field(init=False, repr=False, compare=False, default_factory=dict)

    @property
    def baseline(self) -> Config:
        """Return the configuration that every night starts from."""
        return (0,) * len(self.ideas)

    def value(self, config: Config) -> float:
        """Return the true val_bpb of a configuration, whether or not it crashes; lower is better."""
        if config not in self._values:
            change = sum(idea.effect_bpb[level] for idea, level in zip(self.ideas, config, strict=True))
            for first, second, bpb in self.pairs:
                if config[first] and config[second]:
                    change += bpb * config[first] * config[second]
            if self.saturation_bpb and change < 0:
                change = -self.saturation_bpb * (1 - math.exp(change / self.saturation_bpb))
            self._values[config] = self.base_bpb + change
        return self._values[config]

    def gain(self, config: Config) -> float:
        """Return the true gain of a configuration over the baseline, in bpb; above zero is better."""
        return self.base_bpb - self.value(config)

    def peak_gb(self, config: Config) -> float:
        """Return the peak memory of a configuration, in GiB."""
        return self.base_gb + sum(idea.step_gb * level for idea, level in zip(self.ideas, config, strict=True) if level)

    def params_m(self, config: Config) -> float:
        """Return the parameters of a configuration, in millions."""
        return BASE_M + sum(idea.step_m * level for idea, level in zip(self.ideas, config, strict=True) if level)

    def crash(self, config: Config) -> Crash | None:
        """Return the crash of a configuration, None when it runs to its end."""
        changed = [i for i, level in enumerate(config) if level]
        for index, first in enumerate(changed):
            idea = self.ideas[first]
            if config[first] in idea.diverges:
                return Crash(f"FAIL: loss is nan ({idea.entry.category})", 0.4)
            for second in changed[index + 1 :]:
                if (first, second) in self.crash_pairs:
                    names = f"{idea.entry.name} with {self.ideas[second].entry.name}"
                    return Crash(f"RuntimeError: shapes do not match: {names}", 0.1)
        if self.peak_gb(config) > MEMORY_LIMIT_GB:
            return Crash("OutOfMemoryError: CUDA out of memory", 0.15)
        return None

    def skill(self, emitter: str, elapsed: float) -> float:
        """Return an emitter's skill in [0, 1] after a share of the night."""
        points = self.skills[emitter]
        return points[min(int(elapsed * len(points)), len(points) - 1)]

    def reachable(self) -> float:
        """Return the gain of the best configuration that a search without noise finds, in bpb."""
        return max(self._descend(Random(start)) for start in range(DESCENTS))

    def _descend(self, rng: Random) -> float:
        """Return the gain in bpb of one noise-free descent in random order, until nothing helps.

        It goes by single ideas, and where those end by two that interact, since some help only together.
        """
        here, before, order = self.baseline, None, list(range(len(self.ideas)))
        while here != before:
            before = here
            rng.shuffle(order)
            for index in order:
                for there in self._steps(here, index):
                    here = there if self._is_better(there, here) else here
            if here == before:
                here = next((there for there in self._pair_steps(here) if self._is_better(there, here)), here)
        return self.gain(here)

    def _is_better(self, config: Config, other: Config) -> bool:
        return self.value(config) < self.value(other) - TINY_BPB and self.crash(config) is None

    def _pair_steps(self, config: Config) -> Iterator[Config]:
        """Yield the neighbours of a configuration in two ideas that interact, one step away in each."""
        for first, second, _ in self.pairs:
            for near in self._steps(config, first):
                yield from self._steps(near, second)

    def _steps(self, config: Config, index: int) -> Sequence[Config]:
        """Return the neighbours of a configuration in one idea, one step away."""
        low, high = (-KNOB_REACH, KNOB_REACH) if self.ideas[index].entry.kind == "knob" else (0, 1)
        near = (config[index] - 1, config[index] + 1)
        return [moved(config, index, level) for level in near if low <= level <= high]

    def edit(self, before: Config, after: Config) -> dict[str, Any]:
        """Return a change as an edit of the script: category, additions, deletions, diff_text and delta."""
        categories, delta, diff_text = set(), {}, ""
        additions = deletions = 0
        for idea, old, new in zip(self.ideas, before, after, strict=True):
            if old == new:
                continue
            entry, was, becomes = idea.entry, idea.spelled(old), idea.spelled(new)
            categories.add(entry.category)
            delta[entry.name] = f"{was} -> {becomes}"
            diff_text += f"@@ {entry.name} @@\n-{entry.name} = {was}\n+{entry.name} = {becomes}\n"
            additions += 1 if entry.kind == "knob" else idea.statements * (becomes == "on")
            deletions += 1 if entry.kind == "knob" else idea.statements * (becomes == "off")
        category = categories.pop() if len(categories) == 1 else MIXED
        return {
            "category": SIMPLIFICATION if deletions and not additions else category,
            "additions": additions,
            "deletions": deletions,
            "diff_text": diff_text,
            "delta": delta,
        }
