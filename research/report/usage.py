"""Computes what runs took: hours of work, the share that trained, the cost, and when a night will end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from research.agents.clients.base import NOTHING_USED, Usage, usage_in
from research.agents.night import state
from research.agents.night.state import NightState, worked_s
from research.core.clock import parse_utc, utc
from research.core.files import is_held
from research.core.paths import LabPaths
from research.core.records import Run
from research.core.settings import SETTINGS
from research.core.text import count_of
from research.lab.lab import Lab
from research.report.text import clock
from research.runs.score import TOKENS_PER_S
from research.store.db import Store
from research.store.ledger import has_row


def work_of(runs: Sequence[Run]) -> tuple[float, float | None]:
    """Return the hours in which runs were made, and the share of that time that trained, None when unknown.

    Long pauses between runs are left out. Where several runs went on at once, each one's time counts for the share.
    """
    spans = [(parse_utc(run.started_utc), parse_utc(run.finished_utc)) for run in runs if run.finished_utc]
    moments = sorted([(begun, 1) for begun, _ in spans] + [(max(begun, ended), -1) for begun, ended in spans])
    going, worked_s, device_s = 0, 0.0, 0.0
    for (at, change), (then, _) in pairwise(moments):
        going += change
        length_s = (then - at).total_seconds()
        if going or length_s <= SETTINGS.pause_s:
            worked_s, device_s = worked_s + length_s, device_s + length_s * max(1, going)
    # A stopped run trained for a share of what a whole one does.
    whole_s = max((run.metrics.training_seconds for run in runs if run.metrics), default=0.0)
    trained_s = sum(
        run.metrics.training_seconds if run.metrics else run.phases_s.get("training", whole_s * (run.stopped_at or 0.0))
        for run in runs
    )
    return worked_s / 3600, min(1.0, trained_s / device_s) if device_s and trained_s else None


def tokens_per_second(run: Run) -> float | None:
    """Return a run's training tokens a second of its budget's clock, None where it is not known well enough."""
    if said := run.facts.get(TOKENS_PER_S):
        return float(said)
    metrics = run.metrics
    if metrics is None or metrics.training_seconds <= 0 or metrics.total_tokens_M < SETTINGS.speed_from_tokens_M:
        return None
    return metrics.total_tokens_M * 1e6 / metrics.training_seconds


def expected_end(night: NightState, now: datetime) -> datetime | None:
    """Return when a night will end if it goes on as so far, None without a limit that tells."""
    limits, worked = night.limits, worked_s(night, now)
    left = [limits.hours * 3600 - worked] if limits.hours is not None else []
    if limits.until_utc:
        left.append((parse_utc(limits.until_utc) - now).total_seconds())
    if night.runs and limits.max_runs is not None:
        left.append((limits.max_runs - night.runs) * worked / night.runs)
    if night.usd and limits.max_usd is not None:
        left.append((limits.max_usd - night.usd) * worked / night.usd)
    return now + timedelta(seconds=max(0.0, min(left))) if left else None


def budget_left(night: NightState, now: datetime, is_on: bool = True) -> list[str]:
    """Return, in parts of a line, what a night has used of its limits, how it ended, or that it was cut off."""
    limits, hours = night.limits, max(0.0, worked_s(night, now)) / 3600
    runs = f"{night.runs} of {limits.max_runs} runs" if limits.max_runs is not None else count_of(night.runs, "run")
    if night.finished_utc:
        return [f"ended: {night.stop_reason or 'no reason given'}", count_of(night.runs, "run")]
    if not is_on:
        return [night.stop_reason or "cut off, no reason recorded", f"after {runs}"]
    parts = [runs, f"{hours:.1f} of {limits.hours:g} h" if limits.hours is not None else f"{hours:.1f} h"]
    parts += [f"until {clock(limits.until_utc, False)}"] if limits.until_utc else []
    if limits.max_usd is not None:
        parts.append(f"${night.usd:.2f} of ${limits.max_usd:.2f}")
    elif night.usd:
        parts.append(f"${night.usd:.2f}")
    end = expected_end(night, now)
    return [*parts, f"ends about {clock(utc(end), False)}"] if end else parts


def is_night_on(night: NightState | None, paths: LabPaths) -> bool:
    """Check whether a night has not ended and has a process at work."""
    return night is not None and night.finished_utc is None and is_held(paths.discovery / state.LOCK)


def night_in_progress(store: Store, lab: Lab) -> str:
    """Return the progress and the branch of the night that is going on in this checkout; "" for none."""
    night = state.from_json(store.fact(state.FACT))
    if night is None or not is_night_on(night, lab.paths):
        return ""
    return f"{', '.join(budget_left(night, lab.clock()))}, on {night.branch}"


def agent_usage(launches: Sequence[Run], night: NightState | None) -> Usage:
    """Return the agent's usage on a branch: for ideas that were run and, in the latest night, for all others."""
    ran = [usage_in(run.facts) for run in launches]
    if night is None or any(run.branch != night.branch for run in launches):
        return sum(ran, NOTHING_USED)
    earlier = [used for run, used in zip(launches, ran, strict=True) if run.started_utc < night.started_utc]
    return sum(earlier, night.agent_usage)


def cost_of(launches: Sequence[Run], night: NightState | None) -> tuple[float | None, str]:
    """Return the dollars spent on a branch, None when nobody named a price, and where the figure comes from.

    Runs whose backend names no cost are counted at the latest night's price an hour.
    """
    agent = agent_usage(launches, night).usd
    named = [run.cost_usd for run in launches if run.cost_usd is not None]
    price = night.limits.usd_per_hour if night else 0.0
    unnamed = [run for run in launches if run.cost_usd is None and has_row(run)] if price else []
    if not named and not unnamed and agent is None:
        return None, "no price given (--usd-per-hour)"
    usd = sum(named) + sum(run.wall_s for run in unnamed) / 3600 * price + (agent or 0.0)
    sources = ["as the backend says"] * bool(named) + [f"at ${price:g} an hour"] * bool(unnamed)
    sources += ["for the agent, at list prices"] * (agent is not None)
    return usd, " and ".join(sources)
