"""Keeps a checkout and its memory in step: records, imports and judges its runs, and writes the ledger."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from research.core import git
from research.core.clock import Clock, system_clock, utc
from research.core.commands import git_commit
from research.core.commit_message import EXPERIMENT, as_experiment
from research.core.contract import RUNNER_EXITS
from research.core.errors import ResearchError
from research.core.files import write_whole
from research.core.paths import LabPaths
from research.core.records import Judged, Run, Verdict
from research.runs import hand_made, session
from research.runs.backend import Backend
from research.runs.backends import make_backend
from research.runs.score import overlong
from research.store import folders, reads
from research.store.db import Store
from research.store.ledger_file import sync_ledger
from research.store.open import open_store
from research.verdict import lineage
from research.verdict.archive import niche_of

if TYPE_CHECKING:  # they load numpy, which a bare Python that only records may lack
    from research.verdict.comparison import Comparison, Judge
    from research.verdict.models import Memory


def say(line: str) -> None:
    """Write our own words to stderr, where they do not mix with the command's output."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write("".join(f"[run] {part}\n" for part in line.split("\n")))
        sys.stderr.flush()


@dataclass
class Lab:
    """A checkout with its memory."""

    paths: LabPaths  # of results and the ledger
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))  # variables of commands
    clock: Clock = system_clock
    token: Callable[[int], str] = secrets.token_hex  # makes the hex digits of a run's name
    judge: Judge | None = None  # the rule, None for research.verdict.judge
    stream: BinaryIO = field(default_factory=lambda: sys.stdout.buffer)  # takes the output of commands
    say: Callable[[str], None] = say  # takes a line for people
    make_backend: Callable[[str, Mapping[str, str]], Backend] = make_backend
    branch: str | None = None  # the branch that runs belong to, None for the work tree's
    work_tree: Path | None = None  # the work tree that commands run in, None for the checkout's own
    plans: bool = True  # whether the next experiment is planned when a run is judged; a night plans by itself
    recalled: tuple[tuple[str, str], Memory] | None = field(default=None, init=False)  # see memory_of()

    @property
    def work(self) -> Path:
        """Return the work tree that commands run in."""
        return self.work_tree or self.paths.root

    def now_utc(self) -> str:
        """Return the time as records keep it."""
        return utc(self.clock())

    # Keeping the memory true ----------------------------------------------------------------------------------

    def open(self, say: Callable[[str], None] | None = None) -> Store:
        """Open the memory and catch up; say takes a line for people where it was rebuilt."""
        store = self.open_as_it_is(say)
        try:
            self.catch_up(store)
        except BaseException:
            store.close()
            raise
        return store

    def open_as_it_is(self, say: Callable[[str], None] | None = None) -> Store:
        """Open the memory as the last command left it."""
        return open_store(self.paths, self.now_utc(), say or self.say)

    def catch_up(self, store: Store) -> list[str]:
        """Close runs whose runner is gone, import hand-made ones, judge the runs that wait, and write the ledger.

        Returns:
            Names of the hand-made runs that are new.
        """
        found = []
        for run in session.close_gone(store, self.paths.runs, self.now_utc()):
            self.say(f"{run.run} is closed as {run.outcome}: {run.why or 'its runner was gone after it ended'}")
        for folder in hand_made.finished_folders(self.paths.runs, store.folders()):
            found += self.import_run(store, hand_made.run_of_folder(folder, self.paths.root, self.now_utc()), folder)
        self.judge_all(store)
        self.sync(store)
        return found

    def import_run(self, store: Store, run: Run, folder: Path | None) -> list[str]:
        """Import a finished run, once; return its name if it is new."""
        run = self.examine(store, run)
        if not store.add_run(run):
            return []
        if folder is not None:
            with contextlib.suppress(OSError):
                folders.write_start(folder, run)
            self._write_finish(run)
        if run.commit:
            with contextlib.suppress(ResearchError):
                git.keep_commit(self.paths.root, run.run, run.commit)
        return [run.run]

    def judge_all(self, store: Store) -> None:
        """Judge every run that has a ledger row and no verdict yet."""
        if not reads.something_waits(store):
            return
        for run in [item.run for item in store.judged() if item.verdict is None]:
            self._judge(store, run)

    def _judge(self, store: Store, run: Run) -> None:
        """Judge one run, unless that was done meanwhile; where a package is missing here, the next command does it."""
        try:
            from research.verdict import audit
            from research.verdict.comparison import compare
            from research.verdict.consequences import consequences
            from research.verdict.judge import judge
        except ModuleNotFoundError as missing:
            self.say(f"{run.run} is recorded, not judged yet ({missing.name} is missing here): uv run research summary")
            return
        rule = self.judge or judge
        with store.write():
            if store.verdict(run.run) is not None:
                return
            known = replace(run, contract=lineage.contract_of(run, store.judged(run.branch)))
            history = store.judged()
            case = compare(known, history)
            verdict = rule(case, self.now_utc())
            if verdict.decision == "keep" and audit.denies(case, history):
                known = self._mark_suspect(store, case, history, audit.GAIN_IS_MISSING)
                history = store.judged()
                case = compare(known, history)
                verdict = rule(case, self.now_utc())
            verdict = self._reviewed(store, case, verdict, history)
            others = consequences(case, verdict)
            for each in (verdict, *others):
                store.add_verdict(each)
        for each in (verdict, *others):
            if judged := store.run(each.run):
                self.write_verdicts(store, judged)
        with contextlib.suppress(OSError):
            write_whole(self.paths.last_review, verdict.text.encode("utf-8", "replace"))

    def _mark_suspect(self, store: Store, case: Comparison, history: Sequence[Judged], reason: str) -> Run:
        """Mark every run of a configuration under its contract as suspect; return the one that is judged."""
        runs = [item.run for item in history if item.run.run != case.run.run and lineage.is_evidence(item.run)]
        same = [run for run in runs if run.contract == case.run.contract and case.keys.of(run) == case.key]
        marked = [replace(run, suspect=(*run.suspect, reason)) for run in (*same, case.run)]
        for run in marked:
            store.update_suspect(run)
            self._write_finish(run)
        return marked[-1]

    def _write_finish(self, run: Run) -> None:
        """Write the finish record into the run's folder, if it has one."""
        if run.folder:
            with contextlib.suppress(OSError):
                folders.write_finish(self.paths.runs / run.folder, run)

    def _reviewed(self, store: Store, case: Comparison, verdict: Verdict, history: Sequence[Judged]) -> Verdict:
        """Return a verdict with its score and review."""
        from research.verdict.memory import recall
        from research.verdict.review import reviewed

        run = case.run
        plan = store.plan(run.plan) if run.plan else None
        known = recall(history, run.branch, run.contract, belief=case.belief).conjectures
        began = run if verdict.baseline else lineage.baseline(case.past)

        def niche(of: Run) -> str:
            return niche_of(of, of, began is not None and lineage.is_same(of, began))

        return reviewed(case, verdict, niche, plan, [one.text for one in known])

    def void(self, store: Store, run: Run, why: str) -> None:
        """Turn a crash into a failure of the machine, without judgement and ledger row; its record says why."""
        code = RUNNER_EXITS["infrastructure"]
        voided = replace(run, outcome="infrastructure", exit_code=code, counted=False, why=why)
        store.void_run(voided, self.now_utc())
        self._write_finish(voided)
        self.sync(store)

    def write_verdicts(self, store: Store, run: Run) -> None:
        """Write a run's verdicts into its folder too."""
        if run.folder and (self.paths.runs / run.folder).is_dir():
            with contextlib.suppress(OSError):
                folders.write_verdicts(self.paths.runs / run.folder, store.verdicts(run.run))

    def sync(self, store: Store) -> None:
        """Write results.tsv by the memory; if that fails, the next command does it."""
        try:
            sync_ledger(store, self.paths.ledger, self.paths.discovery / ".ledger.lock", self.now_utc())
        except OSError as error:
            self.say(f"results.tsv could not be written ({error.strerror or error}); the next command makes up for it")

    def examine(self, store: Store, run: Run) -> Run:
        """Return a finished run with what only the memory knows: reasons not to trust its score, and whether it counts.

        A run that is neither the baseline, nor of an exp: commit, nor a repetition does not count.
        """
        if run.outcome == "scored":
            same = (item.run for item in store.judged() if item.run.contract == run.contract)
            first = next((other for other in same if lineage.is_evidence(other) and other.run != run.run), None)
            run = replace(run, suspect=(*run.suspect, *overlong(run, first)))
        if not run.counted or run.subject.startswith(EXPERIMENT):
            return run
        began = lineage.baseline(comparable(store, run))
        if began is None or any(lineage.is_same(item.run, run) for item in store.judged(run.branch)):
            return run
        amend = f"{git_commit(self.paths.root)} --amend -m {shlex.quote(as_experiment(run.subject))}"
        why = f"not an exp: commit, and {began.run} is the baseline already; if it is an experiment, type: {amend}"
        return replace(run, counted=False, why=why)


def comparable(store: Store, run: Run) -> list[Judged]:
    """Return the judged runs of a run's branch and contract."""
    history = store.judged(run.branch)
    return lineage.of_contract(history, run.branch, lineage.contract_of(run, history))
