"""PostToolUse: shows a run that has finished, and fixed files that are not as they were, whatever the tool was."""

from __future__ import annotations

import shlex
from typing import Any

from research.agents import autonomy
from research.agents.hooks.entry import Call, context
from research.agents.hooks.reviews import open_current_memory, unseen_review
from research.core import git
from research.core.clock import system_clock, utc
from research.core.contract import BRANCHES
from research.runs.preflight import FIXED
from research.store.db import Store
from research.store.open import open_store

_FACT = "protected_shown:"
"""With a branch's name behind it, the store's fact that holds the changed files that were shown, a line each."""
_SHOWN = 5
"""Files that are named; git status names the rest."""


def answer(call: Call) -> dict[str, Any] | None:
    """Answer PostToolUse."""
    if call.is_driven:
        return None
    branch = git.head(call.paths.root).branch
    with open_current_memory(call) as store:
        is_guarded = branch.startswith(BRANCHES) or autonomy.load(store).enabled
        changes = _unseen_changes(call, store, branch) if is_guarded else ""
        return context(call, changes, unseen_review(store, branch))


def protected_changes(call: Call) -> tuple[str, ...]:
    """Return the fixed files that differ from HEAD."""
    return git.differing(call.paths.root, FIXED)


def _unseen_changes(call: Call, store: Store, branch: str) -> str:
    """Return what to do about fixed files that differ from HEAD, "" where that was said of these files already."""
    changed = protected_changes(call)
    fact, state = _FACT + branch, "\n".join(changed)
    if state == (store.fact(fact) or ""):
        return ""
    if store.path is None:  # nothing was recorded yet, so there is no memory to note it in
        with open_store(call.paths, utc(system_clock()), call.log) as made:
            made.set_fact(fact, state)
    else:
        store.set_fact(fact, state)
    if not changed:
        return ""
    names = shlex.join(changed[:_SHOWN]) + (f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else "")
    known = [path for path in changed if git.is_tracked(call.paths.root, path)]
    new = [path for path in changed if path not in known]
    commands = [f"`git restore --staged --worktree -- {shlex.join(known)}`"] if known else []
    commands += [f"`rm -- {shlex.join(new)}`"] if new else []
    return (
        f"Fixed files differ from HEAD: {names}. No run is launched while they do. "
        f"Put them back: {' and '.join(commands)}. Experiments change train.py alone."
    )
