"""The command lines that people and agents are asked to type next, each spelled once."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from research.core import git
from research.core.commit_message import EXPERIMENT
from research.core.contract import DEFAULT_SEED

MAX_NAMED = 5
"""Most files that a message or a command names one by one."""


def launch_command(options: str, seed: int | None = None) -> str:
    """Return the line that launches train.py in the work tree, with the runner's options and, if unusual, a seed."""
    if seed not in (None, DEFAULT_SEED):
        options = f"{options} --seed {seed}"
    # uv brings the project's own Python: `python` is missing on many machines, and `python3` may be too old.
    return f"uv run python scripts/run_experiment.py {options} -- uv run train.py > run.log 2>&1"


def replicate_command(commit: str, options: str = "") -> str:
    """Return the line that measures a commit with another seed, with the verb's options."""
    return " ".join(filter(None, ["uv run research replicate", commit[:12], options]))


def log_command(folder: str) -> str:
    """Return the line that shows the end of a run's log."""
    return f"tail -n 30 results/runs/{folder}/run.log"


def git_commit(root: Path) -> str:
    """Return the beginning of a line that commits, with an author where git knows none."""
    names = " -c user.name=autoresearch -c user.email=autoresearch@localhost" if git.author(root) else ""
    return f"git{names} commit"


def first_commit_command(root: Path) -> str:
    """Return the line that commits all that there is, for a repository that does not hold its train.py yet."""
    return f"git add -A && {git_commit(root)} -m base"


def commit_command(root: Path, emitter: str = "NAME") -> str:
    """Return the line that commits train.py as an experiment."""
    return f"{git_commit(root)} -m '{EXPERIMENT} WHAT [emitter={emitter}]' -- train.py"


def paths_to_type(paths: Sequence[str]) -> list[str]:
    """Return paths for a command line: each of a few, of more than MAX_NAMED the first part of each path, once."""
    return list(paths) if len(paths) <= MAX_NAMED else sorted({path.split("/")[0] for path in paths})


def put_away_command(paths: Sequence[str]) -> str:
    """Return the line that stashes the changes of files, new files too; `git stash pop` brings them back."""
    files = shlex.join(paths)
    return f"git reset -q -- {files} && git stash push --include-untracked -- {files}"
