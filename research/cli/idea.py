"""The verb idea: a person's queue of what is to be tried, and what became of each."""

from __future__ import annotations

import click

from research.cli.kit import json_option, show, this_lab
from research.core.errors import UsageError
from research.core.text import clean
from research.report.text import IDEAS
from research.store.reads import ideas


@click.command("idea")
@click.argument("text", nargs=-1, help="What to try, in words or as NAME=VALUE; without it the queue is listed.")
@json_option
def idea(text: tuple[str, ...], as_json: bool) -> None:
    lab = this_lab()
    items, lines = [], []
    with lab.open() as store:
        if text:
            from research.lab.ideas import add_idea

            if not (words := " ".join(" ".join(text).split())):
                raise UsageError("The idea is empty.", "Type: uv run research idea DEPTH=6")
            add_idea(lab, store, words)
        for one in ideas(store):
            idea, run = one.idea, one.run
            why = idea.why or (one.verdict.why if one.verdict else "")
            score = f", {run.val_bpb:.6f}" if run and run.val_bpb is not None else ""
            status = IDEAS.get(one.status, one.status)
            lines.append(f"{idea.idea:3d}  {clean(idea.text)}\n     {status}{score}{f': {why}' if why else ''}")
            item = {
                "idea": idea.idea,
                "text": idea.text,
                "created_utc": idea.created_utc,
                "status": one.status,
                "run": idea.run,
                "commit": run.commit if run else None,
                "val_bpb": run.val_bpb if run else None,
                "why": why,
            }
            items.append(item)
    none = "No idea is queued. Type: uv run research idea DEPTH=6"
    show("idea", {"ideas": items}, "\n".join(lines) or none, as_json)
