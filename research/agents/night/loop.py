"""Runs the loop of a night: makes the runs that are due, then those that are planned, and settles every verdict.

Every pass of the loop does three things: it handles the runs that have ended, asks whether a limit is reached, and
gives every free slot the next job. Runs are made in threads, one for each slot; all else happens in the loop's thread.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from research.agents.clients.base import Usage
from research.agents.night import jobs, limits, progress
from research.agents.night.editors import BuiltinEditor, Editor, NoCandidate
from research.agents.night.jobs import CannotGoOn, Job
from research.agents.night.notify import Notify
from research.agents.night.state import FACT, LOCK, NightState, worked_s
from research.code.fingerprint import fingerprint
from research.core.commit_message import idea_of
from research.core.contract import DEFAULT_SEED, EXIT_NO_DATA, RUNNER_EXITS
from research.core.errors import ResearchError
from research.core.files import FileLock
from research.core.git import blob, branch_tip, missing_commit, resolve
from research.core.records import REPLICATE, Judged, Plan, Run
from research.core.settings import SETTINGS
from research.lab.apply_verdict import CannotSettle, follow_person, settle
from research.lab.ideas import give_up_idea
from research.lab.lab import Lab
from research.lab.launch import NIGHT_FACT, LaunchResult, Request, launch
from research.lab.plan import POLICY_FACT, SEED_FACT, close_finished_plans, memory_of, next_plan
from research.lab.worktrees import environment_beside, worker_tree
from research.runs import repeat
from research.runs.backend import DEVICE_TAKEN
from research.runs.failure import advice_on
from research.runs.preflight import COMMAND, TARGET
from research.runs.signals import Signals
from research.store.connect import StoreBusy, StoreDamaged
from research.store.db import Store
from research.store.ledger import ROW_OUTCOMES
from research.store.open import keep_fact
from research.verdict import lineage
from research.verdict.seeds import Place, replicate_seed

INTERRUPTED = "interrupted"
_BY: Mapping[int, str] = {
    signal.SIGINT: "Ctrl-C",
    signal.SIGHUP: "the terminal was closed (nohup or tmux keeps a night alive)",
    signal.SIGTERM: "somebody asked it to end (SIGTERM)",
}
"""Words for the signals that interrupt a night."""
_DOCTOR = "See what is wrong: uv run research doctor"
CONFIGURATION = "configuration"
"""Beginning of the reason of a night that ended because a token, a package or data are missing."""


@dataclass(frozen=True)
class RunningJob:
    """A job whose run is going on."""

    job: Job
    slot: int  # index of the worker's slot
    code: str  # fingerprint of its train.py
    seed: int
    end: Future[LaunchResult]


def _result(end: Future[LaunchResult]) -> LaunchResult:
    """Return how a run ended; one whose work tree could not be made is a failure of the machine."""
    try:
        return end.result()
    except (ResearchError, OSError) as error:  # such as a git that finds no space on the disk
        return LaunchResult("", "infrastructure", RUNNER_EXITS["infrastructure"], why=str(error))


class Night:
    """One night on one branch.

    Args:
        slots: The environment variables of each worker, which give it its device.
        request: Backend, GPU and time limits of every run.
        show: Writes the morning page: when the night begins and after every run.
        awake: Seconds from some moment on, for which the machine was awake.
    """

    _store: Store
    _pool: ThreadPoolExecutor

    def __init__(
        self,
        lab: Lab,
        state: NightState,
        editor: Editor,
        slots: Sequence[Mapping[str, str]],
        request: Request,
        say: Callable[[str], None],
        notify: Notify = lambda event, text: None,
        show: Callable[[Store], None] = lambda _: None,
        awake: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lab, self.state, self.editor, self.slots = lab, state, editor, tuple(slots)
        self._cards = [lab.make_backend(request.backend, slot).device() for slot in slots]  # "" where none is known
        self.request, self.say, self._notify, self._show, self._awake = request, say, notify, show, awake
        self._stop = Signals()
        self._going: list[RunningJob] = []
        self._due: list[Job] = []  # jobs before all others, such as those whose device was taken
        self._repeated: set[str] = set()  # commits of ideas that were put off because the machine failed
        self._runs: dict[str, Run] = {}  # runs that count against the limits, by name
        self._earlier, self._lost = state.runs, 0  # runs of earlier processes, and those that are no more on record
        self._usual = limits.usual_cost((), state.limits.usd_per_hour)
        self._failures = self._service_waits = self._refusals = 0  # in a row
        self._attempt = 0  # plans that were dropped since the last run
        self._again_s = 0.0  # time of _awake before which nothing is started
        self._busy_from = math.inf  # time of _awake since which the memory was found locked in every pass
        self._awake_from = awake() - worked_s(state, lab.clock())
        self._alike: tuple[Run, ...] = ()  # the latest crashes, all with one signature
        self._said: set[str] = set()  # lasting states and runs that people were told of
        self._reason: str | None = None  # why the night ends
        self.problem: CannotGoOn | None = None  # why only a person can go on
        self.found, self.kept = "", 0  # a sentence on the best, and the number of changes that the night kept

    # The loop -------------------------------------------------------------------------------------------------

    def run(self) -> NightState:
        """Work until a limit is reached or nothing is left to do; return the state, which holds the reason."""
        with self._stop, ThreadPoolExecutor(len(self.slots)) as self._pool:
            self._open()
            try:
                self._runs = {run.run: run for run in limits.runs_of(self.state.night, self._store.runs())}
                self._lost = self.state.runs - len(self._runs)
                self._save()
                self._due = self._first_of_contract()
                self._show(self._store)
                while not self._is_over():
                    time.sleep(SETTINGS.poll_s)
            finally:
                self._store.close()
        self._notify("end", f"The night ended: {self._reason}. Runs: {self.state.runs}. {self.found}".rstrip())
        return self.state

    def _is_over(self) -> bool:
        """Handle the runs that have ended and start new ones; return whether the night is over."""
        try:
            if not self._store.is_current():
                raise StoreDamaged(f"{self._store.path} was removed or replaced.")
            self._leave_out_sleep()
            self._collect()
            self._reason = self._reason or self._why_stop()
            if self._reason and not self._going:
                self._finish(self._reason)
                return True
            if not self._reason and self._awake() >= self._again_s:
                self._start_more()
        except CannotGoOn as problem:
            self._end_badly(problem)
        except NoCandidate as nothing:
            self._on_no_candidate(nothing)
        except StoreDamaged as damage:
            self._open_anew(damage)
        except StoreBusy as error:  # a backup or a person's shell has it; what is on record is seen in the next pass
            if self._awake() >= self._again_s:
                self._fail(str(error))
            self._busy_from = min(self._busy_from, self._awake())
            is_idle = all(going.end.done() for going in self._going)
            if is_idle and self._awake() - self._busy_from >= SETTINGS.max_busy_s:
                raise  # the end could not be written down either
            return False
        except (ResearchError, OSError) as error:  # such as a git that finds no space on the disk
            if self._reason:  # it is the end that fails
                raise
            self._fail(str(error))
        self._busy_from = math.inf
        return False

    def _leave_out_sleep(self) -> None:
        """Take the time out of the night's hours by which the clock jumped: the machine slept, or the clock was set."""
        jump_s = worked_s(self.state, self.lab.clock()) - (self._awake() - self._awake_from)
        self.state = replace(self.state, paused_s=self.state.paused_s + jump_s)
        self._again_s -= max(0.0, jump_s)  # a service that names the end of its limit does not sleep
        if abs(jump_s) >= SETTINGS.clock_jump_s:
            jump = f"{jump_s / 3600:+.2f} h (the machine slept, or the clock was set)"
            self.say(f"the clock jumped by {jump}; --hours counts only the time awake")

    def _why_stop(self) -> str | None:
        if (number := self._stop.requested()) is not None:
            return f"{INTERRUPTED}: {_BY.get(number, f'by signal {number}')}"
        if self._refusals >= SETTINGS.refusals_in_a_row:
            return f"{self._refusals} candidates in a row came to no run"
        return limits.reached(self.state, self.lab.clock(), self._usual)  # what is going on may come to nothing

    def _start_more(self) -> None:
        """Start a job in every free slot."""
        for slot in sorted(set(range(len(self.slots))) - {going.slot for going in self._going}):
            if limits.reached(self.state, self.lab.clock(), self._usual, len(self._going)):
                return
            if (job := self._next_job(slot)) is None:
                return
            if resolve(self.lab.paths.root, job.commit) is None:
                raise CannotGoOn(*missing_commit(job.commit))
            code = self._code_of(job.commit)
            seed = self._seed_of(job, code, slot)
            self._going.append(RunningJob(job, slot, code, seed, self._pool.submit(self._launch, job, slot, seed)))
            what = idea_of(job.what).removesuffix(".")
            self._say_once("running", f"running: {what}; every run gets its line when it ends")
            self._save()  # so that a night that is killed in a long run counts as at work until that began

    def _collect(self) -> None:
        """Handle every run that has ended."""
        for going in [going for going in self._going if going.end.done()]:
            try:
                self._on_end(going.job, _result(going.end))
            except (StoreBusy, StoreDamaged):
                raise  # the run stays in the list, and is handled in the next pass
            except (ResearchError, OSError) as error:
                self._fail(str(error))
            self._going.remove(going)

    def _finish(self, reason: str) -> None:
        """Save how the night ended; one that was interrupted, or could not make a run, can be resumed within limits."""
        self._save()
        is_early = reason.startswith(INTERRUPTED) or (self.problem and reason.startswith(CONFIGURATION))
        goes_on = is_early and limits.reached(self.state, self.lab.clock(), self._usual) is None
        self._save(stop_reason=reason, finished_utc=None if goes_on else self.lab.now_utc())
        if self.problem is None and self.state.runs == 0 and not reason.startswith(INTERRUPTED):
            self.problem = CannotGoOn(f"The night made no run: {reason}.", _DOCTOR)
        memory = memory_of(self.lab, self._store, self.state.branch)
        self.found, self.kept = progress.found(memory), progress.kept_in(memory, self._runs)

    def _end_badly(self, problem: CannotGoOn) -> None:
        """End the night for a reason that only a person can mend; the command then exits with 1."""
        self._reason, self.problem = self._reason or problem.what.rstrip("."), self.problem or problem

    # What is run next -----------------------------------------------------------------------------------------

    def _next_job(self, slot: int) -> Job | None:
        """Return the run that is due, else one that is planned for a slot; None while that has to wait for another.

        Raises:
            CannotGoOn, NoCandidate: as their names say.
        """
        if any(going.job.kind in jobs.ALONE for going in self._going):
            return None
        self._settle()
        branch, history = self.state.branch, self._history()
        if (tip := branch_tip(self.lab.paths.root, branch)) is None:
            last = lineage.incumbent(history)
            step = f"Type: git branch {branch} {last.commit[:12]}" if last else "Start another night."
            raise CannotGoOn(f"The branch {branch} no longer exists.", step)
        if self._due:
            return self._due.pop(0)
        job = jobs.due(history, tip, [going.job.commit for going in self._going], self.state.started_utc)
        if job is None and len(self._alike) >= SETTINGS.alike_crashes:
            job = Job("check", tip, "the best so far, to see whether the machine fails")
        if job is None and limits.is_last(self.state, self.lab.clock(), self._usual, len(self._going)):
            job = jobs.confirmation(history, [going.code for going in self._going])
        job = job or self._planned(slot)
        return None if job.kind in jobs.ALONE and self._going else job

    def _first_of_contract(self) -> list[Job]:
        """Return a run of the tip if another contract holds now than when the tip was measured, else nothing."""
        tip = branch_tip(self.lab.paths.root, self.state.branch) or ""
        job = Job("contract", tip, "the branch's tip, first under a contract that is new here")
        runs = (item.run for item in self._history() if item.run.commit == tip)
        run = next(filter(repeat.ended_by_itself, runs), None)
        is_new = run is not None and self._launch(job, 0, run.seed, dry_run=True).outcome != "repeat"
        return [job] if is_new else []

    def _planned(self, slot: int) -> Job:
        """Return the planned run; for an experiment the editor makes the commit first."""
        lab, store, branch, now = self.lab, self._store, self.state.branch, self.lab.now_utc()
        busy = tuple(going.job.as_plan(now) for going in self._going)
        writes_code = self.editor.name != BuiltinEditor.name
        cards = self._cards[slot], *dict.fromkeys(card for card in self._cards if card != self._cards[slot])
        plan = next_plan(lab, store, branch, busy, self._attempt, writes_code, cards)
        if plan.kind == REPLICATE and plan.parent:
            if any(going.job.commit == plan.parent and going.seed == plan.run_seed for going in self._going):
                self._drop(plan, "")
                raise NoCandidate(f"{plan.parent[:7]} is being replicated already")
            made = [progress.name_of(run) for run in store.runs() if run.commit == plan.parent]
            return Job("replicate", plan.parent, f"{made[-1]}, once more" if made else plan.reason, plan)
        memory = memory_of(lab, store, branch)
        memory = replace(memory, fingerprints=memory.fingerprints | {going.code for going in self._going})
        seed = self.state.seed + 1000 * len(store.runs()) + self._attempt
        try:
            candidate = self.editor.edit(plan, memory, seed, self._stop)
        except NoCandidate as nothing:
            self._spend(nothing.usage)
            if nothing.kind == "idea":
                self._drop(plan, nothing.why)
            raise
        self._spend(candidate.usage)
        self._service_waits = 0
        return Job("idea", candidate.commit, candidate.subject, plan, candidate.usage)

    def _drop(self, plan: Plan, why: str) -> None:
        """Drop a plan that comes to no run."""
        self._store.close_plan(plan.plan, self.lab.now_utc(), None)
        give_up_idea(self.lab, self._store, plan, why)
        self._attempt += 1

    def _code_of(self, commit: str) -> str:
        """Return a commit's fingerprint; the commit itself where there is none, which the runner then refuses."""
        with suppress(SyntaxError):
            return fingerprint(blob(self.lab.paths.root, commit, TARGET) or b"")
        return commit

    def _seed_of(self, job: Job, code: str, slot: int) -> int:
        """Return the seed of a job's run: the one that was planned, else one that its code has not run with."""
        if job.plan is not None and job.plan.run_seed is not None:
            return job.plan.run_seed
        if job.kind in ("idea", "contract"):
            return DEFAULT_SEED
        used = {run.seed for run in self._store.runs() if run.commit == job.commit or run.fingerprint == code}
        memory = memory_of(self.lab, self._store, self.state.branch)
        baseline = memory.baseline.key if memory.baseline else None
        return replicate_seed(memory.belief, code, baseline, used, Place(self._cards[slot]))

    def _launch(self, job: Job, slot: int, seed: int, dry_run: bool = False) -> LaunchResult:
        """Run a job in its slot's work tree; in a worker's thread."""
        lab = self.lab
        work = worker_tree(lab.paths.root, slot + 1, job.commit)
        environment = environment_beside(lab.paths.root, self.slots[slot])
        beside = replace(lab, work_tree=work, branch=self.state.branch, environment=environment, plans=False)
        request = replace(
            self.request,
            command=COMMAND,
            seed=seed,
            plan=job.plan.plan if job.plan else None,
            again=job.kind in ("replicate", "check"),  # another run of a seed is asked for on purpose
            dry_run=dry_run,
            facts={**job.usage.as_facts(), NIGHT_FACT: self.state.night},
        )
        return launch(beside, request, self._stop)

    # Results --------------------------------------------------------------------------------------------------

    def _on_end(self, job: Job, end: LaunchResult) -> None:
        """Handle the end of a run: its result, or the reason why it has none."""
        run = self._store.run(end.run)
        if run and run.outcome in limits.LAUNCHED:
            self._runs[run.run] = run
        if run and run.outcome in ROW_OUTCOMES:
            self._on_result(job, run)
        elif end.outcome == "configuration" and not (end.child_exit == EXIT_NO_DATA and job.kind == "idea"):
            why, again = end.why.rstrip("."), "When that is mended, type the same command again."
            self._reason = f"{CONFIGURATION}: {why}"
            if self.state.runs == self._earlier:
                self.problem = CannotGoOn(f"The night made no run: {why}.", again)
        elif end.why.startswith(DEVICE_TAKEN):  # the candidate may have been paid for, and nothing failed
            self._due.append(job)
            self._again_s = self._awake() + SETTINGS.device_wait_s
            self._say_once("busy", f"waiting: {end.why.split('. ')[0]}; {idea_of(job.what)} runs when it is free")
        elif end.outcome in limits.FAILED:
            if job.kind == "idea" and job.commit not in self._repeated:  # once: its code may be what fails
                self._repeated.add(job.commit)
                self._due.append(job)
            self._fail(end.why or end.outcome)
        elif end.outcome == "refused" and job.plan is None and not end.repeats:
            self._end_badly(CannotGoOn(f"Refused ({idea_of(job.what)}): {end.why}", ""))
        elif end.outcome in ("refused", "repeat", "configuration"):  # the last: what the candidate made of its data
            self.say(f"{end.outcome}: {end.why} ({job.what})")
            self._refusals += 1
            if job.plan:
                self._drop(job.plan, f"{end.outcome}: {end.why}")

    def _on_result(self, job: Job, run: Run) -> None:
        """Report a result, settle it, and show it."""
        self._failures = self._refusals = self._attempt = 0
        self._said.discard("busy")
        self._save()
        self._report(run)
        self._settle()
        if run.counted:
            self._check_machine(job, run)
        self._show(self._store)

    def _report(self, run: Run) -> None:
        """Say a run's line and its news, once, also where the memory was locked before the run could be settled."""
        if run.run in self._said:
            return
        history, verdict = self._history(), self._store.verdict(run.run)
        going = {other.run for other in self._store.open_runs() if other.branch == self.state.branch}
        shown = going | {item.run.run for item in history} | {run.run}
        number = 1 + [other.run for other in self._store.runs() if other.run in shown].index(run.run)
        self._say_once("legend", progress.LEGEND)
        self._say_once(run.run, progress.line_of(number, run, verdict))  # its place in order of start, as on the page
        dry = lineage.runs_since_keep(history)
        if verdict and (event := progress.news(run, verdict, history)):
            self._notify(event, progress.good_news(run, verdict, history))
        if dry < SETTINGS.stuck_runs:
            self._said.discard("stuck")
        elif "stuck" not in self._said:
            self._said.add("stuck")
            self._notify("stuck", f"No change was kept in the last {dry} runs on {self.state.branch}.")

    def _settle(self) -> None:
        """Follow a person's move of the branch, then carry out every decided verdict, oldest first."""
        try:
            if said := follow_person(self.lab, self._store, self.state.branch):
                self.say(said)
            while settle(self.lab, self._store, branch=self.state.branch).run is not None:
                pass
            self._said.discard("settle")
        except CannotSettle as error:
            goes_on = "The night continues; the branch follows when it can."
            self._say_once("settle", f"{error.what} {goes_on} {error.next}")

    def _check_machine(self, job: Job, run: Run) -> None:
        """End the night if its machine fails; the crashes that the machine caused leave the memory."""
        if job.kind != "check":
            self._alike = jobs.crashes_alike(self._alike, run)
            return
        crashed, self._alike = [*self._alike, run], ()
        if run.outcome == "scored" or len(crashed) == 1:
            return
        why = jobs.blame(crashed)
        for one in crashed:
            self.lab.void(self._store, one, why)
        advice = (advice_on(run.failure) or _DOCTOR).rstrip(".")
        self._end_badly(CannotGoOn(f"{why.rstrip('.')}.", f"{advice}; then type the same command again."))

    # Waiting --------------------------------------------------------------------------------------------------

    def _on_no_candidate(self, nothing: NoCandidate) -> None:
        """Wait after an editor made no commit, where a service refuses until the time that it names, else longer."""
        if self._stop.requested() is not None:  # which is why it made none
            return
        if nothing.kind == "editor":
            self._fail(f"the agent failed: {nothing.why}", f"{_DOCTOR} --clients")
        elif nothing.kind == "idea":
            self.say(f"no candidate: {nothing.why}")
            self._refusals += 1
        else:
            now = self.lab.clock()
            wait_s = limits.backoff_s(SETTINGS.client_backoff_s, SETTINGS.max_client_backoff_s, self._service_waits)
            if nothing.until and nothing.until > now:
                wait_s = (nothing.until - now).total_seconds()
            self._service_waits += 1
            self._again_s = self._awake() + wait_s
            at, wait = (now + timedelta(seconds=wait_s)).astimezone(), progress.hours_in_words(wait_s / 3600)
            self.say(f"{nothing.why}. The night asks again at {at:%H:%M}, in {wait}")

    def _fail(self, why: str, step: str = _DOCTOR) -> None:
        """Wait longer after every failure in a row, and end the night after too many, with what to type."""
        wait_s = limits.backoff_s(SETTINGS.backoff_first_s, SETTINGS.max_backoff_s, self._failures)
        self._failures += 1
        if self._failures >= SETTINGS.failures_in_a_row:
            what = f"{jobs.NOT_THE_CANDIDATES}: {self._failures} failures in a row, the last: {why.rstrip('.')}."
            return self._end_badly(CannotGoOn(what, step))
        self._again_s = self._awake() + wait_s
        self.say(f"failed ({why}); next try in {wait_s:.0f} s")

    def _say_once(self, state: str, line: str) -> None:
        """Say a line about a state that lasts, once until the state is over."""
        if state not in self._said:
            self._said.add(state)
            self.say(line)

    # The memory -----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Open the memory, rebuilt where it has to be, and finish what an interrupted night left undone."""
        os.makedirs(self.lab.paths.runs, exist_ok=True)
        self._store = self.lab.open(self.say)
        self._store.set_fact(SEED_FACT, str(self.state.seed))
        self._store.set_fact(POLICY_FACT, self.state.policy)
        close_finished_plans(self._store, self.lab.now_utc())
        self._settle()

    def _open_anew(self, damage: StoreDamaged) -> None:
        """Go on with a new memory where somebody removed or damaged it meanwhile; the night stays the same."""
        self._store.close()
        self.say(f"{damage.what} The night goes on with what results/runs and results.tsv still hold; its limits hold.")
        self._open()
        self._save()
        FileLock(self.lab.paths.discovery / LOCK).acquire()  # where the file of the lock is gone too

    def _history(self) -> list[Judged]:
        """Return the judged runs of the branch under its contract."""
        history = self._store.judged(self.state.branch)
        contract = lineage.latest_contract(history, self.state.branch)
        return [item for item in history if item.run.contract in (contract, None)]

    def _spend(self, usage: Usage) -> None:
        """Add to the usage of the agent; while the memory is locked, the next save writes it down."""
        total = self.state.agent_usage + usage
        with suppress(StoreBusy):
            self._save(agent_tokens=total.tokens, agent_usd=total.usd)

    def _save(self, **changes: Any) -> None:
        """Save the state of the night, with changes."""
        state = replace(self.state, alive_utc=self.lab.now_utc(), **changes)
        runs, price, agent_usd = list(self._runs.values()), state.limits.usd_per_hour, state.agent_usd or 0.0
        self._usual = limits.usual_cost(runs, price, agent_usd)
        usd = limits.cost_usd(runs, price) + agent_usd
        self.state = replace(state, runs=self._lost + len(runs), usd=max(state.usd, usd))
        keep_fact(self._store, self.lab.paths, FACT, self.state.to_json())
