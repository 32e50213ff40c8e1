"""Makes one launch: its folder, locks, start record, the command with its output, and its finish record."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import SubprocessError
from typing import BinaryIO

from research.core import git
from research.core.contract import RUN_LOG, RUNNER_EXITS, SCORE_FILE
from research.core.errors import ConfigurationError, ResearchError
from research.core.files import FileLock
from research.core.records import STOPPED_AT, Run
from research.core.settings import SETTINGS
from research.core.text import chance
from research.runs.backend import Backend, CommandResult, Launch, StopRequest
from research.runs.preflight import TARGET, Refused
from research.runs.racing import RACE, RacingStop, Watch
from research.runs.record import LOG_PROBLEM, finished
from research.store import folders
from research.store.db import Store


@dataclass(frozen=True)
class LaunchIO:
    """The inputs and outputs of a launch besides its records."""

    stream: BinaryIO  # takes the command's output
    say: Callable[[str], None]  # takes a line for people
    stop: StopRequest
    now_utc: Callable[[], str]  # returns the time as records keep it


_CUT = f"\n[run] more than {SETTINGS.max_output_bytes >> 20} MiB were printed; the rest is left out\n".encode()
"""The last line of an output that was too long to be kept whole."""


class _Tee:
    """A writer of a command's output into a log (None for none) and a stream, whose errors do not stop the run.

    Of an output without end only the beginning is written, so that one train.py can't fill the disk.
    """

    def __init__(self, log: Path | None, stream: BinaryIO) -> None:
        self._file = log.open("wb", buffering=0) if log else None
        self._stream: BinaryIO | None = stream
        self.problem = ""  # why not all could be written, "" if it was
        self._room = SETTINGS.max_output_bytes

    def write(self, data: bytes) -> None:
        """Hand a chunk on; a full disk is noted, and a stream that nobody reads any more is left alone."""
        if self._room < 0:
            return
        self._room -= len(data)
        data = data if self._room >= 0 else data[: self._room] + _CUT
        try:
            rest = memoryview(data)
            while self._file and rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.problem = self.problem or str(error.strerror)
        try:
            if self._stream:
                self._stream.write(data)
                self._stream.flush()
        except (BrokenPipeError, ValueError):
            self._stream = None
        except OSError as error:
            self.problem = self.problem or str(error.strerror)

    def close(self) -> None:
        """Close the log."""
        if self._file:
            with contextlib.suppress(OSError):
                self._file.close()


def run_command(
    backend: Backend, launch: Launch, log: Path | None, io: LaunchIO, watch: Watch | None = None
) -> CommandResult:
    """Run a command to its end; what goes wrong on our side of it is a kind of end too.

    Its output is kept in the log, if there is one. The watch, if there is one, reads it too, and may ask for the end as
    a signal does.
    """
    tee = _Tee(log, io.stream)

    def emit(data: bytes) -> None:
        tee.write(data)
        if watch:
            watch.feed(data)

    try:
        ended = backend.run(launch, emit, io.say, RacingStop(io.stop, watch) if watch else io.stop)
    except ConfigurationError as error:
        return CommandResult.failed("configuration", str(error))
    except ResearchError as error:
        return CommandResult.failed("infrastructure", str(error))
    except (OSError, RuntimeError, ValueError, SubprocessError) as error:
        return CommandResult.failed("infrastructure", f"the {backend.name} backend failed: {error}")
    finally:
        tee.close()
    if tee.problem:
        ended = replace(ended, facts={**ended.facts, LOG_PROBLEM: tee.problem})
    return _raced(ended, watch, io) if watch else ended


def _raced(ended: CommandResult, watch: Watch, io: LaunchIO) -> CommandResult:
    """Return an end with the record of its watch; it is "stopped" where only the watch asked for it."""
    facts = {**ended.facts, RACE: watch.race().to_fact()}
    if ended.kind != "interrupted" or not watch.stopping or io.stop.requested():
        return replace(ended, facts=facts)
    look = watch.looks[-1]
    why = (
        f"stopped at {look.fraction:.0%} of the budget: foretold {look.known.mean:+.4f} bpb against run "
        f"{watch.against}, P(better) {chance(look.known.p_better)}"
    )
    facts[STOPPED_AT] = f"{look.fraction:g}"
    return replace(
        ended, kind="stopped", exit_code=RUNNER_EXITS["stopped"], child_exit=128 + signal.SIGTERM, why=why, facts=facts
    )


class AlreadyRunning(Refused):
    """Another process makes the same run."""

    def __init__(self, run: str) -> None:
        super().__init__(f"The same code, contract and seed is being run as {run}.", "Wait for it, or choose --seed N.")
        self.run = run  # its name


def launch_recorded(
    store: Store,
    start: Run,
    text: bytes,
    backend: Backend,
    launch: Launch,
    io: LaunchIO,
    complete: Callable[[Run], Run],
    alone: bool,
    watch: Watch | None,
) -> Run:
    """Launch a run with a start record before and a finish record after, so that it is recorded once; return the last.

    Args:
        text: The content of train.py.
        complete: Adds to the finish record what only the caller knows.
        alone: Whether it is not made while a run of the same code, contract and seed is going on.

    Raises:
        AlreadyRunning: if another process is making this run.
        OSError: if there is no room for the start record.
        StoreBusy: if a record can't be written; a finish record is in the folder then, for whoever looks next.
            After all other errors nothing was launched and nothing is left behind.
    """
    folder = launch.run_dir
    folder.mkdir(parents=True)
    alive = FileLock(folder / folders.ALIVE)
    try:
        try:
            alive.acquire()
            _record_start(store, start, text, folder, io.now_utc, alone)
        except (ResearchError, OSError):  # a rebuilt memory would take the folder for a run that was interrupted
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with contextlib.suppress(ResearchError):  # a run in a repository that can't keep refs is still a run
            git.keep_commit(launch.root, start.run, start.commit)
        launch = replace(launch, fds=(alive.fileno(), *launch.fds))
        ended = run_command(backend, launch, folder / RUN_LOG, io, watch)
        _remove_drafts(folder)
        record = finished(start, ended, folder, io.now_utc())
        with contextlib.suppress(OSError):  # at once: completing it asks git and the memory, which may fail
            folders.write_finish(folder, record)
        record = complete(record)
        with contextlib.suppress(OSError):
            folders.write_finish(folder, record)
        store.finish_run(record)
        return record
    finally:
        alive.release()


def _record_start(store: Store, start: Run, text: bytes, folder: Path, now_utc: Callable[[], str], alone: bool) -> None:
    """Write the start record into the run's folder and into the memory, as launch_recorded() says."""
    (folder / TARGET).write_bytes(text)
    folders.write_start(folder, start)
    going = store.start_run(start, alone)
    if going and close_gone(store, folder.parent, now_utc()):  # killed since this launch looked
        going = store.start_run(start, alone)
    if going:
        raise AlreadyRunning(going)


def _remove_drafts(folder: Path) -> None:
    """Remove the unfinished score.json of a command that was killed while it wrote it, or found the disk full."""
    with contextlib.suppress(OSError):
        for draft in folder.glob(f".{SCORE_FILE}.*"):
            draft.unlink()


def close_gone(store: Store, runs: Path, now_utc: str) -> list[Run]:
    """Close the runs whose runner is gone: as their folder says, or else as interrupted; return them."""
    closed = []
    for run in store.open_runs():
        folder = runs / run.folder
        if folders.is_alive(folder):
            continue
        record = folders.read_run(folder)
        if record is None or record.run != run.run or record.outcome is None:
            why = "its runner was gone before it ended"
            record = replace(run, finished_utc=now_utc, outcome="interrupted", why=why)
        if store.finish_run(record):
            closed.append(record)
            with contextlib.suppress(OSError):
                folders.write_finish(folder, record)
    return closed
