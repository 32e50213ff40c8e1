"""Makes a launch from request to end: preflight, check for a repeat, run, record, verdict."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from research.core import git
from research.core.clock import run_name, stamp
from research.core.commands import replicate_command
from research.core.contract import DEFAULT_SEED, ENV_PROFILE, ENV_TIME_BUDGET, RUN_LOG, RUNNER_EXITS
from research.core.errors import ResearchError, UsageError
from research.core.paths import machine_home
from research.core.records import Judged, Outcome, Run
from research.core.settings import SETTINGS
from research.lab.ideas import give_up_idea
from research.lab.lab import Lab
from research.lab.plan import carried_out, plan_ahead
from research.lab.race import watch_of
from research.runs import preflight, requirements, session
from research.runs import repeat as identity
from research.runs.backend import Backend, DeviceBusy, Launch, StopRequest
from research.runs.backends import DEFAULT_BACKEND, DEFAULT_GPU, is_remote, make_backend
from research.runs.gpu import CARD_FACT
from research.runs.log import LogText, read_log
from research.runs.preflight import COMMAND, Candidate, Refused
from research.runs.record import with_change, with_commit
from research.runs.session import AlreadyRunning, LaunchIO
from research.runs.signals import Signals
from research.store import folders, recent
from research.store.connect import StoreBusy, StoreDamaged
from research.store.db import Store
from research.verdict import lineage

NIGHT_FACT = "night"
"""Name of the fact of a run that holds the night that launched it."""


@dataclass(frozen=True)
class Request:
    """A request for a launch: the options of the runner's command line, and what a night adds."""

    command: tuple[str, ...]
    backend: str = DEFAULT_BACKEND
    gpu: str = DEFAULT_GPU
    timeout_s: float | None = None  # time limit of the run, None for the usual one
    queue_timeout_s: float | None = None  # longest wait for a remote GPU, None without a bound
    seed: int = DEFAULT_SEED
    again: bool = False  # whether it runs even if it only repeats a finished run
    smoke: bool = False  # whether a few steps at tiny size come first
    dry_run: bool = False  # whether everything is checked and nothing launched
    allow_dirty: bool = False  # whether uncommitted changes run, unscored
    plan: str | None = None  # name of the plan that it carries out
    race: bool = False  # whether the run may be ended when it is losing
    facts: Mapping[str, str] = field(default_factory=dict)  # kept with the run

    def launch(self, backend: Backend, run: str, folder: Path, root: Path, commit: str | None) -> Launch:
        """Return the launch for a backend, as a named run with its folder, in a work tree."""
        timeout_s = backend.usual_timeout_s() if self.timeout_s is None else self.timeout_s
        return Launch(run, folder, root, commit, self.command, self.seed, self.gpu, timeout_s, self.queue_timeout_s)


@dataclass(frozen=True)
class LaunchResult:
    """The end of a launch, as the runner's last line reports it."""

    run: str
    outcome: Outcome
    exit: int  # the runner's exit code
    child_exit: int | None = None  # the command's own, None where it did not end or did not start
    recorded: bool = False  # whether the memory holds a finish record of it
    counted: bool = False  # whether it is judged and has a ledger row where it ended by itself or its time limit
    why: str = ""  # one sentence, "" for an ordinary end
    repeats: str = ""  # the run that a repeat would repeat, or that a refused one would make a second time

    def as_dict(self) -> dict[str, Any]:
        """Return the end line's object."""
        return dict(vars(self))


def launch(lab: Lab, request: Request, asked: StopRequest | None = None) -> LaunchResult:
    """Run a command, record it if it is ``uv run train.py``, and return how it ended, whatever happens.

    Args:
        asked: Asks the run to end; by default a signal to this process does.
    """
    try:
        commit = git.head(lab.work).commit
    except ResearchError:
        commit = None
    name = run_name(stamp(lab.clock()), commit, lab.token(2))
    lab.say(f"start {name}")
    with Signals() if asked is None else contextlib.nullcontext(asked) as stop:
        try:
            end = _Attempt(lab, request, name, stop).make()
        except (ResearchError, OSError) as error:
            end = _failed(name, error)
        # Ctrl-C reaches the git that looks at the tree, and the smoke run: their failure says nothing then.
        if end.outcome in ("refused", "configuration") and (number := stop.requested()) is not None:
            return _stopped(name, number)
    if end.outcome in ("refused", "configuration") and not request.dry_run:
        # On record, so that an agent's next order can say why.
        with contextlib.suppress(ResearchError, OSError), lab.open_as_it_is() as store:
            branch = git.head(lab.work).branch if lab.branch is None else lab.branch
            recent.note_refusal(store, lab.now_utc(), branch, commit or "", end.why)
    return end


