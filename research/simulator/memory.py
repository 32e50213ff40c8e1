"""Keeps what the simulated agent remembers of its night: what it tried, what paid, what failed, what surprised.

It knows measured values only, never true ones.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from research.search.emitters import EMITTERS, Emitter
from research.simulator.landscape import Config, Landscape

NEAR_MISS_BPB = 0.0015
"""How far above the tip a result still counts as nearly good."""
NEAR_MISSES = 12
"""Near misses that the agent remembers."""
TREND = 8
"""Kept changes that make up the recent trend."""
SURPRISES = 5
"""Surprising results that the agent remembers."""
SURPRISE_BPB = 0.003
"""Size of a difference that surprises; a crash does too."""


class Move(NamedTuple):
    """One idea moved from a level to another."""

    place: int
    before: int
    after: int


def moves_between(before: Config, after: Config) -> tuple[Move, ...]:
    """Return the ideas in which two configurations differ."""
    return tuple(Move(i, a, b) for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b)


def _places(landscape: Landscape, emitter: Emitter) -> frozenset[int]:
    """Return the ideas that are of an emitter's kind."""
    entries = enumerate(idea.entry for idea in landscape.ideas)
    return frozenset(place for place, entry in entries if emitter.covers(entry.category))


class AgentMemory:
    """What the agent remembers of one night.

    Attributes:
        covered: Emitter to the ideas that are of its kind.
        tip: Configuration of the tip.
        tried: Configurations that ran.
        poor: (idea, level) to how often it came out worse than its parent.
        warm: Idea to the direction in which it paid last.
        trend: Moves that were kept, newest last.
        near_misses: Changes that came out nearly as good as the tip.
        surprises: Changes that came out far off, or crashed.
    """

    def __init__(self, landscape: Landscape) -> None:
        self.landscape = landscape
        self.covered = {name: _places(landscape, emitter) for name, emitter in EMITTERS.items()}
        self.tip = landscape.baseline
        self.tried: set[Config] = {landscape.baseline}
        self.poor: Counter[tuple[int, int]] = Counter()
        self.warm: dict[int, int] = {}
        self.trend: deque[Move] = deque(maxlen=TREND)
        self.near_misses: deque[tuple[Move, ...]] = deque(maxlen=NEAR_MISSES)
        self.surprises: deque[tuple[Move, ...]] = deque(maxlen=SURPRISES)

    def add(self, parent: Config, config: Config, val_bpb: float | None, parent_bpb: float, tip_bpb: float) -> None:
        """Take one new run in; parent_bpb and tip_bpb are measured values."""
        moves = moves_between(parent, config)
        self.tried.add(config)
        change = None if val_bpb is None else val_bpb - parent_bpb
        if change is None or abs(change) > SURPRISE_BPB:
            self.surprises.append(moves)
        if val_bpb is not None and 0 <= val_bpb - tip_bpb <= NEAR_MISS_BPB:
            self.near_misses.append(moves)
        for move in moves:
            if change is None or change > 0:
                self.poor[move.place, move.after] += 1
                if len(moves) == 1:
                    self.warm.pop(move.place, None)
            elif len(moves) == 1:
                self.warm[move.place] = 1 if move.after > move.before else -1

    def add_kept(self, parent: Config, config: Config) -> None:
        """Take in that a change was kept."""
        self.trend.extend(moves_between(parent, config))
