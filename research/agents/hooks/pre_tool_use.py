"""PreToolUse: refuses what the policy refuses, and shows a finished run that nobody was told of yet.

The store is looked into only when it changed since the last look, so that an ordinary command waits for nothing.
"""

from __future__ import annotations

import os

from research.agents.hooks.entry import context
from research.agents.hooks.git_fast import branch_of
from research.agents.policy.check import check_command, check_patch
from research.agents.policy.protected import Where

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from research.agents.hooks.entry import Call

_COMMAND = ("command", "cmd", "input", "patch")
"""Names of what is typed or patched; versions of the client differ."""
SEEN = ".hooks-seen"
"""Its time is that of the last look into the store."""


def lab_options(environment: dict[str, str]) -> str:
    """The runner's options for the backend and GPU that this lab uses."""
    backend = environment.get("AUTORESEARCH_BACKEND") or "local"
    gpu = environment.get("AUTORESEARCH_GPU") or ""
    words = [word for word in (backend, gpu) if word and word.replace("-", "").replace("!", "").isalnum()]
    if backend not in words:
        return "--backend local"
    return f"--backend {backend}" + (f" --gpu {gpu}" if gpu in words and backend != "local" else "")


def _where(call: Call, branch: str, guarded: bool) -> Where:
    home = call.environment.get("HOME", "")
    data = call.environment.get("AUTORESEARCH_HOME") or (f"{home}/.cache/autoresearch" if home else "")
    data = data.replace("~", home, 1) if data.startswith("~") else data
    return Where(call.root, branch, guarded, call.driven, data, lab_options(call.environment))


def _quoted(word: str) -> str:
    return word if word.isalnum() else "'" + word.replace("'", "'\\''") + "'"


def _judge(call: Call, where: Where) -> str | None:
    given = call.payload.get("tool_input")
    if isinstance(given, dict):
        given = next((given[name] for name in _COMMAND if given.get(name)), None)
    command = " ".join(_quoted(str(word)) for word in given) if isinstance(given, list) else given
    if not isinstance(command, str):
        return None
    cwd = call.text("cwd") or call.root
    if call.text("tool_name") == "apply_patch":
        return check_patch(command, cwd, where)
    return check_command(command, cwd, where, call.environment)


def _autonomy_is_on(call: Call) -> bool:
    from research.agents.autonomy import load
    from research.store.glance import glance

    with glance(call.discovery, call.log) as store:
        return store is not None and load(store).enabled


def refusal(call: Call) -> str | None:
    """Why the command is refused, None if it is not."""
    branch = branch_of(call.root)
    reason = _judge(call, _where(call, branch, True))
    if reason is None or call.driven or branch.startswith("autoresearch/"):
        return reason
    return _judge(call, _where(call, branch, _autonomy_is_on(call)))


def store_changed(call: Call) -> bool:
    """Whether the store was written since a hook last looked into it."""
    try:
        seen = os.stat(os.path.join(call.discovery, SEEN)).st_mtime_ns
    except OSError:
        seen = 0
    for name in ("memory.db", "memory.db-wal"):
        try:
            if os.stat(os.path.join(call.discovery, name)).st_mtime_ns > seen:
                return True
        except OSError:
            continue
    return False


def before_tool(call: Call) -> dict[str, Any] | None:
    """Answers PreToolUse."""
    if call.text("tool_name") not in ("Bash", "apply_patch", "shell", "exec_command"):
        return None
    if reason := refusal(call):
        return {
            "hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "deny",
                "permissionDecisionReason": reason.removesuffix("."),  # the client ends the sentence itself
            }
        }
    if call.driven or not store_changed(call):
        return None
    from research.agents.hooks.events import news

    return context("PreToolUse", news(call))
