"""The verb autonomy: the switch of the loop, which prompts to a coding agent turn too."""

from __future__ import annotations

import time

import click

from research.agents.autonomy import Autonomy, limits_in_words, load, save, turned_off, turned_on
from research.cli.kit import Amount, Count, here, json_option, show, this_lab
from research.core import git
from research.store.db import Store
from research.store.open import read_store
from research.store.recent import last_run


@click.command("autonomy")
@click.argument("way", type=click.Choice(("on", "off", "status")), default="status", help="on, off or status.")
@click.option("--runs", type=Count(min=0), default=0, help="End after so many runs; 0 for no limit.")
@click.option("--hours", type=Amount(), default=0.0, help="End after so many hours; 0 for the usual day.")
@click.option("--usd", type=Amount(), default=0.0, help="End after so many estimated dollars; 0 for no limit.")
@json_option
def autonomy(way: str, runs: int, hours: float, usd: float, as_json: bool) -> None:
    """Turns the switch, or shows it."""
    if way == "status":
        with read_store(here()) as store:
            state = load(store)
    else:
        state = _turn(way == "on", {"runs": runs, "hours": hours, "usd": usd})
    data = {
        "enabled": state.enabled,
        "reason": state.reason,
        "since_unix_s": state.since,
        "limits": {"runs": state.runs, "hours": state.hours, "usd": state.usd},
        "continuations": state.continuations,
        "ended_by_itself": state.by_itself,
    }
    show("autonomy", data, _words(state), as_json)


def _turn(on: bool, limits: dict[str, float]) -> Autonomy:
    """Turns the switch on, and plans the first experiment, or off, and drops the pending plan."""
    from research.lab.plan import plan_again

    lab = this_lab()
    with lab.open_as_it_is() as store:
        state = _record(store, on, limits, lab.now_utc())
        if state.enabled:
            plan_again(lab, store, git.head(lab.work).branch)
    return state


def _record(store: Store, on: bool, limits: dict[str, float], at_utc: str) -> Autonomy:
    with store.write():
        before, now = load(store), time.time()
        if on:
            named = {name: value for name, value in limits.items() if value}
            state = turned_on(before, "research autonomy on", now, last_run(store), named)
        else:
            state = turned_off(before, "research autonomy off", now)
            store.drop_plans(at_utc)
        save(store, state)
        store.add_event(at_utc, "autonomy", None, {"enabled": state.enabled, "reason": state.reason})
    return state


def _words(state: Autonomy) -> str:
    until = limits_in_words(state)
    if state.enabled:
        return f"Autonomy is on ({state.reason})" + (f"; it ends after {until}." if until else ".")
    return f"Autonomy is off ({state.reason})."
