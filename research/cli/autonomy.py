"""The verb of the loop's switch, which prompts to Codex turn too."""

from __future__ import annotations

import time
from enum import Enum
from typing import Annotated

import typer

from research.agents.autonomy import Autonomy, limits_in_words, load, save, turned_off, turned_on
from research.cli.kit import JsonFlag, show
from research.cli.runs import this_lab
from research.core import git
from research.lab.plan import plan_again
from research.store.db import Store
from research.store.open import read_store
from research.store.recent import last_run


class Way(str, Enum):
    """What to do with the switch."""

    on = "on"
    off = "off"
    status = "status"


def register(app: typer.Typer) -> None:
    """Adds this module's verb to the front door."""
    app.command("autonomy")(autonomy)


def autonomy(
    way: Annotated[Way, typer.Argument(help="on, off or status.")] = Way.status,
    runs: Annotated[int, typer.Option(min=0, help="Let go after so many runs; 0 for no limit.")] = 0,
    hours: Annotated[float, typer.Option(min=0, help="Let go after so many hours; 0 for the usual day.")] = 0.0,
    usd: Annotated[float, typer.Option(min=0, help="Let go after so many estimated dollars; 0 for no limit.")] = 0.0,
    as_json: JsonFlag = False,
) -> None:
    """Turn the loop that Codex's Stop hook keeps going on or off, or show how it stands."""
    lab = this_lab()
    if way is Way.status:
        with read_store(lab.paths) as store:
            state = load(store)
    else:
        with lab.open_as_it_is() as store:
            state = _turn(store, way, {"runs": runs, "hours": hours, "usd": usd}, lab.now_utc())
            if state.enabled:
                plan_again(lab, store, git.head(lab.work).branch)
    data = {
        "enabled": state.enabled,
        "reason": state.reason,
        "since_unix_s": state.since,
        "limits": {"runs": state.runs, "hours": state.hours, "usd": state.usd},
        "continuations": state.continuations,
        "ended_by_itself": state.by_itself,
    }
    show("autonomy", data, _words(state), as_json)


def _turn(store: Store, way: Way, limits: dict[str, float], at_utc: str) -> Autonomy:
    with store.write():
        before, now = load(store), time.time()
        if way is Way.off:
            state = turned_off(before, "research autonomy off", now)
            store.drop_plans(at_utc)
        else:
            named = {name: value for name, value in limits.items() if value}
            state = turned_on(before, "research autonomy on", now, last_run(store), named)
        save(store, state)
        store.add_event(at_utc, "autonomy", None, {"enabled": state.enabled, "reason": state.reason})
    return state


def _words(state: Autonomy) -> str:
    until = limits_in_words(state)
    if state.enabled:
        return f"Autonomy is on ({state.reason})" + (f"; it ends after {until}." if until else ".")
    return f"Autonomy is off ({state.reason})."
