"""Draws the memory and the logs of the runs in flight again and again; it writes no file."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from research.agents.night.command import night_command
from research.core.clock import parse_utc
from research.core.contract import RUN_LOG
from research.core.errors import ConfigurationError
from research.core.records import Run
from research.core.settings import SETTINGS
from research.lab.lab import Lab
from research.lab.launch import NIGHT_FACT
from research.report.answer import FIRST_NIGHT, planned
from research.report.branches import begun_on, branch_here, choose_branch
from research.report.data import PageData, RunRow, ShownConfiguration
from research.report.progress import Curve, Progress, read_curve, read_progress
from research.report.text import title_of
from research.report.usage import budget_left, is_night_on
from research.report.write import data_of_branch, with_night
from research.runs.racing import curve_of, gap_of
from research.runs.requirements import check_disk
from research.store import folders
from research.store.db import Store
from research.store.open import read_store
from research.verdict.lineage import latest_paired
from research.verdict.summary import phase_shown

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_COLUMNS = 80  # width of a picture that no terminal asks for
_YOUNG_S = 10.0  # a run's lock is not probed before, so that a probe can't meet the moment in which it is taken


@dataclass(frozen=True)
class RunInFlight:
    """A run in flight."""

    run: str  # its name
    title: str
    emitter: str  # name of the emitter that ordered it, "" for none
    seconds: float  # since its start
    progress: Progress
    alive: bool = True  # whether its runner still lives
    begun_utc: str = ""
    gap: float | None = None  # its loss minus that of the best so far over the same rows, None where that is not told


@dataclass(frozen=True)
class LiveView:
    """Everything that watch shows at one moment."""

    now_utc: str
    data: PageData
    flights: Sequence[RunInFlight] = ()  # the runs in flight
    best_curve: Curve = ()  # loss curve of the best so far
    night: Sequence[str] = ()  # parts of a line on the progress of the night, or its end
    instead: str = ""  # why another branch is shown than the one that is checked out, "" where it is that one
    go_on: str = ""  # the command that begins a night, or goes on with one that was cut off
    trouble: str = ""  # why no run can be made now, "" where nothing is known to be missing

    @property
    def verdicts(self) -> list[RunRow]:
        """Return the latest judged runs, newest first."""
        judged = [row for row in self.data.rows if row.decision != "not judged"]
        return judged[: -SETTINGS.live_verdicts - 1 : -1]

    def seeds_of(self, row: RunRow) -> tuple[int, ...]:
        """Return the seeds on which a run's change was compared with the best of its time; none for the baseline."""
        made = next((one.known for one in self.data.candidates if one.number == row.first), None)
        return made.seeds if made and made.change else ()

    def as_dict(self) -> dict[str, Any]:
        """Return the view as JSON values, without the curves' points."""
        data, memory, plan = self.data, self.data.memory, planned(self.data)
        best = data.best.known.estimate if data.best else None
        flights = [asdict(flight) for flight in self.flights]
        for flight in flights:
            del flight["progress"]["curve"]
        verdicts = [
            {"number": row.number, "title": row.title, "decision": row.decision, "val_bpb": row.run.val_bpb,
             "p_better": row.verdict and row.verdict.p_better, "seeds": self.seeds_of(row),
             "why": row.verdict.why if row.verdict else ""}
            for row in self.verdicts
        ]  # fmt: skip
        return {
            "now_utc": self.now_utc, "branch": memory.branch, "contract": memory.contract or "", "runs": len(data.rows),
            "not_shown": data.not_shown,
            "kept": len(data.kept), "crashed": data.count("crash"), "best_title": data.best.title if data.best else "",
            "best": best and asdict(best), "gain": data.gain and asdict(data.gain), "flights": flights,
            "verdicts": verdicts, "phase": phase_shown(memory, data.plan),
            "next_up": f"{plan.title}: {plan.why}" if plan else "", "night": self.night, "go_on": self.go_on,
        }  # fmt: skip


