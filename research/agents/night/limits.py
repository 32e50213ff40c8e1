"""Decides when a night ends, and how long it waits after a failure: values in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median

from research.agents.night.state import Limits
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


@dataclass(frozen=True)
class Used:
    """What a night has used up of its limits.

    Attributes:
        now: Now.
        worked_s: Seconds for which it was at work.
        runs: Runs that count, finished.
        in_flight: Seconds for which each run that is going on has been running.
        usd: Dollars spent on finished runs.
        usual: What a run costs.
    """

    now: datetime
    worked_s: float
    runs: int
    in_flight: Sequence[float]
    usd: float
    usual: UsualCost


def reached(limits: Limits, used: Used) -> str | None:
    """Names the limit that forbids launching another run, None if there is none.

    Dollars are counted to the end of what would then be running: a run in flight costs a usual one, or what it has run
    for where that is more, and so does the next. Only a run longer than usual can go beyond the limit.
    """
    in_flight, usd, usual = used.in_flight, used.usd, used.usual
    if limits.max_runs is not None and used.runs + len(in_flight) >= limits.max_runs:
        return f"{count_of(limits.max_runs, 'run')} {'was' if limits.max_runs == 1 else 'were'} made (--max-runs)"
    if limits.hours is not None and used.worked_s >= limits.hours * 3600:
        return f"{limits.hours:g} hours are over (--hours)"
    if limits.until_utc is not None and used.now >= moment(limits.until_utc):
        return f"it is {local_time(limits.until_utc)} (--until)"
    if limits.max_usd is not None:
        flying = sum(max(usual.usd, passed * usual.usd_per_s) for passed in in_flight)
        if usd >= limits.max_usd:
            return f"${usd:.2f} of ${limits.max_usd:.2f} are spent (--max-usd)"
        if usd + flying + usual.usd > limits.max_usd:
            running = f" and ${flying:.2f} are running" if in_flight else ""
            another = f"another run would cost about ${usual.usd:.2f}"
            return f"${usd:.2f} of ${limits.max_usd:.2f} are spent{running}; {another} (--max-usd)"
    return None


def is_last(limits: Limits, used: Used) -> bool:
    """Checks whether the next launch will be the night's last: whether a limit forbids one after it; see reached()."""
    length = used.usual.seconds * SETTINGS.last_run_lengths
    after = replace(
        used,
        now=used.now + timedelta(seconds=length),
        worked_s=used.worked_s + length,
        in_flight=[*used.in_flight, 0.0],
    )
    return reached(limits, after) is not None


def backoff_s(failures: int) -> float:
    """Returns the seconds to wait after so many failures in a row."""
    return min(SETTINGS.max_backoff_s, SETTINGS.backoff_first_s * 2.0 ** max(0, failures - 1))
