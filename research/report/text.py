"""Puts numbers, times and titles into words for people, all bounded in length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from research.agents.clients import CLIENTS
from research.core.clock import local_time, parse_utc
from research.core.commit_message import EXPERIMENT, idea_of
from research.core.records import Estimate
from research.core.text import any_of, first_few

VERDICTS = {
    "keep": "kept",
    "discard": "not kept",
    "replicate": "measure again",
    "investigate": "too good: look",
    "stopped": "stopped early",
}
"""Words for verdicts whose own name is not one that people use."""
IDEAS = {
    **VERDICTS,
    "waiting": "waits",
    "needs_agent": f"waits for a coding agent (night --agent {any_of(CLIENTS)}; by hand: research next)",
    "running": "is being tried",
    "replicate": "not decided, it is measured again",
    "investigate": "not decided, it is measured again",
    "crash": "crashed",
    "dropped": "not tried",
}
"""Words for the states of a person's idea whose own name is not one that people use."""
_MAX_TITLE_CHARS = 200
_MAX_CHANGES = 6  # changes named in one line; an experiment has one or two
_MAX_CHANGE_CHARS = 120


def title_of(subject: str, is_baseline: bool = False) -> str:
    """Return the change that a commit's subject names; "baseline" for a baseline that is no experiment."""
    if is_baseline and not subject.startswith(EXPERIMENT):
        return "baseline"
    return idea_of(subject)[:_MAX_TITLE_CHARS]


def changes_in_words(delta: Mapping[str, str]) -> str:
    """Return the changed parts of a delta in one line."""
    parts = [f"{name} {what}"[:_MAX_CHANGE_CHARS] for name, what in delta.items()]
    return "; ".join(first_few(parts, _MAX_CHANGES))


def no_such_contract(contract: str, branch: str, known: Iterable[str]) -> tuple[str, str]:
    """Return the words of an error where a branch has no runs of a contract, and the contracts that it has."""
    return f"There are no runs of {contract} on {branch}.", f"Contracts there: {', '.join(known) or 'none'}."


def signed(value: float, digits: int = 4) -> str:
    """Format a difference with its sign; a true minus, so that columns line up."""
    return f"{value:+.{digits}f}".replace("-", "−")


def plain(value: float, digits: int = 4) -> str:
    """Format a number, with a true minus."""
    return f"{value:.{digits}f}".replace("-", "−")


def short(value: float) -> str:
    """Format a coordinate of a drawing, to a tenth."""
    return f"{round(value, 1):g}"


def interval(estimate: Estimate, sign: bool = False, digits: int = 4) -> str:
    """Format a mean with its 95 % interval."""
    write = signed if sign else plain
    return f"{write(estimate.mean, digits)} [{write(estimate.low, digits)}, {write(estimate.high, digits)}]"


def times(n: int) -> str:
    """Format a number of times: once, twice, 3 times."""
    return {1: "once", 2: "twice"}.get(n, f"{n} times")


def share(part: float, whole: float) -> str:
    """Format a part of a whole in percent, with one digit, or two below 1 %."""
    percent = 100 * part / whole
    return f"{percent:.{1 if abs(percent) >= 0.95 else 2}f} %".replace("-", "−")


def span(hours: float) -> str:
    """Format hours as people say them."""
    minutes = round(hours * 60)
    return f"{minutes} min" if minutes < 90 else f"{hours:.1f} h"


def clock(at_utc: str | None, with_date: bool = True) -> str:
    """Format a record's time as the clock here shows it, to the minute; "" for none."""
    time = local_time(at_utc)
    return f"{parse_utc(at_utc or '').astimezone():%Y-%m-%d} {time}" if time and with_date else time


def cut(words: str, length: int) -> str:
    """Shorten a text to at most this many characters."""
    return words if len(words) <= length else words[: max(0, length - 1)].rstrip() + "…"
