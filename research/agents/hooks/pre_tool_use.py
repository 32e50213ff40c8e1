"""Refuses tools (PreToolUse) that the policy refuses, and shows a run that has finished."""

from __future__ import annotations

import shlex
from typing import Any

from research.agents import autonomy
from research.agents.hooks.entry import HookCall
from research.agents.hooks.reviews import unseen_review
from research.agents.next_step import launch_line
from research.agents.policy.check import FILE_FIELD, check_command, check_tool, launches_head
from research.agents.policy.protected import PolicyScope
from research.core import git
from research.core.commands import git_commit
from research.core.commit_message import EXPERIMENT, FREE, as_experiment
from research.core.contract import BRANCHES
from research.core.paths import machine_home
from research.store import reads, recent
from research.store.db import Store


def answer(call: HookCall) -> dict[str, Any] | None:
    """Answer PreToolUse."""
    tool, client = call.text("tool_name"), call.client
    if tool not in {*client.shell_tools, *client.edit_tools, *FILE_FIELD}:
        return None
    with call.open_memory() as store:
        reason = _refusal(call, store)
        if not reason:
            return None if call.is_driven else call.context(review=unseen_review(store, call.head.branch))
    return {
        "hookSpecificOutput": {
            "hookEventName": call.event,
            "permissionDecision": "deny",
            "permissionDecisionReason": reason.removesuffix("."),  # the client ends the sentence itself
        }
    }


def _refusal(call: HookCall, store: Store) -> str | None:
    """Return why the tool is refused, None if it is not."""
    tool, given, client = call.text("tool_name"), call.payload.get("tool_input"), call.client
    field = FILE_FIELD.get(tool)
    text = given.get(field) if field and isinstance(given, dict) else client.tool_text(given)
    if not isinstance(text, str):
        return None
    branch = call.head.branch
    where = PolicyScope(
        root=str(call.paths.root),
        branch=branch,
        guarded=call.is_driven or branch.startswith(BRANCHES) or autonomy.load(store).enabled,
        driven=call.is_driven,
        data=str(machine_home(call.environment)),
        launch=launch_line(call.environment, reads.plan_of(store, branch)),
        wait=f"{client.launching}. {client.waiting}",
    )
    cwd = call.text("cwd") or where.root
    if tool not in client.shell_tools:
        return check_tool(tool, text, cwd, where)
    if reason := check_command(text, cwd, where, call.environment):
        return reason
    return _uncounted(call, store) if launches_head(text, cwd, where, call.environment) else None


def _uncounted(call: HookCall, store: Store) -> str | None:
    """Return why a run of HEAD would not count: it is new, no experiment, and not the baseline; else None."""
    head = call.head
    if head.commit is None or not head.branch.startswith(BRANCHES):
        return None
    subject = git.commit(call.paths.root, head.commit).subject
    is_counted = subject.startswith(EXPERIMENT) or not recent.has_baseline(store, head.branch)
    if is_counted or recent.launches_of(store, head.commit):
        return None
    plan = reads.plan_of(store, head.branch)
    meant = as_experiment(subject, (plan.emitter if plan else None) or FREE)
    amend = f"{git_commit(call.paths.root)} --amend -m {shlex.quote(meant)}"
    return f"HEAD is no {EXPERIMENT} commit, so its run would not count. If it is an experiment, type: `{amend}`"
