"""Combines two near misses whose changes touch different things."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from research.code.diff import ARROW
from research.search.emitters.base import Emitter, format_change, format_estimate, format_gain
from research.verdict.models import Configuration, Memory


class NearMissPair(NamedTuple):
    """Two near misses that can be combined."""

    first: Configuration  # the better one
    second: Configuration


def mergeable(memory: Memory) -> list[NearMissPair]:
    """Return pairs of near misses that touch nothing in common and were not combined yet, the best pairs first."""
    found: list[tuple[float, str, NearMissPair]] = []
    done = [_values(known) for known in memory.known.values() if len(known.delta) > 1]
    for pair in combinations(memory.near_misses, 2):
        one, other = pair
        related = one.parent == other.commit or other.parent == one.commit
        if related or not one.delta or not other.delta or one.delta.keys() & other.delta.keys():
            continue
        if one.estimate and other.estimate and _values(one) | _values(other) not in done:
            best = NearMissPair(
                *sorted(pair, key=lambda each: (each.estimate.mean if each.estimate else 0.0, each.commit))
            )
            found.append((one.estimate.mean + other.estimate.mean, best.first.commit, best))
    return [pair for *_, pair in sorted(found, key=lambda each: each[:2])]


def _values(known: Configuration) -> set[tuple[str, str]]:
    """Return the names that a configuration changed, with their new values."""
    return {(name, text.rpartition(ARROW)[2]) for name, text in known.delta.items()}


def _lacks(memory: Memory) -> str:
    if len(memory.near_misses) < 2:
        return f"it needs two near misses, there are {len(memory.near_misses)}"
    return "" if mergeable(memory) else "no two near misses touch different things"


def _both(memory: Memory) -> Iterator[str]:
    """Yield lines on the two changes that are to be combined."""
    for pair in mergeable(memory)[:1]:
        yield "Combine these two near misses (git show COMMIT gives each diff):"
        for one in pair:
            yield f"- {one.commit[:12]} {format_change(one)}: {format_estimate(one.estimate)}, {format_gain(one.gain)}"


EMITTER = Emitter(
    name="recombinator",
    purpose="combine two near misses",
    order="carry both diffs above onto the parent as one change, nothing else.",
    predicted="improve",
    lacks=_lacks,
    facts=_both,
)
