"""Runs the loop of a night: owed runs first, then plans; every run judged and settled, every stop with a reason."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta

from research.agents.clients.base import Usage
from research.agents.night import limits, progress
from research.agents.night.editors import BuiltinEditor, Editor, NoCandidate, Order, Wait
from research.agents.night.jobs import BaselineFails, Job, confirmation, may_start, owed, owed_plan
from research.agents.night.machine import NOT_THE_CANDIDATES, Alike, blame
from research.agents.night.notify import Event, Notify, silent
from research.agents.night.result import found
from research.agents.night.resume import hours_in_words
from research.agents.night.setup import Slot
from research.agents.night.state import FACT, LOCK, NightState, worked_s
from research.code.fingerprint import fingerprint
from research.core.commit_message import idea_of
from research.core.contract import DEFAULT_SEED, EXIT_NO_DATA
from research.core.errors import ResearchError
from research.core.files import FileLock
from research.core.git import blob, branch_tip
from research.core.paths import machine_home
from research.core.records import Judged, Plan, Run
from research.core.settings import SETTINGS
from research.lab.apply_verdict import CannotSettle, follow_person, settle
from research.lab.ideas import give_up_idea
from research.lab.lab import Lab
from research.lab.launch import NIGHT_FACT, LaunchResult, Request, launch
from research.lab.plan import POLICY_FACT, SEED_FACT, close_finished_plans, memory_of, next_plan
from research.lab.worktrees import environment_beside, worker_place, worker_tree
from research.runs import preflight, repeat, requirements
from research.runs.backend import DEVICE_TAKEN, StopRequest
from research.runs.backends import DEFAULT_BACKEND, is_remote
from research.runs.failure import advice_on
from research.runs.preflight import COMMAND, TARGET
from research.runs.signals import Signals
from research.store.connect import StoreBusy, StoreDamaged
from research.store.db import Store
from research.store.open import keep_fact
from research.verdict import lineage

INTERRUPTED = "interrupted"
_BY: Mapping[int, str] = {
    signal.SIGINT: "Ctrl-C",
    signal.SIGHUP: "the terminal was closed (nohup or tmux keeps a night alive)",
    signal.SIGTERM: "somebody asked it to end (SIGTERM)",
}
"""What the signals mean that interrupt a night."""
CONFIGURATION = "configuration"
"""How the reason begins of a night that ended for want of something: a token, a package, data."""


@dataclass(frozen=True)
class Going:
    """A run that is going on: its job, its place, the fingerprint of its code, its seed, its end to come, its begin."""

    job: Job
    slot: Slot
    code: str
    seed: int
    end: Future[LaunchResult]
    begun_s: float


class Night:
    """One night on one branch.

    Args:
        lab: The lab of the checkout.
        state: The night at its beginning.
        editor: Who edits train.py.
        slots: One for each worker.
        request: Backend, GPU and time limits of every run.
        say: Takes a line for people.
        notify: Gets changes kept, gains confirmed, being stuck, and the end.
        show: Called when the night begins, after every run and at the end: it writes the morning page.
        awake: Seconds from some moment on, for which the machine was awake.
    """

    def __init__(
        self,
        lab: Lab,
        state: NightState,
        editor: Editor,
        slots: Sequence[Slot],
        request: Request,
        say: Callable[[str], None],
        notify: Notify = silent,
        show: Callable[[Store], None] = lambda _: None,
        awake: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lab, self.state, self.editor, self.slots = lab, state, editor, tuple(slots)
        self.request, self.say, self._notify, self._show, self._awake = request, say, notify, show, awake
        self._going: list[Going] = []
        self._waiting: list[Job] = []  # jobs whose device was taken
        self._said_busy = False
        self._before: list[Run] = []  # runs that the night had made when this process took it up
        self._made: dict[str, Run | None] = {}  # runs that count by this process, None where the record is lost
        self._runs_before, self._usd_before = state.runs, state.usd - (state.agent_usd or 0.0)
        self._usual = limits.usual_cost((), state.limits.usd_per_hour)
        self._failures = self._services = self._refusals = self._attempt = 0
        self._failed_s = self._wait_s = 0.0
        self._said_stuck = self._said_settle = self._said_launch = self._knows_contract = False
        self._clocks = (lab.clock().timestamp(), self._awake())
        self._alike = Alike()
        self._lock: FileLock | None = None
        self._reason: str | None = None
        self.problem: ResearchError | None = None
        self.found = ""

    # The loop -------------------------------------------------------------------------------------------------

    def run(self) -> NightState:
        """Works until a limit is reached or nothing is left to do; every stop has its reason in the state."""
        with Signals() as stop, ExitStack() as opened:
            store = self._open(opened)
            with ThreadPoolExecutor(len(self.slots)) as pool:
                self._before = limits.runs_of(self.state.night, store.runs())
                self._catch_up(store)
                self._show(store)
                while True:
                    try:
                        if not store.is_current():
                            raise StoreDamaged(f"{store.path} was removed or replaced.")
                        if self._is_over(store, stop, pool):
                            self._finish(store)
                            break
                    except StoreDamaged as damage:
                        store = self._reopened(opened, damage)
                    stop.wait(SETTINGS.poll_s)
        self._send("end", f"The night ended: {self._reason}. Runs: {self.state.runs}. {self.found}".rstrip())
        return self.state

    def _finish(self, store: Store) -> None:
        """Writes down how the night ended."""
        assert self._reason is not None
        ended = {} if self._reason.startswith(INTERRUPTED) else {"finished_utc": self.lab.now_utc()}
        self._save(store, stop_reason=self._reason, **ended)
        self.found = found(memory_of(self.lab, store, self.state.branch))

    def _open(self, opened: ExitStack) -> Store:
        """Opens the memory, rebuilt where it has to be; whoever watches is told so."""
        os.makedirs(self.lab.paths.runs, exist_ok=True)
        return opened.enter_context(self.lab.open(self.say))

    def _reopened(self, opened: ExitStack, damage: StoreDamaged) -> Store:
        """Goes on with a new memory where somebody removed or damaged it meanwhile; the night stays the same."""
        opened.close()
        self.say(f"{damage.what} The night goes on with what results/runs and results.tsv still hold; its limits hold.")
        store = self._open(opened)
        lock = FileLock(self.lab.paths.discovery / LOCK)
        if lock.acquire():  # else it is there still, and ours
            self._lock = lock
        store.set_fact(SEED_FACT, str(self.state.seed))
        store.set_fact(POLICY_FACT, self.state.policy)
        self._catch_up(store)
        return store

    def _is_over(self, store: Store, stop: StopRequest, pool: ThreadPoolExecutor) -> bool:
        """Collects what has ended and starts what may start; returns whether there is nothing left to wait for."""
        self._note_clock()
        try:
            self._collect(store)
            self._reason = self._reason or self._why_stop(stop)
            if self._reason and not self._going:
                return True
            if self._reason is None and self._awake() - self._failed_s >= self._wait_s:
                self._start_more(store, stop, pool)
        except StoreBusy as error:  # a backup or a person's shell has it; what is on record is seen at the next look
            self._fail(str(error))
        return False

    def _note_clock(self) -> None:
        """Takes a jump of the clock out of the night's hours: they count the time for which the machine was awake."""
        wall, awake = self.lab.clock().timestamp(), self._awake()
        jump = (wall - self._clocks[0]) - (awake - self._clocks[1])
        self._clocks = (wall, awake)
        if abs(jump) < SETTINGS.clock_jump_s:
            return
        self.state = replace(self.state, paused_s=self.state.paused_s + jump)
        self._wait_s -= max(0.0, jump)  # a service that names the end of its limit does not sleep
        how = "went on by" if jump > 0 else "was set back by"
        why = " (the machine slept, or the clock was set)" if jump > 0 else ""
        self.say(f"the clock {how} {timedelta(seconds=round(abs(jump)))}{why}; --hours counts only the time awake")

    def _catch_up(self, store: Store) -> None:
        """Finishes what a night that was cut off left undone."""
        close_finished_plans(store, self.lab.now_utc())
        self._settle(store)
        self._save(store)

    def _why_stop(self, stop: StopRequest) -> str | None:
        if (number := stop.requested()) is not None:
            return f"{INTERRUPTED}: {_BY.get(number, f'by signal {number}')}"
        if self._refusals >= SETTINGS.refusals_in_a_row:
            return f"{self._refusals} candidates in a row came to no run"
        return self._reached(())

    def _reached(self, going: Sequence[Going]) -> str | None:
        """Names the limit that is reached, with or without the runs in flight: one of them may come to nothing."""
        return limits.reached(self.state.limits, self._used(going))

    def _used(self, going: Sequence[Going]) -> limits.Used:
        """Returns what of the night's limits is used up, with these runs in flight."""
        state, now = self.state, self.lab.clock()
        in_flight = [self._awake() - one.begun_s for one in going]
        return limits.Used(now, worked_s(state, now), state.runs, in_flight, state.usd, self._usual)

    # Starting -------------------------------------------------------------------------------------------------

    def _start_more(self, store: Store, stop: StopRequest, pool: ThreadPoolExecutor) -> None:
        """Gives every free place something to do."""
        for place in self._free():
            if self._reached(self._going):
                return
            try:
                job = self._next_job(store, stop)
            except BaselineFails as failed:
                self._end_badly(failed)
                return
            except NoCandidate as nothing:
                self._on_no_candidate(nothing)
                return
            if job is None or not may_start(job, len(self._going)):
                return
            code = self._code_of(job.commit)
            seed = self._seed_of(store, job, code)
            end = pool.submit(self._launch, job, place, seed, stop)
            self._going.append(Going(job, place, code, seed, end, self._awake()))
            if not self._said_launch:  # minutes pass on a GPU before the first line
                self.say(f"running: {idea_of(job.what)}; every run gets its line when it ends")
                self._said_launch = True
            self._save(store)  # killed in a long run, it was at work until that began

    def _code_of(self, commit: str) -> str:
        """Returns a commit's fingerprint; the commit itself where there is none, which the runner then refuses."""
        try:
            text = blob(self.lab.paths.root, commit, TARGET)
            return commit if text is None else fingerprint(text)
        except SyntaxError:
            return commit

    def _seed_of(self, store: Store, job: Job, code: str) -> int:
        """Return the seed of a job's run: the one that was planned, else an unused one of what was run before."""
        if job.plan is not None and job.plan.run_seed is not None:
            return job.plan.run_seed
        return DEFAULT_SEED if job.is_idea or job.is_anew else self._unused_seed(store, job.commit, code)

    def _unused_seed(self, store: Store, commit: str, code: str) -> int:
        """Returns a configuration's next seed; a run that was just given one may not be on record yet."""
        used = [run.seed for run in store.runs() if run.commit == commit or run.fingerprint == code]
        return repeat.next_seed([*used, *(going.seed for going in self._going if going.code == code)], DEFAULT_SEED)

    def _free(self) -> list[Slot]:
        taken = {going.slot.number for going in self._going}
        return [place for place in self.slots if place.number not in taken]

    def _next_job(self, store: Store, stop: StopRequest) -> Job | None:
        """Returns the run that is owed, else the one that is planned.

        Raises:
            BaselineFails, NoCandidate: as their names say.
        """
        if (moved := self._tip_set_by_person(store)) is None:
            return None
        tip, history = moved, self._history(store)
        if self._waiting:
            return self._waiting.pop(0)
        busy = [going.job.commit for going in self._going]
        job = owed(history, tip, busy, self.state.started_utc)
        if job is not None:
            return None if job.kind == "baseline" and busy else job
        if lineage.baseline(history) is None:
            return None
        if not self._knows_contract:
            self._knows_contract = True
            if self._is_new_contract(store, tip, history):
                return Job("baseline", tip, "the branch's tip, first under a contract that is new here", is_anew=True)
        if self._alike.is_suspect:
            is_checking = any(going.job.kind == "check" for going in self._going)
            return None if is_checking else Job("check", tip, "the best so far, to see whether the machine fails")
        if limits.is_last(self.state.limits, self._used(self._going)):
            job = confirmation(history, [going.code for going in self._going])
        return job or self._planned(store, stop)

    def _tip_set_by_person(self, store: Store) -> str | None:
        """Returns the branch's tip, after a person's move of the branch was followed; None where the night ends."""
        root, branch = self.lab.paths.root, self.state.branch
        if said := follow_person(self.lab, store, branch):
            self.say(said)
        if (tip := branch_tip(root, branch)) is None:
            last = lineage.incumbent(self._history(store))
            step = f"Type: git branch {branch} {last.commit[:12]}" if last else "Start another night."
            self._end_badly(ResearchError(f"The branch {branch} no longer exists.", step))
        return tip

    def _is_new_contract(self, store: Store, tip: str, history: Sequence[Judged]) -> bool:
        """Checks whether runs will belong to another contract than those that the branch was kept on."""
        lab, work = self.lab, worker_place(self.lab.paths.root, self.slots[0].number)
        environment = environment_beside(lab.paths.root, self.slots[0].environment)
        backend = lab.make_backend(self.request.backend, environment)
        digest = preflight.examine(lab.paths.root, tip).benchmark_sha256
        gpu = self.request.gpu if is_remote(backend.name) else ""
        place = machine_home(environment)
        key = repeat.contract_key(digest, work, place, backend.name, gpu, backend.device(), environment)
        known = store.latest_with_key(key)
        contract = known.contract if known else None
        if contract is None and backend.name == DEFAULT_BACKEND:
            contract = repeat.ask_contract(lab.paths.root, environment)
        return contract != lineage.latest_contract(history, self.state.branch)

    def _planned(self, store: Store, stop: StopRequest) -> Job:
        busy = tuple(going.job.plan or owed_plan(going.job, self.lab.now_utc()) for going in self._going)
        writes_code = self.editor.name != BuiltinEditor.name
        plan = next_plan(self.lab, store, self.state.branch, busy, self._attempt, writes_code)
        while any(plan.plan == other.plan for other in busy):  # planned when as much was known and as many were busy
            self._attempt += 1
            plan = next_plan(self.lab, store, self.state.branch, busy, self._attempt, writes_code)
        if plan.kind == "replicate" and plan.parent:
            if any(going.job.commit == plan.parent for going in self._going):
                self._drop(store, plan, "")
                raise NoCandidate(f"{plan.parent[:7]} is being replicated already")
            return Job("replicate", plan.parent, plan.reason, plan)
        memory = memory_of(self.lab, store, self.state.branch)
        codes = {going.code for going in self._going}
        memory = replace(memory, fingerprints=memory.fingerprints | codes)
        order = Order(plan, memory, self.state.seed + 1000 * len(store.runs()) + self._attempt, stop)
        try:
            candidate = self.editor.edit(order)
        except NoCandidate as nothing:
            self._spend(store, nothing.usage)
            if not nothing.is_failure:
                self._drop(store, plan, nothing.why)
            raise
        self._spend(store, candidate.usage)
        self._services = 0
        if self._code_of(candidate.commit) in codes:
            self._drop(store, plan, "the same is being run already")
            raise NoCandidate(f"{candidate.subject} is being run already")
        return Job("experiment", candidate.commit, candidate.subject, plan, candidate.usage)

    def _spend(self, store: Store, usage: Usage) -> None:
        """Add to what the agent has used."""
        total = self.state.agent_usage + usage
        self.state = replace(self.state, agent_tokens=total.tokens, agent_usd=total.usd)
        self._save(store)

    def _drop(self, store: Store, plan: Plan, why: str) -> None:
        store.close_plan(plan.plan, self.lab.now_utc(), None)
        give_up_idea(self.lab, store, plan, why)
        self._attempt += 1

    def _on_no_candidate(self, nothing: NoCandidate) -> None:
        if nothing.wait:
            self._wait_for_service(nothing.why, nothing.wait)
        elif nothing.is_failure:
            self._fail(f"the agent failed: {nothing.why}")
        else:
            self.say(f"no candidate: {nothing.why}")
            self._refusals += 1

    def _wait_for_service(self, why: str, wait: Wait) -> None:
        """Wait until the service says that it answers again, else twice as long as before; runs go on meanwhile."""
        now, before = self.lab.clock(), self._services
        self._services += 1
        left_s = (wait.until - now).total_seconds() if wait.until else 0.0
        wait_s = left_s if left_s > 0 else min(SETTINGS.max_client_backoff_s, SETTINGS.client_backoff_s * 2.0**before)
        self._failed_s, self._wait_s = self._awake(), wait_s
        until = (now + timedelta(seconds=wait_s)).astimezone()
        self.say(f"{why}. The night asks again at {until:%H:%M}, in {hours_in_words(wait_s / 3600)}")

    def _launch(self, job: Job, place: Slot, seed: int, stop: StopRequest) -> LaunchResult:
        """Runs a job in its place's work tree; in a worker's thread."""
        lab = self.lab
        work = worker_tree(lab.paths.root, place.number, job.commit)
        environment = environment_beside(lab.paths.root, place.environment)
        beside = lab.beside(work, self.state.branch, environment, plans=False)
        plan = job.plan.plan if job.plan else None
        again = job.kind in ("replicate", "check")  # another run of a seed is asked for on purpose
        facts = {**job.usage.as_facts(), NIGHT_FACT: self.state.night}
        request = replace(self.request, command=COMMAND, seed=seed, plan=plan, again=again, facts=facts)
        return launch(beside, request, stop)

    # Ending ---------------------------------------------------------------------------------------------------

    def _collect(self, store: Store) -> None:
        """Handles every run that has ended."""
        for going in [going for going in self._going if going.end.done()]:
            self._going.remove(going)
            try:
                end = going.end.result()
            except (ResearchError, OSError) as error:
                self._fail(str(error))
                continue
            try:
                self._on_end(store, going, end)
            except StoreDamaged:
                self._going.append(going)  # looked at again with the new memory
                raise

    def _on_end(self, store: Store, going: Going, end: LaunchResult) -> None:
        if end.recorded and end.outcome in limits.LAUNCHED:
            self._made[end.run] = None  # whatever happens to the memory now
        run = store.run(end.run)
        outcome = run.outcome if run and run.outcome else end.outcome
        if run and outcome in limits.LAUNCHED:
            self._made[end.run] = run
        if outcome in limits.RESULTS:
            self._failures = self._refusals = self._attempt = 0
            self._said_busy = False
            self._save(store)
            self._report(store, end.run)
            self._settle(store)
            if run and run.counted:
                self._doubt_machine(store, going, run)
            self._show(store)
        elif end.outcome == "configuration" and not (end.child_exit == EXIT_NO_DATA and going.job.is_idea):
            self._reason = f"{CONFIGURATION}: {end.why.rstrip('.')}"
        elif end.why.startswith(DEVICE_TAKEN):
            self._wait_for_device(going.job, end.why)
        elif end.outcome in limits.FAILED:
            self._fail(end.why or end.outcome)
        elif end.outcome == "repeat" and going.job.is_anew:
            pass  # its contract is not new after all
        elif end.outcome == "refused" and going.job.plan is None and not end.repeats:
            self._end_badly(ResearchError(f"{idea_of(going.job.what).capitalize()} was refused: {end.why}", ""))
        elif end.outcome in ("refused", "repeat", "configuration"):  # the last: what the candidate made of its data
            self.say(f"{end.outcome}: {end.why} ({going.job.what})")
            self._refusals += 1
            if going.job.plan:
                self._drop(store, going.job.plan, f"{end.outcome}: {end.why}")

    def _end_badly(self, problem: ResearchError) -> None:
        """Ends the night for a reason that only a person can mend; the command then exits with 1."""
        self._reason, self.problem = self._reason or problem.what.rstrip("."), problem

    def _doubt_machine(self, store: Store, going: Going, run: Run) -> None:
        """Ends the night if its machine fails; what crashed for that reason leaves the memory."""
        before = self._alike
        if going.job.kind == "check":
            self._alike = Alike()
            if run.outcome == "scored" or not before.runs:
                return
            crashed, why = [*before.runs, run], blame([*before.runs, run])
        else:
            self._alike = before.after(run)
            if run.outcome != "crash" or (sick := self._sickness()) is None:
                return
            crashed, why = [run], f"{NOT_THE_CANDIDATES}: {sick.what}"
        for one in crashed:
            self.lab.void(store, one, why)
        advice = advice_on(run.failure) or "See what is wrong: uv run research doctor"
        advice = f"{advice.rstrip('.')}; then type the same command again."
        self._end_badly(ResearchError(f"{why.rstrip('.')}.", advice))

    def _sickness(self) -> ResearchError | None:
        """Returns what is wrong with this machine by now, None if runs could be made."""
        lab = self.lab
        try:
            requirements.check_disk(lab.paths.discovery)
            backend = lab.make_backend(self.request.backend, lab.environment)
            backend.check(replace(self.request, command=COMMAND).launch("", lab.paths.runs, lab.paths.root, None))
        except ResearchError as error:
            return error
        return None

    def _wait_for_device(self, job: Job, why: str) -> None:
        """Keeps a job until the device is free: its candidate may have been paid for, and nothing failed."""
        self._waiting.append(job)
        self._failed_s, self._wait_s = self._awake(), SETTINGS.device_wait_s
        if not self._said_busy:
            self.say(f"waiting: {why.split('. ')[0]}; {idea_of(job.what)} runs when it is free")
        self._said_busy = True

    def _fail(self, why: str) -> None:
        """Waits longer after every failure in a row, and ends the night after too many."""
        self._failures += 1
        if self._failures >= SETTINGS.failures_in_a_row:
            what = f"{NOT_THE_CANDIDATES}: {self._failures} failures in a row, the last: {why.rstrip('.')}."
            self._end_badly(ResearchError(what, "See what is wrong: uv run research doctor"))
            return
        self._failed_s, self._wait_s = self._awake(), limits.backoff_s(self._failures)
        self.say(f"failed ({why}); next try in {self._wait_s:.0f} s")

    def _report(self, store: Store, name: str) -> None:
        run, verdict = store.run(name), store.verdict(name)
        if run is None:
            return
        history = self._history(store)
        self.say(progress.line_of(self._number(store, name, history), run, verdict))
        dry = lineage.runs_since_keep(history)
        if verdict and (event := progress.news(run, verdict, history)):
            self._send(event, progress.good_news(run, verdict))
        elif not self._said_stuck and dry >= SETTINGS.stuck_runs:
            self._send("stuck", f"No change was kept in the last {dry} runs on {self.state.branch}.")
        self._said_stuck = dry >= SETTINGS.stuck_runs

    def _send(self, event: Event, text: str) -> None:
        if problem := self._notify(event, text):
            self.say(problem)

    def _settle(self, store: Store) -> None:
        """Carries out every decided verdict, oldest first."""
        try:
            if said := follow_person(self.lab, store, self.state.branch):
                self.say(said)
            while settle(self.lab, store, branch=self.state.branch).run is not None:
                pass
            self._said_settle = False
        except CannotSettle as error:
            if not self._said_settle:
                self.say(f"{error.what} {error.next} The night continues; the branch follows when it can.")
            self._said_settle = True

    # The store ------------------------------------------------------------------------------------------------

    def _number(self, store: Store, name: str, history: Sequence[Judged]) -> int:
        """Returns a run's place in order of start, which is its number on the page, those still running counted."""
        going = {run.run for run in store.open_runs() if run.branch == self.state.branch}
        shown = going | {item.run.run for item in history} | {name}
        return 1 + [run.run for run in store.runs() if run.run in shown].index(name)

    def _history(self, store: Store) -> list[Judged]:
        branch = self.state.branch
        history = store.judged(branch)
        contract = lineage.latest_contract(history, branch)
        return [item for item in history if item.run.contract in (contract, None)]

    def _save(self, store: Store, **changes: str) -> None:
        price, agent_usd = self.state.limits.usd_per_hour, self.state.agent_usd or 0.0
        made = [run for run in self._made.values() if run]
        self._usual = limits.usual_cost([*self._before, *made], price, agent_usd)
        lost_usd = (len(self._made) - len(made)) * self._usual.usd
        usd = self._usd_before + limits.cost_usd(made, price) + lost_usd + agent_usd
        runs, seen = self._runs_before + len(self._made), {"alive_utc": self.lab.now_utc(), **changes}
        self.state = replace(self.state, runs=runs, usd=usd, **seen)  # type: ignore[arg-type]
        keep_fact(store, self.lab.paths, FACT, self.state.to_json())
