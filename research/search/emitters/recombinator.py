"""Combines two near misses whose changes touch different things."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from research.code.diff import ARROW
from research.core.records import Plan
from research.search.emitters.base import Emitter, needs_parent
from research.search.emitters.text import format_change, format_estimate, format_gain
from research.verdict.models import Configuration, Memory


@dataclass(frozen=True)
class Pair:
    """Two configurations that were nearly kept, the better one first."""

    first: Configuration
    second: Configuration


def mergeable(memory: Memory) -> Iterator[Pair]:
    """Yield pairs of near misses that touch nothing in common and were not combined yet, the best pairs first."""
    found = []
    done = {_values(known) for known in memory.known.values() if len(known.delta) > 1}
    for one, other in combinations(memory.near_misses, 2):
        if not _is_disjoint(one, other) or _values(one) | _values(other) in done:
            continue
        if one.estimate is not None and other.estimate is not None:
            first, second = sorted((one, other), key=_rank)
            found.append(Pair(first, second))
    yield from sorted(found, key=lambda pair: (_rank(pair.first)[0] + _rank(pair.second)[0], pair.first.commit))


def _values(known: Configuration) -> frozenset[tuple[str, str]]:
    """Return the names that a configuration changed, with their new values."""
    return frozenset((name, text.rpartition(ARROW)[2]) for name, text in known.delta.items())


def _rank(known: Configuration) -> tuple[float, str]:
    return (known.estimate.mean if known.estimate else float("inf")), known.commit


def _is_disjoint(one: Configuration, other: Configuration) -> bool:
    """Return whether two changes are known and share no name, neither being the other's parent."""
    related = one.parent == other.commit or other.parent == one.commit
    return bool(one.delta) and bool(other.delta) and not related and not set(one.delta) & set(other.delta)


def _planned_pair(plan: Plan, memory: Memory) -> Pair | None:
    """Return the pair that was planned, else the best one."""
    wanted = (plan.details.get("first"), plan.details.get("second"))
    pairs = list(mergeable(memory))
    planned = [pair for pair in pairs if (pair.first.commit, pair.second.commit) == wanted]
    return next(iter([*planned, *pairs]), None)


def _needs_pair(memory: Memory) -> str | None:
    if needs_parent(memory):
        return needs_parent(memory)
    if len(memory.near_misses) < 2:
        return f"it needs two near misses, there are {len(memory.near_misses)}"
    return None if next(mergeable(memory), None) else "no two near misses touch different things"


def _both(plan: Plan, memory: Memory) -> Iterator[str]:
    """Say which two changes are to be combined."""
    pair = _planned_pair(plan, memory)
    if pair is not None:
        yield "Combine these two near misses (git show COMMIT gives each diff):"
        for one in (pair.first, pair.second):
            result = f"{format_estimate(one.estimate)}, {format_gain(one.gain)}"
            yield f"- {one.commit[:12]} {format_change(one)}: {result}"


def _pair_details(memory: Memory) -> Mapping[str, str]:
    """Return the two commits, for the plan."""
    pair = next(mergeable(memory), None)
    return {"first": pair.first.commit, "second": pair.second.commit} if pair else {}


EMITTER = Emitter(
    name="recombinator",
    purpose="combine two near misses",
    order="carry both diffs above onto the parent as one change, nothing else.",
    predicted="improve",
    ready=_needs_pair,
    facts=_both,
    details=_pair_details,
)
