"""Decides whether a command resumes an interrupted night, and what is left of it: values in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from research.agents.night import limits
from research.agents.night.state import NightState, worked_s
from research.core.clock import local_time, moment, utc
from research.core.records import Run
from research.core.text import count_of
from research.runs.backends import is_remote

_SAME = ("agent", "backend", "gpu", "policy", "seed")
"""What makes a command another one: half of a night planned or judged in one way, half in another, is neither."""


def why_new(before: NightState, wanted: NightState, runs: Sequence[Run], now: datetime) -> str | None:
    """Says why a command does not continue an interrupted night, in words that follow its name; None where it does."""
    for name in _SAME:
        was = getattr(before, name)
        if was != getattr(wanted, name) and (name != "gpu" or is_remote(wanted.backend)):
            return f"had --{name} {was}"
    old, new = before.limits, wanted.limits
    given = ((getattr(old, name), getattr(new, name)) for name in ("max_runs", "hours", "max_usd", "until_utc"))
    if all(asked in (None, was) for was, asked in given):
        return None
    usual = limits.usual_cost(limits.runs_of(before.night, runs), new.usd_per_hour)
    over = limits.reached(resumed(before, wanted, runs, now), now, usual)
    return f"has nothing left to do under these limits: {over}" if over else None


def resumed(before: NightState, wanted: NightState, runs: Sequence[Run], now: datetime) -> NightState:
    """Returns an interrupted night as it continues: the time since it was last alive becomes a pause."""
    mine = limits.runs_of(before.night, runs)  # some may have ended after it was killed
    seen = before.alive_utc or before.started_utc
    return replace(
        before,
        workers=wanted.workers,
        limits=wanted.limits,
        gpu=wanted.gpu,
        timeout_s=wanted.timeout_s,
        runs=max(before.runs, len(mine)),
        usd=max(before.usd, limits.cost_usd(mine, wanted.limits.usd_per_hour) + (before.agent_usd or 0.0)),
        stop_reason=None,
        resumed=before.resumed + 1,
        alive_utc=utc(now),
        paused_s=before.paused_s + (now - moment(seen)).total_seconds(),
    )


def opening(state: NightState, now: datetime, instead: str = "") -> str:
    """Writes the line that a person reads first.

    It names the interrupted night that a new one does not resume, and why; of a resumed one, why it was interrupted.
    """
    most = state.limits
    parts = [
        count_of(most.max_runs, "run") if most.max_runs is not None else "",
        f"{most.hours:g} h" if most.hours is not None else "",
        f"${most.max_usd:g}" if most.max_usd is not None else "",
        local_time(most.until_utc),
    ]
    until = ", ".join(filter(None, parts)) or "Ctrl-C"
    how = f" (a new night: {instead})" if instead else ""
    if state.resumed:
        why = f"; it was {instead}" if instead else ""
        how = f" (resumed after {count_of(state.runs, 'run')}{_left(state, now)}{why})"
    return f"{state.night} on {state.branch}, agent {state.agent}, until {until}{how}. Ctrl-C ends it cleanly."


def _left(state: NightState, now: datetime) -> str:
    """Says what the limits leave, "" without one."""
    most = state.limits
    parts = [
        count_of(max(0, most.max_runs - state.runs), "run") if most.max_runs is not None else "",
        hours_in_words(most.hours - worked_s(state, now) / 3600) if most.hours is not None else "",
        f"${max(0.0, most.max_usd - state.usd):.2f}" if most.max_usd is not None else "",
    ]
    left = " and ".join(filter(None, parts))
    return f", {left} left" if left else ""


def hours_in_words(hours: float) -> str:
    """Writes a time that is left: "2.5 hours", "12 minutes", "40 seconds"."""
    if hours >= 1:
        return f"{hours:.1f} hours"
    minutes = max(0.0, hours) * 60
    return f"{minutes:.0f} minutes" if minutes >= 2 else count_of(round(minutes * 60), "second")
