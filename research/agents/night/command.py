"""Writes the commands that continue a night with its own options, such as its backend."""

from __future__ import annotations

from research.agents.clients import CLIENTS
from research.agents.night.state import NightLimits, NightState
from research.core import commands
from research.core.clock import local_time
from research.runs.backends import DEFAULT_BACKEND

_PLAIN = NightState("", "", "builtin", DEFAULT_BACKEND, 0, 1, "", NightLimits())
"""A night that is started without any option; only options that differ from its are written."""
_USUAL_HOURS = 8.0
"""Hours of a night that is begun before bed."""


def night_command(night: NightState | None) -> str:
    """Return the line that starts another night like this one, or continues one that was cut off."""
    if night is None:
        return f"uv run research night --hours {_USUAL_HOURS:g}"
    limits, goes_on = night.limits, night.finished_utc is None
    hours = limits.hours
    if hours is None and limits.until_utc is None and not goes_on:
        hours = _USUAL_HOURS
    words = [f"--hours {hours:g}"] if hours is not None else []
    words += [f"--until {local_time(limits.until_utc)}"] if limits.until_utc is not None else []
    words += [f"--max-usd {limits.max_usd:g}"] if limits.max_usd is not None else []
    words += [f"--max-runs {limits.max_runs}"] if limits.max_runs is not None and goes_on else []
    return " ".join(["uv run research night", *words, *_how(night)])


def one_run(night: NightState | None) -> str:
    """Return the line that makes one run with the options of the night."""
    return " ".join(["uv run research night --max-runs 1", *_how(night)])


def one_run_of_an_agent(night: NightState | None) -> str:
    """Return the line that makes one run with the options of the night and an agent that writes code."""
    line = one_run(night)
    return line if "--agent" in line else f"{line} --agent {next(iter(CLIENTS))}"


def replicate_command(commit: str, night: NightState | None, seed: int | None = None) -> str:
    """Return the line that measures a commit again, with that seed or another, on the backend of the night."""
    options = [*([] if seed is None else [f"--seed {seed}"]), *(_where(night) if night else [])]
    return commands.replicate_command(commit, " ".join(options))


def _how(night: NightState | None) -> list[str]:
    """Return the options that are not at their defaults: agent, policy, seed, racing, place, workers, price."""
    if night is None:
        return []
    price = f"--usd-per-hour {night.limits.usd_per_hour:g}"
    how = _options(night, "agent", "policy", "seed") + ["--no-race"] * (not night.race)
    words = [*how, *_where(night), *_options(night, "workers")]
    return [*words, price] if night.limits.usd_per_hour else words


def _where(night: NightState) -> list[str]:
    words = _options(night, "backend")
    words += _options(night, "gpu") if words else []
    return words if night.timeout_s == _PLAIN.timeout_s else [*words, f"--timeout {night.timeout_s / 60:g}"]


def _options(night: NightState, *names: str) -> list[str]:
    return [f"--{name} {getattr(night, name)}" for name in names if getattr(night, name) != getattr(_PLAIN, name)]
