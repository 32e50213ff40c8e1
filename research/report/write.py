"""Reads the memory and writes the morning page and the two charts: the one place of views that makes files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from research.agents.night import state
from research.core import git
from research.core.errors import ResearchError
from research.core.files import write_whole
from research.core.paths import LabPaths
from research.core.records import Judged
from research.report import charts
from research.report.data import ReportData
from research.report.diffs import differences, source_reader
from research.report.gather import Material, gather
from research.report.page import render
from research.store import reads
from research.store.db import Store
from research.store.foreign import foreign
from research.verdict.recall import recall


class NothingThere(ResearchError):
    """The branch asked for has no runs."""


def page_path(paths: LabPaths) -> Path:
    """Where the morning page lies."""
    return paths.root / "results" / "report.html"


def choose_branch(history: Sequence[Judged], here: str, wanted: str | None = None) -> str:
    """The branch to show: the one asked for, else the one we are on if it has runs, else that of the latest run.

    Raises:
        NothingThere: if the one asked for has no runs.
    """
    branches = [item.run.branch for item in history]
    if wanted is not None:
        if wanted not in branches:
            known = ", ".join(dict.fromkeys(branches)) or "none"
            raise NothingThere(f"There are no runs on {wanted}.", f"Branches with runs: {known}.")
        return wanted
    if here in branches or not branches:
        return here
    return branches[-1]


def read_data(store: Store, paths: LabPaths, made_utc: str, wanted: str | None = None) -> ReportData:
    """What the page says, from the memory as it is."""
    everything = store.judged()
    branch = choose_branch(everything, branch_here(paths), wanted)
    memory = recall(everything, branch)
    mine = [item for item in everything if item.run.branch == branch and item.run.contract in (memory.contract, None)]
    names = {item.run.run for item in mine}
    runs = [item.run for item in mine]
    launches = [run for run in store.runs() if run.branch == branch]
    night = state.from_json(store.fact(state.FACT))
    return gather(
        Material(
            history=mine,
            verdicts=[verdict for verdict in store.verdicts() if verdict.run in names],
            memory=memory,
            made_utc=made_utc,
            plan=reads.plan_of(store, branch),
            night=night if night and night.branch == branch else None,
            launches=launches,
            elsewhere=len(everything) - len(mine),
            foreign=foreign(store),
            diffs=differences(runs, source_reader(paths, runs)),
        )
    )


def branch_here(paths: LabPaths) -> str:
    """The branch that is checked out, "" without one."""
    try:
        return git.head(paths.root).branch
    except ResearchError:
        return ""


def write_page(data: ReportData, paths: LabPaths) -> Path:
    """Writes the page; returns where it is.

    Raises:
        OSError: if it can't be written.
    """
    path = page_path(paths)
    write_whole(path, render(data).encode("utf-8", "replace"))
    return path


def write_figures(data: ReportData, folder: Path) -> list[Path]:
    """Writes the two charts as files of their own; returns where they are.

    Raises:
        OSError: if they can't be written.
    """
    pictures = (charts.progress(data, alone=True), charts.frontier(data, alone=True))
    paths = [folder / name for name in charts.FILES]
    for path, picture in zip(paths, pictures, strict=True):
        write_whole(path, picture.encode("utf-8", "replace"))
    return paths
