"""Defines the verb idea, which queues a person's ideas and lists their results."""

from __future__ import annotations

from typing import Any

import click

from research.cli.kit import json_option, show, this_lab
from research.core import git
from research.core.errors import UsageError
from research.core.text import clean
from research.lab.ideas import add_idea, withdraw_idea
from research.lab.plan import plan_again, plan_ahead
from research.report.text import IDEAS
from research.report.usage import night_in_progress
from research.store import reads


@click.command("idea")
@click.argument("text", nargs=-1, help="What to try, in words or as NAME=VALUE; without it the queue is listed.")
@click.option("--drop", type=click.IntRange(min=1), metavar="N", help="Withdraw the waiting idea of this number.")
@json_option
def idea(text: tuple[str, ...], drop: int | None, as_json: bool) -> None:
    if text and drop is not None:
        raise UsageError("An idea and --drop don't go together.", "Type one of the two: uv run research idea --help")
    words = " ".join(" ".join(text).split())
    if text and not words:
        raise UsageError("The idea is empty.", "Type: uv run research idea DEPTH=6")
    lab = this_lab()
    with lab.open() as store:
        branch = git.head(lab.work).branch
        if drop is not None and withdraw_idea(lab, store, drop):
            plan_again(lab, store, branch)
        if words:
            add_idea(lab, store, words)
            if reads.history(store, branch) and not store.open_runs() and not night_in_progress(store, lab):
                plan_ahead(lab, store, branch)  # a run that is made now, or a night, plans when it has ended
        ideas = [_as_data(one) for one in reads.ideas(store)]
    none = "No idea is queued. Type: uv run research idea DEPTH=6"
    show("idea", {"ideas": ideas}, "\n".join(map(_in_words, ideas)) or none, as_json)


def _as_data(one: reads.IdeaStatus) -> dict[str, Any]:
    """Return an idea with its result, for --json."""
    idea, run = one.idea, one.run
    return {
        "idea": idea.idea,
        "text": idea.text,
        "created_utc": idea.created_utc,
        "status": one.status,
        "run": idea.run,
        "commit": run.commit if run else None,
        "val_bpb": run.val_bpb if run else None,
        "why": idea.why or (one.verdict.why if one.verdict else ""),
    }


def _in_words(idea: dict[str, Any]) -> str:
    """Return an idea with its result, in two lines."""
    score = f", {idea['val_bpb']:.6f}" if idea["val_bpb"] is not None else ""
    why = f": {idea['why']}" if idea["why"] else ""
    return f"{idea['idea']:3d}  {clean(idea['text'])}\n     {IDEAS.get(idea['status'], idea['status'])}{score}{why}"
