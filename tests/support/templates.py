"""Folders that are made once in a process and copied from then on: making a repository takes six calls of git."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
"""Variables by which git reads no configuration but the repository's."""
NAMED = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Test"), ("EMAIL", "test@example.org"))
}
"""Variables by which git knows who commits."""


@functools.cache
def _kept() -> Path:
    """The folder of this process's templates, which goes when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="templates-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def template(make: Callable[[Path, str], None], argument: str) -> Path:
    """Return the folder that make(folder, argument) has filled, to be copied and left as it is."""
    folder = Path(tempfile.mkdtemp(dir=_kept()))
    make(folder, argument)
    return folder


def git(root: Path, *arguments: str) -> str:
    """Run git in a folder, as a person who is called Test and has no configuration."""
    outer = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, env=outer | ALONE | NAMED)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit_all(root: Path, subject: str) -> None:
    """Commit everything in a folder to main; the folder becomes a repository if it is none."""
    if not (root / ".git").exists():
        git(root, "init", "-q", "-b", "main", "--template=")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", subject)
