"""Decides when a night ends, and how long it waits after a failure: values in, values out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median

from research.agents.night.state import Limits, NightState
from research.core.records import Run
from research.core.settings import SETTINGS
from research.core.text import count_of

LAUNCHED = frozenset({"scored", "crash", "timeout", "stopped"})
"""Outcomes that count against a limit: the results of a candidate."""
FAILED = frozenset({"infrastructure", "capacity"})
"""Ends that are nobody's fault: waited out, and never counted."""


@dataclass(frozen=True)
class UsualCost:
    """What runs of this night cost: dollars of a usual one, and dollars a second."""

    usd: float
    usd_per_s: float


def runs_of(state: NightState, runs: Sequence[Run], launched: Collection[str] = ()) -> list[Run]:
    """Returns the runs of a night that count: on its branch, since its beginning.

    Args:
        state: The night.
        runs: Every run.
        launched: Names of runs known to be the night's, whatever their time: a clock that is set back must not lift a
            limit.
    """
    return [
        run
        for run in runs
        if run.branch == state.branch
        and (run.started_utc >= state.started_utc or run.run in launched)
        and run.outcome in LAUNCHED
    ]


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
    usd, length = [cost_usd([run], usd_per_hour) for run in usual], sum(run.wall_s for run in usual)
    return UsualCost(median(usd) + agent_usd / len(runs), sum(usd) / length if length else 0.0)


def reached(
    limits: Limits,
    worked_s: float,
    runs: int,
    in_flight: Sequence[float],
    usd: float,
    usual: UsualCost,
) -> str | None:
    """Names the limit that forbids launching another run, None if there is none.

    Dollars are counted to the end of what would then be running: a run in flight costs a usual one, or what it has run
    for where that is more, and so does the next. Only a run longer than usual can go beyond the limit.

    Args:
        limits: The night's limits.
        worked_s: Seconds for which it was at work.
        runs: Runs that count, finished.
        in_flight: Seconds for which each run that is going on has been running.
        usd: Dollars spent on finished runs.
        usual: What a run costs.
    """
    if limits.max_runs is not None and runs + len(in_flight) >= limits.max_runs:
        return f"{count_of(limits.max_runs, 'run')} {'was' if limits.max_runs == 1 else 'were'} made (--max-runs)"
    if limits.hours is not None and worked_s >= limits.hours * 3600:
        return f"{limits.hours:g} hours are over (--hours)"
    if limits.max_usd is not None:
        flying = sum(max(usual.usd, passed * usual.usd_per_s) for passed in in_flight)
        if usd >= limits.max_usd:
            return f"${usd:.2f} of ${limits.max_usd:.2f} are spent (--max-usd)"
        if usd + flying + usual.usd > limits.max_usd:
            running = f" and ${flying:.2f} are running" if in_flight else ""
            another = f"another run would cost about ${usual.usd:.2f}"
            return f"${usd:.2f} of ${limits.max_usd:.2f} are spent{running}; {another} (--max-usd)"
    return None


def backoff_s(failures: int) -> float:
    """Returns the seconds to wait after so many failures in a row."""
    return min(SETTINGS.max_backoff_s, SETTINGS.backoff_first_s * 2.0 ** max(0, failures - 1))


def is_over(wait_s: float, passed_s: float) -> bool:
    """Checks whether a wait is over; a clock that is set back ends it, as it might last for hours then."""
    return not 0 <= passed_s < wait_s
