"""Reads a hook's payload, calls the hook, and prints its answer: at most one JSON object."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from research.agents.clients import client_of
from research.agents.clients.base import ENV_DRIVEN, Client
from research.core.clock import system_clock, utc
from research.core.errors import ResearchError
from research.core.paths import LabPaths
from research.core.settings import SETTINGS
from research.store.db import Store
from research.store.open import open_store, read_store

EVENTS = {
    "session_start": "SessionStart",
    "user_prompt_submit": "UserPromptSubmit",
    "pre_tool_use": "PreToolUse",
    "post_tool_use": "PostToolUse",
    "stop": "Stop",
}
"""The hooks by the names of their modules here, with the client's names."""


@dataclass(frozen=True)
class Call:
    """One hook call.

    Attributes:
        event: The client's name of the event.
        paths: The checkout that holds the hook.
        payload: What the client sent.
        environment: Variables of the client's process.
        log: Adds a line to hooks.log.
    """

    event: str
    paths: LabPaths
    payload: Mapping[str, Any]
    environment: Mapping[str, str]
    log: Callable[[str], None]

    def text(self, name: str) -> str:
        """Return a text of the payload, "" where it is missing or something else."""
        value = self.payload.get(name)
        return value if isinstance(value, str) else ""

    @property
    def is_driven(self) -> bool:
        """Return whether a driver of ours started the agent: it runs, judges and settles, so hooks only guard."""
        return bool(self.environment.get(ENV_DRIVEN))

    @property
    def client(self) -> Client:
        """Return the client."""
        return client_of(self.environment)

    def open_memory(self) -> Store:
        """Open the memory as it is; an empty one where there is none, or none that can be read, which is logged."""
        try:
            return read_store(self.paths, SETTINGS.hook_wait_s)
        except ResearchError as error:
            self.log(f"the memory can't be read: {error}")
            return Store(None)

    def make_memory(self) -> None:
        """Make the memory where nothing was recorded yet and there is something to note."""
        if not self.paths.memory.exists():
            open_store(self.paths, utc(system_clock()), self.log).close()


def run(name: str, root: str, log: Callable[[str], None]) -> None:
    """Answer one hook call.

    Args:
        name: The hook's module.
        root: Top of the checkout that holds it.
        log: Adds a line to hooks.log.
    """
    text = sys.stdin.buffer.read().decode("utf-8", "replace")
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        log(f"the payload is no JSON object ({len(text)} characters); nothing is done")
        return
    hook = importlib.import_module(f"research.agents.hooks.{name}")
    answer = hook.answer(Call(EVENTS[name], LabPaths(Path(root)), payload, dict(os.environ), log))
    if answer:
        print(json.dumps(answer), flush=True)


def context(call: Call, *parts: str) -> dict[str, Any] | None:
    """Return the answer that gives the agent something to know, None where there is nothing."""
    text = "\n\n".join(part for part in parts if part)[: SETTINGS.context_chars]
    return {"hookSpecificOutput": {"hookEventName": call.event, "additionalContext": text}} if text else None
