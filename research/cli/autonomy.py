"""Defines the verb autonomy, the switch of autonomous continuation, which prompts to a coding agent turn too."""

from __future__ import annotations

import time
from collections.abc import Mapping

import click

from research.agents.autonomy import Autonomy, limits_in_words, load, save, turned_off, turned_on
from research.cli.kit import Amount, Count, here, json_option, show, this_lab
from research.core import git
from research.core.errors import UsageError
from research.store.open import read_store
from research.store.recent import last_run, spent_usd


@click.command("autonomy")
@click.argument("way", type=click.Choice(("on", "off", "status")), default="status", help="on, off or status.")
@click.option("--runs", type=Count(min=0), help="End after so many runs; 0 for no limit.")
@click.option("--hours", type=Amount(), help="End after so many hours; 0 for the usual day.")
@click.option("--usd", type=Amount(), help="End after so many estimated dollars; 0 for no limit.")
@json_option
def autonomy(way: str, as_json: bool, **limits: float | None) -> None:
    named = {name: value for name, value in limits.items() if value is not None}
    if named and way != "on":
        typed = " ".join(f"--{name} {value:g}" for name, value in named.items())
        raise UsageError(f"Limits are set by `on`, not by `{way}`.", f"Type: uv run research autonomy on {typed}")
    if way == "status":
        with read_store(here()) as store:
            state = load(store)
    else:
        state = _turn(way == "on", named)
    data = {
        "enabled": state.enabled,
        "reason": state.reason,
        "since_unix_s": state.since,
        "limits": {"runs": state.runs, "hours": state.hours, "usd": state.usd},
        "continuations": state.continuations,
        "ended_by_itself": state.by_itself,
    }
    until = limits_in_words(state) if state.enabled else ""
    words = f"Autonomy is {'on' if state.enabled else 'off'} ({state.reason})"
    show("autonomy", data, f"{words}; it ends after {until}." if until else f"{words}.", as_json)


def _turn(on: bool, limits: Mapping[str, float]) -> Autonomy:
    """Turn the switch on, and plan the first experiment, or off, and drop the pending plan."""
    from research.lab.plan import plan_again

    lab = this_lab()
    at_utc = lab.now_utc()
    with lab.open_as_it_is() as store:
        with store.write():
            before, now = load(store), time.time()
            if on:
                usd = spent_usd(store, before.first_run)
                state = turned_on(before, "research autonomy on", now, last_run(store), limits, usd)
            else:
                state = turned_off(before, "research autonomy off", now)
                store.drop_plans(at_utc)
            save(store, state)
            store.add_event(at_utc, "autonomy", None, {"enabled": state.enabled, "reason": state.reason})
        if on:
            plan_again(lab, store, git.head(lab.work).branch)
    return state
