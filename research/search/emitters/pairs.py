"""Which near misses could be combined: those whose changes touch different things."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from research.code.diff import ARROW
from research.verdict.models import Known, Memory


@dataclass(frozen=True)
class Pair:
    """Two configurations that were nearly kept, the better one first."""

    first: Known
    second: Known


def mergeable(memory: Memory) -> Iterator[Pair]:
    """Pairs of near misses that touch nothing in common and were not combined yet, those that promise most first."""
    found = []
    done = {_moves(known) for known in memory.known.values() if len(known.delta) > 1}
    for one, other in combinations(memory.near_misses, 2):
        if not _is_disjoint(one, other) or _moves(one) | _moves(other) in done:
            continue
        if one.estimate is not None and other.estimate is not None:
            first, second = sorted((one, other), key=_rank)
            found.append(Pair(first, second))
    yield from sorted(found, key=lambda pair: (_rank(pair.first)[0] + _rank(pair.second)[0], pair.first.commit))


def _moves(known: Known) -> frozenset[tuple[str, str]]:
    """What a change led to, by name."""
    return frozenset((name, text.rpartition(ARROW)[2]) for name, text in known.delta.items())


def _rank(known: Known) -> tuple[float, str]:
    return (known.estimate.mean if known.estimate else float("inf")), known.commit


def _is_disjoint(one: Known, other: Known) -> bool:
    """Whether two changes are known and meet nowhere, neither being the other's parent."""
    related = one.parent == other.commit or other.parent == one.commit
    return bool(one.delta) and bool(other.delta) and not related and not set(one.delta) & set(other.delta)
