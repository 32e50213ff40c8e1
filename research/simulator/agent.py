"""Simulates the agent: turns an order into one new configuration, with a skill that differs by emitter and by hour.

It draws several proposals of the ordered emitter. With its skill as probability it makes the truly best of them, else
the worse of the first two. Left free, it chooses an emitter by its own estimate of its skills. It draws two proposals
under a full order, and one more for each of emitter and category that the order leaves open. It remembers measured
values only, never true ones.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from research.code.classify import CATEGORIES, MIXED, SIMPLIFICATION
from research.search.emitters import EMITTERS
from research.simulator.landscape import KNOB_REACH, Config, Landscape, moved

PREFERENCE = 2.5
"""Strength of the free agent's preference for what it thinks it is good at: it weighs full skill e^2.5 times as much as
none."""
PROPOSALS_COMPARED = 2
"""Proposals that the agent compares where both the emitter and the category are ordered; it compares one more for each
that is left open."""
RETRY_P = 0.55  # probability of proposing a level once more, for every time that it came out badly
MAX_DRAWS = 40  # draws for one set of proposals: in a small corner almost everything was tried after a while
NEAR_MISS_BPB = 0.0015  # largest distance above the tip at which a result still counts as a near miss
NEAR_MISSES = 12  # near misses that the agent remembers
TREND_LENGTH = 8  # kept changes that make up the recent trend
SURPRISES = 5  # surprising results that the agent remembers
SURPRISE_BPB = 0.003  # size of a difference that surprises; a crash does too
PAYING_WEIGHT = 3.0  # times as often that a tuner turns a knob that paid lately
SAME_DIRECTION_P = 0.75  # probability that it goes on in the direction that paid
STEPS, STEP_WEIGHTS = (1, 2, 3), (5, 3, 2)  # steps by which a knob is turned, with their weights


class Move(NamedTuple):
    """One idea that is moved from one level to another."""

    idea: int  # its index
    before: int  # level
    after: int  # level


def moves_between(before: Config, after: Config) -> tuple[Move, ...]:
    """Return the ideas in which two configurations differ."""
    return tuple(Move(i, a, b) for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b)


class Agent:
    """The agent of one night.

    Args:
        landscape: The landscape that it works on.
        rng: Its own random numbers.

    Attributes:
        tried: Configurations that ran.
        losses: How often each (idea, level) came out worse than its parent.
        paying: The direction in which each idea paid last, 1 or -1.
        trend: Moves that were kept, newest last.
        near_misses: Changes that came out nearly as good as the tip.
        surprises: Changes that came out far off, or crashed.
    """

    def __init__(self, landscape: Landscape, rng: Random) -> None:
        self.landscape, self.rng = landscape, rng
        self.tried: set[Config] = {landscape.baseline}
        self.losses: Counter[tuple[int, int]] = Counter()
        self.paying: dict[int, int] = {}
        self.trend: deque[Move] = deque(maxlen=TREND_LENGTH)
        self.near_misses: deque[tuple[Move, ...]] = deque(maxlen=NEAR_MISSES)
        self.surprises: deque[tuple[Move, ...]] = deque(maxlen=SURPRISES)
        self._weights = [math.exp(PREFERENCE * landscape.self_image[emitter]) for emitter in EMITTERS]
        self._categories = [idea.entry.category for idea in landscape.ideas]
        self._all = range(len(landscape.ideas))
        self._of = {name: [i for i in self._all if self._categories[i] == name] for name in CATEGORIES}
        self._is_knob = [idea.entry.kind == "knob" for idea in landscape.ideas]
        self._ways = {"local_tuner": self._tuned, "simplifier": self._simplified, "contrarian": self._opposed}
        self._ways |= {"recombinator": self._combined, "anomaly_chaser": self._examined}

    # What it remembers ------------------------------------------------------------------------------------------------

    def remember(
        self, parent: Config, config: Config, val_bpb: float | None, parent_bpb: float, tip_bpb: float
    ) -> None:
        """Remember one new run; parent_bpb and tip_bpb are measured values."""
        moves = moves_between(parent, config)
        self.tried.add(config)
        change = None if val_bpb is None else val_bpb - parent_bpb
        if change is None or abs(change) > SURPRISE_BPB:
            self.surprises.append(moves)
        if val_bpb is not None and 0 <= val_bpb - tip_bpb <= NEAR_MISS_BPB:
            self.near_misses.append(moves)
        for move in moves:
            if change is None or change > 0:
                self.losses[move.idea, move.after] += 1
                if len(moves) == 1:
                    self.paying.pop(move.idea, None)
            elif len(moves) == 1:
                self.paying[move.idea] = 1 if move.after > move.before else -1

    # What it proposes -------------------------------------------------------------------------------------------------

    def propose(self, emitter: str | None, category: str | None, parent: Config, elapsed: float) -> tuple[Config, str]:
        """Carry an order out; return a new configuration, and the emitter that found it.

        Args:
            emitter: The emitter ordered; None leaves the agent free.
            category: Kind of change, may be "a+b"; one that can't be made is answered with the closest that can.
            parent: The configuration to start from.
            elapsed: Share of the night that is over, in [0, 1).
        """
        name = emitter or self.rng.choices([*EMITTERS], self._weights)[0]
        if category == SIMPLIFICATION:
            name = "simplifier"
        allowed = [i for part in (category or "").split("+") for i in self._of.get(part, ())]
        choice = PROPOSALS_COMPARED + (emitter is None) + (not allowed)
        found = self._draw(name, allowed or self._all, parent, category == MIXED, choice)
        if len(found) > 1 and self.rng.random() < self.landscape.skill(name, elapsed):
            return min(found, key=self._truth), name
        return (max(found[:2], key=self._truth) if found else self._untried(parent)), name

    def _draw(self, emitter: str, allowed: Sequence[int], parent: Config, mixed: bool, choice: int) -> list[Config]:
        """Return different new proposals of an emitter; the first is a fair draw."""
        found: list[Config] = []
        propose, indices = self._ways.get(emitter, self._any_change), allowed
        if emitter not in self._ways:  # any change of the kind that it declares
            indices = [i for i in allowed if EMITTERS[emitter].covers(self._categories[i])]
        for draw in range(MAX_DRAWS):
            config = propose(parent, indices)
            if config is None or draw >= MAX_DRAWS // 2:  # this corner is empty: anything in the category is closest
                config = self._any_change(parent, allowed)
            if config is not None and mixed:
                config = self._any_change(config, self._all)
            if config is None or config in self.tried or config in found or not self._is_willing(parent, config):
                continue
            found.append(config)
            if len(found) == choice:
                break
        return found

    def _is_willing(self, parent: Config, config: Config) -> bool:
        """Return whether the agent proposes a configuration: less probably one with parts that came out badly."""
        for index, level in enumerate(config):
            times = self.losses.get((index, level), 0) if level != parent[index] else 0
            if times and self.rng.random() > RETRY_P**times:
                return False
        return True

    def _truth(self, config: Config) -> float:
        """Return a configuration's true value, infinite for a crash."""
        return math.inf if self.landscape.crash(config) else self.landscape.value(config)

    def _untried(self, parent: Config) -> Config:
        """Return some new configuration: random changes on top of each other until it was never tried."""
        config = parent
        while config in self.tried:
            config = self._any_change(config, self._all) or config
        return config

    # How each emitter proposes: a configuration, or None for nothing to offer within the ideas allowed ---------------

    def _any_change(self, config: Config, allowed: Sequence[int]) -> Config | None:
        """Turn a random knob by some steps, or change a random switch."""
        if not allowed:
            return None
        index = self.rng.choices(allowed)[0]
        if not self._is_knob[index]:
            return moved(config, index, 1 - config[index])
        steps = self.rng.choices(STEPS, STEP_WEIGHTS)[0]
        return turn(config, index, steps if self.rng.random() < 0.5 else -steps)

    def _tuned(self, config: Config, allowed: Sequence[int]) -> Config | None:
        """Turn one knob by a step, preferring one that paid lately, and the direction in which it paid."""
        knobs = [index for index in allowed if self._is_knob[index]]
        if not knobs:
            return None
        index = self.rng.choices(knobs, [PAYING_WEIGHT if knob in self.paying else 1.0 for knob in knobs])[0]
        direction = self.paying.get(index, 0)
        if not direction or self.rng.random() >= SAME_DIRECTION_P:
            direction = 1 if self.rng.random() < 0.5 else -1
        return turn(config, index, direction)

    def _simplified(self, config: Config, allowed: Sequence[int]) -> Config | None:
        """Take something out: a feature of the baseline, one that was added, or a turn of a knob."""
        ideas = self.landscape.ideas
        fitting = [index for index in allowed if (ideas[index].entry.kind == "removal") == (config[index] == 0)]
        if not fitting:
            return None
        index = self.rng.choices(fitting)[0]
        return moved(config, index, 1 if config[index] == 0 else 0)

    def _opposed(self, config: Config, allowed: Sequence[int]) -> Config | None:
        """Turn a kept change into its opposite; where there is none, turn a knob far."""
        recent = [move for move in self.trend if move.idea in allowed and config[move.idea] == move.after]
        if not recent:
            knobs = [index for index in allowed if self._is_knob[index]]
            steps = self.rng.choice((-4, -3, 3, 4))
            return turn(config, self.rng.choice(knobs), steps) if knobs else None
        move = self.rng.choice(recent)
        if self._is_knob[move.idea]:
            return turn(config, move.idea, 2 * (move.before - move.after))
        against = moved(config, move.idea, move.before)
        other = self._any_change(against, [index for index in self._all if index != move.idea])
        return against if self.rng.random() < 0.5 else other

    def _combined(self, config: Config, allowed: Sequence[int]) -> Config | None:
        """Put one or two near misses on top of the parent; without any, make two changes at once."""
        fitting = [moves for moves in self.near_misses if any(move.idea in allowed for move in moves)]
        if not fitting:
            first = self._any_change(config, allowed)
            return first and self._any_change(first, self._all)
        combined = config
        for moves in self.rng.sample(fitting, min(len(fitting), self.rng.randint(1, 2))):
            for idea, before, after in moves:  # knobs by as many steps, switches to the state
                knob = turn(combined, idea, after - before) or combined
                combined = knob if self._is_knob[idea] else moved(combined, idea, after)
        return None if combined == config else combined

    def _examined(self, config: Config, allowed: Sequence[int]) -> Config | None:
        """Change a surprising idea by another amount, or together with one more change."""
        surprising = [move for moves in self.surprises for move in moves if move.idea in allowed]
        if not surprising:
            return self._any_change(config, allowed)
        index = self.rng.choice(surprising).idea
        if self._is_knob[index]:
            return turn(config, index, self.rng.choice((-2, -1, 1, 2)))
        others = [other for other in self._all if other != index]
        return self._any_change(moved(config, index, 1 - config[index]), others)


def turn(config: Config, index: int, steps: int) -> Config | None:
    """Turn a knob; None at the end of its range."""
    level = max(-KNOB_REACH, min(KNOB_REACH, config[index] + steps))
    return None if level == config[index] else moved(config, index, level)
