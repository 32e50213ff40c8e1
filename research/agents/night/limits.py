"""Decides, from values alone, when a night ends, how long it waits, and whether a command resumes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from statistics import median
from typing import NamedTuple

from research.agents.night.state import NightState, worked_s
from research.core.clock import local_time, parse_utc, utc
from research.core.records import Run
from research.core.settings import SETTINGS
from research.core.text import count_of
from research.lab.launch import NIGHT_FACT
from research.runs.backends import is_remote
from research.store.ledger import ROW_OUTCOMES

LAUNCHED = ROW_OUTCOMES | {"interrupted"}
"""Outcomes that count against --max-runs: every launch but those that failed for want of a machine."""
FAILED = frozenset({"infrastructure", "capacity"})
"""Outcomes that are no candidate's fault: the night waits, and they count against nothing."""


class UsualCost(NamedTuple):
    """The cost of a usual run of a night."""

    usd: float  # dollars
    seconds: float = 0.0


def runs_of(night: str, runs: Sequence[Run]) -> list[Run]:
    """Return the runs of a night that count against its limits."""
    return [run for run in runs if run.facts.get(NIGHT_FACT) == night and run.outcome in LAUNCHED]


def cost_usd(runs: Sequence[Run], usd_per_hour: float) -> float:
    """Return the cost of runs together: as their backend said, else their seconds at the given price."""
    return sum(run.cost_usd if run.cost_usd is not None else run.wall_s / 3600 * usd_per_hour for run in runs)


def usual_cost(runs: Sequence[Run], usd_per_hour: float, agent_usd: float = 0.0) -> UsualCost:
    """Return a usual run's cost: the median of the scored runs, else of all, and an equal share of the agent's cost."""
    if not runs:
        return UsualCost(agent_usd)
    usual = [run for run in runs if run.outcome == "scored"] or runs
    usd = median(cost_usd([run], usd_per_hour) for run in usual) + agent_usd / len(runs)
    return UsualCost(usd, median(run.wall_s for run in usual))


def reached(night: NightState, now: datetime, usual: UsualCost, in_flight: int = 0) -> str | None:
    """Return a sentence on the limit that forbids another run beside those in flight, None if none does.

    Dollars are counted as if the runs in flight, and the next one, cost what a usual run does.
    """
    limits, usd = night.limits, night.usd
    if limits.max_runs is not None and night.runs + in_flight >= limits.max_runs:
        return f"{count_of(limits.max_runs, 'run')} {'was' if limits.max_runs == 1 else 'were'} made (--max-runs)"
    if limits.hours is not None and worked_s(night, now) >= limits.hours * 3600:
        return f"{limits.hours:g} hours are over (--hours)"
    if limits.until_utc is not None and now >= parse_utc(limits.until_utc):
        return f"it is {local_time(limits.until_utc)} (--until)"
    if limits.max_usd is not None:
        spent = f"${usd:.2f} of ${limits.max_usd:.2f} are spent"
        if usd >= limits.max_usd:
            return f"{spent} (--max-usd)"
        if usd + (in_flight + 1) * usual.usd > limits.max_usd:
            running = f" and ${in_flight * usual.usd:.2f} are running" if in_flight else ""
            return f"{spent}{running}; another run would cost about ${usual.usd:.2f} (--max-usd)"
    return None


def is_last(night: NightState, now: datetime, usual: UsualCost, in_flight: int) -> bool:
    """Check whether the next launch will be the night's last, since a limit will forbid one after it."""
    later = now + timedelta(seconds=usual.seconds * SETTINGS.last_run_lengths)
    return reached(night, later, usual, in_flight + 1) is not None


_MOST_DOUBLINGS = 64  # after them every wait is the longest; a power of thousands is no number any more


def backoff_s(first_s: float, longest_s: float, before: int) -> float:
    """Return the seconds to wait after so many waits in a row before, each twice as long as the one before it."""
    return min(longest_s, first_s * 2.0 ** min(before, _MOST_DOUBLINGS))


_SAME = ("agent", "backend", "gpu", "policy", "seed")
"""Options that must be the same to continue a night, so that all of it is planned and judged in one way."""


def why_new(before: NightState, wanted: NightState, runs: Sequence[Run], now: datetime) -> str | None:
    """Return why a command does not continue an interrupted night, in words that follow its name; None if it does."""
    for name in _SAME:
        was = getattr(before, name)
        if was != getattr(wanted, name) and (name != "gpu" or is_remote(wanted.backend)):
            return f"had --{name} {was}"
    old, new = before.limits, wanted.limits
    given = ((getattr(old, name), getattr(new, name)) for name in ("max_runs", "hours", "max_usd", "until_utc"))
    if all(asked in (None, was) for was, asked in given):
        return None
    usual = usual_cost(runs_of(before.night, runs), new.usd_per_hour)
    over = reached(resumed(before, wanted, runs, now), now, usual)
    return f"has nothing left to do under these limits: {over}" if over else None


def resumed(before: NightState, wanted: NightState, runs: Sequence[Run], now: datetime) -> NightState:
    """Return the state with which an interrupted night continues; the time since it was last alive becomes a pause."""
    mine = runs_of(before.night, runs)  # some may have ended after it was killed
    seen = before.alive_utc or before.started_utc
    return replace(
        before,
        workers=wanted.workers,
        limits=wanted.limits,
        gpu=wanted.gpu,
        timeout_s=wanted.timeout_s,
        race=wanted.race,
        runs=max(before.runs, len(mine)),
        usd=max(before.usd, cost_usd(mine, wanted.limits.usd_per_hour) + (before.agent_usd or 0.0)),
        stop_reason=None,
        resumed=before.resumed + 1,
        alive_utc=utc(now),
        paused_s=before.paused_s + (now - parse_utc(seen)).total_seconds(),
    )
