"""When a night ends, and how long it waits after a failure: values in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from research.night_state import Limits, NightState
from research.records import Run
from research.settings import SETTINGS

LAUNCHED = frozenset({"scored", "crash", "timeout"})
"""Runs that count against a limit: those that said something about a candidate."""
FAILED = frozenset({"infrastructure", "capacity"})
"""Ends that are nobody's fault: waited out, and never counted."""


def runs_of(state: NightState, runs: Sequence[Run]) -> list[Run]:
    """The runs of a night that count: on its branch, since its beginning."""
    return [
        run
        for run in runs
        if run.branch == state.branch and run.started_utc >= state.started_utc and run.outcome in LAUNCHED
    ]


def cost_usd(runs: Sequence[Run], usd_per_hour: float) -> float:
    """What runs cost: as their backend said, else their seconds at the given price."""
    return sum(run.cost_usd if run.cost_usd is not None else seconds(run) / 3600 * usd_per_hour for run in runs)


def seconds(run: Run) -> float:
    """Wall-clock seconds of a finished run."""
    if run.finished_utc is None:
        return 0.0
    return max(0.0, (moment(run.finished_utc) - moment(run.started_utc)).total_seconds())


def moment(text: str) -> datetime:
    """A record's time."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def reached(limits: Limits, started_utc: str, now: datetime, runs: int, in_flight: int, usd: float) -> str | None:
    """The limit that forbids launching another run, None if there is none.

    Args:
        limits: The night's limits.
        started_utc: When it began.
        now: Now.
        runs: Runs that count, finished.
        in_flight: Runs that are going on.
        usd: Dollars spent.
    """
    if limits.max_runs is not None and runs + in_flight >= limits.max_runs:
        return f"{limits.max_runs} runs were made (--max-runs)"
    if limits.hours is not None and (now - moment(started_utc)).total_seconds() >= limits.hours * 3600:
        return f"{limits.hours:g} hours are over (--hours)"
    if limits.max_usd is not None and usd >= limits.max_usd:
        return f"${usd:.2f} of ${limits.max_usd:.2f} are spent (--max-usd)"
    return None


def backoff_s(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return min(SETTINGS.backoff_most_s, SETTINGS.backoff_first_s * 2.0 ** max(0, failures - 1))
