"""Finds the run that has measured a commit's program already, and the commit to go back to then."""

from __future__ import annotations

from pathlib import Path

from research.core import git
from research.core.records import Run
from research.store import recent
from research.store.db import Store


def way_back(root: Path, store: Store, branch: str, commit: str, twin: Run) -> str:
    """Return the commit that takes the place of an experiment whose program another run, its twin, has measured.

    That is the experiment itself where only its message is new: it counts as measured. One that was discarded, or
    measured on another branch, and is made again does not.
    """
    verdict = store.verdict(twin.run)
    is_settled = verdict is not None and verdict.decision == "discard" and bool(verdict.settled_utc)
    is_dropped = is_settled or twin.branch != branch
    is_renamed = not is_dropped and git.is_same_tree(root, twin.commit, commit)
    return commit if is_renamed else git.commit(root, commit).parent or twin.commit


def same_program(root: Path, store: Store, branch: str, commit: str) -> Run | None:
    """Return the run that a launch of a commit would repeat, on whatever branch it was made; None for none."""
    from research.code.fingerprint import fingerprint  # loads what no other hook needs

    try:
        return recent.measured_twin(store, branch, fingerprint(git.blob(root, commit, "train.py") or b""))
    except SyntaxError:
        return None
