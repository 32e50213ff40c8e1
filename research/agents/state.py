"""Reads the situation of a lab, from which the next order is written: memory, git, locks of runs, data, run.log."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from research.agents.clients.base import Client
from research.core import git
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
DATA_FACT = "told_of_data"
"""Name of the store's fact that holds "1" once the person was told that data is missing."""
_REFUSALS = ("refused", "configuration")
_LOG_END_BYTES = 4096
"""The runner's last two lines fit twice."""


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
    refusal: str = ""  # why the launch that wrote run.log was refused
    dirty: bool = False  # whether train.py differs from HEAD
    missing_data: str = ""  # what is missing, as a sentence
    told_of_data: bool = False  # whether the person was told that
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
    return Situation(
        client=client,
        branch=head.branch,
        head=commit,
        subject=git.commit(paths.root, commit).subject if commit else "",
        options=options,
        running=alive,
        gone=gone,
        verdicts=verdicts,
        has_baseline=any(verdict.baseline for verdict in verdicts) or recent.has_baseline(store, head.branch),
        measured=measured,
        not_counted=(last.why or last.outcome or "") if last else "",
        refusal=refusal_in(paths.run_log),
        dirty=bool(commit) and bool(git.differing(paths.root, ("train.py",))),
        missing_data=missing_data(environment),
        told_of_data=bool(store.fact(DATA_FACT)),
        plan=reads.plan_of(store, head.branch),
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


def missing_data(environment: Mapping[str, str]) -> str:
    """Return what the official profile lacks on this machine, as a sentence; "" where nothing, or on pocket."""
    from research.runs.requirements import check_data  # loads what no other hook needs

    try:
        check_data(machine_home(environment), profile_here(environment))
    except ConfigurationError as error:
        return error.what
    return ""


def refusal_in(run_log: Path) -> str:
    """Return why the launch that wrote a log was refused, "" if it was not; the memory holds no refused runs."""
    try:
        with run_log.open("rb") as file:
            file.seek(max(0, run_log.stat().st_size - _LOG_END_BYTES))
            lines = [line for line in file.read().decode("utf-8", "replace").splitlines() if line.startswith("[run] ")]
        outcome = json.loads(lines[-1].removeprefix("[run] end "))["outcome"]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    return lines[-2].removeprefix("[run] ") if outcome in _REFUSALS and len(lines) > 1 else ""
