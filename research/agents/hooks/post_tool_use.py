"""Shows, after a tool (PostToolUse), a run that has finished, and fixed files that differ from HEAD."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from research.agents import autonomy
from research.agents.hooks.entry import HookCall
from research.agents.hooks.reviews import open_current_memory, unseen_review
from research.agents.policy.protected import protected_changes, restore_advice
from research.core.contract import BRANCHES
from research.core.errors import ResearchError
from research.store.db import Store


def answer(call: HookCall) -> dict[str, Any] | None:
    """Answer PostToolUse."""
    branch = call.head.branch
    with open_current_memory(call) as store:
        is_guarded = branch.startswith(BRANCHES) or autonomy.load(store).enabled
        changes = _unseen_changes(call, store, branch) if is_guarded else ""
        return call.context(changes, review=unseen_review(store, branch))


def _unseen_changes(call: HookCall, store: Store, branch: str) -> str:
    """Return what to do about fixed files that differ from HEAD, "" where the agent was told of them already."""
    changed = protected_changes(call.paths.root)
    fact, state = f"protected_shown:{branch}", "\n".join(changed)
    if state == (store.fact(fact) or ""):
        return ""
    with suppress(ResearchError), call.open_to_write() as kept:  # unless it is noted, the next tool use repeats it
        kept.set_fact(fact, state)
    return restore_advice(changed)
