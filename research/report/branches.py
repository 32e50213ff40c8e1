"""Chooses the branch that a view shows; loads nothing heavy, since summary asks it too."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from research.agents.night import state
from research.core import git
from research.core.errors import ResearchError
from research.core.paths import LabPaths
from research.core.records import Judged
from research.store.db import Store


class NoRuns(ResearchError):
    """The branch or the contract asked for has no runs."""


def choose_branch(history: Sequence[Judged], begun: Collection[str], here: str, wanted: str | None = None) -> str:
    """Return the branch to show: the wanted one, else the one checked out here, else that of the latest run.

    The one checked out here is shown if it has runs or is among those on which something has begun.

    Raises:
        NoRuns: if the one asked for has no runs.
    """
    branches = [item.run.branch for item in history]
    if wanted is not None:
        if wanted not in branches:
            known = ", ".join(dict.fromkeys(branches)) or "none"
            raise NoRuns(f"There are no runs on {wanted}.", f"Branches with runs: {known}.")
        return wanted
    return here if here in (*branches, *begun) or not branches else branches[-1]


def begun_on(store: Store) -> set[str]:
    """Return the branches on which a run or a night has begun and not ended."""
    night = state.from_json(store.fact(state.FACT))
    return {run.branch for run in store.open_runs()} | ({night.branch} if night and not night.finished_utc else set())


def branch_here(paths: LabPaths) -> str:
    """Return the branch that is checked out, "" without one."""
    try:
        return git.head(paths.root).branch
    except ResearchError:
        return ""
