"""Turns records of runs into scores of configurations under conditions, from which the posterior is made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from research.core.records import Run
from research.core.settings import SETTINGS
from research.runs.gpu import CARD_FACT
from research.runs.racing import race_of
from research.verdict.belief import Belief, Score
from research.verdict.forecast import expected_score
from research.verdict.lineage import is_evidence
from research.verdict.noise import OFFICIAL, POCKET, is_pocket
from research.verdict.variances import Condition

INITIAL_VALUES = "initial_values"
"""Name of the run's fact that holds the hashes of its initial values, by tensor, as JSON."""

Hashes = Mapping[int, Mapping[str, str]]  # hashes of a configuration's initial values, by seed and tensor


class Keys:
    """The names of configurations: train.py's fingerprint, or the commit where that is unknown."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._of_commit: dict[str, str] = {}
        for run in runs:
            if run.commit and run.fingerprint:
                self._of_commit.setdefault(run.commit, run.fingerprint)

    def of(self, run: Run) -> str:
        """Return the name of a run's configuration."""
        return run.fingerprint or self.of_commit(run.commit) or run.run

    def of_commit(self, commit: str) -> str:
        """Return the name of a commit's configuration, the commit itself where no run of it is known."""
        return self._of_commit.get(commit, commit)


def scores_of(runs: Sequence[Run], keys: Keys) -> list[Score]:
    """Return the scores of one contract's runs, and the forecasts of stopped ones, in order.

    Other runs that are no evidence are left out.
    """
    measured = {run.run: run for run in runs if is_evidence(run)}
    values = {name: (run.val_bpb or 0.0, 0.0) for name, run in measured.items()}
    values |= {run.run: value for run in runs if (value := expected_score(run, measured)) is not None}
    counted = [run for run in runs if run.run in values]
    # A stopped run is compared with one of its own machine, and may not have said what it ran on.
    machines = [machine_of(measured[race_of(run).against] if run.stopped_at else run) for run in counted]
    families = _families(counted, keys)
    found = []
    for run, machine in zip(counted, machines, strict=True):
        key, parent = keys.of(run), keys.of_commit(run.parent)
        condition = Condition(run.seed, machine, families[key])
        found.append(Score(key, parent if parent not in ("", key) else None, condition, *values[run.run]))
    return found


def belief_of(runs: Sequence[Run], keys: Keys) -> Belief:
    """Return the posterior of one contract's runs."""
    return Belief(scores_of(runs, keys), POCKET if is_pocket(runs) else OFFICIAL)


def machine_of(run: Run) -> str:
    """Return the name of the card or kind of device that a run was measured on, "" where none is known."""
    return run.facts.get(CARD_FACT) or run.device or ""


def _families(runs: Iterable[Run], keys: Keys) -> dict[str, str]:
    """Return each configuration's family of initial values, "" for that of its first ancestor.

    A configuration is of its parent's family if its tensors begin with the parent's values. One that recorded no values
    is taken for such, since most changes touch no initial value.
    """
    hashes: dict[str, dict[int, Mapping[str, str]]] = {}
    parents: dict[str, str] = {}
    for run in runs:
        key = keys.of(run)
        parents.setdefault(key, keys.of_commit(run.parent))
        hashes.setdefault(key, {})[run.seed] = _hashes(run)
    families: dict[str, str] = {}
    for key in hashes:  # a parent may come after its child: the line of ancestors is followed as far as it is known
        line = [key]
        while line[-1] not in families and (above := parents.get(line[-1], "")) in hashes and above not in line:
            line.append(above)
        families.setdefault(line[-1], "")
        for below, above in zip(reversed(line[:-1]), reversed(line[1:]), strict=True):
            families[below] = families[above] if _keeps_values(hashes[below], hashes[above]) else below
    return families


def _hashes(run: Run) -> Mapping[str, str]:
    """Return the hashes of a run's initial values, by tensor; none where it recorded none."""
    try:
        plain = json.loads(run.facts.get(INITIAL_VALUES) or "{}")
    except ValueError:
        return {}
    return plain if isinstance(plain, dict) else {}


def _keeps_values(child: Hashes, parent: Hashes) -> bool:
    """Return whether a configuration begins with most of its parent's values, by a seed that both recorded."""
    for seed, mine in child.items():
        theirs = parent.get(seed, {})
        if mine and theirs:
            kept = sum(mine[name] == theirs[name] for name in mine if name in theirs)
            return kept >= SETTINGS.kept_values_share * len(theirs)
    return True
