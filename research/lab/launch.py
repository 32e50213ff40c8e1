"""From a launch as it was asked for to its end: preflight, repeat check, run, record, verdict."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from research.core import git
from research.core.clock import run_name
from research.core.contract import DEFAULT_SEED, RUN_LOG
from research.core.errors import ConfigurationError, ResearchError
from research.core.files import FileLock
from research.core.paths import machine_home
from research.core.records import Judged, Outcome, Plan, Run
from research.core.settings import SETTINGS
from research.lab.lab import Lab
from research.lab.plan import carried_out, plan_ahead
from research.runs import gpu, preflight, session
from research.runs import repeat as identity
from research.runs.backend import Backend, Launch, StopRequest
from research.runs.code_change import with_change
from research.runs.local import LocalBackend
from research.runs.lock import DeviceBusy, device_lock, take_device
from research.runs.log import LogText, quote, read_log
from research.runs.preflight import COMMAND, Candidate, Refused
from research.runs.session import GoingOn, Wires
from research.runs.signals import Signals
from research.store.connect import StoreBusy
from research.store.db import Store
from research.verdict import lineage


@dataclass(frozen=True)
class Request:
    """One launch as it was asked for; times in seconds."""

    command: tuple[str, ...]
    backend: str = "local"
    gpu: str = "H100"
    timeout_s: float = SETTINGS.default_timeout_minutes * 60
    queue_timeout_s: float | None = None
    seed: int = DEFAULT_SEED
    again: bool = False
    smoke: bool = False
    dry_run: bool = False
    allow_dirty: bool = False
    plan: str | None = None


@dataclass(frozen=True)
class LaunchResult:
    """How a launch ended, as the runner's last line says it.

    Attributes:
        run: The run's name.
        outcome: See research.core.records.Outcome.
        exit: What the runner exits with.
        child_exit: The command's own exit code, None where it did not end or did not start.
        recorded: Whether the memory holds a finish record of it.
        counted: Whether it is judged and has a ledger row where it ended by itself or its time limit.
        why: One sentence, "" for an ordinary end.
        repeats: The run that a repeat would repeat, or that a refused one would make a second time, "" for all else.
    """

    run: str
    outcome: Outcome
    exit: int
    child_exit: int | None = None
    recorded: bool = False
    counted: bool = False
    why: str = ""
    repeats: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The end line's object."""
        return dict(vars(self))


@dataclass(frozen=True)
class _Setting:
    """Where a launch takes place: the lab, the request, the name, the backend, the device, the world."""

    lab: Lab
    request: Request
    name: str
    backend: Backend
    device: gpu.Gpu | None
    wires: Wires

    @property
    def is_local(self) -> bool:
        return self.backend.name == "local"

    def launch(self, folder: Path, commit: str | None) -> Launch:
        """What the backend is given."""
        request = self.request
        return Launch(
            run=self.name,
            run_dir=folder,
            root=self.lab.work,
            commit=commit,
            command=request.command,
            seed=request.seed,
            gpu="" if self.is_local else request.gpu,
            timeout_s=request.timeout_s,
            queue_timeout_s=request.queue_timeout_s,
        )

    def contract_key(self, candidate: Candidate) -> str:
        """What is known now of the contract, cheaply."""
        environment = self.lab.environment
        return identity.contract_key(
            candidate.benchmark_sha256,
            self.lab.work,
            machine_home(environment),
            self.backend.name,
            "" if self.is_local else self.request.gpu,
            self.device.uuid if self.device else "",
            environment,
        )

    def take_device(self) -> tuple[FileLock, ...]:
        """Locks the device that a local run gets; elsewhere devices are not ours to lock."""
        if not self.is_local:
            return ()
        lock = device_lock(machine_home(self.lab.environment), self.device)
        take_device(lock, self.name, self.lab.work)
        return (lock,)


def launch(lab: Lab, request: Request, asked: StopRequest | None = None) -> LaunchResult:
    """Runs a command, and records it if it is ``uv run train.py``; says how it ended, whatever happens.

    Args:
        lab: The lab.
        request: What to launch.
        asked: Who may ask the run to end; by default the signals to this process.
    """
    try:
        commit = git.head(lab.work).commit
    except ResearchError:
        commit = None
    name = run_name(lab.clock(), commit, lab.token(2))
    lab.say(f"start {name}")
    with Signals() if asked is None else contextlib.nullcontext(asked) as stop:
        end = _launched(lab, request, name, stop)
        # Ctrl-C reaches the git that looks at the tree, and the smoke run: their failure says nothing then.
        if end.outcome in ("refused", "configuration") and (number := stop.requested()) is not None:
            return _stopped(name, number)
    return end


def _stopped(name: str, number: int) -> LaunchResult:
    """The end of a launch that a signal was faster than."""
    return LaunchResult(name, "interrupted", 128 + number, why="stopped before launch")


