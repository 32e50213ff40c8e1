"""Reads the situation of a lab, from which the next order is written: memory, git, locks of runs, data, run.log."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from research.agents.clients.base import Client
from research.agents.policy.protected import protected_changes
from research.core import git
from research.core.commands import commit_command
from research.core.commit_message import EXPERIMENT, FREE
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


@dataclass(frozen=True)
class Situation:
    """What the next order depends on."""

    client: Client
    branch: str
    head: str = ""  # full hash, "" without commits
    subject: str = ""  # HEAD's
    options: str = LOCAL  # the runner's, for this lab's backend and GPU
    running: Sequence[Run] = ()
    gone: Sequence[Run] = ()  # runs without an end whose runner and command are gone
    verdicts: Sequence[recent.RecentVerdict] = ()  # newest first
    has_baseline: bool = False
    measured: bool = False  # whether HEAD was measured to an end
    not_counted: str = ""  # why the last launch of HEAD says nothing about it
    twin: str = ""  # the run that measured the same program, where HEAD is an experiment that was not measured
    way_back: str = ""  # the commit that takes its place
    refused: str = ""  # the commit whose launch was refused, where nothing was launched since
    refusal: str = ""  # why
    fixed: Sequence[str] = ()  # protected files that differ from HEAD
    dirty: bool = False  # whether train.py differs from HEAD
    commit: str = ""  # the line that commits train.py as an experiment of the plan
    missing: str = ""  # what only a person can bring, and what they have to type
    is_told: bool = False  # whether the person was told that
    plan: Plan | None = None  # the pending one


def read_situation(
    paths: LabPaths, head: git.Head, store: Store, client: Client, environment: Mapping[str, str]
) -> Situation:
    """Read the situation of a work tree; the environment names backend, GPU, profile and data folder."""
    options = runner_options(environment)
    commit = head.commit or ""
    launches = recent.launches_of(store, commit) if commit else []
    measured = any(launch.counted and launch.outcome in ROW_OUTCOMES for launch in launches)
    last = launches[-1] if launches and not measured else None
    alive, gone = open_runs(paths, store)
    verdicts = recent.recent_verdicts(store, head.branch)
    plan = reads.plan_of(store, head.branch)
    subject = git.commit(paths.root, commit).subject if commit else ""
    twin, way_back = ("", "") if measured else find_twin(paths.root, store, head.branch, commit, subject)
    missing = missing_here(environment)
    refused, refusal = recent.last_refusal(store, head.branch)
    return Situation(
        client=client,
        branch=head.branch,
        head=commit,
        subject=subject,
        options=options,
        running=alive,
        gone=gone,
        verdicts=verdicts,
        has_baseline=any(verdict.baseline for verdict in verdicts) or recent.has_baseline(store, head.branch),
        measured=measured or way_back == commit,
        not_counted=(last.why or last.outcome or "") if last else "",
        twin=twin,
        way_back=way_back,
        refused=refused,
        refusal=refusal,
        fixed=protected_changes(paths.root),
        dirty=bool(commit) and bool(git.differing(paths.root, ("train.py",))),
        commit=commit_command(paths.root, (plan.emitter if plan else None) or FREE),
        missing=missing,
        is_told=missing != "" and store.fact(TOLD_FACT) == missing,
        plan=plan,
    )


def runner_options(environment: Mapping[str, str]) -> str:
    """Return the runner's options for the backend and GPU that this lab uses, names of other signs left out."""
    backend, gpu = _backend_of(environment), environment.get("AUTORESEARCH_GPU") or ""
    if not _is_name(backend) or backend == DEFAULT_BACKEND:
        return LOCAL
    return f"--backend {backend} --gpu {gpu}" if _is_name(gpu) else f"--backend {backend}"


def launch_seed(plan: Plan | None) -> int | None:
    """Return the seed that a plan names for the launch of its idea, None where it names none."""
    return plan.run_seed if plan and plan.kind != REPLICATE else None


def _backend_of(environment: Mapping[str, str]) -> str:
    return environment.get("AUTORESEARCH_BACKEND") or DEFAULT_BACKEND


def _is_name(word: str) -> bool:
    return word.replace("-", "").replace("!", "").isalnum()


def open_runs(paths: LabPaths, store: Store) -> tuple[list[Run], list[Run]]:
    """Return the runs without an end: those in progress, and those whose runner and command are gone."""
    runs = [(run, is_alive(paths.runs / run.folder)) for run in store.open_runs()]
    return [run for run, alive in runs if alive], [run for run, alive in runs if not alive]


def profile_here(environment: Mapping[str, str]) -> str:
    """Return the profile that a run of this lab would have, by a look at the device file alone."""
    has_gpu = is_remote(_backend_of(environment)) or os.path.exists("/dev/nvidia0")
    return environment.get(ENV_PROFILE) or PROFILES[0 if has_gpu else 1]


def find_twin(root: Path, store: Store, branch: str, commit: str, subject: str) -> tuple[str, str]:
    """Return the run that measured the same program as an experiment, and the commit that takes its place, "" for none.

    That is the commit itself where only its message is new: it counts as measured.
    """
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


def missing_here(environment: Mapping[str, str]) -> str:
    """Return what a run lacks on this machine and only a person can bring, with what to type; "" for nothing."""
    from research.runs.requirements import check_data, check_uv  # loads what no other hook needs

    try:
        check_uv(environment)
        check_data(machine_home(environment), profile_here(environment))
    except ConfigurationError as error:
        return f"{error.what} Only a person can mend that: tell them in one sentence. {error.next}"
    return ""
