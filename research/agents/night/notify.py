"""Tells a person: runs the --notify command, and never lets it disturb the night."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Literal

from research.settings import SETTINGS

Event = Literal["win", "kept", "stuck", "end"]
"""What is told of: a confirmed gain, a change that was kept and is not confirmed yet, a long time without either, the
end."""
Notify = Callable[[Event, str], str | None]
"""Takes an event and a sentence; returns what went wrong, None if nothing."""


def silent(event: Event, text: str) -> str | None:
    """Tells nobody."""
    return None


class Command:
    """Runs a shell command with AUTORESEARCH_EVENT and AUTORESEARCH_TEXT set, and the sentence on its stdin.

    Args:
        command: What `sh -c` gets.
    """

    def __init__(self, command: str) -> None:
        self._command = command

    def __call__(self, event: Event, text: str) -> str | None:
        """Runs it."""
        environment = {**os.environ, "AUTORESEARCH_EVENT": event, "AUTORESEARCH_TEXT": text}
        try:
            done = subprocess.run(
                ["sh", "-c", self._command],
                input=(text + "\n").encode(),
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SETTINGS.notify_timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"--notify failed: {error}"
        return f"--notify ended with {done.returncode}" if done.returncode else None
