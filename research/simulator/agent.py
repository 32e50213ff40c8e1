"""Simulates the agent: turns an order into one new configuration, with a skill that depends on emitter and hour.

It draws several proposals of the ordered emitter; with its skill as probability it makes the truly best of them, else
the worse of two. Left free, it chooses an emitter by what it thinks its skills are. A skilled agent compares two
proposals under a full order, and one more for each of emitter and category that the order leaves open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from research.search.policies.base import CATEGORIES, EMITTERS
from research.simulator.edits import MIXED, SIMPLIFICATION
from research.simulator.landscape import Config, Landscape
from research.simulator.memory import AgentMemory
from research.simulator.proposals import any_change, proposer_of

PREFERENCE = 2.5
"""How strongly the free agent prefers what it thinks it is good at: e to the 2.5 times from none to full skill."""
CHOICE = 2
"""Proposals that the agent compares where both the emitter and the category are ordered."""
OPEN_EMITTER, OPEN_CATEGORY = 1, 1
"""Proposals more where the one or the other is left open. That it is the same for both is assumed."""
AGAIN = 0.55
"""Probability of proposing a level once more, for every time that it came out badly."""
DRAWS = 40
"""Draws for one set of proposals: in a small corner almost everything was tried after a while."""


class Proposal(NamedTuple):
    """What the agent makes of an order: the configuration, and the emitter that found it."""

    config: Config
    emitter: str


class Agent:
    """The agent of one night.

    Args:
        landscape: Where it works.
        rng: Its own random numbers.
    """

    def __init__(self, landscape: Landscape, rng: Random) -> None:
        self.landscape = landscape
        self.rng = rng
        self.memory = AgentMemory(landscape)
        self._weights = [math.exp(PREFERENCE * landscape.self_image[emitter]) for emitter in EMITTERS]
        self._all = tuple(range(len(landscape.ideas)))
        self._of = {
            category: tuple(i for i in self._all if landscape.ideas[i].entry.category == category)
            for category in CATEGORIES
        }

    def propose(self, emitter: str | None, category: str | None, parent: Config, elapsed: float) -> Proposal:
        """Answer an order.

        Args:
            emitter: The emitter ordered; None or a name it does not know leaves it free.
            category: What to change, may be "a+b"; what can't be followed is answered with what is closest.
            parent: The configuration to start from.
            elapsed: Share of the night that is over, in [0, 1).
        """
        name = emitter if emitter in EMITTERS else self.rng.choices(EMITTERS, self._weights)[0]
        if category == SIMPLIFICATION:
            name = "simplifier"
        allowed = self._allowed(category)
        choice = CHOICE + OPEN_EMITTER * (emitter is None) + OPEN_CATEGORY * (allowed is self._all)
        found = self._draw(name, allowed, parent, category == MIXED, choice)
        if not found:
            return Proposal(self._something(parent), name)
        if len(found) > 1 and self.rng.random() < self.landscape.skill(name, elapsed):
            return Proposal(min(found, key=self._truth), name)
        return Proposal(max(found[:2], key=self._truth), name)

    def _allowed(self, category: str | None) -> Sequence[int]:
        """Return the ideas that an ordered category leaves."""
        places = [i for part in (category or "").split("+") for i in self._of.get(part.split("/")[0], ())]
        return places or self._all

    def _draw(self, emitter: str, allowed: Sequence[int], parent: Config, mixed: bool, choice: int) -> list[Config]:
        """Return different new proposals of an emitter; the first is a fair draw."""
        propose = proposer_of(emitter)
        found: list[Config] = []
        for draw in range(DRAWS):
            config = propose(parent, allowed, self.memory, self.rng)
            if config is None or draw >= DRAWS // 2:  # this corner is empty: anything in the category is closest
                config = any_change(parent, allowed, self.memory, self.rng)
            if config is not None and mixed:
                config = any_change(config, self._all, self.memory, self.rng)
            if config is None or config in self.memory.tried or config in found or not self._willing(parent, config):
                continue
            found.append(config)
            if len(found) == choice:
                break
        return found

    def _willing(self, parent: Config, config: Config) -> bool:
        """Return whether the agent proposes something of which a part may have come out badly before."""
        poor = self.memory.poor
        for place, level in enumerate(config):
            if level != parent[place]:
                times = poor.get((place, level), 0)
                if times and self.rng.random() > AGAIN**times:
                    return False
        return True

    def _truth(self, config: Config) -> float:
        """Return what a skilled look tells: the true value, and that a crash is worth nothing."""
        return math.inf if self.landscape.crash(config) else self.landscape.value(config)

    def _something(self, parent: Config) -> Config:
        """Return a new configuration at any price: changes on top of each other until nobody has tried it."""
        config = parent
        while config in self.memory.tried:
            config = any_change(config, self._all, self.memory, self.rng) or config
        return config
