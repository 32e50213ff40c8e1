"""The way in of every hook: payload in, at most one JSON object out, and never anything that could stop the agent."""

from __future__ import annotations

import os
import sys

from research.agents.hooks.wire import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Handler = Callable[["Any"], "dict[str, Any] | None"]

LOG_BYTES = 1_000_000
"""Size at which hooks.log is started anew; the one before is kept as hooks.log.1."""


class Call:
    """One hook call.

    Attributes:
        event: Its name.
        root: Top of the work tree that holds the hook.
        payload: What Codex sent.
        environment: Variables of Codex's process.
    """

    __slots__ = ("environment", "event", "payload", "root")

    def __init__(self, event: str, root: str, payload: dict[str, Any], environment: dict[str, str]) -> None:
        self.event, self.root, self.payload, self.environment = event, root, payload, environment

    def text(self, name: str) -> str:
        """A text of the payload, "" where it is missing or something else."""
        value = self.payload.get(name)
        return value if isinstance(value, str) else ""

    @property
    def discovery(self) -> str:
        """Where the memory is."""
        return os.path.join(self.root, "results", "discovery")

    @property
    def driven(self) -> bool:
        """Whether a driver of ours started the agent."""
        return bool(self.environment.get("AUTORESEARCH_DRIVEN"))

    def log(self, line: str) -> None:
        """Writes to hooks.log."""
        log(self.root, self.event, line)


def log(root: str, event: str, text: str) -> None:
    """Writes to hooks.log, if that is possible at all."""
    from time import gmtime, strftime

    path = os.path.join(root, "results", "discovery", "hooks.log")
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.exists(path) and os.path.getsize(path) > LOG_BYTES:
            os.replace(path, path + ".1")
        with open(path, "a", encoding="utf-8", errors="replace") as file:
            file.write(f"{strftime('%Y-%m-%dT%H:%M:%SZ', gmtime())} {event}: {text.rstrip()}\n")
    except OSError:
        pass


def handler(event: str) -> Handler:
    """The function of an event."""
    if event == "PreToolUse":
        from research.agents.hooks.pre_tool_use import before_tool

        return before_tool
    from research.agents.hooks import events

    return {
        "SessionStart": events.session_start,
        "UserPromptSubmit": events.prompt,
        "PostToolUse": events.after_tool,
        "Stop": events.stop,
    }[event]


def run(event: str, root: str) -> None:
    """Answers one hook call; whatever goes wrong is a line in hooks.log and no answer."""
    try:
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
        try:
            payload = loads(text)
        except (ValueError, RecursionError):
            payload = None
        if not isinstance(payload, dict):
            log(root, event, f"the payload is no JSON object ({len(text)} characters); nothing is done")
            return
        answer = handler(event)(Call(event, root, payload, dict(os.environ)))
        if answer:
            sys.stdout.write(dumps(answer) + "\n")
            sys.stdout.flush()
    except Exception:
        from traceback import format_exc

        log(root, event, format_exc())


def context(event: str, text: str) -> dict[str, Any] | None:
    """The answer that gives the model something to know."""
    if not text:
        return None
    return {"hookSpecificOutput": {"hookEventName": event, "additionalContext": text}}
