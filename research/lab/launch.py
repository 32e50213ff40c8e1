"""From a launch as it was asked for to its end: preflight, repeat check, run, record, verdict."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from research.core import git
from research.core.clock import run_name, stamp
from research.core.contract import DEFAULT_SEED, RUN_LOG, RUNNER_EXITS
from research.core.errors import ResearchError, UsageError
from research.core.files import FileLock
from research.core.paths import machine_home
from research.core.records import Outcome, Run
from research.core.settings import SETTINGS
from research.lab.lab import Lab
from research.lab.plan import carried_out, plan_ahead
from research.lab.race import watch_of
from research.runs import preflight, requirements, session
from research.runs import repeat as identity
from research.runs.backend import Backend, DeviceBusy, Launch, StopRequest
from research.runs.backends import DEFAULT_BACKEND, DEFAULT_GPU, is_remote, make_backend
from research.runs.log import LogText, quote, read_log
from research.runs.preflight import COMMAND, Candidate, Refused
from research.runs.record import with_change, with_commit
from research.runs.session import GoingOn, Wires
from research.runs.signals import Signals
from research.store import folders, recent
from research.store.connect import StoreBusy, StoreDamaged
from research.store.db import Store
from research.verdict import lineage

NIGHT_FACT = "night"
"""Name of the fact of a run that holds the night that launched it."""


@dataclass(frozen=True)
class Request:
    """One launch as it was asked for; times in seconds, None for the usual ones; facts are kept with the run."""

    command: tuple[str, ...]
    backend: str = DEFAULT_BACKEND
    gpu: str = DEFAULT_GPU
    timeout_s: float | None = None
    queue_timeout_s: float | None = None
    seed: int = DEFAULT_SEED
    again: bool = False
    smoke: bool = False
    dry_run: bool = False
    allow_dirty: bool = False
    plan: str | None = None
    race: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)

    def launch(self, run: str, folder: Path, root: Path, commit: str | None) -> Launch:
        """Returns what a backend is given to run it as a named run, with its folder, in a work tree."""
        return Launch(
            run=run,
            run_dir=folder,
            root=root,
            commit=commit,
            command=self.command,
            seed=self.seed,
            gpu=self.gpu,
            timeout_s=SETTINGS.default_timeout_minutes * 60 if self.timeout_s is None else self.timeout_s,
            queue_timeout_s=self.queue_timeout_s,
        )


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
        """Returns the end line's object."""
        return dict(vars(self))


@dataclass(frozen=True)
class _Setting:
    """Where a launch takes place: the lab, the request, the run's name, the backend, and its wires to the world."""

    lab: Lab
    request: Request
    name: str
    backend: Backend
    wires: Wires

    @property
    def gpu(self) -> str:
        """The GPU asked for, "" where the backend takes this machine's own."""
        return self.request.gpu if is_remote(self.backend.name) else ""

    def launch(self, folder: Path, commit: str | None) -> Launch:
        """Returns what the backend is given."""
        launch = replace(self.request.launch(self.name, folder, self.lab.work, commit), gpu=self.gpu)
        return replace(launch, timeout_s=self.backend.usual_timeout_s()) if self.request.timeout_s is None else launch

    def contract_key(self, candidate: Candidate) -> str:
        """Returns what is known now of the contract, cheaply."""
        environment = self.lab.environment
        return identity.contract_key(
            candidate.benchmark_sha256,
            self.lab.work,
            machine_home(environment),
            self.backend.name,
            self.gpu,
            self.backend.device(),
            environment,
        )

    @contextlib.contextmanager
    def reserved(self) -> Iterator[tuple[FileLock, ...]]:
        """Holds the device's locks."""
        locks = self.backend.reserve(self.name, self.lab.work)
        try:
            yield locks
        finally:
            for lock in locks:
                lock.release()


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
    name = run_name(stamp(lab.clock()), commit, lab.token(2))
    lab.say(f"start {name}")
    with Signals() if asked is None else contextlib.nullcontext(asked) as stop:
        end = _launched(lab, request, name, stop)
        # Ctrl-C reaches the git that looks at the tree, and the smoke run: their failure says nothing then.
        if end.outcome in ("refused", "configuration") and (number := stop.requested()) is not None:
            return _stopped(name, number)
    if end.outcome in ("refused", "configuration") and not request.dry_run:
        _note_refusal(lab, commit or "", end.why)
    return end


