"""One recorded launch: its folder, its locks, its start record, the command, its finish record."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from research.core import git
from research.core.clock import moment
from research.core.contract import RUN_LOG, RUNNER_EXITS
from research.core.errors import ConfigurationError, ResearchError
from research.core.files import FileLock
from research.core.records import STOPPED_AT, Run
from research.core.settings import SETTINGS
from research.runs.backend import Backend, CommandResult, Launch, StopRequest
from research.runs.preflight import TARGET, Refused
from research.runs.racing import RACE, TERM, RacingStop, Watch
from research.runs.record import finished, interrupted
from research.runs.tee import Tee
from research.store import folders
from research.store.db import Store


@dataclass(frozen=True)
class Wires:
    """What connects a launch with the world: output, words for people, stop requests, and the time as text."""

    stream: BinaryIO
    say: Callable[[str], None]
    stop: StopRequest
    now_utc: Callable[[], str]


def run_command(
    backend: Backend, launch: Launch, log: Path | None, wires: Wires, watch: Watch | None = None
) -> CommandResult:
    """Runs a command to its end, whatever goes wrong on our side of it.

    Args:
        backend: Where to run it.
        launch: What to run.
        log: Where its output is kept, None to keep none.
        wires: The world.
        watch: Reads its output, and may ask it to end, on every backend in the way in which a signal does.
    """
    tee = Tee(log, wires.stream)

    def emit(data: bytes) -> None:
        tee.write(data)
        if watch:
            watch.feed(data)

    try:
        ended = backend.run(launch, emit, wires.say, RacingStop(wires.stop, watch) if watch else wires.stop)
    except ConfigurationError as error:
        return CommandResult.failed("configuration", str(error))
    except ResearchError as error:
        return CommandResult.failed("infrastructure", str(error))
    except (OSError, RuntimeError, ValueError) as error:
        return CommandResult.failed("infrastructure", f"the {backend.name} backend failed: {error}")
    finally:
        tee.close()
    if tee.log_problem:
        ended = replace(ended, facts={**ended.facts, "log_problem": tee.log_problem})
    return _raced(ended, watch, wires) if watch else ended


def _raced(ended: CommandResult, watch: Watch, wires: Wires) -> CommandResult:
    """Adds what was foretold to an end, which is "stopped" where nobody but the watch asked for it."""
    facts = {**ended.facts, RACE: watch.race().to_fact()}
    if ended.kind != "interrupted" or not watch.stopping or wires.stop.requested():
        return replace(ended, facts=facts)
    look = watch.looks[-1]
    why = (
        f"stopped at {look.fraction:.0%} of the budget: P(better than {watch.against}) {look.known.p_better:.3f}, "
        f"forecast {look.known.mean:+.4f} bpb"
    )
    facts[STOPPED_AT] = f"{look.fraction:g}"
    return replace(
        ended, kind="stopped", exit_code=RUNNER_EXITS["stopped"], child_exit=128 + TERM, why=why, facts=facts
    )


@dataclass(frozen=True)
class Recording:
    """What a recorded launch leaves behind.

    Attributes:
        store: The memory.
        start: The start record.
        text: The train.py that runs.
        locks: Locks to be held until the last process is gone.
        complete: Adds to the finish record what only the caller knows.
        alone: Whether a run of the same code, contract and seed that is going on forbids this one.
        watch: Reads the run's output, None for a run that nobody watches.
    """

    store: Store
    start: Run
    text: bytes
    locks: tuple[FileLock, ...]
    complete: Callable[[Run], Run]
    alone: bool = True
    watch: Watch | None = None


class GoingOn(Refused):
    """The same run is being made. Attributes: run, its name."""

    def __init__(self, run: str) -> None:
        super().__init__(f"The same code, contract and seed is being run as {run}.", "Wait for it, or choose --seed N.")
        self.run = run


def launch_recorded(recording: Recording, backend: Backend, launch: Launch, wires: Wires) -> Run:
    """Launches a run that is recorded exactly once: a start record before, a finish record after.

    Returns:
        The finish record, stored.

    Raises:
        GoingOn: if another process is making this run; nothing is left behind then.
        OSError: if there is no room for the start record; nothing was launched then.
        StoreBusy: if a record can't be written; the folder keeps it for whoever looks next.
    """
    folder, start, store = launch.run_dir, recording.start, recording.store
    folder.mkdir(parents=True)
    alive = FileLock(folder / folders.ALIVE)
    alive.acquire()
    try:
        (folder / TARGET).write_bytes(recording.text)
        folders.write_start(folder, start)
        going = store.start_run(start, recording.alone)
        if going and close_gone(store, folder.parent, wires.now_utc()):  # killed since this launch looked
            going = store.start_run(start, recording.alone)
        if going:
            shutil.rmtree(folder)
            raise GoingOn(going)
        with contextlib.suppress(ResearchError):  # a run in a repository that can't keep refs is still a run
            git.keep_commit(launch.root, start.run, start.commit)
        fds = tuple(lock.fileno() for lock in (alive, *recording.locks))
        clocks = (wires.now_utc(), time.monotonic())
        ended = run_command(backend, replace(launch, fds=fds), folder / RUN_LOG, wires, recording.watch)
        ended = replace(ended, facts={**ended.facts, **_clock_jump(*clocks, wires.now_utc())})
        record = _unless_disk_full(finished(start, ended, folder, wires.now_utc()))
        if not folder.is_dir() and record.outcome == "crash":
            record = _of_machine(record, "its folder was removed while it ran")
        with contextlib.suppress(OSError):  # at once: completing it asks git and the memory, which may fail
            folders.write_finish(folder, record)
        record = recording.complete(record)
        with contextlib.suppress(OSError):
            folders.write_finish(folder, record)
        store.finish_run(record)
        return record
    finally:
        alive.release()


def _unless_disk_full(record: Run) -> Run:
    """Clears the candidate where its files could not be written."""
    problem = record.facts.get("log_problem")
    if not problem or record.outcome != "crash":
        return record
    return _of_machine(record, f"its files could not be written: {problem}")


def _of_machine(record: Run, why: str) -> Run:
    """Clears a candidate that crashed for want of its files."""
    exit_code = RUNNER_EXITS["infrastructure"]
    return replace(record, outcome="infrastructure", exit_code=exit_code, failure=None, why=why)


def _clock_jump(begun_utc: str, begun_s: float, now_utc: str) -> dict[str, str]:
    """Returns by how many seconds the clock went on, or back, beyond the time that passed awake; nothing for drift."""
    jump = (moment(now_utc) - moment(begun_utc)).total_seconds() - (time.monotonic() - begun_s)
    return {"clock_jump_s": f"{jump:.0f}"} if abs(jump) >= SETTINGS.clock_jump_s else {}


def close_gone(store: Store, runs: Path, now_utc: str) -> list[Run]:
    """Closes the runs whose runner is gone: as their folder says, or else as interrupted; returns them."""
    closed = []
    for run in store.open_runs():
        folder = runs / run.folder
        if folders.is_alive(folder):
            continue
        left = folders.read_run(folder)
        record = left if left and left.run == run.run and left.outcome else interrupted(run, now_utc)
        if store.finish_run(record):
            closed.append(record)
            with contextlib.suppress(OSError):
                folders.write_finish(folder, record)
    return closed


def smoke_environment(environment: Mapping[str, str], budget_s: int) -> dict[str, str]:
    """Returns variables with which train.py takes seconds: pocket data, a tiny budget, no GPU."""
    return {
        **environment,
        "AUTORESEARCH_PROFILE": "pocket",
        "AUTORESEARCH_TIME_BUDGET": str(budget_s),
        "CUDA_VISIBLE_DEVICES": "",
    }
