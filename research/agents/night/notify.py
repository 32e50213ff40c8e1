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
"""An event that --notify reports: a confirmed gain ("win"), a kept change that is not confirmed yet, a long time
without either ("stuck"), or the end."""
Notify = Callable[[Event, str], None]
"""A function that takes an event and a sentence."""


def require_command(command: str) -> None:
    """Raise UsageError for a shell command that could not run at all."""
    first = re.match(r"\s*([\w~./+-]+)(?:\s|$)", command)
    run = partial(subprocess.run, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if run(["sh", "-n", "-c", command]).returncode:
        raise UsageError(f"--notify: the shell can't read {command!r}.", "Mend the quotes or brackets in it.")
    if first and run(["sh", "-c", 'command -v "$1"', "sh", os.path.expanduser(first[1])]).returncode:
        raise UsageError(f"--notify: there is no command {first[1]!r}.", "Give one that runs in sh, or its whole path.")


def notifier(command: str | None, say: Callable[[str], None]) -> Notify:
    """Return a function that runs a shell command, with event and sentence in AUTORESEARCH_EVENT and _TEXT."""

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
        except subprocess.TimeoutExpired:
            say(f"--notify was ended after {SETTINGS.notify_timeout_s:g} s; the night waits no longer for it")
        except OSError as error:
            say(f"--notify failed: {error}")
        else:
            if done.returncode:
                say(f"--notify ended with {done.returncode}")

    return notify
