"""Goes against the latest trend: the constants that keep moving one way, and the kind of change that dominates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from research.code.diff import moves
from research.core.settings import SETTINGS
from research.search.emitters.base import Emitter, format_change
from research.verdict.models import Configuration, Memory, Trend

OPPOSITE = {"up": "down", "down": "up"}


class Direction(NamedTuple):
    """A constant that the latest experiments mostly moved in one direction."""

    name: str  # of the constant
    way: str  # "up" or "down"
    moves: int  # moves in that direction less moves in the other
    latest: Configuration  # the latest configuration that moved it
    opposite: Trend | None  # the trend of the other direction, None if nobody tried it


def recent_directions(memory: Memory) -> list[Direction]:
    """Return the constants that moved mostly in one direction, the least opposed and most moved first."""
    balance: Counter[str] = Counter()
    latest: dict[str, Configuration] = {}
    for known in memory.recent:
        for name, way in moves(known.delta):
            balance[name] += 1 if way == "up" else -1
            latest[name] = known
    found = []
    for name, net in balance.items():
        if net:
            way = "up" if net > 0 else "down"
            found.append(Direction(name, way, abs(net), latest[name], memory.trends.get((name, OPPOSITE[way]))))
    return sorted(found, key=lambda one: (one.opposite.n if one.opposite else 0, -one.moves, one.name))


def dominant_category(memory: Memory) -> str:
    """Return the kind of change that dominates the latest experiments, "" if none does."""
    kinds = Counter(known.category for known in memory.recent if known.category)
    kind, count = min(kinds.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
    return kind if count >= SETTINGS.fashion_share * kinds.total() and kinds.total() >= 3 else ""


def _lacks(memory: Memory) -> str:
    return "" if recent_directions(memory) or dominant_category(memory) else "no trend to oppose yet"


def _trend(memory: Memory) -> Iterator[str]:
    """Yield lines on the constants that moved lately, and on the kind of change that dominates."""
    for one in recent_directions(memory)[:3]:
        known = "was never tried"
        if one.opposite:
            known = f"was tried {one.opposite.n} times, mean change in val_bpb {-one.opposite.mean:+.4f}"
        lately = f"Lately {one.name} went {one.way} ({one.moves} times net, last {format_change(one.latest)})"
        yield f"{lately}; {OPPOSITE[one.way]} {known}."
    if kind := dominant_category(memory):
        yield f"Most of the latest changes were {kind} changes."


EMITTER = Emitter(
    name="contrarian",
    purpose="go against the latest trend",
    order="one deliberate move opposite to the trend above ({category}); is this a false basin?",
    predicted="uncertain",
    lacks=_lacks,
    facts=_trend,
)
