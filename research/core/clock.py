"""The time as records keep it, and names made from it; the clock itself is passed in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(timezone.utc)


def utc(now: datetime) -> str:
    """ISO 8601 in UTC, to the second, as records keep it."""
    return now.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def run_name(now: datetime, commit: str | None, token: str) -> str:
    """A run's name: YYYYMMDD-HHMMSS-<7 hex of the commit>-<4 hex>."""
    return f"{now.astimezone(timezone.utc):%Y%m%d-%H%M%S}-{(commit or '0' * 7)[:7]}-{token[:4]}"
