"""Shows, after a tool (PostToolUse), a run that has finished, and fixed files that are not as they were."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from research.agents import autonomy
from research.agents.hooks.entry import Call, context
from research.agents.hooks.reviews import open_current_memory, unseen_review
from research.core import git
from research.core.contract import BRANCHES, HARNESS
from research.store.db import Store

_FACT = "protected_shown:"
"""With a branch's name behind it, the store's fact that holds the changed files that were shown, a line each."""
_NAMED = 5
"""Changed files that are named one by one."""


def answer(call: Call) -> dict[str, Any] | None:
    """Answer PostToolUse."""
    if call.is_driven:
        return None
    branch = git.head(call.paths.root).branch
    with open_current_memory(call) as store:
        is_guarded = branch.startswith(BRANCHES) or autonomy.load(store).enabled
        changes = _unseen_changes(call, store, branch) if is_guarded else ""
        return context(call, changes, unseen_review(store, branch))


def _unseen_changes(call: Call, store: Store, branch: str) -> str:
    """Return what to do about fixed files that differ from HEAD, "" where that was said of these files already."""
    changed = protected_changes(call.paths.root)
    fact, state = _FACT + branch, "\n".join(changed)
    if state == (store.fact(fact) or ""):
        return ""
    call.make_memory()
    with call.open_memory() as kept:
        kept.set_fact(fact, state)
    return restore_advice(changed)


def protected_changes(root: Path) -> list[str]:
    """Return the fixed files whose content in the work tree or the index differs from HEAD's."""
    return [path for path in git.changed_files(root) if path.split("/")[0] in HARNESS]


def restore_advice(changed: list[str]) -> str:
    """Return a sentence that names changed fixed files and the command that restores them, "" for none."""
    if not changed:
        return ""
    few = changed if len(changed) <= _NAMED else sorted({path.split("/")[0] for path in changed})
    names = ", ".join(changed[:_NAMED]) + (f" and {len(changed) - _NAMED} more" if few != changed else "")
    return (
        f"Fixed files differ from HEAD: {names}. No run is launched while they do; experiments change train.py alone. "
        f"Put them back: git restore --staged --worktree -- {shlex.join(few)}"
    )
