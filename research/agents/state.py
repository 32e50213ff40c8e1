"""Reads the situation of a lab, from which the next order is written: memory, git, locks of runs, data, run.log."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from research.agents.clients.base import Client
from research.agents.policy.protected import protected_changes
from research.core import git
from research.core.commands import commit_command
from research.core.commit_message import EXPERIMENT, FREE, tag_of
from research.core.contract import ENV_PROFILE, PROFILES
from research.core.errors import ConfigurationError
from research.core.paths import LabPaths, machine_home
from research.core.records import REPLICATE, Plan, Run
from research.runs.backends import DEFAULT_BACKEND, is_remote
from research.store import reads, recent
from research.store.db import Store
from research.store.folders import is_alive
from research.store.ledger import ROW_OUTCOMES

LOCAL = f"--backend {DEFAULT_BACKEND}"
"""The runner's options where a lab names no backend."""
TOLD_FACT = "told_of_missing"
"""Name of the store's fact that holds what the person was told is missing."""


class Situation:
    """What the next order depends on, read when it is made; the environment names backend, GPU, profile and data."""

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
        measured = any(launch.counted and launch.outcome in ROW_OUTCOMES for launch in launches)
        self.twin, self.way_back = ("", "") if measured else find_twin(root, store, branch, commit, self.subject)
        self.measured = measured or self.way_back == commit  # whether HEAD was measured to an end
        last = None if measured or not launches else launches[-1]
        self.not_counted = (last.why or last.outcome or "") if last else ""  # why it says nothing about HEAD
        # The commit whose launch was refused, and why, where nothing was launched since
        self.refused, self.refusal = recent.last_refusal(store, branch)
        self.fixed = protected_changes(root)
        self.is_dirty = bool(commit) and bool(git.differing(root, ("train.py",)))
        self.commit_line = commit_command(root, (self.plan.emitter if self.plan else None) or FREE)
        self.missing = missing_here(environment)  # what only a person can bring, and what they have to type
        self.is_told = self.missing != "" and store.fact(TOLD_FACT) == self.missing


def runner_options(environment: Mapping[str, str]) -> str:
    """Return the runner's options for the backend and GPU that this lab uses, names of other signs left out."""
    named = (environment.get("AUTORESEARCH_BACKEND") or DEFAULT_BACKEND, environment.get("AUTORESEARCH_GPU") or "")
    backend, gpu = (name if name.replace("-", "").replace("!", "").isalnum() else "" for name in named)
    if backend in ("", DEFAULT_BACKEND):
        return LOCAL
    return f"--backend {backend} --gpu {gpu}" if gpu else f"--backend {backend}"


def launch_seed(plan: Plan | None) -> int | None:
    """Return the seed that a plan names for the launch of its idea, None where it names none."""
    return plan.run_seed if plan and plan.kind != REPLICATE else None


def open_runs(paths: LabPaths, store: Store) -> tuple[list[Run], list[Run]]:
    """Return the runs without an end: those in progress, and those whose runner and command are gone."""
    runs = [(run, is_alive(paths.runs / run.folder)) for run in store.open_runs()]
    return [run for run, alive in runs if alive], [run for run, alive in runs if not alive]


def profile_here(environment: Mapping[str, str]) -> str:
    """Return the profile that a run of this lab would have, by a look at the device file alone."""
    backend = environment.get("AUTORESEARCH_BACKEND") or DEFAULT_BACKEND
    has_gpu = is_remote(backend) or os.path.exists("/dev/nvidia0")
    return environment.get(ENV_PROFILE) or PROFILES[0 if has_gpu else 1]


def find_twin(root: Path, store: Store, branch: str, commit: str, subject: str) -> tuple[str, str]:
    """Return the run that measured the same program as an experiment, and the commit that takes its place, "" for none:
    the experiment itself where only its message is new, which counts as measured."""
    if not subject.startswith(EXPERIMENT):
        return "", ""
    from research.code.fingerprint import fingerprint  # loads what no other hook needs

    try:
        found = recent.measured_twin(store, branch, fingerprint(git.blob(root, commit, "train.py") or b""))
    except SyntaxError:
        found = None
    if found is None:
        return "", ""
    run, measured = found
    return run, commit if git.is_same_tree(root, measured, commit) else git.commit(root, commit).parent or measured


def head_warnings(root: Path, store: Store, branch: str, commit: str, planned: str | None) -> Iterator[str]:
    """Yield what to say of HEAD, a commit that no run has measured, beside the emitter of the pending plan."""
    subject = git.commit(root, commit).subject
    twin, way_back = find_twin(root, store, branch, commit, subject)
    if way_back == commit:
        return
    if twin:
        back = f"git reset --keep {way_back[:7]}"
        yield f"HEAD {commit[:7]} is the same program as run {twin}, not measured again; take it back: {back}"
    elif subject.startswith(EXPERIMENT):
        yield f"HEAD {commit[:7]} is an experiment without a result: run it before the next one."
    tagged = tag_of(subject)
    if planned and tagged and planned != tagged:
        yield f"The plan asked for {planned}, HEAD's commit says {tagged}: the commit counts."


def missing_here(environment: Mapping[str, str]) -> str:
    """Return what a run lacks on this machine and only a person can bring, with what to type; "" for nothing."""
    from research.runs.requirements import check_data, check_uv  # loads what no other hook needs

    try:
        check_uv(environment)
        check_data(machine_home(environment), profile_here(environment))
    except ConfigurationError as error:
        return f"{error.what} Only a person can mend that: tell them in one sentence. {error.next}"
    return ""
