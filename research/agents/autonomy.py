"""Keeps the switch of autonomous continuation: on or off, why, since when, its limits, and its progress.

It is kept in the memory as the fact "autonomy", one JSON object, which prompts, the verb and Stop read and write.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from research.core.settings import SETTINGS
from research.core.text import count_of
from research.store.db import Store

FACT = "autonomy"
_WEEKDAY_HOURS = 144.0
"""Hours for which the day of the week names one day."""
_LEAST = 0.01
"""Least hours and dollars that are left of a limit."""


@dataclass(frozen=True)
class Autonomy:
    """The switch of autonomous continuation."""

    enabled: bool = False  # whether the Stop hook gives a next order
    reason: str = "never turned on"  # the beginning of the prompt, or why the loop ended
    since: float = 0.0  # seconds since 1970 when it was last turned on or off
    runs: int = 0  # most runs since then; 0 is no limit, here and for the next two
    hours: float = 0.0  # most hours
    usd: float = 0.0  # most estimated dollars
    first_run: int = 0  # number of the last run before it was turned on
    by_itself: bool = False  # whether the loop ended by itself, so that a plain "continue" resumes it
    progress: str = ""  # numbers of the last run and verdict that the last continuation saw
    stuck: int = 0  # continuations since a run or a verdict
    continuations: int = 0  # since it was turned on


def load(store: Store) -> Autonomy:
    """Read the switch, off where it can't be read."""
    try:
        kept = json.loads(store.fact(FACT) or "{}")
        return Autonomy(**{name: kept[name] for name in asdict(Autonomy()) if name in kept})
    except (ValueError, TypeError):
        return Autonomy()


def save(store: Store, state: Autonomy) -> None:
    """Write the switch."""
    store.set_fact(FACT, json.dumps(asdict(state)))


def turned_on(
    before: Autonomy, reason: str, now: float, last_run: int, limits: Mapping[str, float], usd: float = 0.0
) -> Autonomy:
    """Return the switch turned on.

    A limit that is not named stays: what is left of it for a loop that is on, the whole of it for one that ended by
    itself.

    Args:
        last_run: Number of the last run, from which on runs are counted.
        limits: The limits that are named, 0 for none: runs, hours, usd.
        usd: Dollars that a loop that is on has spent.
    """
    kept = before if before.by_itself else Autonomy()
    if before.enabled and limits:
        kept = _left(before, now, last_run, usd)
    elif before.enabled:
        kept, now, last_run = before, before.since, before.first_run
    return Autonomy(
        enabled=True,
        reason=reason[: SETTINGS.reason_chars],
        since=now,
        first_run=last_run,
        runs=int(limits.get("runs", kept.runs)),
        hours=float(limits.get("hours", kept.hours)) or SETTINGS.autonomy_hours,
        usd=float(limits.get("usd", kept.usd)),
    )


def _left(state: Autonomy, now: float, last_run: int, usd: float) -> Autonomy:
    """Return what is left of the limits of a loop that is on; a limit of 0 would be none."""
    hours = (now - state.since) / 3600
    return replace(
        state,
        runs=max(1, state.runs - last_run + state.first_run) if state.runs else 0,
        hours=max(_LEAST, round(state.hours - hours, 2)) if state.hours else 0.0,
        usd=max(_LEAST, state.usd - usd) if state.usd else 0.0,
    )


def turned_off(before: Autonomy, reason: str, now: float, by_itself: bool = False) -> Autonomy:
    """Return the switch turned off, its limits kept for a resumption."""
    off = Autonomy(reason=reason[: SETTINGS.reason_chars], since=now, by_itself=by_itself)
    return replace(off, runs=before.runs, hours=before.hours, usd=before.usd)


def limits_in_words(state: Autonomy) -> str:
    """Return the limits as "20 runs, 24 hours (until Tue 06:30)", "" without any."""
    until = ""
    if state.hours <= _WEEKDAY_HOURS:
        until = time.strftime(" (until %a %H:%M)", time.localtime(state.since + state.hours * 3600))
    named = (
        (state.runs, count_of(state.runs, "run")),
        (state.hours, f"{state.hours:.3g} hours{until}"),
        (state.usd, f"${state.usd:g}"),
    )
    return ", ".join(text for limit, text in named if limit)


def reached_limit(state: Autonomy, now: float, runs: int, usd: float) -> str:
    """Return a sentence on the limit that is reached by the runs since it was turned on and their cost; "" for none."""
    if state.runs and runs >= state.runs:
        return f"The limit of {count_of(state.runs, 'run')} is reached."
    if (now - state.since) / 3600 >= state.hours > 0:
        return f"The limit of {state.hours:.3g} hours is reached."
    if state.usd and usd >= state.usd:
        return f"The limit of ${state.usd:g} is reached (estimated)."
    return ""


def continued(state: Autonomy, progress: str) -> tuple[Autonomy, str]:
    """Return the switch after one more continuation, and why the loop has to end, "" if it may go on.

    progress is a text that changes with every run and verdict, not with commits, which could be made endlessly.
    """
    stuck = state.stuck + 1 if progress == state.progress else 0
    after = replace(state, progress=progress, stuck=stuck, continuations=state.continuations + 1)
    is_over = stuck >= SETTINGS.stuck_continuations
    return after, f"No run and no verdict in {stuck} continuations." if is_over else ""
