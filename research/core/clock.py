"""Writes and reads times as records keep them, and makes names of runs from them; the clock itself is passed in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(timezone.utc)


def utc(now: datetime) -> str:
    """Format a time as records keep it: ISO 8601 in UTC, to the second."""
    return now.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def parse_utc(utc_text: str) -> datetime:
    """Read a time as records keep it; raise ValueError for anything else."""
    return datetime.fromisoformat(utc_text.replace("Z", "+00:00"))


def as_utc(text: str) -> str:
    """Return a time that somebody else wrote as records keep it, "" for none; one without a zone is UTC."""
    try:
        at = parse_utc(text.replace(" ", "T", 1))
        return utc(at if at.tzinfo else at.replace(tzinfo=timezone.utc))
    except (ValueError, OverflowError):  # the latter in the first and the last hours that a datetime can hold
        return ""


def seconds_between(begun_utc: str | None, ended_utc: str | None) -> float:
    """Return the seconds from one recorded time to another, 0 where one is missing or unreadable."""
    try:
        return max(0.0, (parse_utc(ended_utc or "") - parse_utc(begun_utc or "")).total_seconds())
    except ValueError:
        return 0.0


def local_time(utc_text: str | None) -> str:
    """Return a recorded time as this machine's clock on the wall shows it, HH:MM; "" for none."""
    try:
        return f"{parse_utc(utc_text or '').astimezone():%H:%M}"
    except ValueError:
        return ""


def stamp(now: datetime) -> str:
    """Format a time for names: YYYYMMDD-HHMMSS."""
    return f"{now.astimezone(timezone.utc):%Y%m%d-%H%M%S}"


def run_name(at: str, commit: str | None, token: str) -> str:
    """Return a run's name, made of its stamp, seven digits of its commit and four of a token."""
    return f"{at}-{(commit or '0' * 7)[:7]}-{token[:4]}"
