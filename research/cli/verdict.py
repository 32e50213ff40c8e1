"""The verbs about judgement: what a score scatters by, and what the last review said. Both only read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from research.cli.kit import JsonFlag, show
from research.core import git
from research.core.git import find_root
from research.core.paths import LabPaths
from research.store.open import read_store
from research.store.reads import latest_reviewed
from research.verdict.review import as_it_stands
from research.verdict.summary import remembered

NO_REVIEW = "No review recorded yet."
WHAT = {
    "repeat": "two runs of one code and one seed",
    "seed": "the same code on other seeds",
    "interaction": "what a change does from seed to seed",
}
"""The three parts of a score's scatter, in words."""


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the front door."""
    app.command("noise")(noise)
    app.command("last-review")(last_review)


def noise(as_json: JsonFlag = False) -> None:
    """Show what a score scatters by: repeats of one seed, seeds, and a change from seed to seed."""
    root = find_root(Path.cwd())
    with read_store(LabPaths(root)) as store:
        digest = remembered(store, git.head(root).branch)
    parts = {name: asdict(getattr(digest.noise, name)) for name in WHAT}
    lines = [
        f"{name:<12}sd {one['sd']:.6f} bpb [{one['low']:.6f}, {one['high']:.6f}], "
        + (f"n={one['n']}" if one["n"] else "assumed, n=0")
        + f": {WHAT[name]}"
        for name, one in parts.items()
    ]
    show("noise", {"contract": digest.contract, **parts}, "\n".join(lines), as_json)


def last_review(as_json: JsonFlag = False) -> None:
    """Show the review of the run that was judged last."""
    with read_store(LabPaths(find_root(Path.cwd()))) as store:
        name = latest_reviewed(store)
        mine = store.verdicts(name) if name else []
    text = next((as_it_stands(verdict) for verdict in reversed(mine) if verdict.text), NO_REVIEW)
    data = {"run": mine[-1].run if mine else None, "verdict": mine[-1].decision if mine else None, "text": text}
    show("last-review", data, text.rstrip("\n"), as_json)
