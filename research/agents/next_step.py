"""Reads the situation of a lab, and writes the next order for an agent whose turn ended: a short text, facts first.

Text of others (subjects, reasons from logs) is bounded, on one line, and quoted as data.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from research.agents.clients.base import Client
from research.agents.policy.protected import protected_changes, restore_advice
from research.core import git
from research.core.commands import commit_command, launch_command, replicate_command
from research.core.commit_message import EXPERIMENT, FREE, tag_of
from research.core.contract import ENV_PROFILE, PROFILES
from research.core.errors import ConfigurationError
from research.core.paths import LabPaths, machine_home
from research.core.records import OPEN_DECISIONS, REPLICATE, Plan, Run
from research.core.settings import SETTINGS
from research.core.text import clean, quoted
from research.lab.twin import same_program, way_back
from research.runs.backend import DEVICE_TAKEN
from research.runs.backends import DEFAULT_BACKEND, is_remote
from research.store import reads, recent
from research.store.db import Store
from research.store.folders import is_alive
from research.store.recent import RecentVerdict
from research.verdict import lineage

LOCAL = f"--backend {DEFAULT_BACKEND}"
"""The runner's options where the environment names no backend."""
TOLD_FACT = "told_of_missing"
"""Name of the store's fact that holds the last message about something missing that the person was told."""


class Situation:
    """The state of branch, runs and work tree on which the next order depends, read when it is made.

    The environment names backend, GPU, profile and data.
    """

    def __init__(
        self, paths: LabPaths, head: git.Head, store: Store, client: Client, environment: Mapping[str, str]
    ) -> None:
        root, branch, commit = paths.root, head.branch, head.commit or ""
        self.client, self.branch, self.head = client, branch, commit
        self.subject = git.commit(root, commit).subject if commit else ""
        self.options = runner_options(environment)
        self.plan = reads.plan_of(store, branch)  # the pending one
        self.running, self.gone = open_runs(paths, store)
        self.verdicts = recent.recent_verdicts(store, branch)  # newest first
        is_baseline = any(verdict.baseline for verdict in self.verdicts)
        self.has_baseline = is_baseline or recent.has_baseline(store, branch)
        launches = recent.launches_of(store, commit) if commit else []
        measured = any(launch.is_result for launch in launches)
        may_be_twin = self.subject.startswith(EXPERIMENT) and not measured
        same = same_program(root, store, branch, commit) if commit and (may_be_twin or not self.has_baseline) else None
        # A baseline is a branch's own: what another branch has measured is run again for it.
        self.again = not self.has_baseline and same is not None
        self.launch_line = launch_line(environment, self.plan, self.again)
        twin = same if may_be_twin else None
        self.twin = twin.run if twin else ""  # the run that measured the same program as the experiment at HEAD
        self.way_back = way_back(root, store, branch, commit, twin) if twin else ""  # the commit in HEAD's place then
        self.measured = measured or self.way_back == commit  # whether HEAD was measured to an end
        # The commit that the next idea starts from, "" for a HEAD that no run has recorded, which is left alone
        self.start = ((self.plan and self.plan.parent) or best_so_far(store, branch)) if self.measured else ""
        last = None if measured or not launches else launches[-1]
        self.not_counted = (last.why or last.outcome or "") if last else ""  # why the last launch measured nothing
        # The commit whose launch was refused, and why, where nothing was launched since
        self.refused, self.refusal = recent.last_refusal(store, branch)
        self.fixed = protected_changes(root)
        self.is_dirty = bool(commit) and bool(git.differing(root, ("train.py",)))
        self.commit_line = commit_command(root, (self.plan.emitter if self.plan else None) or FREE)
        self.missing = missing_here(environment)  # a message on what only a person can bring
        self.is_told = self.missing != "" and store.fact(TOLD_FACT) == self.missing  # whether the person knows it


def runner_options(environment: Mapping[str, str]) -> str:
    """Return the runner's options for the backend and GPU of the environment; names with unusual signs are left out."""
    named = (environment.get("AUTORESEARCH_BACKEND") or DEFAULT_BACKEND, environment.get("AUTORESEARCH_GPU") or "")
    backend, gpu = (name if re.fullmatch(r"[\w!:+-]+", name, re.ASCII) else "" for name in named)
    if backend in ("", DEFAULT_BACKEND):
        return LOCAL
    return f"--backend {backend} --gpu {gpu}" if gpu else f"--backend {backend}"


def launch_line(environment: Mapping[str, str], plan: Plan | None, again: bool = False) -> str:
    """Return the line that launches HEAD here, with the seed that the pending plan names for its idea."""
    seed = plan.run_seed if plan and plan.kind != REPLICATE else None
    options = runner_options(environment)
    return launch_command(f"{options} --again" if again else options, seed)


