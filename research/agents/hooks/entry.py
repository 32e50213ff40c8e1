"""Reads a hook's payload, calls the hook, and prints its answer: at most one JSON object."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from research.agents.clients import client_of
from research.agents.clients.base import ENV_DRIVEN, Client
from research.core import git
from research.core.clock import system_clock, utc
from research.core.errors import ResearchError
from research.core.paths import LabPaths
from research.core.settings import SETTINGS
from research.store.db import Store
from research.store.open import open_store, read_store


@dataclass(frozen=True)
class HookCall:
    """One call of a hook by a client."""

    event: str  # name of the event, as the client spells it
    paths: LabPaths  # of the checkout that holds the hook
    payload: Mapping[str, Any]  # the JSON object that the client sent
    environment: Mapping[str, str]  # variables of the client's process
    log: Callable[[str], None]  # adds a line to hooks.log

    def text(self, name: str) -> str:
        """Return a text of the payload, "" where it is missing or something else."""
        value = self.payload.get(name)
        return value if isinstance(value, str) else ""

    @cached_property
    def head(self) -> git.Head:
        """Return the commit and branch of the checkout."""
        return git.head(self.paths.root)

    @property
    def is_driven(self) -> bool:
        """Return whether a driver of ours started the agent: it runs, judges and settles, so hooks only guard."""
        return bool(self.environment.get(ENV_DRIVEN))

    @property
    def client(self) -> Client:
        """Return the client that called."""
        return client_of(self.environment)

    def open_memory(self) -> Store:
        """Open the memory as it is, an empty one where it is missing or can't be read, which is logged."""
        try:
            return read_store(self.paths, SETTINGS.hook_wait_s)
        except ResearchError as error:
            self.log(f"the memory can't be read: {error}")
            return Store(None)

    def is_unreadable(self, store: Store) -> bool:
        """Return whether a store is the empty one in place of a memory that can't be read: what it says is untrue."""
        return store.path is None and self.paths.memory.exists()

    def open_to_write(self) -> Store:
        """Open the memory for a hook that writes, made where nothing was recorded yet."""
        if not self.paths.memory.exists():
            open_store(self.paths, utc(system_clock()), self.log).close()
        return read_store(self.paths, SETTINGS.hook_wait_s)

    def context(self, *parts: str, review: str = "") -> dict[str, Any] | None:
        """Return the answer that adds texts to the agent's context, None where all are empty.

        The first line of a review, which comes last, is said to the person too.
        """
        text = "\n\n".join(part for part in (*parts, review) if part)[: SETTINGS.context_chars]
        if not text:
            return None
        said = {"systemMessage": f"Autoresearch: {review.splitlines()[0]}"} if review else {}
        return {"hookSpecificOutput": {"hookEventName": self.event, "additionalContext": text}, **said}


def run(name: str, root: str, log: Callable[[str], None]) -> None:
    """Print the answer to one hook call, whose payload comes on stdin.

    Args:
        name: Name of the hook's module.
        root: Top of its checkout.
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
    call = HookCall(name.title().replace("_", ""), LabPaths(Path(root)), payload, dict(os.environ), log)
    if call.is_driven and name != "pre_tool_use":
        return
    if answer := importlib.import_module(f"research.agents.hooks.{name}").answer(call):
        print(json.dumps(answer), flush=True)