def _failed(name: str, error: ResearchError | OSError) -> LaunchResult:
    """Return the end of a launch that an error prevented."""
    outcome: Outcome = "configuration"
    if isinstance(error, OSError):
        why = f"{error.filename or 'the system'}: {error.strerror or error}"
        return LaunchResult(name, "infrastructure", RUNNER_EXITS["infrastructure"], why=why)
    if isinstance(error, (StoreBusy, StoreDamaged)):
        outcome = "infrastructure"
    elif isinstance(error, (Refused, DeviceBusy)):
        outcome = "refused"
    exit_code = error.exit_code if isinstance(error, UsageError) else RUNNER_EXITS[outcome]
    repeats = error.run if isinstance(error, AlreadyRunning) else ""
    return LaunchResult(name, outcome, exit_code, why=str(error), repeats=repeats)


def _stopped(name: str, number: int) -> LaunchResult:
    """Return the end of a launch that a signal ended before the command was started."""
    return LaunchResult(name, "interrupted", 128 + number, why="stopped before launch")


class _Attempt:
    """One launch in progress."""

    store: Store  # this and the next three are set only for a run that is recorded
    candidate: Candidate
    contract_key: str
    contract: str | None = None

    def __init__(self, lab: Lab, request: Request, name: str, stop: StopRequest) -> None:
        self.lab, self.name = lab, name
        self.backend = lab.make_backend(request.backend, lab.environment)
        # A backend on this machine takes the GPU that is here.
        self.request = request if is_remote(self.backend.name) else replace(request, gpu="")
        self.io = LaunchIO(lab.stream, lab.say, stop, lab.now_utc)

    def make(self) -> LaunchResult:
        """Launch the command."""
        return self._record() if self.request.command == COMMAND else self._run_unrecorded()

    @contextlib.contextmanager
    def _reserved(self, launch: Launch) -> Iterator[Launch]:
        """Hold the device's locks while inside, and add them to the launch, which hands them on to the command."""
        locks = self.backend.reserve(self.name, self.lab.work)
        try:
            yield replace(launch, fds=tuple(lock.fileno() for lock in locks))
        finally:
            for lock in locks:
                lock.release()

    def _say_plan(self, launch: Launch) -> LaunchResult:
        for line in self.backend.plan(launch):
            self.lab.say(f"would run: {line}")
        return LaunchResult(self.name, "refused", 0, why="--dry-run: nothing was launched")

    def _run_unrecorded(self) -> LaunchResult:
        """Launch any other command, with the same checks and no record."""
        with tempfile.TemporaryDirectory(prefix="autoresearch-") as folder:
            launch = self.request.launch(self.backend, self.name, Path(folder), self.lab.work, None)
            self.backend.check(launch)
            if self.request.dry_run:
                return self._say_plan(launch)
            self.lab.say(f"what this measures will not be recorded: only {' '.join(COMMAND)} is")
            with self._reserved(launch) as launch:
                ended = session.run_command(self.backend, launch, None, self.io)
        outcome: Outcome = ended.kind if ended.kind != "finished" else "scored" if ended.exit_code == 0 else "crash"
        why = ended.why or f"not recorded: only {' '.join(COMMAND)} is"
        return LaunchResult(self.name, outcome, ended.exit_code, ended.child_exit, why=why)

    # A recorded run -------------------------------------------------------------------------------------------

    def _record(self) -> LaunchResult:
        """Launch ``uv run train.py``: check everything, then run and record it."""
        lab, request = self.lab, self.request
        with lab.open() as self.store:
            self.candidate = preflight.examine(lab.work)
            self.contract_key = self._contract_key()
            commit = None if request.allow_dirty else self.candidate.commit.hash
            launch = request.launch(self.backend, self.name, lab.paths.runs / self.name, lab.work, commit)
            if commit:
                self._check_record()
            requirements.check_environment(lab.environment)
            self.backend.check(launch)
            if repeat := self._find_repeat():
                return repeat
            requirements.check_disk(lab.paths.discovery)
            if request.dry_run:
                return self._say_plan(launch)
            if request.smoke:
                self._smoke(launch)
            start = self._start_record()
            with self._reserved(launch) as launch:
                if asked := self.io.stop.requested():
                    return _stopped(self.name, asked)
                if repeat := self._find_repeat():  # whoever had the device until now may have made this run
                    return repeat
                try:
                    done = self._run(launch, start)
                    if self.store.is_current():
                        return _finished(lab, self.store, done)
                except StoreDamaged:
                    left = folders.read_run(launch.run_dir)
                    if left is None or left.outcome is None:
                        raise
                    done = left
        with lab.open() as store:  # somebody removed, replaced or damaged the memory meanwhile
            store.add_run(done)
            return _finished(lab, store, store.run(done.run) or done)

    @property
    def _branch(self) -> str:
        """Return the branch that the run belongs to."""
        return self.candidate.branch if self.lab.branch is None else self.lab.branch

    def _contract_key(self) -> str:
        """Return a hash of what is cheap to know of the contract now."""
        environment, device = self.lab.environment, self.backend.device()
        benchmark, home = self.candidate.benchmark_sha256, machine_home(environment)
        gpu, name = self.request.gpu, self.backend.name
        return identity.contract_key(benchmark, self.lab.work, home, name, gpu, device, environment)

    def _check_record(self) -> None:
        """Refuse a launch whose record would not be true.

        Raises:
            Refused: if what would run is not what the commit holds, or no experiment on the baseline.
        """
        lab, candidate = self.lab, self.candidate
        preflight.check_tree(lab.work)
        history = self.store.judged(self._branch)
        by_key = self.store.latest_with_key(self.contract_key)
        baseline = lineage.baseline([item for item in history if by_key and item.run.contract == by_key.contract])
        baseline = baseline or lineage.baseline(history)
        known = any(item.run.commit == candidate.commit.hash for item in history)
        preflight.check_commit(lab.work, candidate, baseline, known)
        is_new = baseline is not None and not known
        if is_new and candidate.is_experiment:
            preflight.check_parent(lab.work, candidate, [item.run for item in self.store.judged()])
            self._check_contract(by_key, history)
        preflight.check_imports(lab.work, candidate, lab.environment)
        if is_new and not candidate.is_experiment:
            lab.say("HEAD is not an exp: commit; unless it repeats what was measured, it is not counted")

    def _check_contract(self, by_key: Run | None, history: Sequence[Judged]) -> None:
        """Refuse an experiment under a contract that is new to its branch, of which it would become the baseline.

        A night measures the best so far first by itself. What only the cloud knows of a contract is not asked for.
        """
        is_tried = any(item.run.contract_key == self.contract_key for item in history)  # if only with a crash
        if is_tried or NIGHT_FACT in self.request.facts:
            return
        contract = by_key.contract if by_key else None
        if contract is None and self.backend.name == DEFAULT_BACKEND:
            contract = self._asked_contract
        latest = lineage.latest_contract(history, self._branch)
        best = lineage.incumbent(lineage.of_contract(history, self._branch, latest))
        if best and contract and all(item.run.contract != contract for item in history):
            what = f"The contract of this launch, {contract}, is not that of the best so far, {latest}: HEAD would be"
            what += " compared with nothing. Is a variable set that was not, or other data there?"
            again = replicate_command(best.commit, f"--seed {self.request.seed}")
            raise Refused(what, f"If it is meant, measure the best so far under it first: {again} > run.log 2>&1")

    def _find_repeat(self) -> LaunchResult | None:
        """Return the end of a launch that would only repeat a finished run, None for any other launch."""
        if self.request.allow_dirty:
            return None
        runs = [] if self.request.again else self.store.runs_of(self.candidate.fingerprint)
        by_key = self.store.latest_with_key(self.contract_key)
        repeat, self.contract = identity.find_repeat(
            runs, self.request.seed, self.contract_key, by_key, lambda: self.contract or self._asked_contract
        )
        return self._replay(repeat) if repeat else None

    @cached_property
    def _asked_contract(self) -> str | None:
        return identity.ask_contract(self.lab.work, self.lab.environment)

    def _replay(self, run: Run) -> LaunchResult | None:
        """Write a run's log, or the summary of one without a log, to the output, as a repeat would print it.

        Returns:
            The end of the repeat; None where there is neither, so that the launch has to be made.
        """
        log = self.lab.paths.runs / run.folder / RUN_LOG
        if not log.exists() and run.metrics is None:
            return None
        if not self.request.dry_run:
            stream = self.io.stream
            with contextlib.suppress(BrokenPipeError):  # nobody reads on: the exit code still says how the run ended
                if log.exists():
                    with log.open("rb") as file:
                        shutil.copyfileobj(file, stream)
                elif run.metrics is not None:
                    stream.write(run.metrics.as_block().encode())
                stream.flush()
            self._drop_plan(run)
        why = f"the same code, contract and seed as {run.run}; --seed N measures it anew, --again runs it anyway"
        if not recent.has_baseline(self.store, self._branch):
            why = f"{why}. {self._branch or 'HEAD'} has no baseline yet: to measure it here, type the same with --again"
        return LaunchResult(self.name, "repeat", run.exit_code or 0, run.child_exit, why=why, repeats=run.run)

    def _drop_plan(self, run: Run) -> None:
        """Close the pending plan that the candidate carries out, since its result is known already."""
        lab, store = self.lab, self.store
        plan = carried_out(store, self._branch, self.candidate) if lab.plans and self.candidate.is_experiment else None
        if plan:
            store.close_plan(plan.plan, lab.now_utc(), None)
            give_up_idea(lab, store, plan, f"the same program as run {run.run}")
            plan_ahead(lab, store, self._branch)

    def _smoke(self, launch: Launch) -> None:
        """Run train.py for seconds on pocket data and the CPU.

        Raises:
            Refused: if it fails.
        """
        self.lab.say(f"smoke: {SETTINGS.smoke_budget_s} s of training on pocket data and the CPU")
        tiny = {ENV_PROFILE: "pocket", ENV_TIME_BUDGET: str(SETTINGS.smoke_budget_s), "CUDA_VISIBLE_DEVICES": ""}
        with tempfile.TemporaryDirectory(prefix="autoresearch-smoke-") as place, open(os.devnull, "wb") as nowhere:
            small = replace(launch, run_dir=Path(place), timeout_s=SETTINGS.smoke_timeout_s)
            log = Path(place) / RUN_LOG
            local = make_backend(DEFAULT_BACKEND, {**self.lab.environment, **tiny})
            ended = session.run_command(local, small, log, replace(self.io, stream=nowhere))
            end = (read_log(log) or LogText(())).tail()
        if ended.kind != "finished" or ended.exit_code != 0:
            self.lab.say("the end of the smoke run:\n" + "\n".join(f"| {line}" for line in end))
            raise Refused(f"The smoke run failed ({ended.why or f'exit {ended.exit_code}'}).", "Mend train.py first.")

    def _start_record(self) -> Run:
        """Return the run's start record."""
        lab, request, candidate = self.lab, self.request, self.candidate
        planned = carried_out(self.store, self._branch, candidate) if lab.plans and not request.allow_dirty else None
        if crowd := self.backend.contention():
            lab.say(crowd)
        known = {"contended": crowd, CARD_FACT: self.backend.device()}
        start = Run(
            run=self.name,
            folder=self.name,
            origin="runner",
            branch=self._branch,
            commit=candidate.commit.hash,
            started_utc=lab.now_utc(),
            emitter=planned.emitter if planned else None,
            seed=request.seed,
            backend=self.backend.name,
            gpu=request.gpu,
            fingerprint=candidate.fingerprint,
            train_sha256=candidate.train_sha256,
            contract_key=self.contract_key,
            counted=not request.allow_dirty,
            why="run with --allow-dirty: unscored" if request.allow_dirty else "",
            facts={**request.facts, **{name: fact for name, fact in known.items() if fact}},
            plan=request.plan or (planned.plan if planned else None),
        )
        return with_change(with_commit(start, candidate), lab.work, candidate.text)

    def _run(self, launch: Launch, start: Run) -> Run:
        """Run and record the launch; return the finish record."""
        lab, request = self.lab, self.request
        if self.contract is None and request.race and self.backend.name == DEFAULT_BACKEND:
            self.contract = self._asked_contract
        watch = watch_of(lab, self.store, start, self.contract, self.candidate.text, request.race)

        def complete(record: Run) -> Run:
            key = self._contract_key()  # once more, since the run may have made data
            record = replace(record, contract=record.contract or self.contract, contract_key=key)
            return lab.examine(self.store, record)

        alone = not (request.again or request.allow_dirty)
        return session.launch_recorded(
            self.store, start, self.candidate.text, self.backend, launch, self.io, complete, alone, watch
        )


def _finished(lab: Lab, store: Store, run: Run) -> LaunchResult:
    """Judge the run, bring plan and ledger up to date, and return the end of the launch."""
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
