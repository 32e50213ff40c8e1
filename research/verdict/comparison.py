"""Gathers what a run is judged by: the posterior of its contract's runs, and the kept runs of its branch.

Scores count in every branch, since they are comparable wherever they were measured; decisions count in their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from research.core.records import Judged, Run, Verdict
from research.verdict import lineage
from research.verdict.belief import Belief
from research.verdict.evidence import Keys, belief_of


@dataclass(frozen=True)
class Comparison:
    """A run together with the runs that it can be compared with."""

    run: Run  # with the contract that it counts for
    key: str  # name of its configuration
    keys: Keys  # names of all configurations
    past: tuple[Judged, ...]  # the judged runs of its branch and contract, itself left out, in order
    belief: Belief  # the posterior of the contract's runs, its own included
    kept: tuple[Run, ...]  # the kept runs of the branch, the incumbent's last

    @property
    def tip(self) -> Run | None:
        """Return the run whose commit the branch is on."""
        return self.kept[-1] if self.kept else None

    @cached_property
    def incumbent(self) -> Run | None:
        """Return the run to be compared with: the latest kept one that has a score."""
        return next((run for run in reversed(self.kept) if self.keys.of(run) in self.belief), None)

    @cached_property
    def before(self) -> Run | None:
        """Return the latest kept run of another configuration, the incumbent if the run's own is not kept."""
        others = (run for run in reversed(self.kept) if self.keys.of(run) != self.key)
        return next((run for run in others if self.keys.of(run) in self.belief), None)

    @property
    def rival(self) -> Run | None:
        """Return the run of the competing configuration: the incumbent's, or that before it where this is the tip."""
        return self.before if self.is_tip else self.incumbent

    @property
    def is_tip(self) -> bool:
        """Return whether the run measured the configuration that the branch is on."""
        return self.tip is not None and self.keys.of(self.tip) == self.key

    @property
    def siblings(self) -> tuple[Judged, ...]:
        """Return the earlier runs of the same configuration on this branch."""
        return tuple(item for item in self.past if self.keys.of(item.run) == self.key)

    @property
    def parent_runs(self) -> tuple[Run, ...]:
        """Return this branch's runs of the parent configuration that count as evidence, in order."""
        parent, runs = self.belief.parent(self.key), [item.run for item in self.past]
        return tuple(run for run in runs if self.keys.of(run) == parent and lineage.is_evidence(run))

    @property
    def largest_gain(self) -> float:
        """Return the largest gain of a kept run over the kept run before it, in bpb; 0 before the first."""
        return self.belief.largest_gain(map(self.keys.of, self.kept))


Judge = Callable[[Comparison, str], Verdict]
"""A function of a comparison and the time now that returns a verdict."""


def compare(run: Run, history: Sequence[Judged]) -> Comparison:
    """Return the comparison of a run, with the contract that it counts for, to the lab's judged runs."""
    others = [item for item in history if item.run.run != run.run and item.run.contract == run.contract]
    runs = [*(item.run for item in others), run]
    keys = Keys(runs)
    past = tuple(lineage.of_contract(others, run.branch, run.contract))
    return Comparison(run, keys.of(run), keys, past, belief_of(runs, keys), tuple(lineage.kept_chain(past)))
