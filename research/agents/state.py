"""Looks where a lab stands, for the next order: the memory at a glance, git's own files, and the locks of runs."""

from __future__ import annotations

import os

from research.agents.hooks.git_fast import commit_of, differs, subject_of
from research.agents.next_step import Situation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from research.store.glance import Glance

TARGET = "train.py"
_ENDED = ("scored", "crash", "timeout")
"""Outcomes that say something about a commit."""


def look(root: str, branch: str, store: Glance, options: str, environment: dict[str, str]) -> Situation:
    """The situation of a work tree."""
    head = commit_of(root)
    here = Situation(branch, head, subject_of(root, head) if head else "", options)
    for run in store.open_runs():
        (here.running if _is_alive(root, run["folder"]) else here.gone).append(run["run"])
    here.recent = store.recent(branch)
    here.has_baseline = any(row["baseline"] for row in here.recent) or store.has_baseline(branch)
    here.dirty = bool(head) and differs(root, head, TARGET)
    if head and here.subject.startswith("exp:"):
        runs = store.runs_of(head)
        here.measured = any(run["counted"] and run["outcome"] in _ENDED for run in runs)
        if runs and not here.measured and runs[-1]["outcome"]:
            here.ended_badly = runs[-1]["why"] or runs[-1]["outcome"]
    here.missing_data = missing_data(options, environment)
    here.told_of_data = bool(store.fact("told_of_data"))
    if here.told_of_data and not here.missing_data:
        store.set_fact("told_of_data", None)
    here.plan = store.pending_plan()
    if here.plan:
        from research.agents.hooks.wire import mapping

        details = here.plan["details"] = mapping(str(here.plan["details"]))
        if details.get("branch", branch) != branch:
            here.plan = None
    return here


def _is_alive(root: str, folder: str) -> bool:
    """Whether a run's runner, or anything it launched, still holds its lock."""
    import fcntl

    try:
        fd = os.open(os.path.join(root, "results", "runs", folder, "alive"), os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def missing_data(options: str, environment: dict[str, str]) -> str:
    """What the official profile lacks on this machine, as a sentence; "" where nothing, or where pocket is in use."""
    profile = environment.get("AUTORESEARCH_PROFILE")
    if not profile:
        official = "modal" in options or os.path.exists("/dev/nvidia0")
        profile = "official" if official else "pocket"
    if profile != "official":
        return ""
    home = os.path.expanduser(environment.get("AUTORESEARCH_HOME") or "~/.cache/autoresearch")
    try:
        has_data = any(name.endswith(".parquet") for name in os.listdir(os.path.join(home, "data")))
    except OSError:
        has_data = False
    if not has_data:
        return f"The data of the official profile is missing in {home}."
    if not os.path.isfile(os.path.join(home, "tokenizer", "tokenizer.json")):
        return f"The tokenizer of the official profile is missing in {home}."
    return ""