class Live:
    """The live view of a lab, of which only paths and clock are used; it is drawn on the terminal by default."""

    def __init__(self, lab: Lab, console: Console | None = None) -> None:
        self._lab = lab
        self._console = console
        self._recorded: tuple[PageData, Sequence[Run], Curve, str] | None = None
        self._stamp: list[object] = []
        self._whole_curve = cache(curve_of)  # of a finished run, whose log does not grow

    @property
    def console(self) -> Console:
        """Return the console to draw on."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(width=None if sys.stdout.isatty() else _PIPE_COLUMNS, highlight=False)
        return self._console

    def look(self) -> LiveView:
        """Return the view of this moment."""
        data, open_runs, best_curve, instead = self._read()
        now_utc, flights = self._lab.now_utc(), [self._flight(run, data) for run in open_runs]
        is_running = any(flight.alive for flight in flights)
        data = replace(data, made_utc=now_utc, is_running=is_running)
        words, trouble = list[str](), ""
        go_on = "" if data.rows or flights else FIRST_NIGHT
        if night := data.night:
            is_on = not night.finished_utc and (is_running or is_night_on(night, self._lab.paths))
            if not is_on and not night.finished_utc:  # what was going on when it was cut off counts too
                launched = [run for run in data.launches if run.facts.get(NIGHT_FACT) == night.night]
                night = replace(night, runs=max(night.runs, len(launched)))
            data, words = with_night(data, is_on), budget_left(night, self._lab.clock(), is_on)
            trouble = _trouble(self._lab.paths.discovery) if is_on else ""
            go_on = "" if is_on or night.finished_utc else night_command(night)
        return LiveView(now_utc, data, flights, best_curve, words, instead, go_on, trouble)

    def print_once(self) -> None:
        """Print one view, for pipes and scripts."""
        from research.report.screen import frame

        self.console.print(frame(self.look(), self.console.width, self.console.height - 1))  # a prompt follows

    def follow(self) -> None:
        """Draw views until Ctrl-C, which leaves the last one on the terminal; without a terminal, print one view."""
        if self.console.is_terminal:
            show_pictures(self.console, iter(self.look, None), SETTINGS.live_refresh_s)
        self.print_once()

    def _flight(self, run: Run, data: PageData) -> RunInFlight:
        folder = self._lab.paths.runs / run.folder
        seconds = max(0.0, (self._lab.clock() - parse_utc(run.started_utc)).total_seconds())
        # What a runner starts without being an experiment is the baseline.
        title = title_of(run.subject, is_baseline=True) or run.run
        is_alive = seconds <= _YOUNG_S or folders.is_alive(folder)
        progress = read_progress(folder / RUN_LOG)
        gap = self._gap(run, data.best) if data.best and progress.phase == "training" else None
        return RunInFlight(run.run, title, run.emitter or "", seconds, progress, is_alive, run.started_utc, gap)

    def _gap(self, run: Run, best: ShownConfiguration) -> float | None:
        """Return a run's loss minus that of the best so far with its seed on its card; None without such a run."""
        if (rival := latest_paired([row.run for row in best.rows], run)) is None:
            return None
        runs = self._lab.paths.runs
        mine = curve_of(runs / run.folder)
        return gap_of(mine, self._whole_curve(runs / rival.folder), mine.fraction)

    def _read(self) -> tuple[PageData, Sequence[Run], Curve, str]:
        """Return what the memory holds, read again only when its files have changed, since reading slows runs down."""
        memory = self._lab.paths.memory
        stamp: list[object] = []
        for path in (memory, memory.with_name(memory.name + "-wal")):
            with contextlib.suppress(OSError):
                status = os.stat(path)
                stamp.append((status.st_mtime_ns, status.st_size, status.st_ino))
        if self._recorded is None or stamp != self._stamp:
            with read_store(self._lab.paths) as store:
                self._recorded = self._recorded_in(store)
            self._stamp = stamp
        return self._recorded

    def _recorded_in(self, store: Store) -> tuple[PageData, Sequence[Run], Curve, str]:
        paths, judged, open_runs = self._lab.paths, store.judged(), store.open_runs()
        going = {run.branch for run in open_runs}
        here = branch_here(paths)
        branch = choose_branch(judged, begun_on(store), going.pop() if len(going) == 1 else here)
        is_going = branch in {run.branch for run in open_runs}
        why = f"where a run is going on; {here} is checked out" if is_going else f"since {here} has no runs yet"
        instead = f"{branch}, {why}" if here not in ("", branch) else ""
        data = data_of_branch(store, judged, branch, self._lab.now_utc())
        runs = [row.run for row in reversed(data.best.rows if data.best else ())]
        curves = (read_curve(paths.runs / run.folder) for run in runs if run.folder)
        return data, open_runs, next(filter(None, curves), ()), instead


def _trouble(folder: Path) -> str:
    """Return why a night can make no run now, "" where nothing is known to be missing."""
    try:
        check_disk(folder)  # as the launcher does
    except ConfigurationError as error:
        return f"{error.what} The night waits and tries again."
    return ""


def show_pictures(console: Console, views: Iterable[LiveView], pause_s: float) -> None:
    """Show one view after the other on the whole terminal, until Ctrl-C."""
    from rich.live import Live as Screen

    from research.report.screen import frame

    with contextlib.suppress(KeyboardInterrupt), Screen(console=console, screen=True, auto_refresh=False) as screen:
        for view in views:
            screen.update(frame(view, console.width, console.height), refresh=True)
            time.sleep(pause_s)
