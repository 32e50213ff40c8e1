"""Reads the memory and writes the morning page and the charts: the one place of this room that makes files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from research.agents.night import state
from research.agents.night.state import NightState
from research.core import git
from research.core.clock import moment, system_clock, utc
from research.core.errors import ResearchError
from research.core.files import append_line, is_held, write_whole
from research.core.paths import LabPaths
from research.core.records import Judged, Run
from research.core.settings import SETTINGS
from research.report.data import LossCurve, Material, PageData, page_data
from research.report.diffs import differences
from research.report.progress import Curve, read_curve
from research.report.usage import expected_end
from research.store import reads
from research.store.connect import StoreDamaged
from research.store.db import Store
from research.store.folders import is_alive


class NoRuns(ResearchError):
    """The branch asked for has no runs."""


def page_path(paths: LabPaths) -> Path:
    """Return where the morning page lies."""
    return paths.root / "results" / "report.html"


def choose_branch(history: Sequence[Judged], here: str, wanted: str | None = None) -> str:
    """Return the branch to show: the one asked for, else the one that we are on if it has runs, else the latest run's.

    Raises:
        NoRuns: if the one asked for has no runs.
    """
    branches = [item.run.branch for item in history]
    if wanted is not None:
        if wanted not in branches:
            known = ", ".join(dict.fromkeys(branches)) or "none"
            raise NoRuns(f"There are no runs on {wanted}.", f"Branches with runs: {known}.")
        return wanted
    return here if here in branches or not branches else branches[-1]


def branch_here(paths: LabPaths) -> str:
    """Return the branch that is checked out, "" without one."""
    try:
        return git.head(paths.root).branch
    except ResearchError:
        return ""


def read_data(
    store: Store, paths: LabPaths, made_utc: str, wanted: str | None = None, contract: str | None = None
) -> PageData:
    """Read what the page says, from the memory as it is.

    Args:
        store: The memory.
        paths: The checkout.
        made_utc: The time.
        wanted: The branch to show, None for the one that we are on.
        contract: The contract to show, None for the one that the branch was kept in last.

    Raises:
        NoRuns: if a branch or a contract that is asked for has none.
    """
    judged = store.judged()
    branch = choose_branch(judged, branch_here(paths), wanted)
    known = dict.fromkeys(item.run.contract for item in judged if item.run.branch == branch and item.run.contract)
    if contract is not None and contract not in known:
        raise NoRuns(f"There are no runs of {contract} on {branch}.", f"Contracts there: {', '.join(known) or 'none'}.")
    data = data_of_branch(store, judged, branch, made_utc, contract)
    is_running = any(is_alive(paths.runs / run.folder) for run in store.open_runs())
    data = data if data.night is None else while_on(data, data.night, is_night_on(paths, data.night))
    curves = curves_of(data, lambda run: read_curve(paths.runs / run.folder) if run.folder else ())
    return replace(data, diffs=differences(paths.root, data), curves=curves, is_running=is_running)


def is_night_on(paths: LabPaths, night: NightState) -> bool:
    """Return whether a night is going on: it has not ended, and its lock is held."""
    return night.finished_utc is None and is_held(paths.discovery / state.LOCK)


def while_on(data: PageData, night: NightState, is_on: bool) -> PageData:
    """Add whether the night is going on, and when it will end."""
    end = expected_end(night, moment(data.made_utc)) if is_on else None
    return replace(data, is_night_on=is_on, ends_utc=utc(end) if end else "")


def curves_of(data: PageData, read: Callable[[Run], Curve]) -> tuple[LossCurve, ...]:
    """Return the loss curves of the baseline and of the latest kept changes, on one seed where there is one.

    Args:
        data: What the page says.
        read: Returns the curve of a run, () without one.
    """
    top, rows = data.headline, {row.run.run: row for row in data.rows}
    if top.baseline is None:
        return ()
    found: list[LossCurve] = []
    seed = next((rows[name].run.seed for name in top.baseline.runs if name in rows), 0)
    for one in (top.baseline, *data.kept[-SETTINGS.curves_shown :]):
        mine = sorted((rows[name] for name in one.runs if name in rows), key=lambda row: row.run.seed != seed)
        points = next((points for row in mine if (points := read(row.run))), ())
        kind = "baseline" if one is top.baseline else "best" if one is top.best else "kept"
        if points:
            found.append(LossCurve(one.number, one.title, kind, points))
    return tuple(found)


def data_of_branch(
    store: Store, judged: Sequence[Judged], branch: str, made_utc: str, contract: str | None = None
) -> PageData:
    """Read what a page says of a branch, without the differences of train.py."""
    night = state.from_json(store.fact(state.FACT))
    return page_data(
        Material(
            judged=judged,
            verdicts=store.verdicts(),
            branch=branch,
            made_utc=made_utc,
            plan=reads.plan_of(store, branch),
            night=night if night and night.branch == branch else None,
            launches=[run for run in store.runs() if run.branch == branch],
            foreign=reads.foreign(store),
            ideas=reads.ideas(store),
            contract=contract,
        )
    )


def write_page(data: PageData, path: Path) -> Path:
    """Write the page; return its path.

    Raises:
        OSError: if it can't be written.
    """
    from research.report.page import render  # it loads the templates' library, for which no reading verb should wait

    write_whole(path, render(data).encode("utf-8", "replace"))
    return path


def live_page(paths: LabPaths, say: Callable[[str], None]) -> Callable[[Store], None]:
    """Return what a night calls after every run: it writes the page, and says once why it can't. It ends no night.

    Args:
        paths: The checkout.
        say: Takes a line for people.
    """
    said: list[str] = []

    def show(store: Store) -> None:
        night = state.from_json(store.fact(state.FACT))
        branch = night.branch if night and night.runs else None
        try:
            write_page(read_data(store, paths, utc(system_clock()), branch), page_path(paths))
        except (NoRuns, StoreDamaged):
            pass  # it comes with the next run that ends; of damage the night itself speaks, and mends it
        except Exception as error:
            append_line(paths.discovery / "night.log", f"the page was not written: {error!r}")
            if not said:
                said.append(str(error))
                say(f"The morning page was not written ({error}); the night goes on. Later: uv run research report")

    return show


def write_figures(data: PageData, folder: Path) -> list[Path]:
    """Write the two charts as files of their own; return where they are.

    Raises:
        OSError: if they can't be written.
    """
    from research.report.page import figures

    paths = []
    for name, picture in figures(data).items():
        paths.append(folder / name)
        write_whole(paths[-1], picture.encode("utf-8", "replace"))
    return paths
