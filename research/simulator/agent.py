"""The simulated agent: turns an order into one new configuration, with a skill that depends on the way and the hour.

It draws several proposals in the ordered way; with the way's skill as probability it makes the truly best of them,
else the worse of two. Ordered nothing, it chooses a way by what it believes of itself. The less of an order is left
open, the fewer proposals it has to compare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from research.search.policies.base import CATEGORIES, EMITTERS
from research.simulator.landscape import Config, Landscape
from research.simulator.notebook import Notebook
from research.simulator.proposals import any_change, way_of
from research.simulator.trial import MIXED, SIMPLIFICATION

BELIEF_WEIGHT = 2.5
"""How strongly the free agent prefers what it believes to be good at: e to the 2.5 times from none to full skill."""
DRAWS = 40
"""Draws for one set of proposals: in a small corner almost everything was tried after a while."""


class Proposal(NamedTuple):
    """What the agent makes of an order: the configuration, and the way it was found."""

    config: Config
    emitter: str


class Agent:
    """One agent for one night.

    Args:
        landscape: Where it works.
        rng: Its own dice.
    """

    def __init__(self, landscape: Landscape, rng: Random) -> None:
        self.landscape = landscape
        self.rng = rng
        self.book = Notebook(landscape)
        self._weights = [math.exp(BELIEF_WEIGHT * landscape.beliefs[emitter]) for emitter in EMITTERS]
        self._all = tuple(range(len(landscape.ideas)))
        self._of = {
            category: tuple(i for i in self._all if landscape.ideas[i].entry.category == category)
            for category in CATEGORIES
        }

    def propose(self, emitter: str | None, category: str | None, parent: Config, elapsed: float) -> Proposal:
        """Answers an order.

        Args:
            emitter: The way ordered; None or a name it does not know leaves it free.
            category: What to change, may be "a+b"; what can't be followed is answered with what is closest.
            parent: The configuration to start from.
            elapsed: Share of the night that is over, in [0, 1).
        """
        way = emitter if emitter in EMITTERS else self.rng.choices(EMITTERS, self._weights)[0]
        if category == SIMPLIFICATION:
            way = "simplifier"
        family, allowed = self.landscape.family, self._allowed(category)
        choice = family.choice + family.open_way * (emitter is None) + family.open_category * (allowed is self._all)
        found = self._found(way, allowed, parent, category == MIXED, choice)
        if not found:
            return Proposal(self._something(parent), way)
        if len(found) > 1 and self.rng.random() < self.landscape.skill(way, elapsed):
            return Proposal(min(found, key=self._truth), way)
        return Proposal(max(found[:2], key=self._truth), way)

    def _allowed(self, category: str | None) -> Sequence[int]:
        """The ideas that an ordered category leaves."""
        paths = [i for part in (category or "").split("+") for i in self._of.get(part.split("/")[0], ())]
        return paths or self._all

    def _found(self, way: str, allowed: Sequence[int], parent: Config, mixed: bool, choice: int) -> list[Config]:
        """Different new proposals in a way; the first is a fair draw."""
        found: list[Config] = []
        for draw in range(DRAWS):
            config = way_of(way)(parent, allowed, self.book, self.rng)
            if config is None or draw >= DRAWS // 2:  # this corner is empty: anything in the category is closest
                config = any_change(parent, allowed, self.book, self.rng)
            if config is not None and mixed:
                config = any_change(config, self._all, self.book, self.rng)
            if config is None or config in self.book.tried or config in found or not self._willing(parent, config):
                continue
            found.append(config)
            if len(found) == choice:
                break
        return found

    def _willing(self, parent: Config, config: Config) -> bool:
        """Whether the agent proposes something of which a part came out badly before."""
        poor = self.book.poor
        for place, level in enumerate(config):
            if level != parent[place]:
                times = poor.get((place, level), 0)
                if times and self.rng.random() > self.landscape.family.again**times:
                    return False
        return True

    def _truth(self, config: Config) -> float:
        """What a skilled look tells: the true value, and that a crash is worth nothing."""
        return math.inf if self.landscape.crash(config) else self.landscape.value(config)

    def _something(self, parent: Config) -> Config:
        """A new configuration at any price: changes on top of each other until nobody has tried it."""
        config = parent
        while config in self.book.tried:
            config = any_change(config, self._all, self.book, self.rng) or config
        return config