def open_runs(paths: LabPaths, store: Store) -> tuple[list[Run], list[Run]]:
    """Return the runs in progress, and the runs without an end whose runner and command are gone."""
    runs = [(run, is_alive(paths.runs / run.folder)) for run in store.open_runs()]
    return [run for run, alive in runs if alive], [run for run, alive in runs if not alive]


def best_so_far(store: Store, branch: str) -> str:
    """Return the commit that was kept last on a branch under its latest contract, "" without one."""
    history = store.judged(branch)
    best = lineage.incumbent(lineage.of_contract(history, branch, lineage.latest_contract(history, branch)))
    return best.commit if best else ""


def profile_here(environment: Mapping[str, str]) -> str:
    """Return the profile that a run here would have, by a quick look at the device file alone."""
    backend = environment.get("AUTORESEARCH_BACKEND") or DEFAULT_BACKEND
    has_gpu = is_remote(backend) or os.path.exists("/dev/nvidia0")
    return environment.get(ENV_PROFILE) or PROFILES[0 if has_gpu else 1]


def head_warnings(root: Path, store: Store, branch: str, commit: str, planned: str | None) -> Iterator[str]:
    """Yield warnings about HEAD, a commit that no run has measured; the plan that is pending names an emitter."""
    subject = git.commit(root, commit).subject
    if subject.startswith(EXPERIMENT):
        twin = same_program(root, store, branch, commit)
        back = way_back(root, store, branch, commit, twin) if twin else ""
        if back == commit:
            return
        if twin:
            take_back = f"take it back: git reset --keep {back[:7]}"
            yield f"HEAD {commit[:7]} is the same program as run {twin.run}, not measured again; {take_back}"
        else:
            yield f"HEAD {commit[:7]} is an experiment without a result: run it before the next one."
    tagged = tag_of(subject)
    if planned and tagged and planned != tagged:
        yield f"The plan asked for {planned}, HEAD's commit says {tagged}: the commit counts."


def missing_here(environment: Mapping[str, str]) -> str:
    """Return a message on what a run lacks on this machine and only a person can bring; "" for nothing."""
    from research.runs.requirements import check_data, check_uv  # loads what no other hook needs

    try:
        check_uv(environment)
        check_data(machine_home(environment), profile_here(environment))
    except ConfigurationError as error:
        return f"{error.what} Only a person can mend that: tell them in one sentence. {error.next}"
    return ""


# Orders ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """The next thing that the agent has to do."""

    kind: Literal["wait", "settle", "replicate", "missing", "dirty", "baseline", "run", "twin", "plan"]
    text: str  # for the agent; "" lets it stop


def next_order(here: Situation, words: int) -> Order:
    """Return the order for the first thing that is to be done, in at most so many words."""
    if here.running:
        return Order(
            "wait",
            f"Run {here.running[0].run} is still in progress. Start nothing else. {here.client.rejoining} After its "
            "end, read `uv run research last-review`.",
        )
    if here.gone:
        return Order(
            "settle",
            f"Run {here.gone[0].run} ended without its runner (it was interrupted; that says nothing about the idea). "
            "Type `uv run research settle`, which records that, and then launch HEAD again if it is not measured.",
        )
    if here.subject.startswith(EXPERIMENT) and not here.measured:  # settling would drop HEAD, and is refused
        return _work_tree_order(here) or _verdict_order(here) or _plan_order(here, words)
    return _verdict_order(here) or _work_tree_order(here) or _plan_order(here, words)


def _verdict_order(here: Situation) -> Order | None:
    """Return the order to carry out the oldest verdict that git has not followed, else to measure an open one again."""
    by_run: dict[str, RecentVerdict] = {}
    by_code: dict[str, RecentVerdict] = {}
    for verdict in here.verdicts:
        by_run.setdefault(verdict.run, verdict)
        by_code.setdefault(verdict.fingerprint or verdict.commit, verdict)
    waiting = [one for one in by_run.values() if not one.settled_utc and one.decision not in OPEN_DECISIONS]
    if waiting:
        verdict = waiting[-1]
        return Order(
            "settle",
            f"Run {verdict.run} is judged: {verdict.decision} ({_quoted(verdict.why)}). Carry that out in git: "
            "`uv run research settle`. It moves the branch only where nothing is lost; if it says what is in the way, "
            "do that first.",
        )
    undecided = next((one for one in by_code.values() if one.decision in OPEN_DECISIONS), None)
    if undecided is None or here.plan is not None:  # the plan knows which seed tells most, and of which configuration
        return None
    look = " It gains far more than anything before, so look at its diff too." * (undecided.decision == "investigate")
    text = f"Run {undecided.run} is undecided ({_quoted(undecided.why)}): it needs another seed.{look}"
    return Order("replicate", f"{text}{_refusal(here, undecided.commit)}\n{_replicate(here, undecided.commit)}")