def _launched(lab: Lab, request: Request, name: str, stop: StopRequest) -> LaunchResult:
    """The launch, its errors turned into ends."""
    try:
        backend = lab.make_backend(request.backend, lab.environment)
        device = gpu.chosen(gpu.gpus(), lab.environment) if backend.name == "local" else None
        if isinstance(backend, LocalBackend):
            backend.watch = lambda: gpu.Watch(device)
        wires = Wires(lab.stream, lab.say, stop, lab.now_utc)
        setting = _Setting(lab, request, name, backend, device, wires)
        return _recorded(setting) if request.command == COMMAND else _unrecorded(setting)
    except (Refused, DeviceBusy) as error:
        return LaunchResult(name, "refused", 3, why=str(error), repeats=error.run if isinstance(error, GoingOn) else "")
    except StoreBusy as error:
        return LaunchResult(name, "infrastructure", 75, why=str(error))
    except ConfigurationError as error:
        return LaunchResult(name, "configuration", 78, why=str(error))
    except ResearchError as error:
        return LaunchResult(name, "configuration", error.exit_code if error.exit_code == 2 else 78, why=str(error))
    except OSError as error:
        return LaunchResult(
            name, "infrastructure", 75, why=f"{error.filename or 'the system'}: {error.strerror or error}"
        )


def _unrecorded(setting: _Setting) -> LaunchResult:
    """Any other command: the same care, no record."""
    with tempfile.TemporaryDirectory(prefix="autoresearch-") as folder:
        launch = setting.launch(Path(folder), None)
        setting.backend.check(launch)
        if setting.request.dry_run:
            return _plan(setting, launch)
        locks = setting.take_device()
        try:
            fds = tuple(lock.fileno() for lock in locks)
            ended = session.run_command(setting.backend, launch, None, setting.wires, fds)
        finally:
            for lock in locks:
                lock.release()
    outcome: Outcome = ended.kind if ended.kind != "finished" else "scored" if ended.exit_code == 0 else "crash"
    why = ended.why or f"not recorded: only {' '.join(COMMAND)} is"
    return LaunchResult(setting.name, outcome, ended.exit_code, ended.child_exit, why=why)


def _recorded(setting: _Setting) -> LaunchResult:
    """``uv run train.py``."""
    lab, request = setting.lab, setting.request
    with lab.open() as store:
        candidate = preflight.examine(lab.work)
        branch = candidate.branch if lab.branch is None else lab.branch
        key = setting.contract_key(candidate)
        contract = None
        launch = setting.launch(lab.paths.runs / setting.name, candidate.commit.hash)
        if request.allow_dirty:
            launch = replace(launch, commit=None)
        else:
            _refuse(setting, store, candidate, store.judged(branch), key)
        preflight.check_environment(lab.environment)
        if setting.is_local:
            preflight.check_data(machine_home(lab.environment), lab.environment, setting.device is not None)
        setting.backend.check(launch)
        if not request.allow_dirty:
            end, contract = _repeated(setting, store, candidate, key, None)
            if end:
                return end
        preflight.check_disk(lab.paths.discovery)
        if request.dry_run:
            return _plan(setting, launch)
        if request.smoke:
            _smoke(setting, launch)
        planned = carried_out(store, branch, candidate) if lab.plans and not request.allow_dirty else None
        start = _start_record(setting, candidate, branch, key, planned)

        def complete(record: Run) -> Run:
            record = replace(record, contract=record.contract or contract, contract_key=setting.contract_key(candidate))
            return lab.decide_counted(store, record)

        locks = setting.take_device()
        try:
            if asked := setting.wires.stop.requested():
                return _stopped(setting.name, asked)
            if not request.allow_dirty:  # whoever had the device until now may have made this very run
                end, contract = _repeated(setting, store, candidate, key, contract)
                if end:
                    return end
            alone = not (request.again or request.allow_dirty)
            plan = session.Recording(store, start, candidate.text, locks, complete, alone)
            done = session.launch_recorded(plan, setting.backend, launch, setting.wires)
        finally:
            for lock in locks:
                lock.release()
        return _after(lab, store, done)


def _repeated(
    setting: _Setting, store: Store, candidate: Candidate, key: str, contract: str | None
) -> tuple[LaunchResult | None, str | None]:
    """The end of a launch that would only repeat a finished run, None for any other; and its contract, if known."""
    lab, request = setting.lab, setting.request
    runs = [] if request.again else store.runs_of(candidate.fingerprint)
    by_key = store.latest_with_key(key)
    repeat, contract = identity.find_repeat(
        runs, request.seed, key, by_key, lambda: contract or identity.ask_contract(lab.work, lab.environment)
    )
    return (_hand_out(setting, repeat) if repeat else None), contract


