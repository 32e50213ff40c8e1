"""Combines two near misses whose changes touch different things."""

from __future__ import annotations

import math
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
    done = [_values(known) for known in memory.known.values() if len(known.delta) > 1]
    ranked = sorted(memory.near_misses, key=lambda known: (_mean(known), known.commit))
    pairs = [
        NearMissPair(one, other)
        for one, other in combinations(ranked, 2)
        if one.commit != other.parent and other.commit != one.parent
        if one.delta and other.delta and not one.delta.keys() & other.delta.keys()
        if _values(one) | _values(other) not in done
    ]
    return sorted(pairs, key=lambda pair: (_mean(pair.first) + _mean(pair.second), pair.first.commit))


def _mean(known: Configuration) -> float:
    return known.estimate.mean if known.estimate else math.inf


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
