"""Makes work trees below the checkout, in which commits other than its HEAD are run."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from research.core import git


def environment_beside(root: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables with which ``uv run`` in another work tree uses the checkout's packages.

    Without them uv would make a second environment there, or point the first one at a tree that will be removed.
    """
    if not (root / ".venv").is_dir():
        return dict(environment)
    return {"UV_PROJECT_ENVIRONMENT": str(root / ".venv"), "UV_NO_SYNC": "1", **environment}


@contextmanager
def checked_out(root: Path, commit: str, name: str = "replicate") -> Iterator[Path]:
    """Check a commit out into a work tree of its own, removed afterwards."""
    place = root / "worktrees" / f"{name}-{commit[:12]}-{secrets.token_hex(2)}"
    git.add_worktree(root, place, commit)
    try:
        yield place
    finally:
        git.remove_worktree(root, place)


def worker_tree(root: Path, number: int, commit: str) -> Path:
    """Check a commit out in the work tree of a night's worker, which is made where it is missing; return its folder.

    Raises:
        GitError: if git can't make it.
    """
    place = root / "worktrees" / f"night-{number}"
    if (place / ".git").is_file():  # else git would take the checkout around it
        with suppress(git.GitError):  # such as the lock of a git that was killed here: made anew, below
            git.checkout_detached(place, commit)
            return place
    git.remove_worktree(root, place)
    shutil.rmtree(place, ignore_errors=True)  # what a killed git had made of one
    git.add_worktree(root, place, commit)
    return place


def remove_worker_trees(root: Path) -> None:
    """Remove the night's work trees, and those that nights which were killed left of their coding agents."""
    for name in ("night-*", "client-*"):
        for place in sorted((root / "worktrees").glob(name)):
            git.remove_worktree(root, place)
