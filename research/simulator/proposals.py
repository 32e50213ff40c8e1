"""Proposes configurations as each emitter would: functions from what the simulated agent knows to a configuration.

A proposer returns None when it has nothing to offer within the ideas allowed. Which of several proposals is made is
decided elsewhere: see agent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from research.simulator.landscape import KNOB_REACH, Config, Landscape
from research.simulator.memory import AgentMemory, Move

Proposer = Callable[[Config, Sequence[int], AgentMemory, Random], Config | None]
"""From (parent, ideas allowed, memory, rng) to a configuration."""

WARM_WEIGHT = 3.0
"""How much more often a tuner turns a knob that paid lately."""
WARM_TRUST = 0.75
"""How often it goes on in the direction that paid."""
STEP_WEIGHTS = (5, 3, 2)
"""How often a change of a knob is one, two or three steps."""


def moved(config: Config, place: int, level: int) -> Config:
    """Return the configuration with one idea at another level."""
    return (*config[:place], level, *config[place + 1 :])


def is_knob(landscape: Landscape, place: int) -> bool:
    """Return whether an idea is numeric."""
    return landscape.ideas[place].entry.kind == "knob"


def turn(config: Config, place: int, steps: int) -> Config | None:
    """Turn a knob; None at the end of its range."""
    level = max(-KNOB_REACH, min(KNOB_REACH, config[place] + steps))
    return None if level == config[place] else moved(config, place, level)


def any_change(config: Config, allowed: Sequence[int], memory: AgentMemory, rng: Random) -> Config | None:
    """Turn a knob by some steps, or change a switch: what anybody might try."""
    if not allowed:
        return None
    place = allowed[int(rng.random() * len(allowed))]
    if not is_knob(memory.landscape, place):
        return moved(config, place, 1 - config[place])
    steps = 1 + _weighted(STEP_WEIGHTS, rng)
    return turn(config, place, steps if rng.random() < 0.5 else -steps)


def local_tuner(config: Config, allowed: Sequence[int], memory: AgentMemory, rng: Random) -> Config | None:
    """Turn one knob by a step: rather one that paid lately, and rather in the direction that paid."""
    knobs = [place for place in allowed if is_knob(memory.landscape, place)]
    if not knobs:
        return None
    place = knobs[_weighted([WARM_WEIGHT if k in memory.warm else 1.0 for k in knobs], rng)]
    direction = memory.warm.get(place, 0)
    if not direction or rng.random() >= WARM_TRUST:
        direction = 1 if rng.random() < 0.5 else -1
    return turn(config, place, direction)


def simplifier(config: Config, allowed: Sequence[int], memory: AgentMemory, rng: Random) -> Config | None:
    """Take something out: a feature of the baseline, one that was added, or a turn of a knob."""
    ideas = memory.landscape.ideas
    fitting = [p for p in allowed if (ideas[p].entry.kind == "removal") == (config[p] == 0)]
    if not fitting:
        return None
    place = fitting[int(rng.random() * len(fitting))]
    return moved(config, place, 1 if config[place] == 0 else 0)


def contrarian(config: Config, allowed: Sequence[int], memory: AgentMemory, rng: Random) -> Config | None:
    """Turn a kept change into its opposite; where there is none, turn a knob far."""
    recent = [move for move in memory.trend if move.place in allowed and config[move.place] == move.after]
    if not recent:
        knobs = [p for p in allowed if is_knob(memory.landscape, p)]
        steps = rng.choice((-4, -3, 3, 4))
        return turn(config, rng.choice(knobs), steps) if knobs else None
    move = rng.choice(recent)
    against = moved(config, move.place, move.before)
    if is_knob(memory.landscape, move.place):
        return turn(config, move.place, 2 * (move.before - move.after))
    other = any_change(against, [p for p in range(len(config)) if p != move.place], memory, rng)
    return against if rng.random() < 0.5 else other


def recombinator(config: Config, allowed: Sequence[int], memory: AgentMemory, rng: Random) -> Config | None:
    """Put one or two near misses on top of the parent; without any, make two changes at once."""
    fitting = [m for m in memory.near_misses if any(move.place in allowed for move in m)]
    if not fitting:
        first = any_change(config, allowed, memory, rng)
        return first and any_change(first, range(len(config)), memory, rng)
    combined = config
    for moves in rng.sample(fitting, min(len(fitting), rng.randint(1, 2))):
        combined = _applied(combined, moves, memory.landscape)
    return None if combined == config else combined


def anomaly_chaser(config: Config, allowed: Sequence[int], memory: AgentMemory, rng: Random) -> Config | None:
    """Change what surprised by another amount, or together with one more change."""
    surprising = [move for m in memory.surprises for move in m if move.place in allowed]
    if not surprising:
        return any_change(config, allowed, memory, rng)
    move = rng.choice(surprising)
    if is_knob(memory.landscape, move.place):
        return turn(config, move.place, rng.choice((-2, -1, 1, 2)))
    changed = moved(config, move.place, 1 - config[move.place])
    return any_change(changed, [p for p in range(len(config)) if p != move.place], memory, rng)


def proposer_of(emitter: str) -> Proposer:
    """Return how an emitter proposes: its own function, else any change of the kind that the emitter declares."""
    return _SPECIAL.get(emitter) or partial(_any_of_its_kind, emitter)


def _any_of_its_kind(
    emitter: str, config: Config, allowed: Sequence[int], memory: AgentMemory, rng: Random
) -> Config | None:
    """Make any change of an idea that an emitter covers."""
    covered = memory.covered[emitter]
    return any_change(config, [place for place in allowed if place in covered], memory, rng)


_SPECIAL: dict[str, Proposer] = {
    "local_tuner": local_tuner,
    "simplifier": simplifier,
    "contrarian": contrarian,
    "recombinator": recombinator,
    "anomaly_chaser": anomaly_chaser,
}


def _applied(config: Config, moves: Sequence[Move], landscape: Landscape) -> Config:
    """Return a configuration after the moves of another one: knobs by as many steps, switches to the state."""
    for move in moves:
        if is_knob(landscape, move.place):
            config = turn(config, move.place, move.after - move.before) or config
        else:
            config = moved(config, move.place, move.after)
    return config


def _weighted(weights: Sequence[float], rng: Random) -> int:
    """Draw an index in proportion to its weight."""
    left = rng.random() * sum(weights)
    for place, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return place
    return len(weights) - 1
