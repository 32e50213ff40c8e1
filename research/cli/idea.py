"""Defines the verb idea, which queues a person's ideas and lists their results."""

from __future__ import annotations

import click

from research.cli.kit import json_option, show, this_lab
from research.core import git
from research.core.errors import UsageError
from research.core.text import clean
from research.report.text import IDEAS
from research.report.usage import night_on
from research.store import reads


@click.command("idea")
@click.argument("text", nargs=-1, help="What to try, in words or as NAME=VALUE; without it the queue is listed.")
@click.option("--drop", type=click.IntRange(min=1), metavar="N", help="Withdraw the waiting idea of this number.")
@json_option
def idea(text: tuple[str, ...], drop: int | None, as_json: bool) -> None:
    if text and drop is not None:
        raise UsageError("An idea and --drop don't go together.", "Type one of the two: uv run research idea --help")
    lab = this_lab()
    items, lines = [], []
    with lab.open() as store:
        if drop is not None:
            from research.lab.ideas import withdraw_idea
            from research.lab.plan import plan_again

            if withdraw_idea(lab, store, drop):
                plan_again(lab, store, git.head(lab.work).branch)
        if text:
            from research.lab.ideas import add_idea
            from research.lab.plan import plan_ahead

            if not (words := " ".join(" ".join(text).split())):
                raise UsageError("The idea is empty.", "Type: uv run research idea DEPTH=6")
            add_idea(lab, store, words)
            branch = git.head(lab.work).branch
            if reads.history(store, branch) and not store.open_runs() and not night_on(store, lab):
                plan_ahead(lab, store, branch)  # a run that is made now, or a night, plans when it has ended
        for one in reads.ideas(store):
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
