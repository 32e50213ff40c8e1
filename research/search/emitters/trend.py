"""Where the latest experiments went: the constants that keep moving one way, and the kind of change in fashion."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from research.code.diff import ARROW, direction
from research.core.settings import SETTINGS
from research.verdict.models import Known, Memory, Trend


@dataclass(frozen=True)
class Lean:
    """A constant that the latest experiments mostly moved one way.

    Attributes:
        name: The constant.
        way: "up" or "down".
        moves: How many moves went that way, less those that went the other.
        latest: The latest configuration that moved it.
        opposite: What is known of the other way, None if nobody went it.
    """

    name: str
    way: str
    moves: int
    latest: Known
    opposite: Trend | None


def leans(memory: Memory) -> tuple[Lean, ...]:
    """The constants with a direction, the least opposed and most moved first."""
    balance: Counter[str] = Counter()
    latest: dict[str, Known] = {}
    for known in memory.recent[-SETTINGS.trend_memory :]:
        for name, text in known.delta.items():
            before, arrow, after = text.partition(ARROW)
            way = direction(before, after) if arrow else ""
            if way:
                balance[name] += 1 if way == "up" else -1
                latest[name] = known
    found = []
    for name, sum_ in balance.items():
        if sum_:
            way = "up" if sum_ > 0 else "down"
            other = memory.constant_trends.get((name, "down" if way == "up" else "up"))
            found.append(Lean(name, way, abs(sum_), latest[name], other))
    return tuple(sorted(found, key=lambda lean: (lean.opposite.n if lean.opposite else 0, -lean.moves, lean.name)))


def fashion(memory: Memory) -> str:
    """The kind of change that dominates the latest experiments, "" if none does."""
    kinds = Counter(known.category for known in memory.recent[-SETTINGS.trend_memory :] if known.category)
    if not kinds:
        return ""
    kind, count = min(kinds.items(), key=lambda item: (-item[1], item[0]))
    return kind if count >= SETTINGS.fashion_share * sum(kinds.values()) and sum(kinds.values()) >= 3 else ""
