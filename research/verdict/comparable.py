"""What a run can be weighed against: the scores of its contract by configuration, and the line its branch stands on.

Scores count in every branch, since they are comparable wherever they were measured; decisions count in their own.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from research.core.records import Judged, Run
from research.core.settings import SETTINGS
from research.verdict import lineage
from research.verdict.beliefs import Beliefs
from research.verdict.effects import Effects, assumed, noise_sd
from research.verdict.evidence import Evidence
from research.verdict.noise import PRIOR, Prior


class Measured(Protocol):
    """A run, or as much of one as names its configuration."""

    @property
    def run(self) -> str: ...
    @property
    def commit(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...


class Keys:
    """Names of configurations: what train.py does, or the commit where that is unknown."""

    def __init__(self, runs: Iterable[Measured]) -> None:
        self._of_commit: dict[str, str] = {}
        for run in runs:
            if run.commit and run.fingerprint:
                self._of_commit.setdefault(run.commit, run.fingerprint)

    def of(self, run: Measured) -> str:
        """A run's configuration."""
        return run.fingerprint or self.of_commit(run.commit) or run.run

    def of_commit(self, commit: str) -> str:
        """A commit's configuration; the commit itself where no run of it is known."""
        return self._of_commit.get(commit, commit)


@dataclass(frozen=True)
class Comparison:
    """A run among those that it can be compared with.

    Attributes:
        run: The run.
        key: Its configuration.
        keys: Names of configurations.
        past: The judged runs of its branch and contract, itself left out, in order.
        evidence: Believable scores of the contract by configuration, its own included.
        parents: Parent of each configuration that was measured with its parent.
        line: The kept runs that the branch stands on, the one that stands last.
    """

    run: Run
    key: str
    keys: Keys
    past: tuple[Judged, ...]
    evidence: Evidence
    parents: Mapping[Hashable, Hashable]
    line: tuple[Run, ...]

    @property
    def standing(self) -> Run | None:
        """The run whose commit the branch stands on."""
        return self.line[-1] if self.line else None

    @property
    def incumbent(self) -> Run | None:
        """The run to be compared with: the latest kept one that has a believable score."""
        return next((run for run in reversed(self.line) if self.keys.of(run) in self.evidence), None)

    @property
    def before(self) -> Run | None:
        """What stands if the run's own configuration does not: the latest kept run of another one."""
        others = (run for run in reversed(self.line) if self.keys.of(run) != self.key)
        return next((run for run in others if self.keys.of(run) in self.evidence), None)

    @property
    def stands(self) -> bool:
        """Whether the run measured the configuration that stands."""
        return self.standing is not None and self.keys.of(self.standing) == self.key

    @property
    def siblings(self) -> tuple[Judged, ...]:
        """The earlier runs of the same configuration on this branch."""
        return tuple(item for item in self.past if self.keys.of(item.run) == self.key)

    @property
    def largest_gain(self) -> float:
        """The largest step down the line that stands, in bpb; 0 before the first."""
        means = [self.evidence.mean(key) for run in self.line if (key := self.keys.of(run)) in self.evidence]
        return max((one - two for one, two in pairwise(means)), default=0.0)

    def beliefs(self) -> Beliefs:
        """What is believed of values, with what ideas of this contract did so far.

        Effects are learned twice, from the gaps as measured and from those to the parents' values as then believed,
        for a lucky parent makes all its children look bad. The judged configuration is left out: it must not vouch for
        itself.
        """
        prior = assumed(noise_sd(self.evidence))
        latest = [*self.parents][-SETTINGS.effects_remembered :]
        heard = latest[-SETTINGS.max_children :]
        others = [child for child in latest if child != self.key]
        as_measured = [self.evidence.gap(child, self.parents[child]) for child in others]
        first = Beliefs(self.evidence, self.parents, Effects(prior, prior).learned(as_measured), heard)
        effects = Effects(prior, prior).learned([first.gap(child) for child in others])
        return Beliefs(self.evidence, self.parents, effects, heard)


def compare(run: Run, history: Sequence[Judged], prior: Prior = PRIOR) -> Comparison:
    """Puts a run among those that it can be compared with.

    Args:
        run: The run, with the contract that it counts for.
        history: Judged runs of the lab, in order of start, the run itself left out or not.
        prior: What is believed of the noise before the first replicate.
    """
    others = [item for item in history if item.run.run != run.run and item.run.contract == run.contract]
    runs = [*(item.run for item in others), run]
    keys = Keys(runs)
    evidence = Evidence(prior)
    for each in runs:
        if each.val_bpb is not None and is_believable(each):
            evidence.add(keys.of(each), each.val_bpb)
    past = tuple(lineage.of_contract(others, run.branch, run.contract))
    line = tuple(lineage.line(past))
    return Comparison(run, keys.of(run), keys, past, evidence, _parents(runs, keys, evidence), line)


def is_believable(run: Run) -> bool:
    """Whether a run's score counts as evidence: measured by this lab, under a known contract, without a doubt."""
    return run.outcome == "scored" and run.val_bpb is not None and not run.suspect and run.origin != "import"


def _parents(runs: Iterable[Run], keys: Keys, evidence: Evidence) -> dict[Hashable, Hashable]:
    """Parent of each measured configuration that has a measured one, in order of the first run."""
    parents: dict[Hashable, Hashable] = {}
    for run in runs:
        key, parent = keys.of(run), keys.of_commit(run.parent) if run.parent else ""
        if key not in parents and parent != key and parent in evidence and key in evidence:
            parents[key] = parent
    return parents