def _work_tree_order(here: Situation) -> Order | None:
    """Return the order about missing data, changed files or an unmeasured HEAD; None where all is ready for an idea."""
    if here.missing:
        return Order("missing", "" if here.is_told else f"{here.missing}\nThen end your turn.")
    if here.fixed and (here.measured or not _refusal(here, here.head)):  # a refusal says what is to be done itself
        return Order("dirty", restore_advice(here.fixed))
    if here.is_dirty:
        return Order(
            "dirty",
            "train.py has changes that are not committed. If they are the one idea to be tested, commit them: "
            f"`{here.commit_line}`. If not, drop them: `git restore --staged --worktree train.py`.",
        )
    refusal = _refusal(here, here.head)
    if not here.has_baseline:
        known = " Another branch has measured this program; a baseline is measured anew (--again)." * here.again
        text = f"This branch has no baseline yet.{known}{refusal} Measure train.py as it is:\n{_launch(here)}"
        return Order("baseline", text)
    head = f"HEAD {here.head[:7]} {quoted(here.subject, 90)}"
    if here.twin and not here.measured:
        return Order(
            "twin",
            f"{head} is the same program as run {here.twin}, so it would not be measured again. Take it back: "
            f"`git reset --keep {here.way_back[:7]}`. Then try another idea.",
        )
    is_experiment = here.subject.startswith(EXPERIMENT)
    if not here.measured and (here.not_counted or is_experiment):
        why = _quoted(here.not_counted) if is_experiment else here.not_counted  # of others it says what to type
        lost = f" Its last launch did not count: {why}." if here.not_counted else ""
        return Order("run", f"{head} is not measured yet.{lost or refusal}\n{_launch(here)}")
    return None


def _refusal(here: Situation, commit: str) -> str:
    """Return why the last launch of a commit was refused and what to do first, "" where it was not refused."""
    if not here.refusal or here.refused != commit:
        return ""
    why = clean(" ".join(here.refusal.split()), SETTINGS.refusal_chars)
    then = "Wait with `sleep 100` first." if why.startswith(DEVICE_TAKEN) else "Mend that first."
    return f" The last launch was refused:\n{why}\n{then}"


def _quoted(text: str) -> str:
    return quoted(text, SETTINGS.quoted_chars)


def _launch(here: Situation) -> str:
    return (
        f"Type, from the top of the repository{here.client.launching}: {here.launch_line}\n"
        f"{here.client.waiting} After its end, read `uv run research last-review` and type `uv run research settle`. "
        f"{here.client.advice}"
    )


def _replicate(here: Situation, commit: str) -> str:
    options = "" if here.options == LOCAL else here.options
    if here.plan and here.plan.run_seed is not None and here.plan.parent == commit:
        options = f"--seed {here.plan.run_seed} {options}".rstrip()
    return (
        f"Type{here.client.launching}: {replicate_command(commit[:7], options)} > run.log 2>&1\n"
        f"{here.client.waiting} After its end, read `uv run research last-review`. {here.client.advice}"
    )


def _plan_order(here: Situation, words: int) -> Order:
    """Return the order for the planned experiment; the end of a long brief is cut off, never the commands."""
    plan = here.plan
    if plan and plan.kind == "replicate" and plan.parent:
        text = f"Measure {plan.parent[:7]} once more ({_quoted(plan.reason)}).{_refusal(here, plan.parent)}"
        text += f"\n{_replicate(here, plan.parent)}"
        return Order("replicate", text)
    if plan is None:
        idea = (
            "Next experiment: `uv run research next` shows what the planner would try now, `uv run research summary` "
            "what is known, nearly worked and failed. Take that, or the idea with the best expected gain not tried yet."
        )
    else:
        what = f"{plan.emitter or FREE}, category {plan.category or 'any'}"
        idea = plan.details.get("brief") or f"Next experiment: {what}. Why: {_quoted(plan.reason)}."
    back = ""
    if here.start not in ("", here.head):
        back = f"First type `git reset --keep {here.start[:7]}`: this idea starts from there, and what "
        back += f"{here.head[:7]} changed stays recorded.\n"
    rest = (
        f"{back}One idea, train.py only. Commit it before the run: `{here.commit_line}`.\n{_launch(here)}\n"
        "Do not ask for confirmation."
    )
    return Order("plan", f"{_cut(idea, words - len(rest.split(' ')))}\n\n{rest}")


def _cut(text: str, words: int) -> str:
    parts = text.split(" ")
    return text if len(parts) <= words else " ".join(parts[:words]) + " … (`uv run research next` shows all of it)"
