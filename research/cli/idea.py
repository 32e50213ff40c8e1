"""The verb idea: a person's queue of what is to be tried, and what became of each."""

from __future__ import annotations

from typing import Any

import click

from research.cli.kit import json_option, show, this_lab
from research.core.errors import UsageError
from research.core.records import Idea
from research.core.text import clean
from research.store.db import Store

_IN_WORDS = {
    "waiting": "waits",
    "needs_agent": "waits for a coding agent (night --agent codex or claude)",
    "running": "is being tried",
    "keep": "kept",
    "discard": "not kept",
    "replicate": "not decided, it is measured again",
    "investigate": "not decided, it is measured again",
    "dropped": "not tried",
}


@click.command("idea")
@click.argument("text", nargs=-1, help="What to try, in words or as NAME=VALUE; without it the queue is listed.")
@json_option
def idea(text: tuple[str, ...], as_json: bool) -> None:
    """Adds an idea to the queue, or lists the queue."""
    lab = this_lab()
    with lab.open() as store:
        if text:
            from research.lab.ideas import add_idea

            if not (words := " ".join(" ".join(text).split())):
                raise UsageError("The idea is empty.", "Type: uv run research idea DEPTH=6")
            add_idea(lab, store, words)
        items = [_described(store, one) for one in store.ideas()]
    lines = [_line(item) for item in items] or ["No idea is queued. Type: uv run research idea DEPTH=6"]
    show("idea", {"ideas": items}, "\n".join(lines), as_json)


def _described(store: Store, one: Idea) -> dict[str, Any]:
    """Returns an idea with what became of it."""
    run, verdict = (store.run(one.run), store.verdict(one.run)) if one.run else (None, None)
    if run is not None:
        status = verdict.decision if verdict and run.outcome == "scored" else str(run.outcome)
    elif one.closed_utc:
        status = "dropped"
    elif one.plan and any(going.plan == one.plan for going in store.open_runs()):
        status = "running"
    else:
        status = "waiting" if one.assignment else "needs_agent"
    return {
        "idea": one.idea,
        "text": one.text,
        "created_utc": one.created_utc,
        "status": status,
        "run": one.run,
        "commit": run.commit if run else None,
        "val_bpb": run.val_bpb if run else None,
        "why": one.why or (verdict.why if verdict else ""),
    }


def _line(item: dict[str, Any]) -> str:
    status = _IN_WORDS.get(item["status"], item["status"])
    score = f", {item['val_bpb']:.6f}" if item["val_bpb"] is not None else ""
    why = f": {item['why']}" if item["why"] else ""
    return f"{item['idea']:3d}  {clean(item['text'])}\n     {status}{score}{why}"
