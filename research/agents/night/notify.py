"""Notifies a person: runs the --notify command, and never lets it disturb the night."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Literal

from research.core.errors import UsageError
from research.core.settings import SETTINGS

Event = Literal["win", "kept", "stuck", "end"]
"""A confirmed gain, a change that was kept and is not confirmed yet, a long time without either, the end."""
Notify = Callable[[Event, str], None]
"""Takes an event and a sentence."""


def require_command(command: str) -> None:
    """Raise UsageError for a line of shell that could not run at all: better now than to miss every message."""
    first = re.match(r"\s*([\w~./+-]+)(?:\s|$)", command)
    run = partial(subprocess.run, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if run(["sh", "-n", "-c", command]).returncode:
        raise UsageError(f"--notify: the shell can't read {command!r}.", "Mend the quotes or brackets in it.")
    if first and run(["sh", "-c", 'command -v "$1"', "sh", os.path.expanduser(first[1])]).returncode:
        raise UsageError(f"--notify: there is no command {first[1]!r}.", "Give one that runs in sh, or its whole path.")


def notifier(command: str | None, say: Callable[[str], None]) -> Notify:
    """Return what runs a shell command with AUTORESEARCH_EVENT and AUTORESEARCH_TEXT, the sentence on its stdin."""

    def notify(event: Event, text: str) -> None:
        if command is None:
            return
        try:
            done = subprocess.run(
                ["sh", "-c", command],
                input=f"{text}\n".encode(),
                env={**os.environ, "AUTORESEARCH_EVENT": event, "AUTORESEARCH_TEXT": text},
                stdout=subprocess.DEVNULL,  # a pipe would wait for whatever it leaves running
                stderr=subprocess.DEVNULL,
                timeout=SETTINGS.notify_timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            say(f"--notify failed: {error}")
        else:
            if done.returncode:
                say(f"--notify ended with {done.returncode}")

    return notify
