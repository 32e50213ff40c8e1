"""Lists the files that experiments must not change, and explains what to do instead.

The records are written by the runner and the verbs, on every branch. The fixed files and the machine's data folder are
fixed while experiments run: on autoresearch/* branches, and anywhere while autonomy is on.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Literal

from research.core import git
from research.core.commands import MAX_NAMED, paths_to_type
from research.core.contract import PROTECTED
from research.core.text import first_few

Reach = Literal["file", "tracked", "all"]
"""The reach of a path: itself, all tracked files below it, or everything below it."""

FIXED = (*PROTECTED, "uv.lock", ".venv")
RECORDS = ("results.tsv", "results/discovery", "results/runs")
_CACHES = frozenset({"__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache"})
_TEMPORARY = ("/tmp", "/var/tmp", "/private/tmp", "/dev/shm")

_REASONS = {
    "results.tsv": (
        "results.tsv is the lab's ledger: the runner writes it. Run experiments through the runner, and type `uv run "
        "research settle` to carry a verdict out; to overrule one a person types `research decide`."
    ),
    "results": (
        "results/ is the lab's memory: the runner and the verbs write it. Put scratch files under /tmp; `uv run "
        "research --help` lists the verbs that change records."
    ),
    "prepare.py": (
        "prepare.py is the fixed benchmark: changed, no score could be compared any more. Edit train.py only; what is "
        "needed from prepare.py can be done in train.py, or proposed to the person."
    ),
}
_DATA = (
    "The data folder is the benchmark's and must not change between runs. If data is missing, ask the person to type "
    "`uv run prepare.py`."
)
_HARNESS = (
    "{} belongs to the harness, which is fixed while experiments run. Edit train.py only; if the harness itself is "
    "broken, tell the person, who mends it on another branch with autonomy off."
)
_AWAY = (
    "Files outside this repository and the temporary folders are not yours to delete. Name the exact files to the "
    "person if they are in the way; scratch files belong under /tmp."
)
_WHOLE_TREE = "That would delete the repository itself. Name the files that you made: rm FILE, or git clean -fd."
_HISTORY = "The repository's history is in .git. Leave it alone; git has commands for what is to change."


@dataclass(frozen=True)
class PolicyScope:
    """The checkout and branch that a command would run on, and what is protected there."""

    root: str  # top of the work tree
    branch: str  # "" when detached
    guarded: bool  # whether the fixed files are protected, besides the records
    driven: bool = False  # whether a driver started the agent, which then only edits and commits
    data: str = ""  # the machine's folder of data and tokenizers, "" where it is unknown
    launch: str = ""  # the line that launches the next run, with this lab's backend and the plan's seed
    wait: str = ""  # words on how the agent types a long command and waits for it, to follow a command

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """Return the top as it is spelled, and with links resolved; for a linked work tree also the main one's top."""
        return os.path.normpath(self.root), os.path.realpath(self.root), *_main_tree(self.root)

    def below(self, path: str) -> list[str] | None:
        """Return a path's parts below the top, [] for the top or a folder above it, None for other places."""
        for root in self.roots:
            if is_inside(root, path):
                return []
            if is_inside(path, root):
                return path[len(root) + 1 :].split("/")
        return None


def _main_tree(root: str) -> tuple[str, ...]:
    """Return the top of the main work tree of a linked one, which holds the records; () of another one."""
    try:
        text = Path(root, ".git").read_text("utf-8", "replace")
    except OSError:  # a folder: this is the main one
        return ()
    main, mark, _ = text.removeprefix("gitdir:").strip().partition("/.git/worktrees/")
    return (main,) if mark else ()


def is_inside(path: str, folder: str) -> bool:
    """Return whether a path is a folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def protected_part(path: str, where: PolicyScope, reach: Reach = "file") -> str:
    """Return the protected part that an absolute path is, lies in, or reaches, "" for none; it may hold `*` and `?`."""
    if path and where.guarded and where.data and is_inside(path, where.data):
        return where.data
    parts = where.below(path) if path else None
    if parts is None:
        return ""
    if set(parts) & _CACHES or (parts and parts[-1].endswith(".pyc")):
        return ""
    for name in RECORDS + FIXED if where.guarded else RECORDS:
        wanted = name.split("/")
        fits = all(fnmatchcase(fixed, part) for part, fixed in zip(parts, wanted, strict=False))
        if fits and (len(parts) >= len(wanted) or reach == "all" or (reach == "tracked" and name not in RECORDS)):
            return name
    return ""


def refuse_change(path: str, where: PolicyScope, reach: Reach = "file") -> str | None:
    """Return why a path must not be written, None where it may be."""
    part = protected_part(path, where, reach)
    if not part:
        return None
    covers = "" if protected_part(path, where) else f"This covers {part}. "
    reason = _DATA if part == where.data else _REASONS.get(part.split("/")[0], _HARNESS.format(part))
    back = f" To put it back as HEAD has it, type: `git restore -- {part}`" if part in PROTECTED else ""
    return covers + reason + back


def refuse_deletion(path: str, where: PolicyScope, environment: Mapping[str, str]) -> str | None:
    """Return why a path must not be deleted, protected or not; None where it may be."""
    if not path:
        return None
    parts = where.below(path)
    if parts == []:
        return _WHOLE_TREE if path in where.roots else _AWAY
    if parts is not None:
        is_history = parts[0] == ".git" and parts[-1] != "index.lock"
        return _HISTORY if is_history else refuse_change(path, where, "all")
    temporary = (*_TEMPORARY, environment.get("TMPDIR") or "/tmp")  # an empty one would be every folder
    if not any(path.startswith(place.rstrip("/") + "/") for place in temporary):
        return _AWAY
    return refuse_change(path, where)  # the data folder may be among them


def protected_changes(root: Path) -> list[str]:
    """Return the fixed files whose content in the work tree or the index differs from HEAD's."""
    return [path for path in git.changed_files(root) if path.split("/")[0] in PROTECTED]


def restore_advice(changed: Sequence[str]) -> str:
    """Return a sentence that names changed fixed files and the command that restores them, "" for none."""
    if not changed:
        return ""
    names = ", ".join(first_few(changed, MAX_NAMED))
    return (
        f"Fixed files differ from HEAD: {names}. No run is launched while they do; experiments change train.py alone. "
        f"Put them back: git restore --staged --worktree -- {shlex.join(paths_to_type(changed))}"
    )
