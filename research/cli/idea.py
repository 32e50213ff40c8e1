"""The verb idea: a person's queue of what is to be tried, and what became of each."""

from __future__ import annotations

from typing import Any

import click

from research.cli.kit import json_option, show, this_lab
from research.core.errors import UsageError
from research.core.text import clean
from research.report.text import IDEAS
from research.store.reads import IdeaStatus, ideas


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
        items = [_described(one) for one in ideas(store)]
    lines = [_line(item) for item in items] or ["No idea is queued. Type: uv run research idea DEPTH=6"]
    show("idea", {"ideas": items}, "\n".join(lines), as_json)


def _described(one: IdeaStatus) -> dict[str, Any]:
    """Returns an idea with what became of it."""
    idea, run, verdict = one.idea, one.run, one.verdict
    return {
        "idea": idea.idea,
        "text": idea.text,
        "created_utc": idea.created_utc,
        "status": one.status,
        "run": idea.run,
        "commit": run.commit if run else None,
        "val_bpb": run.val_bpb if run else None,
        "why": idea.why or (verdict.why if verdict else ""),
    }


def _line(item: dict[str, Any]) -> str:
    status = IDEAS.get(item["status"], item["status"])
    score = f", {item['val_bpb']:.6f}" if item["val_bpb"] is not None else ""
    why = f": {item['why']}" if item["why"] else ""
    return f"{item['idea']:3d}  {clean(item['text'])}\n     {status}{score}{why}"
