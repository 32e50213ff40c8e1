"""Thresholds of the room store: waiting for another writer, checking the memory, disk space set aside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, init=False, repr=False, eq=False)
class StoreSettings:
    """The thresholds that the room store decides by."""

    busy_timeout_s: float = 30.0
    """Seconds a writer waits for another: a write takes milliseconds, a slow disk some seconds."""
    check_bytes: int = 16 * 1024 * 1024
    """Size up to which memory.db is checked whole when opened: 10,000 runs, some 20 ms; above it, as pages are met."""
    recent_rows: int = 64
    """Latest verdicts and runs that a hook looks through: what is not settled, and news, are recent."""
    reserve_bytes: int = 16_384
    """Bytes set aside for a run's finish record before launch, so that a disk that fills up meanwhile can't lose it."""
