"""Watches the memory and the log of the run in flight, and draws them again and again; it writes nothing anywhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live as Screen

from research.agents.night import state
from research.core.contract import RUN_LOG
from research.core.files import is_held
from research.core.records import Run
from research.core.settings import SETTINGS
from research.lab.lab import Lab
from research.lab.plan import POLICY_FACT
from research.report.frame import frame
from research.report.watch_data import Flight, Known, LiveView, flight_of, view_of
from research.report.watch_log import Curve, finished_curve, read_progress
from research.report.write import branch_here, choose_branch
from research.store import folders, reads
from research.store.db import Store
from research.store.open import read_store
from research.verdict.recall import recall

_PIPE_COLUMNS = 80  # width of a picture that no terminal asks for
_YOUNG_S = 10.0  # a run's lock is not probed before, so that a probe can't meet the moment in which it is taken


class Live:
    """The live view of a lab.

    Args:
        lab: The lab; only its places and its clock are used.
        console: Where to draw.
    """

    def __init__(self, lab: Lab, console: Console | None = None) -> None:
        self.lab = lab
        self.console = console or Console(width=None if sys.stdout.isatty() else _PIPE_COLUMNS, highlight=False)
        self._known: Known | None = None
        self._seen: tuple[object, ...] = ()
        self._is_cut_off = False

    def look(self) -> LiveView:
        """The picture of this moment."""
        known = self._read()
        now = self.lab.clock()
        flights = [self._flight(run) for run in known.open_runs]
        return view_of(known, flights, now, self.lab.now_utc(), self._night_goes_on(known, flights))

    def print_once(self) -> None:
        """One picture, for pipes and scripts."""
        self.console.print(frame(self.look(), self.console.width, self.console.height))

    def follow(self) -> None:
        """Draws until Ctrl-C, which leaves the last picture on the terminal; without a terminal, one picture."""
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

    def _night_goes_on(self, known: Known, flights: Sequence[Flight]) -> bool:
        """Whether somebody holds the night's lock; asked for once after each change of the memory when nobody does.

        A probe takes a free lock for a moment, and the night that is just being started would find it taken.
        """
        if known.night is None or known.night.finished_utc or any(flight.alive for flight in flights):
            return True
        if not self._is_cut_off:
            try:
                self._is_cut_off = not is_held(self.lab.paths.discovery / state.LOCK)
            except OSError:
                return True
        return not self._is_cut_off

    def _flight(self, run: Run) -> Flight:
        folder = self.lab.paths.runs / run.folder
        now = self.lab.clock()
        flight = flight_of(run, read_progress(folder / RUN_LOG), now, alive=True)
        if flight.seconds > _YOUNG_S and not folders.is_alive(folder):
            return flight_of(run, flight.progress, now, alive=False)
        return flight

    def _read(self) -> Known:
        """What the memory says; read again only when its files have changed, since reading costs what runs need."""
        seen = self._stamp()
        if self._known is None or seen != self._seen:
            with read_store(self.lab.paths) as store:
                self._known = self._known_of(store)
            self._seen, self._is_cut_off = seen, False
        return self._known

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

    def _known_of(self, store: Store) -> Known:
        everything = store.judged()
        open_runs = store.open_runs()
        here = branch_here(self.lab.paths)
        going = {run.branch for run in open_runs}
        branch = choose_branch(everything, next(iter(going)) if len(going) == 1 else here)
        memory = recall(everything, branch)
        mine = [i for i in everything if i.run.branch == branch and i.run.contract in (memory.contract, None)]
        plan, night = reads.plan_of(store, branch), state.from_json(store.fact(state.FACT))
        curve: Curve = ()
        standing = memory.incumbent or memory.best
        names = {run.run: run.folder for item in mine for run in (item.run,)}
        for name in reversed(standing.runs if standing else ()):
            curve = curve or (finished_curve(self.lab.paths.runs / names[name]) if names.get(name) else ())
        policy = store.fact(POLICY_FACT) or ""
        return Known(mine, memory, open_runs, plan, night, curve, store.verdicts(), policy)
