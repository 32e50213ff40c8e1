"""The archive: the best configuration of every niche, where a niche is what was measured and never what was hoped.

After MAP-Elites (Mouret and Clune 2015): a grid of kinds of change, sizes and memory, each cell with its elite, so
that a good small model is remembered beside a good large one.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import IntEnum

from research.core.settings import SETTINGS

PARAMETER_BUCKETS = ("tiny", "small", "medium", "large")
MEMORY_BUCKETS = ("lean", "balanced", "heavy", "extreme")
UNKNOWN = "unknown"
NO_CHANGE = "baseline"
"""What stands for the kind of change in the niche of a baseline, which is none."""


class Added(IntEnum):
    """What an insert did to its niche."""

    REJECTED = 0
    IMPROVED = 1
    NEW = 2


@dataclass(frozen=True)
class Elite:
    """A configuration as the archive holds it.

    Attributes:
        niche: Its place; see niche_of().
        id: Its name: a commit, or what a simulator calls it.
        mean: Posterior mean of its val_bpb, lower is better.
        n: Runs behind the mean.
        emitter: Who proposed it, None where nobody is named.
        description: One line for people.
        category: What it changed.
        run: One run that measured it, "" where runs have no names.
    """

    niche: str
    id: Hashable
    mean: float
    n: int
    emitter: str | None
    description: str
    category: str
    run: str

    @property
    def rank(self) -> tuple[float, str]:
        """What elites are compared by: the mean, and for equal means the name, so that no order of arrival shows."""
        return self.mean, str(self.id)


def _bucket(value: float | None, bounds: tuple[float, ...], names: tuple[str, ...]) -> str:
    if value is None:
        return UNKNOWN
    return names[sum(value >= bound for bound in bounds)]


def niche_of(
    category: str | None,
    params_m: float | None,
    peak_gb: float | None,
    statements_added: int,
    statements_removed: int,
) -> str:
    """The niche of what was measured: "category/parameters/memory/shape".

    Args:
        category: What the change touched, None or "" when unknown.
        params_m: Parameters in millions.
        peak_gb: Peak memory in GiB.
        statements_added: Statements that the change added.
        statements_removed: Statements that it removed.
    """
    size = _bucket(params_m, SETTINGS.niche_params_m, PARAMETER_BUCKETS)
    memory = _bucket(peak_gb, SETTINGS.niche_memory_gb, MEMORY_BUCKETS)
    shape = "shrinking" if statements_removed > statements_added else "growing"
    return f"{category or UNKNOWN}/{size}/{memory}/{shape}"


class Archive:
    """Niches with their elites.

    Every configuration is remembered, so that an elite whose replicates disappoint gives way to the next best of its
    niche, and so that the order in which configurations came does not show.
    """

    def __init__(self) -> None:
        self._members: dict[str, dict[Hashable, Elite]] = {}
        self._best: dict[str, Elite] = {}
        self._niche: dict[Hashable, str] = {}

    def insert(self, elite: Elite) -> Added:
        """Takes a configuration in, or takes in anew what is known of it.

        Returns:
            NEW if its niche was empty, IMPROVED if it makes the niche's best better, else REJECTED.
        """
        if self._niche.get(elite.id, elite.niche) != elite.niche:
            self._remove(elite.id)
        members = self._members.setdefault(elite.niche, {})
        best = self._best.get(elite.niche)
        members[elite.id] = elite
        self._niche[elite.id] = elite.niche
        if best is None:
            self._best[elite.niche] = elite
            return Added.NEW
        if best.id == elite.id and elite.rank > best.rank:
            self._best[elite.niche] = min(members.values(), key=lambda other: other.rank)
            return Added.REJECTED
        if elite.rank < best.rank or best.id == elite.id:
            self._best[elite.niche] = elite
        return Added.IMPROVED if elite.rank < best.rank else Added.REJECTED

    def _remove(self, known: Hashable) -> None:
        niche = self._niche.pop(known)
        members = self._members[niche]
        del members[known]
        if not members:
            del self._members[niche], self._best[niche]
        elif self._best[niche].id == known:
            self._best[niche] = min(members.values(), key=lambda other: other.rank)

    @property
    def elites(self) -> list[Elite]:
        """The best of every niche, lowest mean first."""
        return sorted(self._best.values(), key=lambda elite: elite.rank)

    def elite(self, niche: str) -> Elite | None:
        """The best of one niche."""
        return self._best.get(niche)

    def count(self, niche: str) -> int:
        """Configurations that fell into a niche."""
        return len(self._members.get(niche, ()))

    @property
    def counts(self) -> dict[str, int]:
        """Configurations per niche."""
        return {niche: len(members) for niche, members in self._members.items()}

    def __len__(self) -> int:
        return len(self._best)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Archive) and self._members == other._members

    __hash__ = None  # type: ignore[assignment]  # it changes
