"""Decides when a night ends, and how long it waits after a failure: values in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from research.agents.night.state import NightState, worked_s
from research.core.clock import local_time, moment
from research.core.records import Run
from research.core.settings import SETTINGS
from research.core.text import count_of
from research.lab.launch import NIGHT_FACT

RESULTS = frozenset({"scored", "crash", "timeout", "stopped"})
"""Outcomes that are results of a candidate."""
LAUNCHED = RESULTS | {"interrupted"}
"""Outcomes that count against --max-runs: every launch but those that failed for want of a machine."""
FAILED = frozenset({"infrastructure", "capacity"})
"""Ends that are nobody's fault: waited out, and never counted."""


@dataclass(frozen=True)
class UsualCost:
    """What runs of this night cost: dollars of a usual one, dollars a second, and seconds of a usual one."""

    usd: float
    usd_per_s: float
    seconds: float = 0.0


def runs_of(night: str, runs: Sequence[Run]) -> list[Run]:
    """Returns the runs of a night that count against its limits; every run of a night bears its name."""
    return [run for run in runs if run.facts.get(NIGHT_FACT) == night and run.outcome in LAUNCHED]


def cost_usd(runs: Sequence[Run], usd_per_hour: float) -> float:
    """Adds up what runs cost: as their backend said, else their seconds at the given price."""
    return sum(run.cost_usd if run.cost_usd is not None else run.wall_s / 3600 * usd_per_hour for run in runs)


def usual_cost(runs: Sequence[Run], usd_per_hour: float, agent_usd: float = 0.0) -> UsualCost:
    """Estimates a usual run's cost: the median of the scored ones, of all where none has scored, 0 before any.

    What the agent has cost so far is shared out evenly among the runs that came of it.
    """
    if not runs:
        return UsualCost(agent_usd, usd_per_hour / 3600)
    usual = [run for run in runs if run.outcome == "scored"] or runs
    usd, seconds = [cost_usd([run], usd_per_hour) for run in usual], [run.wall_s for run in usual]
    rate = sum(usd) / sum(seconds) if sum(seconds) else 0.0
    return UsualCost(median(usd) + agent_usd / len(runs), rate, median(seconds))


def reached(night: NightState, now: datetime, usual: UsualCost, in_flight: Sequence[float] = ()) -> str | None:
    """Names the limit that forbids launching another run, None if there is none.

    Dollars are counted to the end of what would then be running: a run in flight costs a usual one, or what it has run
    for where that is more, and so does the next. Only a run longer than usual can go beyond the limit. In flight are
    given as the seconds for which they have been running.
    """
    limits, usd = night.limits, night.usd
    if limits.max_runs is not None and night.runs + len(in_flight) >= limits.max_runs:
        return f"{count_of(limits.max_runs, 'run')} {'was' if limits.max_runs == 1 else 'were'} made (--max-runs)"
    if limits.hours is not None and worked_s(night, now) >= limits.hours * 3600:
        return f"{limits.hours:g} hours are over (--hours)"
    if limits.until_utc is not None and now >= moment(limits.until_utc):
        return f"it is {local_time(limits.until_utc)} (--until)"
    if limits.max_usd is not None:
        flying = sum(max(usual.usd, passed * usual.usd_per_s) for passed in in_flight)
        spent = f"${usd:.2f} of ${limits.max_usd:.2f} are spent"
        if usd >= limits.max_usd:
            return f"{spent} (--max-usd)"
        if usd + flying + usual.usd > limits.max_usd:
            running = f" and ${flying:.2f} are running" if in_flight else ""
            return f"{spent}{running}; another run would cost about ${usual.usd:.2f} (--max-usd)"
    return None


def is_last(night: NightState, now: datetime, usual: UsualCost, in_flight: Sequence[float]) -> bool:
    """Checks whether the next launch will be the night's last: whether a limit forbids one after it; see reached()."""
    later = now + timedelta(seconds=usual.seconds * SETTINGS.last_run_lengths)
    return reached(night, later, usual, [*in_flight, 0.0]) is not None


def backoff_s(first_s: float, longest_s: float, before: int) -> float:
    """Returns the seconds to wait: twice as long as the last time, after so many waits in a row before."""
    return min(longest_s, first_s * 2.0**before)
