"""Watches the memory and the log of the run in flight, and draws them again and again; it writes nothing anywhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from research.agents.night import state
from research.agents.night.command import night_command
from research.agents.night.state import NightState, worked_s
from research.core.clock import utc
from research.core.contract import RUN_LOG
from research.core.files import is_held
from research.core.records import Run
from research.core.settings import SETTINGS
from research.core.text import count_of
from research.lab.lab import Lab
from research.report.answer import FIRST_NIGHT
from research.report.data import PageData, Row
from research.report.progress import Curve, Progress, read_curve, read_progress
from research.report.text import clock, money, title_of
from research.report.usage import expected_end, moment
from research.report.write import branch_here, choose_branch, data_of_branch, while_on
from research.store import folders
from research.store.db import Store
from research.store.open import read_store

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_COLUMNS = 80  # width of a picture that no terminal asks for
_YOUNG_S = 10.0  # a run's lock is not probed before, so that a probe can't meet the moment in which it is taken


@dataclass(frozen=True)
class Flight:
    """A run in flight: its name and title, who proposed it, for how long it runs, how far it is, if it still lives."""

    run: str
    title: str
    emitter: str
    seconds: float
    progress: Progress
    alive: bool = True
    begun_utc: str = ""


@dataclass(frozen=True)
class LiveView:
    """One picture.

    Attributes:
        now_utc: The time.
        data: What the page says.
        flights: The runs in flight.
        best_curve: The loss of the best so far, () where it is not known.
        night: What is left of the night, or how it ended, in parts.
        go_on: The command that begins a night, or goes on with one that was cut off; "" where one goes on or ended.
    """

    now_utc: str
    data: PageData
    flights: tuple[Flight, ...] = ()
    best_curve: Curve = ()
    night: tuple[str, ...] = ()
    go_on: str = ""

    @property
    def verdicts(self) -> list[Row]:
        """The latest judged runs, newest first."""
        judged = [row for row in self.data.rows if row.decision != "not judged"]
        return judged[: -SETTINGS.live_verdicts - 1 : -1]

    def seeds_of(self, row: Row) -> tuple[int, ...]:
        """Return the seeds that a run's change was compared with the best of the time on; none for the baseline."""
        return next((one.seeds for one in self.data.candidates if one.gain and row.run.run in one.runs), ())

    def as_dict(self) -> dict[str, Any]:
        """Return the picture as JSON values, without the curves' points."""
        data, top = self.data, self.data.headline
        best, gain, plan = top.best and top.best.estimate, top.gain, data.plan
        flights = [asdict(flight) for flight in self.flights]
        for flight in flights:
            del flight["progress"]["curve"]
        verdicts = [
            {"number": row.number, "title": row.title, "decision": row.decision, "val_bpb": row.val_bpb,
             "p_better": row.verdict and row.verdict.p_better, "seeds": self.seeds_of(row),
             "why": row.verdict.why if row.verdict else ""}
            for row in self.verdicts
        ]  # fmt: skip
        return {
            "now_utc": self.now_utc, "branch": data.branch, "contract": data.contract, "runs": top.runs,
            "kept": top.kept, "crashed": top.crashes, "best_title": top.best.title if top.best else "",
            "best": best and asdict(best), "gain": gain and asdict(gain), "flights": flights, "verdicts": verdicts,
            "phase": data.phase, "next_up": f"{plan.title}: {plan.why}" if plan else "",
            "night": self.night, "go_on": self.go_on,
        }  # fmt: skip


@dataclass(frozen=True)
class Recorded:
    """What is on record: it is read again only when the memory has changed."""

    data: PageData
    open_runs: Sequence[Run]
    best_curve: Curve


def budget_left(night: NightState, now: datetime) -> list[str]:
    """Say what a night has used of what it may use, or how it ended."""
    limits, hours = night.limits, max(0.0, worked_s(night, now)) / 3600
    if night.finished_utc:
        return [f"ended: {night.stop_reason or 'no reason given'}", count_of(night.runs, "run")]
    parts = [f"{night.runs} of {limits.max_runs} runs" if limits.max_runs is not None else f"{night.runs} runs"]
    parts.append(f"{hours:.1f} of {limits.hours:g} h" if limits.hours is not None else f"{hours:.1f} h")
    parts += [f"until {clock(limits.until_utc, False)}"] if limits.until_utc else []
    if limits.max_usd is not None:
        parts.append(f"{money(night.usd)} of {money(limits.max_usd)}")
    elif night.usd:
        parts.append(money(night.usd))
    end = expected_end(night, now)
    return [*parts, f"ends about {clock(utc(end), False)}"] if end else parts


def cut_off_in_words(night: NightState) -> list[str]:
    """Say what became of a night that neither ended nor goes on; a killed one could not say why."""
    of = f" of {night.limits.max_runs}" if night.limits.max_runs is not None else ""
    return [night.stop_reason or "cut off, no reason recorded", f"after {night.runs}{of} runs"]


