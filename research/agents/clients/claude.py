"""Describes Claude Code: its tools, how its agent waits, and how ``claude -p`` is started for one idea and read.

It has no command that lists its hooks, so for doctor its settings files are read. Nothing is changed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from research.agents.clients.base import Client, Usage, count_in, events_in
from research.core.check import Check
from research.core.files import read_json

_TOOLS = "Bash,Read,Edit,MultiEdit,Write,Grep,Glob"
"""Tools of an agent that a night drives: none for the web, none that starts agents of its own."""
_ALLOWED = (
    "Edit(./train.py)", "Bash(git add *)", "Bash(git commit *)", "Bash(python -m py_compile *)",
    "Bash(python3 -m py_compile *)",
)  # fmt: skip
"""Actions that it may take besides reading in its work tree. All others are denied, since nobody is there to ask."""
_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
_ASK_S = 10.0
"""Longest wait for its answer: it takes under a second."""
_MOST_BYTES = 268_435_456
"""Largest file of its own that is read: it keeps every project's history there."""


class ClaudeCode(Client):
    """The client Claude Code."""

    name = "claude"
    variable = "AUTORESEARCH_CLAUDE"
    settings = ".claude/settings.json"
    hook_variable = "CLAUDE_PROJECT_DIR"
    install = "npm install -g @anthropic-ai/claude-code && claude auth login"
    measured_with = "2.1.332"
    shell_tools = frozenset({"Bash"})
    launching = ", with Bash's run_in_background set to true"
    waiting = (
        "Then end your turn: you are woken when it exits. (In the foreground, Bash ends a command after 2 minutes, or "
        "after its `timeout`, 600000 ms at most.)"
    )
    rejoining = (
        "If it is a command of yours in the background, end your turn: you are woken when it exits. If not, type "
        "`sleep 300` with run_in_background set to true and end your turn; then look at `tail -n 3 run.log`."
    )
    wake_mark = "<task-notification>"
    names_usd = True

    def command(self, program: str, place: Path, writable: Sequence[Path]) -> list[str]:
        """Return the command line of a session that may edit train.py and commit, nothing else, without being asked."""
        return [
            program, "-p", "--output-format", "stream-json", "--verbose", "--no-session-persistence",
            "--permission-mode", "dontAsk", "--tools", _TOOLS, "--allowedTools", *_ALLOWED,
        ]  # fmt: skip

    def usage(self, lines: Sequence[str]) -> Usage:
        """Return the usage that the last line sums up or, while that is missing, the sum of the messages' usages."""
        events = list(events_in(lines))
        results = [event for event in events if event.get("type") == "result"]
        if results:
            usd = results[-1].get("total_cost_usd")
            tokens = sum(count_in(event.get("usage"), _COUNTS) for event in results)
            return Usage(tokens, float(usd) if isinstance(usd, (int, float)) else None)
        messages = [event["message"] for event in events if isinstance(event.get("message"), dict)]
        by_id = {str(message.get("id")): count_in(message.get("usage"), _COUNTS) for message in messages}
        return Usage(sum(by_id.values()))

    def words_in(self, events: Sequence[Mapping[str, Any]]) -> tuple[list[str], bool]:
        result: Mapping[str, Any] = next((event for event in reversed(events) if event.get("type") == "result"), {})
        words = [str(result[name]) for name in ("api_error_status", "result") if result.get(name)]
        return words, bool(result.get("is_error"))

    def limit_end(self, events: Sequence[Mapping[str, Any]], text: str, now: datetime) -> datetime | None:
        """Return when a subscription's limit is lifted; a key's limit does not say."""
        named = [event.get("rate_limit_info") for event in events if event.get("type") == "rate_limit_event"]
        at = [info.get("resetsAt") for info in named if isinstance(info, dict) and info.get("status") == "rejected"]
        return datetime.fromtimestamp(at[-1], timezone.utc) if at and isinstance(at[-1], (int, float)) else None

    def checks(self, program: str, root: Path, environment: Mapping[str, str]) -> list[Check]:
        return [_check_login(program, environment), _check_hooks(root, environment)]


def _check_login(claude: str, environment: Mapping[str, str]) -> Check:
    """Check, by asking it, whether Claude Code is logged in."""
    try:
        done = subprocess.run(
            [claude, "auth", "status", "--json"], capture_output=True, text=True, errors="replace", timeout=_ASK_S,
            env=dict(environment), stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        answer = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return Check("claude login", False, "it did not say whether it is logged in", "claude auth status")
    if isinstance(answer, dict) and answer.get("loggedIn"):
        return Check("claude login", True, f"logged in ({answer.get('authMethod')})")
    return Check("claude login", False, "not logged in", "claude auth login")


def _check_hooks(root: Path, environment: Mapping[str, str]) -> Check:
    """Check, by the settings that it reads here, whether Claude Code will run our hooks."""
    name = "claude hooks"
    own = environment.get("CLAUDE_CONFIG_DIR")  # holds both its settings and what it knows of projects
    user = Path(environment.get("HOME") or "/")
    settings, known = (Path(own), Path(own)) if own else (user / ".claude", user)
    local = root / ".claude"
    for path in (settings / "settings.json", local / "settings.json", local / "settings.local.json"):
        if (read_json(path) or {}).get("disableAllHooks"):
            return Check(name, False, f"{path} turns all hooks off", f"take disableAllHooks out of {path}")
    projects = (read_json(known / ".claude.json", _MOST_BYTES) or {}).get("projects")
    project = projects.get(str(root)) if isinstance(projects, dict) else None
    if not (isinstance(project, dict) and project.get("hasTrustDialogAccepted")):
        say = "this folder is not trusted yet; claude asks when it is first started here"
        return Check(name, True, say, "start `claude` here once and trust the folder")
    return Check(name, True, "five, in a trusted folder: they will run")


CLAUDE: Client = ClaudeCode()