def _note_refusal(lab: Lab, commit: str, why: str) -> None:
    """Puts a launch that was refused on record, so that an agent's next order can say why."""
    with contextlib.suppress(ResearchError, OSError), lab.open_as_it_is() as store:
        branch = git.head(lab.work).branch if lab.branch is None else lab.branch
        recent.note_refusal(store, lab.now_utc(), branch, commit, why)


def _stopped(name: str, number: int) -> LaunchResult:
    """Returns the end of a launch that a signal was faster than."""
    return LaunchResult(name, "interrupted", 128 + number, why="stopped before launch")


def _launched(lab: Lab, request: Request, name: str, stop: StopRequest) -> LaunchResult:
    """Launches, and turns every error into an end."""
    try:
        backend = lab.make_backend(request.backend, lab.environment)
        setting = _Setting(lab, request, name, backend, Wires(lab.stream, lab.say, stop, lab.now_utc))
        return _recorded(setting) if request.command == COMMAND else _unrecorded(setting)
    except GoingOn as error:
        return replace(_failed(name, "refused", str(error)), repeats=error.run)
    except (Refused, DeviceBusy) as error:
        return _failed(name, "refused", str(error))
    except (StoreBusy, StoreDamaged) as error:
        return _failed(name, "infrastructure", str(error))
    except UsageError as error:
        return replace(_failed(name, "configuration", str(error)), exit=error.exit_code)
    except ResearchError as error:
        return _failed(name, "configuration", str(error))
    except OSError as error:
        return _failed(name, "infrastructure", f"{error.filename or 'the system'}: {error.strerror or error}")


def _failed(name: str, outcome: Outcome, why: str) -> LaunchResult:
    return LaunchResult(name, outcome, RUNNER_EXITS[outcome], why=why)


def _unrecorded(setting: _Setting) -> LaunchResult:
    """Launches any other command: with the same care, without a record."""
    with tempfile.TemporaryDirectory(prefix="autoresearch-") as folder:
        launch = setting.launch(Path(folder), None)
        setting.backend.check(launch)
        if setting.request.dry_run:
            return _say_plan(setting, launch)
        with setting.reserved() as locks:
            launch = replace(launch, fds=tuple(lock.fileno() for lock in locks))
            ended = session.run_command(setting.backend, launch, None, setting.wires)
    outcome: Outcome = ended.kind if ended.kind != "finished" else "scored" if ended.exit_code == 0 else "crash"
    why = ended.why or f"not recorded: only {' '.join(COMMAND)} is"
    return LaunchResult(setting.name, outcome, ended.exit_code, ended.child_exit, why=why)


def _recorded(setting: _Setting) -> LaunchResult:
    """Launches ``uv run train.py``: first everything that forbids it, then the run and its record."""
    lab, request, backend = setting.lab, setting.request, setting.backend
    with lab.open() as store:
        candidate = preflight.examine(lab.work)
        attempt = _Attempt(setting, store, candidate, setting.contract_key(candidate))
        launch = setting.launch(lab.paths.runs / setting.name, candidate.commit.hash)
        if request.allow_dirty:
            launch = replace(launch, commit=None)
        else:
            attempt.check_record()
        requirements.check_environment(lab.environment)
        backend.check(launch)
        end, contract = attempt.find_repeat(None)
        if end:
            return end
        requirements.check_disk(lab.paths.discovery)
        if request.dry_run:
            return _say_plan(setting, launch)
        if request.smoke:
            _smoke(setting, launch)
        start = attempt.start_record()
        with setting.reserved() as locks:
            if asked := setting.wires.stop.requested():
                return _stopped(setting.name, asked)
            end, contract = attempt.find_repeat(contract)  # whoever had the device until now may have made this run
            if end:
                return end
            try:
                done = attempt.run(launch, start, locks, contract)
                if store.is_current():
                    return _after(lab, store, done)
            except StoreDamaged:
                left = folders.read_run(launch.run_dir)
                if left is None or left.outcome is None:
                    raise
                done = left
    with lab.open() as store:  # somebody removed, replaced or damaged the memory meanwhile
        store.add_run(done)
        return _after(lab, store, store.run(done.run) or done)


