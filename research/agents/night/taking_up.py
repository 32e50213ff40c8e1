"""Takes up a night that was interrupted, and says what is left of it: values in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from research.agents.night import limits
from research.clock import utc
from research.night_state import Limits, NightState, moment, worked_s
from research.records import Run


def taken_up(before: NightState, wanted: Limits, workers: int, runs: Sequence[Run], now: datetime) -> NightState:
    """An interrupted night that goes on: the time since it was last alive is a pause.

    Args:
        before: The night as it was last seen.
        wanted: Its limits from now on.
        workers: Its workers from now on.
        runs: Every run; some may have ended after the night was killed.
        now: Now.
    """
    mine = limits.runs_of(before, runs)
    seen = before.alive_utc or max([before.started_utc, *(run.finished_utc or "" for run in mine)])
    return replace(
        before,
        limits=wanted,
        workers=workers,
        runs=max(before.runs, len(mine)),
        usd=limits.cost_usd(mine, wanted.usd_per_hour),
        stop_reason=None,
        resumed=before.resumed + 1,
        alive_utc=utc(now),
        paused_s=before.paused_s + max(0.0, (now - moment(seen)).total_seconds()),
    )


def opening(state: NightState, now: datetime) -> str:
    """What a person reads first."""
    most = state.limits
    parts = [
        _count(most.max_runs) if most.max_runs is not None else "",
        f"{most.hours:g} h" if most.hours is not None else "",
        f"${most.max_usd:g}" if most.max_usd is not None else "",
    ]
    until = ", ".join(part for part in parts if part) or "Ctrl-C"
    again = f" (taken up again after {_count(state.runs)}{_left(state, now)})" if state.resumed else ""
    return f"{state.night} on {state.branch}, agent {state.agent}, until {until}{again}. Ctrl-C ends it cleanly."


def _left(state: NightState, now: datetime) -> str:
    """What the limits leave, "" without one."""
    most = state.limits
    parts = [
        _count(max(0, most.max_runs - state.runs)) if most.max_runs is not None else "",
        _hours(most.hours - worked_s(state, now) / 3600) if most.hours is not None else "",
        f"${max(0.0, most.max_usd - state.usd):.2f}" if most.max_usd is not None else "",
    ]
    left = " and ".join(part for part in parts if part)
    return f", {left} left" if left else ""


def _count(runs: int) -> str:
    return f"{runs} run" if runs == 1 else f"{runs} runs"


def _hours(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{max(0.0, hours) * 60:.0f} minutes"