def _refuse(setting: _Setting, store: Store, candidate: Candidate, history: list[Judged], key: str) -> None:
    """Raises Refused for everything that would make the record untrue."""
    lab = setting.lab
    preflight.check_tree(lab.work, candidate)
    by_key = store.latest_with_key(key)
    began = lineage.baseline([item for item in history if by_key and item.run.contract == by_key.contract])
    began = began or lineage.baseline(history)
    known = any(item.run.commit == candidate.commit.hash for item in history)
    preflight.check_commit(candidate, began, known)
    preflight.check_imports(lab.work, candidate, lab.environment)
    if began and not known and not candidate.is_experiment:
        lab.say("HEAD is not an exp: commit; unless it repeats what was measured, it is not counted")


def _start_record(setting: _Setting, candidate: Candidate, branch: str, key: str, planned: Plan | None) -> Run:
    request = setting.request
    crowd = gpu.crowd(setting.device)
    if crowd:
        setting.lab.say(crowd)
    start = Run(
        run=setting.name,
        folder=setting.name,
        origin="runner",
        branch=branch,
        commit=candidate.commit.hash,
        started_utc=setting.lab.now_utc(),
        parent=candidate.commit.parent,
        subject=candidate.commit.subject,
        emitter=candidate.emitter or (planned.emitter if planned else None),
        seed=request.seed,
        backend=setting.backend.name,
        gpu="" if setting.is_local else request.gpu,
        fingerprint=candidate.fingerprint,
        train_sha256=candidate.train_sha256,
        harness=candidate.harness,
        contract_key=key,
        counted=not request.allow_dirty,
        why="run with --allow-dirty: unscored" if request.allow_dirty else "",
        facts={"contended": crowd} if crowd else {},
        additions=candidate.additions,
        deletions=candidate.deletions,
        plan=request.plan or (planned.plan if planned else None),
    )
    return with_change(start, setting.lab.work, candidate.text)


def _after(lab: Lab, store: Store, run: Run) -> LaunchResult:
    """Judges the run and brings plan and ledger up to date; what fails here is made up for by the next look."""
    if run.plan:
        store.close_plan(run.plan, lab.now_utc(), run.run)
    lab.judge_all(store)
    lab.sync(store)
    if lab.plans:
        plan_ahead(lab, store, run.branch)
    for reason in run.suspect:
        lab.say(f"suspect: {reason}")
    if run.facts.get("throttled"):
        lab.say(f"the GPU was throttled in {float(run.facts['throttled_share']):.0%} of the samples")
    if verdict := store.verdict(run.run):
        lab.say(f"{verdict.decision} ({verdict.rule}): {verdict.why}")
    assert run.outcome is not None
    code = run.exit_code if run.exit_code is not None else 75
    return LaunchResult(run.run, run.outcome, code, run.child_exit, True, run.counted, run.why)


def _hand_out(setting: _Setting, run: Run) -> LaunchResult | None:
    """Writes out the log of the run that this launch would repeat, of one made by hand its summary; None without."""
    stream = setting.wires.stream
    try:
        with (setting.lab.paths.runs / run.folder / RUN_LOG).open("rb") as file:
            while block := file.read(1 << 16):
                stream.write(block)
    except FileNotFoundError:
        if run.metrics is None:
            return None
        stream.write(run.metrics.as_block().encode())
    stream.flush()
    why = f"the same code, contract and seed as {run.run}; --seed N measures it anew, --again runs it anyway"
    return LaunchResult(setting.name, "repeat", run.exit_code or 0, run.child_exit, why=why, repeats=run.run)


def _smoke(setting: _Setting, launch: Launch) -> None:
    """Runs train.py for seconds on pocket data and the CPU.

    Raises:
        Refused: if it fails.
    """
    lab = setting.lab
    lab.say(f"smoke: {SETTINGS.smoke_budget_s} s of training on pocket data and the CPU")
    environment = session.smoke_environment(lab.environment, SETTINGS.smoke_budget_s)
    with tempfile.TemporaryDirectory(prefix="autoresearch-smoke-") as place, open(os.devnull, "wb") as nowhere:
        small = replace(launch, run_dir=Path(place), timeout_s=SETTINGS.smoke_timeout_s)
        log = Path(place) / RUN_LOG
        local = LocalBackend(environment)
        ended = session.run_command(local, small, log, replace(setting.wires, stream=nowhere), ())
        lines = (read_log(log) or LogText(())).lines
    if ended.kind != "finished" or ended.exit_code != 0:
        lab.say("the end of the smoke run:\n" + quote(lines))
        raise Refused(f"The smoke run failed ({ended.why or f'exit {ended.exit_code}'}).", "Mend train.py first.")


def _plan(setting: _Setting, launch: Launch) -> LaunchResult:
    """Says what would be launched."""
    plain = (f"{' '.join(launch.command)} in {launch.root}, at most {launch.timeout_s / 60:g} min",)
    for line in getattr(setting.backend, "plan", lambda _: plain)(launch):
        setting.lab.say(f"would run: {line}")
    return LaunchResult(setting.name, "refused", 0, why="--dry-run: nothing was launched")
