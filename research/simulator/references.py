"""Yardsticks, not policies of the product: they look at the truth, or are the plainest thing that can be done.

A reference with a method look(world) is shown the simulator's own state before the night; no real policy has one.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from random import Random

from research.search.policies.base import CATEGORIES, EMITTERS
from research.search.policies.classic import Classic
from research.simulator.night import World
from research.simulator.trial import Trial


class FreeGreedy:
    """Leaves the agent free and keeps whatever came out lower."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = Random(f"reference/{seed}")
        self.best: Trial | None = None
        self.values: dict[Hashable, list[float]] = {}

    def start(self, baseline: Trial) -> None:
        self.best = baseline
        self._note(baseline)

    def ask(self, history: Sequence[Trial]) -> tuple[str | None, str | None, Hashable | None]:
        return None, None, None

    def tell(self, result: Trial) -> str:
        self._note(result)
        if result.val_bpb is not None and self.best is not None and result.val_bpb < (self.best.val_bpb or 0.0):
            self.best = result
            return "keep"
        return "discard"

    def final(self, history: Sequence[Trial]) -> Hashable:
        assert self.best is not None
        return self.best.id

    def estimate(self, id: Hashable) -> float:
        values = self.values[id]
        return sum(values) / len(values)

    def _note(self, result: Trial) -> None:
        if result.val_bpb is not None:
            self.values.setdefault(result.replicate_of or result.id, []).append(result.val_bpb)


class RandomOrder(FreeGreedy):
    """Orders a uniformly random way and category, keeps whatever came out lower."""

    def ask(self, history: Sequence[Trial]) -> tuple[str | None, str | None, Hashable | None]:
        return self.rng.choice(EMITTERS), self.rng.choice(CATEGORIES), None


class ReplicateFirst(FreeGreedy):
    """Keeps nothing that did not read lower than the tip in every one of several runs."""

    more = 3
    """Runs after the first; the first that does not read lower ends the matter."""

    def tell(self, result: Trial) -> str:
        assert self.best is not None
        self._note(result)
        id = result.replicate_of or result.id
        if result.val_bpb is None or result.val_bpb >= self.estimate(self.best.id):
            return "discard"
        if result.replicate_of is None:
            self._first = result
        if len(self.values[id]) <= self.more:
            return "replicate"
        self.best = self._first
        return "keep"


class ReplicateFirstRandom(RandomOrder, ReplicateFirst):
    """The same with random orders."""


class PerfectAcceptanceFree(FreeGreedy):
    """Leaves the agent free, and decides by the truth."""

    def look(self, world: World) -> None:
        self.world = world

    def tell(self, result: Trial) -> str:
        self._note(result)
        value, world = self.world.landscape.value, self.world
        better = result.val_bpb is not None and value(result.config) < value(world.configs[world.tip])
        if better:
            self.best = result
        return "keep" if better else "discard"


class PerfectAcceptance(RandomOrder, PerfectAcceptanceFree):
    """The same with random orders."""


class Planner(FreeGreedy):
    """Orders what the public loop's planner orders, and keeps whatever came out lower."""

    def start(self, baseline: Trial) -> None:
        super().start(baseline)
        self.planner = Classic(0)
        self.planner.start(baseline)

    def ask(self, history: Sequence[Trial]) -> tuple[str | None, str | None, Hashable | None]:
        emitter, category, _ = self.planner.ask(history)
        return emitter, category, None

    def tell(self, result: Trial) -> str:
        self.planner.tell(result)
        return super().tell(result)


class OracleOrder(FreeGreedy):
    """Orders what truly has the largest expected gain now, and keeps whatever came out lower."""

    looks = 3
    """Proposals that it sees of every way and category before it orders."""

    def look(self, world: World) -> None:
        self.world = world

    def ask(self, history: Sequence[Trial]) -> tuple[str | None, str | None, Hashable | None]:
        orders = [(e, c) for e in EMITTERS for c in CATEGORIES]
        emitter, category = max(orders, key=self._worth)
        return emitter, category, None

    def _worth(self, order: tuple[str, str]) -> float:
        world = self.world
        tip, elapsed, shape = world.configs[world.tip], len(world.trials) / world.runs, world.landscape
        here, worth = shape.value(tip), 0.0
        for _ in range(self.looks):
            there = world.agent.propose(*order, tip, elapsed).config
            if shape.crash(there) is None:
                worth += max(0.0, here - shape.value(there))
        return worth


REFERENCES = {
    "free": FreeGreedy,
    "random-order": RandomOrder,
    "replicate-first": ReplicateFirst,
    "replicate-first-random": ReplicateFirstRandom,
    "perfect-acceptance": PerfectAcceptance,
    "perfect-acceptance-free": PerfectAcceptanceFree,
    "planner": Planner,
    "oracle-order": OracleOrder,
}
"""The yardsticks by name."""
