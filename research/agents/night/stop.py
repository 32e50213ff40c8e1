"""Ends the night that goes on in a checkout, from another terminal."""

from __future__ import annotations

import os
import platform
import signal
import time

from research.agents.night.state import LOCK
from research.core.errors import ResearchError
from research.core.files import FileLock, is_held
from research.core.paths import LabPaths
from research.core.settings import SETTINGS


def stop_night(paths: LabPaths) -> str:
    """Ask the night's process to end, as Ctrl-C does, and wait for that; return a sentence on what came of it.

    Raises:
        ResearchError: if no night goes on here, or its process is not of this machine or not of this user.
    """
    lock = paths.discovery / LOCK
    if not is_held(lock):
        raise ResearchError("No night is going on in this checkout.", "Begin one: uv run research night --hours 8")
    number, _, machine = FileLock(lock).read_note().partition(" ")
    try:
        if machine != platform.node():
            raise ProcessLookupError
        os.kill(int(number), signal.SIGTERM)
    except (ValueError, ProcessLookupError, PermissionError):
        what = f"The night's process can't be reached from here: {number or 'unknown'} on {machine or 'unknown'}."
        raise ResearchError(what, "Press Ctrl-C in the terminal in which it was started.") from None
    for _ in range(int(SETTINGS.night_ends_s / SETTINGS.poll_s)):
        if not is_held(lock):
            return "The night has ended. Runs that went on are recorded as interrupted."
        time.sleep(SETTINGS.poll_s)
    return f"The night was asked to end and has not ended within {SETTINGS.night_ends_s:.0f} s: uv run research watch"