class Live:
    """The live view of a lab.

    Args:
        lab: The lab; only its places and its clock are used.
        console: Where to draw, by default the terminal.
    """

    def __init__(self, lab: Lab, console: Console | None = None) -> None:
        self.lab = lab
        self._console = console
        self._recorded: Recorded | None = None
        self._stamp_read: tuple[object, ...] = ()
        self._is_cut_off = False

    @property
    def console(self) -> Console:
        """Return where to draw."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(width=None if sys.stdout.isatty() else _PIPE_COLUMNS, highlight=False)
        return self._console

    def look(self) -> LiveView:
        """Return the picture of this moment."""
        recorded, now_utc = self._read(), self.lab.now_utc()
        flights = [self._flight(run) for run in recorded.open_runs]
        data, in_words, go_on = replace(recorded.data, is_running=any(flight.alive for flight in flights)), [], ""
        if (night := data.night) and self._is_alive(night, flights):
            in_words = budget_left(night, self.lab.clock())
            data = while_on(replace(data, made_utc=now_utc), night, night.finished_utc is None)
        elif night:
            in_words, go_on = cut_off_in_words(night), night_command(night)
        elif not data.rows and not flights:
            go_on = FIRST_NIGHT
        return LiveView(now_utc, data, tuple(flights), recorded.best_curve, tuple(in_words), go_on)

    def print_once(self) -> None:
        """Draw one picture, for pipes and scripts."""
        from research.report.screen import frame

        self.console.print(frame(self.look(), self.console.width, self.console.height - 1))  # a prompt follows

    def follow(self) -> None:
        """Draw until Ctrl-C, which leaves the last picture on the terminal; without a terminal, one picture."""
        from rich.live import Live as Screen

        from research.report.screen import frame

        if not self.console.is_terminal:
            self.print_once()
            return
        try:
            with Screen(console=self.console, screen=True, auto_refresh=False) as screen:
                while True:
                    screen.update(frame(self.look(), self.console.width, self.console.height), refresh=True)
                    time.sleep(SETTINGS.live_refresh_s)
        except KeyboardInterrupt:
            self.print_once()

    def _is_alive(self, night: NightState, flights: Sequence[Flight]) -> bool:
        """Return whether a night has ended as it should or its lock is held; probed once after each change on record.

        A probe takes a free lock for a moment, and a night that is just being started would find it taken.
        """
        if night.finished_utc or any(flight.alive for flight in flights):
            return True
        if not self._is_cut_off:
            try:
                self._is_cut_off = not is_held(self.lab.paths.discovery / state.LOCK)
            except OSError:
                return True
        return not self._is_cut_off

    def _flight(self, run: Run) -> Flight:
        folder = self.lab.paths.runs / run.folder
        begun = moment(run.started_utc)
        seconds = max(0.0, (self.lab.clock() - begun).total_seconds()) if begun else 0.0
        progress = read_progress(folder / RUN_LOG)
        # What a runner starts without being an experiment is the baseline.
        title = title_of(run.subject, is_baseline=True) or run.run
        is_alive = seconds <= _YOUNG_S or folders.is_alive(folder)
        return Flight(run.run, title, run.emitter or "", seconds, progress, is_alive, run.started_utc)

    def _read(self) -> Recorded:
        """Return what is on record; read again only when the files have changed, since reading costs what runs need."""
        stamp = self._stamp()
        if self._recorded is None or stamp != self._stamp_read:
            with read_store(self.lab.paths) as store:
                self._recorded = self._recorded_in(store)
            self._stamp_read, self._is_cut_off = stamp, False
        return self._recorded

    def _stamp(self) -> tuple[object, ...]:
        stamps: list[object] = []
        memory = self.lab.paths.memory
        for path in (memory, memory.with_name(memory.name + "-wal")):
            try:
                status = os.stat(path)
                stamps.append((status.st_mtime_ns, status.st_size, status.st_ino))
            except OSError:
                stamps.append(None)
        return tuple(stamps)

    def _recorded_in(self, store: Store) -> Recorded:
        judged, open_runs = store.judged(), store.open_runs()
        going = {run.branch for run in open_runs}
        branch = choose_branch(judged, next(iter(going)) if len(going) == 1 else branch_here(self.lab.paths))
        data = data_of_branch(store, judged, branch, self.lab.now_utc())
        folder_of = {item.run.run: item.run.folder for item in judged}
        curve: Curve = ()
        for name in reversed(data.headline.best.runs if data.headline.best else ()):
            curve = curve or (read_curve(self.lab.paths.runs / folder_of[name]) if folder_of.get(name) else ())
        return Recorded(data, open_runs, curve)
