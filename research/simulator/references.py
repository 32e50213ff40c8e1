"""Defines yardsticks, which are no policies of the product: they know the truth, or isolate a part of a policy.

A reference with a method look(world) is shown the simulator's own state before the night; no real policy has one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial

from research.search.observation import Result, configuration
from research.search.policies.base import CATEGORIES, EMITTERS, Answer, Order, Policy
from research.search.policies.baselines import Climber
from research.search.policies.classic import Classic
from research.simulator.night import World


class ReplicateFirst(Climber):
    """Keeps nothing that did not read lower than the tip in every one of several runs."""

    more = 3
    """Runs after the first; the first that does not read lower ends the matter."""

    def tell(self, result: Result) -> Answer:
        """Ask for another run until one does not read lower, or all have; see Policy."""
        config = configuration(result)
        is_lower = result.val_bpb is not None and result.val_bpb < self.estimate(self._chain.tip)
        self._take(result)
        answer: Answer = "discard"
        if is_lower:
            answer = "keep" if len(self._scores[config]) > self.more else "replicate"
        self._chain.decide(config, answer)
        return answer


class PerfectAcceptance(Climber):
    """Decides by the true values."""

    def look(self, world: World) -> None:
        """Take the simulator's state."""
        self._world = world

    def _is_lower(self, config: Hashable, tip: Hashable) -> bool:
        return self._world.value(config) < self._world.value(tip)


class ClassicOrders(Climber):
    """Orders what the public loop's planner orders, and keeps what reads lower."""

    def start(self, baseline: Result) -> None:
        """Begin the night; see Policy."""
        super().start(baseline)
        self._planner = Classic(0)
        self._planner.start(baseline)

    def ask(self, history: Sequence[Result]) -> Order:
        """Return the planner's order, from the tip; see Policy."""
        return *self._planner.ask(history)[:2], None

    def tell(self, result: Result) -> Answer:
        """Let the planner learn, and keep what reads lower; see Policy."""
        self._planner.tell(result)
        return super().tell(result)


class OracleOrder(Climber):
    """Orders what truly has the largest expected gain now, and keeps what reads lower."""

    looks = 3
    """Proposals that it sees of every emitter and category before it orders."""

    def look(self, world: World) -> None:
        """Take the simulator's state."""
        self._world = world

    def ask(self, history: Sequence[Result]) -> Order:
        """Return the best order; see Policy."""
        orders = [(emitter, category) for emitter in EMITTERS for category in CATEGORIES]
        return *max(orders, key=self._expected_gain), None

    def _expected_gain(self, order: tuple[str, str]) -> float:
        world = self._world
        tip, elapsed, shape = world.configs[world.tip], len(world.history) / world.runs, world.landscape
        gain = 0.0
        for _ in range(self.looks):
            there = world.agent.propose(*order, tip, elapsed).config
            if shape.crash(there) is None:
                gain += max(0.0, shape.value(tip) - shape.value(there))
        return gain


REFERENCES: Mapping[str, Callable[[int], Policy]] = {
    "planner": ClassicOrders,
    "replicate-first": ReplicateFirst,
    "replicate-first-random": partial(ReplicateFirst, dice=True),
    "perfect-acceptance": partial(PerfectAcceptance, dice=True),
    "perfect-acceptance-free": PerfectAcceptance,
    "oracle-order": OracleOrder,
}
"""The yardsticks by name; a free agent and random orders that keep what reads lower are the policies greedy, random."""
