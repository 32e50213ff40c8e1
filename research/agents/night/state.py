"""Defines the state of a night, its options and progress, which the loop saves after every run and views read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from research.agents.clients.base import Usage
from research.core.clock import parse_utc
from research.core.settings import SETTINGS
from research.runs.backends import DEFAULT_GPU

LOCK = ".night.lock"
"""Name of the lock in the memory's folder that a night holds, with a note of its process and machine."""
FACT = "night"
"""Name of the store's fact that holds the latest night as JSON."""


@dataclass(frozen=True)
class NightLimits:
    """The limits that end a night; None is no limit.

    Attributes:
        max_runs: Launched runs, baselines and replicates included.
        hours: Hours that the night was at work: awake, pauses between an interruption and the next start left out.
        max_usd: Dollars spent, the usual cost of the next run included.
        usd_per_hour: Price of an hour of running, for runs whose backend names no cost.
        until_utc: The moment after which nothing is launched, ISO 8601.
    """

    max_runs: int | None = None
    hours: float | None = None
    max_usd: float | None = None
    usd_per_hour: float = 0.0
    until_utc: str | None = None


@dataclass(frozen=True)
class NightState:
    """The state of one night: its options and its progress.

    Attributes:
        runs: Launched runs so far, interrupted ones included, but not those that failed for want of a machine.
        usd: Dollars spent so far, those of the agent included, also for ideas that came to no run.
        agent_usd: Dollars that the agent says it used, None where it names none.
        stop_reason: Why it ended, None while it runs (or when it was killed).
        finished_utc: When it ended, None before, and for one that is to be resumed.
        race: Whether losing runs are stopped.
        alive_utc: When it last wrote this, None where an older version did.
        paused_s: Seconds by which the clock went on without it: between an interruption and the next start, while the
            machine slept, and by a clock that was set forward; below zero after one that was set back.
    """

    night: str
    branch: str
    agent: str
    backend: str
    seed: int
    workers: int
    started_utc: str
    limits: NightLimits
    runs: int = 0
    usd: float = 0.0
    agent_tokens: int = 0
    agent_usd: float | None = None
    stop_reason: str | None = None
    finished_utc: str | None = None
    resumed: int = 0
    alive_utc: str | None = None
    paused_s: float = 0.0
    gpu: str = DEFAULT_GPU
    timeout_s: float = SETTINGS.default_timeout_minutes * 60
    policy: str = "discovery"
    race: bool = True

    @property
    def agent_usage(self) -> Usage:
        """Return what the agent used so far."""
        return Usage(self.agent_tokens, self.agent_usd)

    def to_json(self) -> str:
        """Return the state as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False)


def from_json(text: str | None) -> NightState | None:
    """Read the state from JSON text; None for nothing or for what can't be read."""
    try:
        values = json.loads(text or "null")
        return NightState(
            **_known(NightState, values) | {"limits": NightLimits(**_known(NightLimits, values["limits"]))}
        )
    except (ValueError, TypeError, KeyError):
        return None


def _known(kind: type[NightState | NightLimits], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a class has a field for: another version may have written more."""
    return {field.name: values[field.name] for field in fields(kind) if field.name in values}


def worked_s(state: NightState, now: datetime) -> float:
    """Return the seconds for which a night was at work, if it is at work now."""
    return (now - parse_utc(state.started_utc)).total_seconds() - state.paused_s
