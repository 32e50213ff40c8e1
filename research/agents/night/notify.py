"""Notifies a person: runs the --notify command, and never lets it disturb the night."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from typing import Literal

from research.core.errors import UsageError
from research.core.settings import SETTINGS

Event = Literal["win", "kept", "stuck", "end"]
"""A confirmed gain, a change that was kept and is not confirmed yet, a long time without either, the end."""
Notify = Callable[[Event, str], str | None]
"""Takes an event and a sentence; returns what went wrong, None if nothing."""


def require_command(command: str) -> None:
    """Checks that a line of shell could run at all: better now than to miss every message.

    Raises:
        UsageError: if it can't be read, or begins with the plain name of a command that is not there.
    """
    first = re.match(r"\s*([\w~./+-]+)(?:\s|$)", command)
    if _shell("-n", "-c", command) != 0:
        raise UsageError(f"--notify: the shell can't read {command!r}.", "Mend the quotes or brackets in it.")
    if first and _shell("-c", 'command -v "$1"', "sh", os.path.expanduser(first[1])) != 0:
        raise UsageError(f"--notify: there is no command {first[1]!r}.", "Give one that runs in sh, or its whole path.")


def _shell(*words: str) -> int:
    """Returns how sh ends; 0 where there is no sh, which is reported when there is an event."""
    try:
        return subprocess.run(["sh", *words], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode
    except OSError:
        return 0


def notifier(command: str | None) -> Notify:
    """Returns what runs a shell command with AUTORESEARCH_EVENT and AUTORESEARCH_TEXT, the sentence on its stdin."""

    def notify(event: Event, text: str) -> str | None:
        if command is None:
            return None
        environment = {**os.environ, "AUTORESEARCH_EVENT": event, "AUTORESEARCH_TEXT": text}
        try:
            done = subprocess.run(
                ["sh", "-c", command],
                input=f"{text}\n".encode(),
                env=environment,
                stdout=subprocess.DEVNULL,  # a pipe would wait for whatever it leaves running
                stderr=subprocess.DEVNULL,
                timeout=SETTINGS.notify_timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"--notify failed: {error}"
        return f"--notify ended with {done.returncode}" if done.returncode else None

    return notify
