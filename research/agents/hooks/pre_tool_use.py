"""Refuses, before a tool (PreToolUse), what the policy refuses, and shows a run that has finished."""

from __future__ import annotations

import shlex
from typing import Any

from research.agents import autonomy
from research.agents.hooks.entry import Call, context
from research.agents.hooks.reviews import unseen_review
from research.agents.policy.check import FILE_FIELD, RUNNERS, check_command, check_tool
from research.agents.policy.protected import Where
from research.agents.state import launch_seed, runner_options
from research.core import git
from research.core.commands import git_commit, launch_command
from research.core.commit_message import EXPERIMENT, FREE, as_experiment
from research.core.contract import BRANCHES
from research.core.paths import machine_home
from research.store import reads, recent
from research.store.db import Store


def answer(call: Call) -> dict[str, Any] | None:
    """Answer PreToolUse."""
    if call.text("tool_name") not in {*call.client.shell_tools, *call.client.edit_tools, *FILE_FIELD}:
        return None
    head = git.head(call.paths.root)
    branch = head.branch
    with call.open_memory() as store:
        if reason := _refusal(call, _surroundings(call, store, branch)) or _uncounted(call, store, head):
            return {
                "hookSpecificOutput": {
                    "hookEventName": call.event,
                    "permissionDecision": "deny",
                    "permissionDecisionReason": reason.removesuffix("."),  # the client ends the sentence itself
                }
            }
        return None if call.is_driven else context(call, unseen_review(store, branch))


def _surroundings(call: Call, store: Store, branch: str) -> Where:
    """Return what the policy has to know; what experiments need fixed is fixed anywhere while autonomy is on."""
    return Where(
        root=str(call.paths.root),
        branch=branch,
        guarded=call.is_driven or branch.startswith(BRANCHES) or autonomy.load(store).enabled,
        driven=call.is_driven,
        data=str(machine_home(call.environment)),
        launch=launch_command(runner_options(call.environment), launch_seed(reads.plan_of(store, branch))),
        wait=f"{call.client.launching}. {call.client.waiting}",
    )


def _refusal(call: Call, where: Where) -> str | None:
    """Return why the tool is refused, None if it is not."""
    tool, given = call.text("tool_name"), call.payload.get("tool_input")
    field = FILE_FIELD.get(tool)
    text = given.get(field) if field and isinstance(given, dict) else call.client.tool_text(given)
    if not isinstance(text, str):
        return None
    cwd = call.text("cwd") or where.root
    if tool in call.client.shell_tools:
        return check_command(text, cwd, where, call.environment)
    return check_tool(tool, text, cwd, where)


def _uncounted(call: Call, store: Store, head: git.Head) -> str | None:
    """Return why a launch would take its minutes for nothing: HEAD is new, no experiment, and not the baseline."""
    text = call.client.tool_text(call.payload.get("tool_input"))
    if call.text("tool_name") not in call.client.shell_tools or not text or not head.branch.startswith(BRANCHES):
        return None
    is_launch = any(name in text for name in RUNNERS) and " -- uv run train.py" in text
    if not is_launch or head.commit is None or any(option in text for option in ("--dry-run", "--allow-dirty")):
        return None
    subject = git.commit(call.paths.root, head.commit).subject
    if subject.startswith(EXPERIMENT) or " commit " in text or not recent.has_baseline(store, head.branch):
        return None
    if recent.launches_of(store, head.commit):
        return None
    plan = reads.plan_of(store, head.branch)
    meant = as_experiment(subject, (plan.emitter if plan else None) or FREE)
    amend = f"{git_commit(call.paths.root)} --amend -m {shlex.quote(meant)}"
    return f"HEAD is no {EXPERIMENT} commit, so its run would not count. If it is an experiment, type: `{amend}`"
