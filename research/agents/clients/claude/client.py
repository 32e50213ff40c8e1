"""Describes Claude Code: its tools, how its agent waits, how ``claude -p`` is asked for one idea and understood."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from research.agents.clients.base import Client, Failed, SessionEnd, Trouble, Usage, count_in, events_in
from research.core.check import Check

ENV_CLAUDE = "AUTORESEARCH_CLAUDE"
"""The claude program, where it is not on PATH."""
ENV_PROJECT = "CLAUDE_PROJECT_DIR"
"""Names the project's folder to its hooks."""
_TOOLS = "Bash,Read,Edit,MultiEdit,Write,Grep,Glob"
"""Names the tools of an agent that a night drives: none for the web, none that starts agents of its own."""
_ALLOWED = (
    "Edit(./train.py)", "Bash(git add *)", "Bash(git commit *)", "Bash(python -m py_compile *)",
    "Bash(python3 -m py_compile *)",
)  # fmt: skip
"""Lists what it may do besides reading in its work tree. All else is denied: nobody is there to be asked."""
_NOTIFICATION = "<task-notification>"
"""Begins the prompt with which the client itself wakes an agent whose command in the background has ended."""
_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
_REFUSED = re.compile(r"\bI (?:can(?:'|no)t|won't|am unable to|'m unable to)\b|cannot help with|usage polic", re.I)
_LOGIN = re.compile(r"not logged in|/login|invalid api key|authenticat", re.I)
_LIMIT = re.compile(r"\b(?:usage|session|hour|weekly|spend|rate) limit\b|hit your .*limit|credit balance|\b429\b", re.I)
_SERVICE = re.compile(r"unable to connect|connection|overloaded|timed? ?out|\b5\d\d\b", re.I)


class ClaudeCode:
    """See Client."""

    name = "claude"
    install = "npm install -g @anthropic-ai/claude-code && claude auth login"
    shell_tools = frozenset({"Bash"})
    edit_tools = frozenset[str]()
    launching = ", with Bash's run_in_background set to true"
    waiting = (
        "Then end your turn: you are woken when it exits. (In the foreground, Bash ends a command after 2 minutes, or "
        "after its `timeout`, 600000 ms at most.)"
    )
    rejoining = (
        "If it is a command of yours in the background, end your turn: you are woken when it exits. If not, type "
        "`sleep 300` with run_in_background set to true and end your turn; then look at `tail -n 3 run.log`."
    )
    advice = ""
    max_blocks: int | None = 8
    names_usd = True

    def tool_text(self, tool_input: object) -> str | None:
        """See Client."""
        command = tool_input.get("command") if isinstance(tool_input, dict) else None
        return command if isinstance(command, str) else None

    def typed(self, prompt: str) -> str:
        """See Client."""
        return "" if prompt.lstrip().startswith(_NOTIFICATION) else prompt

    def background(self, payload: Mapping[str, Any]) -> tuple[str, ...]:
        """See Client."""
        tasks = payload.get("background_tasks")
        found = [task for task in tasks if isinstance(task, dict)] if isinstance(tasks, list) else []
        return tuple(str(task.get("command") or "") for task in found if task.get("status") == "running")

    def program(self, environment: Mapping[str, str]) -> str | None:
        """See Client."""
        return shutil.which(environment.get(ENV_CLAUDE) or "claude", path=environment.get("PATH"))

    def command(self, program: str, place: Path, writable: Sequence[Path], options: Sequence[str]) -> list[str]:
        """See Client. It may edit train.py and commit, nothing else; what would be asked of a person is denied."""
        return [
            program, "-p", "--output-format", "stream-json", "--verbose", "--no-session-persistence",
            "--permission-mode", "dontAsk", "--tools", _TOOLS, "--allowedTools", *_ALLOWED, *options,
        ]  # fmt: skip

    def usage(self, lines: Sequence[str]) -> Usage:
        """See Client. The last line has it all; until then, or when killed, the messages have their parts."""
        events = list(events_in(lines))
        results = [event for event in events if event.get("type") == "result"]
        if results:
            usd = results[-1].get("total_cost_usd")
            tokens = sum(count_in(event.get("usage"), _COUNTS) for event in results)
            return Usage(tokens, float(usd) if isinstance(usd, (int, float)) else None)
        messages = [event["message"] for event in events if isinstance(event.get("message"), dict)]
        by_id = {str(message.get("id")): count_in(message.get("usage"), _COUNTS) for message in messages}
        return Usage(sum(by_id.values()))

    def failure(self, end: SessionEnd, now: datetime) -> Failed | None:
        """See Client."""
        if end.killed:
            return Failed(end.killed)
        events = list(events_in(end.lines))
        result: Mapping[str, Any] = next((event for event in reversed(events) if event.get("type") == "result"), {})
        text, status = str(result.get("result") or end.stderr[-4000:].strip()), result.get("api_error_status") or 0
        if end.code == 0 and not result.get("is_error"):
            return Failed(Trouble.refusal, text) if _REFUSED.search(text) else None
        if status in (401, 403) or _LOGIN.search(text):
            return Failed(Trouble.login, text)
        if status == 429 or _LIMIT.search(text):
            return Failed(Trouble.limit, text, _lifted(events))
        return Failed(Trouble.service if status >= 500 or _SERVICE.search(text) else Trouble.crash, text)

    def checks(self, root: Path, environment: Mapping[str, str]) -> list[Check]:
        """See Client."""
        from research.agents.clients.claude.doctor import checks

        return checks(self, root, environment)


def _lifted(events: Sequence[Mapping[str, Any]]) -> datetime | None:
    """Return when the limit of a subscription is lifted; a key's limit does not say that."""
    named = [event.get("rate_limit_info") for event in events if event.get("type") == "rate_limit_event"]
    at = [info.get("resetsAt") for info in named if isinstance(info, dict) and info.get("status") == "rejected"]
    return datetime.fromtimestamp(at[-1], timezone.utc) if at and isinstance(at[-1], (int, float)) else None


CLAUDE: Client = ClaudeCode()
