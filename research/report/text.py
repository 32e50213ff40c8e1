"""Records in words for people: titles, changes, spans of time and money, all bounded."""

from __future__ import annotations

import re
from collections.abc import Mapping

from research.agents.night.state import NightState
from research.core.records import Estimate

_PREFIX = re.compile(r"^exp:\s*")
_TAG = re.compile(r"\s*\[emitter=[^\]]*\]\s*$")
_CHANGES = 6  # changes named in one line; an experiment has one or two


def title_of(subject: str, baseline: bool = False) -> str:
    """A commit's subject without prefix and tag; "baseline" for the one that was only begun with, whatever it says."""
    if baseline and not _PREFIX.match(subject):
        return "baseline"
    return _TAG.sub("", _PREFIX.sub("", subject)).strip()[:200]


def count_of(number: int, one: str, many: str = "") -> str:
    """How many of what, as people say it."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def changes_in_words(delta: Mapping[str, str]) -> str:
    """What changed, one line."""
    parts = [f"{name} {what}"[:120] for name, what in list(delta.items())[:_CHANGES]]
    left = len(delta) - len(parts)
    return "; ".join([*parts, *([f"and {left} more"] if left else [])])


def signed(value: float, digits: int = 4) -> str:
    """A difference with its sign; a true minus, so that columns line up."""
    return f"{value:+.{digits}f}".replace("-", "−")


def plain(value: float, digits: int = 4) -> str:
    """A number with a true minus."""
    return f"{value:.{digits}f}".replace("-", "−")


def interval(estimate: Estimate, sign: bool = False, digits: int = 4) -> str:
    """Mean with its 95 % interval."""
    write = signed if sign else plain
    return f"{write(estimate.mean, digits)} [{write(estimate.low, digits)}, {write(estimate.high, digits)}]"


def span(hours: float) -> str:
    """Hours as people say them."""
    minutes = round(hours * 60)
    return f"{minutes} min" if minutes < 90 else f"{hours:.1f} h"


def money(usd: float) -> str:
    """Dollars."""
    return f"${usd:.2f}"


def clock(at_utc: str) -> str:
    """A record's time, to the minute."""
    return at_utc[:16].replace("T", " ") + " UTC" if at_utc else ""


def night_in_words(night: NightState) -> str:
    """The latest night in a line."""
    ended = f"ended {clock(night.finished_utc)}" if night.finished_utc else "not ended; the same command goes on"
    reason = f"; {night.stop_reason}" if night.stop_reason else ""
    workers = f", {night.workers} workers" if night.workers > 1 else ""
    runs = count_of(night.runs, "run")
    return f"Latest night, begun {clock(night.started_utc)}: agent {night.agent}{workers}, {runs}, {ended}{reason}."
