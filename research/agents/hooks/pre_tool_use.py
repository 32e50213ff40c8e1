"""Refuses, before a tool (PreToolUse), what the policy refuses, and shows a run that has finished."""

from __future__ import annotations

from typing import Any

from research.agents import autonomy
from research.agents.hooks.entry import Call, context
from research.agents.hooks.reviews import unseen_review
from research.agents.policy.check import check_command, check_patch
from research.agents.policy.protected import Where
from research.agents.state import runner_options
from research.core import git
from research.core.contract import BRANCHES
from research.core.paths import machine_home


def answer(call: Call) -> dict[str, Any] | None:
    """Answer PreToolUse."""
    client = call.client
    if call.text("tool_name") not in client.shell_tools | client.edit_tools:
        return None
    branch = git.head(call.paths.root).branch
    if reason := _refusal(call, branch):
        return {
            "hookSpecificOutput": {
                "hookEventName": call.event,
                "permissionDecision": "deny",
                "permissionDecisionReason": reason.removesuffix("."),  # the client ends the sentence itself
            }
        }
    if call.is_driven:
        return None
    with call.open_memory() as store:
        return context(call, unseen_review(store, branch))


def _refusal(call: Call, branch: str) -> str | None:
    """Return why the tool is refused, None if it is not.

    What experiments need fixed is guarded on their branches, and anywhere while autonomy is on.
    """
    reason = _judge(call, branch, is_guarded=True)
    if reason is None or call.is_driven or branch.startswith(BRANCHES):
        return reason
    with call.open_memory() as store:
        return _judge(call, branch, autonomy.load(store).enabled)


def _judge(call: Call, branch: str, is_guarded: bool) -> str | None:
    text = call.client.tool_text(call.payload.get("tool_input"))
    if text is None:
        return None
    root, environment = str(call.paths.root), dict(call.environment)
    data, options = str(machine_home(environment)), runner_options(environment)
    where = Where(root, branch, is_guarded, call.is_driven, data, options)
    cwd = call.text("cwd") or root
    if call.text("tool_name") in call.client.edit_tools:
        return check_patch(text, cwd, where)
    return check_command(text, cwd, where, environment)
