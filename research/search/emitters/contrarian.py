"""Goes against the latest trend: the constants that keep moving one way, and the kind of change that dominates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from research.code.diff import ARROW, direction
from research.core.records import Plan
from research.core.settings import SETTINGS
from research.search.emitters.base import Emitter, needs_parent
from research.search.emitters.text import format_change
from research.verdict.models import Configuration, Memory, Trend


@dataclass(frozen=True)
class Direction:
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
    latest: Configuration
    opposite: Trend | None


def recent_directions(memory: Memory) -> tuple[Direction, ...]:
    """Return the constants that moved mostly one way, the least opposed and most moved first."""
    balance: Counter[str] = Counter()
    latest: dict[str, Configuration] = {}
    for known in memory.recent[-SETTINGS.trend_memory :]:
        for name, text in known.delta.items():
            before, arrow, after = text.partition(ARROW)
            way = direction(before, after) if arrow else ""
            if way:
                balance[name] += 1 if way == "up" else -1
                latest[name] = known
    found = []
    for name, net in balance.items():
        if net:
            way = "up" if net > 0 else "down"
            other = memory.constant_trends.get((name, "down" if way == "up" else "up"))
            found.append(Direction(name, way, abs(net), latest[name], other))
    return tuple(sorted(found, key=lambda one: (one.opposite.n if one.opposite else 0, -one.moves, one.name)))


def dominant_category(memory: Memory) -> str:
    """Return the kind of change that dominates the latest experiments, "" if none does."""
    kinds = Counter(known.category for known in memory.recent[-SETTINGS.trend_memory :] if known.category)
    if not kinds:
        return ""
    kind, count = min(kinds.items(), key=lambda item: (-item[1], item[0]))
    return kind if count >= SETTINGS.fashion_share * sum(kinds.values()) and sum(kinds.values()) >= 3 else ""


def _needs_trend(memory: Memory) -> str | None:
    if needs_parent(memory):
        return needs_parent(memory)
    return None if recent_directions(memory) or dominant_category(memory) else "no trend to oppose yet"


def _trend(plan: Plan, memory: Memory) -> Iterator[str]:
    """Say which constants moved where lately, and which kind of change dominates."""
    yield from (_format_direction(one) for one in recent_directions(memory)[:3])
    if kind := dominant_category(memory):
        yield f"Most of the latest changes were {kind} changes."


def _format_direction(one: Direction) -> str:
    other = "down" if one.way == "up" else "up"
    known = (
        f"{other} was tried {one.opposite.n} times, mean change in val_bpb {-one.opposite.mean:+.4f}"
        if one.opposite
        else f"{other} was never tried"
    )
    return f"Lately {one.name} went {one.way} ({one.moves} times net, last {format_change(one.latest)}); {known}."


def _oppose(memory: Memory) -> Mapping[str, str]:
    """Return the constant to move back, for the plan."""
    found = recent_directions(memory)
    return {"oppose": found[0].name, "way": found[0].way} if found else {}


EMITTER = Emitter(
    name="contrarian",
    purpose="go against the latest trend",
    order="one deliberate move opposite to the trend above ({category}); is this a false basin?",
    predicted="uncertain",
    ready=_needs_trend,
    facts=_trend,
    details=_oppose,
)
