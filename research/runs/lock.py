"""One run at a time on a device of this machine, whoever starts it and from whichever checkout."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

from research.core.errors import ResearchError
from research.core.files import FileLock
from research.runs.gpu import Gpu


class DeviceBusy(ResearchError):
    """Another run has the device."""

    exit_code = 3


def device_lock(home: Path, device: Gpu | None) -> FileLock:
    """Returns the lock of a device; without a GPU the machine is one device.

    Args:
        home: $AUTORESEARCH_HOME, shared by every checkout of this machine.
        device: The GPU that the run gets.
    """
    # The folder may be shared by several machines over a network file system.
    host = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    name = "".join(c if c.isalnum() or c == "-" else "_" for c in device.uuid) if device else "machine"
    return FileLock(home / "locks" / f"{name}-{host}.lock")


def take_device(lock: FileLock, run: str, root: Path) -> None:
    """Takes a device for a run.

    Raises:
        DeviceBusy: if another run has it.
        OSError: if the lock can't be made.
    """
    if not lock.acquire():
        holder = lock.read_note() or "another run"
        raise DeviceBusy(f"The device is taken by {holder}.", "Wait for it to end, and start again.")
    lock.note(f"{run} of {root}")