@dataclass(frozen=True)
class _Attempt:
    """One launch of train.py: its setting, the memory, what would run, and what is known of its contract."""

    setting: _Setting
    store: Store
    candidate: Candidate
    contract_key: str

    @property
    def branch(self) -> str:
        """The branch that the run belongs to."""
        return self.candidate.branch if self.setting.lab.branch is None else self.setting.lab.branch

    def check_record(self) -> None:
        """Refuses everything that would make the record untrue.

        Raises:
            Refused: if what would run is not what the commit holds, or no experiment on the baseline.
        """
        lab, candidate = self.setting.lab, self.candidate
        preflight.check_tree(lab.work, candidate)
        history = self.store.judged(self.branch)
        by_key = self.store.latest_with_key(self.contract_key)
        began = lineage.baseline([item for item in history if by_key and item.run.contract == by_key.contract])
        began = began or lineage.baseline(history)
        known = any(item.run.commit == candidate.commit.hash for item in history)
        preflight.check_commit(lab.work, candidate, began, known)
        if began and not known and candidate.is_experiment:
            preflight.check_parent(lab.work, candidate, [item.run for item in self.store.judged()])
        preflight.check_imports(lab.work, candidate, lab.environment)
        if began and not known and not candidate.is_experiment:
            lab.say("HEAD is not an exp: commit; unless it repeats what was measured, it is not counted")

    def find_repeat(self, contract: str | None) -> tuple[LaunchResult | None, str | None]:
        """Ends a launch that would only repeat a finished run.

        Args:
            contract: The launch's contract, if it was asked for before.

        Returns:
            The end, None for any other launch; and its contract, if it is known.
        """
        lab, request = self.setting.lab, self.setting.request
        if request.allow_dirty:
            return None, contract
        runs = [] if request.again else self.store.runs_of(self.candidate.fingerprint)
        by_key = self.store.latest_with_key(self.contract_key)
        repeat, contract = identity.find_repeat(
            runs,
            request.seed,
            self.contract_key,
            by_key,
            lambda: contract or identity.ask_contract(lab.work, lab.environment),
        )
        return (_hand_out(self.setting, repeat) if repeat else None), contract

    def start_record(self) -> Run:
        """Returns the run's start record."""
        setting, request, candidate = self.setting, self.setting.request, self.candidate
        plans = setting.lab.plans and not request.allow_dirty
        planned = carried_out(self.store, self.branch, candidate) if plans else None
        crowd = setting.backend.contention()
        if crowd:
            setting.lab.say(crowd)
        start = Run(
            run=setting.name,
            folder=setting.name,
            origin="runner",
            branch=self.branch,
            commit=candidate.commit.hash,
            started_utc=setting.lab.now_utc(),
            emitter=planned.emitter if planned else None,
            seed=request.seed,
            backend=setting.backend.name,
            gpu=setting.gpu,
            fingerprint=candidate.fingerprint,
            train_sha256=candidate.train_sha256,
            contract_key=self.contract_key,
            counted=not request.allow_dirty,
            why="run with --allow-dirty: unscored" if request.allow_dirty else "",
            facts={**request.facts, **({"contended": crowd} if crowd else {})},
            plan=request.plan or (planned.plan if planned else None),
        )
        return with_change(with_commit(start, candidate), setting.lab.work, candidate.text)

    def run(self, launch: Launch, start: Run, locks: tuple[FileLock, ...], contract: str | None) -> Run:
        """Runs and records the launch; returns the finish record."""
        setting = self.setting
        if contract is None and setting.request.race and setting.backend.name == DEFAULT_BACKEND:
            contract = identity.ask_contract(setting.lab.work, setting.lab.environment)
        watch = watch_of(setting.lab, self.store, start, contract, self.candidate.text, setting.request.race)

        def complete(record: Run) -> Run:
            key = setting.contract_key(self.candidate)  # once more, since the run may have made data
            record = replace(record, contract=record.contract or contract, contract_key=key)
            return setting.lab.examine(self.store, record)

        alone = not (setting.request.again or setting.request.allow_dirty)
        launch = replace(launch, fds=tuple(lock.fileno() for lock in locks))
        return session.launch_recorded(
            self.store, start, self.candidate.text, setting.backend, launch, setting.wires, complete, alone, watch
        )


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
    code = run.exit_code if run.exit_code is not None else RUNNER_EXITS["infrastructure"]
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
        local = make_backend(DEFAULT_BACKEND, environment)
        ended = session.run_command(local, small, log, replace(setting.wires, stream=nowhere))
        lines = (read_log(log) or LogText(())).lines
    if ended.kind != "finished" or ended.exit_code != 0:
        lab.say("the end of the smoke run:\n" + quote(lines))
        raise Refused(f"The smoke run failed ({ended.why or f'exit {ended.exit_code}'}).", "Mend train.py first.")


def _say_plan(setting: _Setting, launch: Launch) -> LaunchResult:
    """Says what would be launched."""
    for line in setting.backend.plan(launch):
        setting.lab.say(f"would run: {line}")
    return LaunchResult(setting.name, "refused", 0, why="--dry-run: nothing was launched")
