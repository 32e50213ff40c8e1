"""Reads the memory, and writes the morning page and the charts; no other module of this room writes files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from research.agents.night import state
from research.core import git
from research.core.clock import parse_utc, system_clock, utc
from research.core.errors import ResearchError
from research.core.files import append_line, write_whole
from research.core.paths import LabPaths
from research.core.records import Judged, Run
from research.core.settings import SETTINGS
from research.report.branches import NoRuns, begun_on, branch_here, choose_branch
from research.report.data import PageData, RunCurve, page_data
from research.report.progress import Curve, gaps, read_curve
from research.report.text import no_such_contract
from research.report.usage import expected_end, is_night_on
from research.runs.preflight import TARGET
from research.runs.racing import curve_of
from research.store import reads
from research.store.connect import StoreDamaged
from research.store.db import Store
from research.store.folders import is_alive

_MAX_DIFF_LINE_CHARS = 500


def page_path(paths: LabPaths) -> Path:
    """Return the path of the morning page."""
    return paths.root / "results" / "report.html"


def read_data(
    store: Store, paths: LabPaths, made_utc: str, branch: str | None = None, contract: str | None = None
) -> PageData:
    """Read the data of the page, by default of the branch checked out and the contract that it was kept in last.

    Raises:
        NoRuns: if a branch or a contract that is asked for has none.
    """
    judged = store.judged()
    branch = choose_branch(judged, begun_on(store), branch_here(paths), branch)
    known = dict.fromkeys(item.run.contract for item in judged if item.run.branch == branch and item.run.contract)
    if contract is not None and contract not in known:
        raise NoRuns(*no_such_contract(contract, branch, known))
    data = data_of_branch(store, judged, branch, made_utc, contract)
    log = cache(curve_of)  # the baseline's is subtracted from each
    return replace(
        with_night(data, is_night_on(data.night, paths)),
        is_running=any(is_alive(paths.runs / run.folder) for run in store.open_runs()),
        diffs=differences(paths.root, data),
        curves=curves_of(
            data,
            lambda run: read_curve(paths.runs / run.folder) if run.folder else (),
            lambda run, base: gaps(log(paths.runs / run.folder), log(paths.runs / base.folder)),
        ),
    )


def data_of_branch(
    store: Store, judged: Sequence[Judged], branch: str, made_utc: str, contract: str | None = None
) -> PageData:
    """Read the data of the page for a branch, without loss curves and the differences of train.py."""
    night, plan, runs = state.from_json(store.fact(state.FACT)), reads.plan_of(store, branch), store.runs()
    is_next = plan is not None and plan.plan not in {run.plan for run in runs if run.outcome is None}
    return page_data(
        judged,
        branch,
        made_utc,
        plan=plan if is_next else None,
        night=night if night and night.branch == branch else None,
        launches=[run for run in runs if run.branch == branch and run.origin != "import"],
        foreign=reads.foreign(store),
        ideas=reads.ideas(store),
        contract=contract,
    )


def with_night(data: PageData, is_on: bool) -> PageData:
    """Return the data with whether its night is going on, and when that will end."""
    end = expected_end(data.night, parse_utc(data.made_utc)) if data.night and is_on else None
    return replace(data, is_night_on=is_on, ends_utc=utc(end) if end else "")


def curves_of(
    data: PageData, read: Callable[[Run], Curve], subtract: Callable[[Run, Run], Curve]
) -> tuple[RunCurve, ...]:
    """Return the loss curves of the baseline and the latest kept changes, of runs with the same seed where there are.

    Args:
        data: What the page says of the branch.
        read: Reads a run's loss curve, () where it has none.
        subtract: Reads a run's loss minus another's over the same rows.
    """
    if data.baseline is None:
        return ()
    found: list[RunCurve] = []
    first = data.baseline.rows[0].run
    for one in (data.baseline, *data.kept[-SETTINGS.curves_shown :]):
        rows = sorted(one.rows, key=lambda row: row.run.seed != first.seed)
        run, points = next(((row.run, points) for row in rows if (points := read(row.run))), (first, ()))
        kind = "baseline" if one is data.baseline else "best" if one is data.best else "kept"
        if points:
            found.append(RunCurve(one.number, kind, points, subtract(run, first)))
    return tuple(found)


def differences(root: Path, data: PageData) -> dict[str, str]:
    """Return the differences of kept changes, near misses and the latest runs, by commit, until the page is full."""
    base, near = data.baseline, data.memory.near_misses
    notable = [one.known.commit for one in data.changes if one.status == "keep" or one.known in near]
    rows = data.rows[-SETTINGS.diffs_latest :]
    latest = [row.run.commit for row in rows if base is None or row.first != base.number]
    wanted = list(dict.fromkeys([*notable, *reversed(latest)]))
    try:
        patches = git.patches(root, wanted, TARGET)
    except ResearchError:
        return {}
    found: dict[str, str] = {}
    left = SETTINGS.diffs_chars
    for commit in filter(patches.get, wanted):
        text = bounded(patches[commit].splitlines())
        left -= len(text)
        if left < 0:
            break
        found[commit] = text
    return found


def bounded(lines: Sequence[str], limit: int = SETTINGS.diff_chars) -> str:
    """Join the lines of a difference, cut where they are longer than the limit."""
    shown: list[str] = []
    for line in lines:
        shown.append(line[:_MAX_DIFF_LINE_CHARS])
        limit -= len(shown[-1]) + 1
        if limit < 0:
            return "\n".join([*shown[:-1], f"@@ and {len(lines) - len(shown) + 1} more lines @@"])
    return "\n".join(shown)


def write_page(data: PageData, path: Path) -> Path:
    """Write the page; return its path."""
    from research.report.page import render  # it loads the templates' library, for which no reading verb should wait

    write_whole(path, render(data).encode("utf-8", "replace"))
    return path


def write_figures(data: PageData, folder: Path) -> list[Path]:
    """Write the two charts as files of their own; return their paths."""
    from research.report.page import figures

    pictures = {folder / name: picture for name, picture in figures(data).items()}
    for path, picture in pictures.items():
        write_whole(path, picture.encode("utf-8", "replace"))
    return list(pictures)


def live_page(paths: LabPaths, say: Callable[[str], None]) -> Callable[[Store], None]:
    """Return a function for a night to call after every run, which writes the page, or says once why it can't."""
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
