"""The only caller of git: what the repository holds, and the few moves the control plane makes in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from research.errors import ResearchError

GIT_TIMEOUT_S = 60.0
"""Limit of one git call: the slowest here takes well under a second; a network file system may take some."""

RUN_REFS = "refs/research/runs/"
"""Every run's commit stays reachable under this."""


class GitError(ResearchError):
    """git is missing, refuses this repository, or failed."""


def _environment() -> Mapping[str, str]:
    # Hooks and aliases of an outer git command must not point us at another repository.
    hidden = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"}
    return {k: v for k, v in os.environ.items() if k not in hidden} | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}


def _call(cwd: Path, *args: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", "-C", str(cwd), *args],
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
            env=_environment(),
            check=False,
        )
    except FileNotFoundError:
        raise GitError("git is not installed or not on PATH.", "Install git and try again.") from None
    except subprocess.TimeoutExpired:
        raise GitError(f"git {args[0]} did not answer within {GIT_TIMEOUT_S:.0f} s.", "Try again.") from None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def find_root(cwd: Path) -> Path:
    """The top of the work tree that holds cwd.

    Raises:
        GitError: outside a repository, or where git refuses it.
    """
    done = _call(cwd, "rev-parse", "--show-toplevel")
    if done.returncode == 0:
        return Path(_text(done.stdout).rstrip("\n"))
    message = _text(done.stderr).strip()
    if "dubious ownership" in message:
        raise GitError(
            f"git refuses the repository at {cwd}: another user owns it.",
            "Type: git config --global --add safe.directory '*'",
        )
    raise GitError(f"{cwd} is not inside a git repository.", "Change into the repository (or: git init).")
