"""Names what experiments must not change, and says what to do instead.

Records (results.tsv, results/discovery, results/runs) are written by the runner and the verbs, on every branch. The
fixed files (prepare.py, research/, scripts/ and the rest of FIXED, and the machine's data folder) are fixed while
experiments run: on autoresearch/* branches, and anywhere while autonomy is on.
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
from research.core.contract import PROTECTED

Reach = Literal["file", "tracked", "all"]

FIXED = (*PROTECTED, "uv.lock", ".venv")
RECORDS = ("results.tsv", "results/discovery", "results/runs")
_NAMED = 5
"""Changed files that are named one by one."""
_CACHES = frozenset({"__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache"})
_TEMPORARY = ("/tmp", "/var/tmp", "/private/tmp", "/dev/shm")

SECRET = (
    "This file holds audit scores, which nobody who chooses experiments may see. Use `uv run research last-review`, "
    "`uv run research summary --json`, results.tsv, or the run's run.log."
)
_AWAY = (
    "Files outside this repository and the temporary folders are not yours to delete. Name the exact files to the "
    "person if they are in the way; scratch files belong under /tmp."
)
_WHOLE_TREE = "That would delete the repository itself. Name the files that you made: rm FILE, or git clean -fd."
_HISTORY = "The repository's history is in .git. Leave it alone; git has commands for what is to change."


@dataclass(frozen=True)
class Where:
    """Where a command would run, and what is protected there.

    Attributes:
        root: Top of the work tree.
        branch: The branch, "" when detached.
        guarded: Whether the fixed files are protected, besides the records.
        driven: Whether a driver started the agent, which then only edits and commits.
        data: The machine's folder of data and tokenizers, "" where it is unknown.
        launch: The line that launches the next run, with this lab's backend and the plan's seed.
        wait: How the agent types a long command and waits for it, to go behind a command.
    """

    root: str
    branch: str
    guarded: bool
    driven: bool = False
    data: str = ""
    launch: str = ""
    wait: str = ""

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """Return the top as it is spelled, with links resolved, and that of the main work tree of a linked one."""
        return tuple(dict.fromkeys((os.path.normpath(self.root), os.path.realpath(self.root), *_main_tree(self.root))))

    @cached_property
    def protected(self) -> dict[str, list[str]]:
        """Return the paths below the top that are protected, with their parts."""
        return {name: name.split("/") for name in (*RECORDS, *(FIXED if self.guarded else ()))}

    def below(self, path: str) -> list[str] | None:
        """Return a path's parts below the top, [] for the top or a folder above it, None for other places."""
        for root in self.roots:
            if is_inside(root, path):
                return []
            if is_inside(path, root):
                return path[len(root) + 1 :].split("/")
        return None


def is_inside(path: str, folder: str) -> bool:
    """Return whether a path is a folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _main_tree(root: str) -> tuple[str, ...]:
    """Return the top of the main work tree of a linked one."""
    try:
        with open(os.path.join(root, ".git"), encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return ()
    main, mark, _ = text.removeprefix("gitdir:").strip().partition("/.git/worktrees/")
    return (main,) if mark else ()


def protected_part(path: str, where: Where, reach: Reach = "file") -> str:
    """Return the protected part that a path is, lies in, or reaches, "" for none.

    Args:
        path: An absolute path, "" where it is unknown; it may hold `*`, `?` and `[...]`.
        where: The checkout.
        reach: What is meant: the path itself, all tracked files below it, or everything below it.
    """
    parts = where.below(path) if path else None
    if parts is None:
        return where.data if path and where.guarded and where.data and is_inside(path, where.data) else ""
    if set(parts) & _CACHES or (parts and parts[-1].endswith(".pyc")):
        return ""
    is_pattern = any(sign in path for sign in "*?[")
    for name, wanted in where.protected.items():
        pairs = zip(parts, wanted, strict=False)
        fits = all(one == other or (is_pattern and fnmatchcase(other, one)) for one, other in pairs)
        if fits and (len(parts) >= len(wanted) or reach == "all" or (reach == "tracked" and name not in RECORDS)):
            return name
    return ""


def refuse_change(path: str, where: Where, reach: Reach = "file") -> str | None:
    """Return why a path must not be written, None where it may be."""
    part = protected_part(path, where, reach)
    if not part:
        return None
    return ("" if protected_part(path, where) else f"This covers {part}. ") + _reason(part, where)


def _reason(part: str, where: Where) -> str:
    if part == "results.tsv":
        return (
            "results.tsv is the lab's ledger: the runner writes it. Run experiments through the runner, and type "
            "`uv run research settle` to carry a verdict out; to overrule one a person types `research decide`."
        )
    if part in RECORDS:
        return (
            "results/ is the lab's memory: the runner and the verbs write it. Put scratch files under /tmp; "
            "`uv run research --help` lists the verbs that change records."
        )
    if part == where.data:
        return (
            "The data folder is the benchmark's and must not change between runs. If data is missing, ask the "
            "person to type `uv run prepare.py`."
        )
    if part == "prepare.py":
        return (
            "prepare.py is the fixed benchmark: changed, no score could be compared any more. Edit train.py only; "
            "what is needed from prepare.py can be done in train.py, or proposed to the person. To put it back as HEAD "
            "has it, type: `git restore -- prepare.py`"
        )
    back = f" To put it back as HEAD has it, type: `git restore -- {part}`" if part in PROTECTED else ""
    return (
        f"{part} belongs to the harness, which is fixed while experiments run. Edit train.py only; if the harness "
        f"itself is broken, tell the person, who mends it on another branch with autonomy off.{back}"
    )


def refuse_deletion(path: str, where: Where, environment: Mapping[str, str]) -> str | None:
    """Return why a path must not be deleted, protected or not; None where it may be."""
    if not path:
        return None
    parts = where.below(path)
    if parts == []:
        return _WHOLE_TREE if path in where.roots else _AWAY
    if parts is not None:
        return _HISTORY if parts[0] == ".git" and parts[-1] != "index.lock" else None
    home, temporary = environment.get("HOME", "").rstrip("/"), [*_TEMPORARY, environment.get("TMPDIR", "/tmp")]
    if home and is_inside(path, home):  # which may itself lie in a temporary folder
        temporary = [place for place in temporary if is_inside(place, home)]
    return None if any(path.startswith(place.rstrip("/") + "/") for place in temporary) else _AWAY


def protected_changes(root: Path) -> list[str]:
    """Return the fixed files whose content in the work tree or the index differs from HEAD's."""
    return [path for path in git.changed_files(root) if path.split("/")[0] in PROTECTED]


def restore_advice(changed: Sequence[str]) -> str:
    """Return a sentence that names changed fixed files and the command that restores them, "" for none."""
    if not changed:
        return ""
    few = changed if len(changed) <= _NAMED else sorted({path.split("/")[0] for path in changed})
    names = ", ".join(changed[:_NAMED]) + (f" and {len(changed) - _NAMED} more" if few != changed else "")
    return (
        f"Fixed files differ from HEAD: {names}. No run is launched while they do; experiments change train.py alone. "
        f"Put them back: git restore --staged --worktree -- {shlex.join(few)}"
    )
