"""The verbs noise and last-review: what a score scatters by, and the last review. Both only read."""

from __future__ import annotations

import os
from dataclasses import asdict

import click

from research.agents.state import profile_here
from research.cli.kit import here, json_option, show
from research.core import git
from research.store.open import read_store
from research.store.reads import latest_reviewed
from research.verdict.review import up_to_date
from research.verdict.summary import remembered

NO_REVIEW = "No review recorded yet."
WHAT = {
    "repeat": "two runs of one code and one seed",
    "seed": "the same code on other seeds",
    "interaction": "what a change does from seed to seed",
}
"""The three parts of a score's scatter, in words."""


@click.command("noise")
@json_option
def noise(as_json: bool) -> None:
    """Shows what a score scatters by: repeats of one seed, seeds, and a change from seed to seed."""
    paths = here()
    with read_store(paths) as store:
        digest = remembered(store, git.head(paths.root).branch, profile_here(os.environ))
    parts = {name: asdict(getattr(digest.noise, name)) for name in WHAT}
    lines = [
        f"{name:<12}sd {one['sd']:.6f} bpb [{one['low']:.6f}, {one['high']:.6f}], "
        + (f"n={one['n']}" if one["n"] else "assumed, n=0")
        + f": {WHAT[name]}"
        for name, one in parts.items()
    ]
    show("noise", {"contract": digest.contract, **parts}, "\n".join(lines), as_json)


@click.command("last-review")
@json_option
def last_review(as_json: bool) -> None:
    """Shows the review of the run that was judged last."""
    with read_store(here()) as store:
        name = latest_reviewed(store)
        mine = store.verdicts(name) if name else []
    text = next((up_to_date(verdict) for verdict in reversed(mine) if verdict.text), NO_REVIEW)
    data = {"run": mine[-1].run if mine else None, "verdict": mine[-1].decision if mine else None, "text": text}
    show("last-review", data, text.rstrip("\n"), as_json)
