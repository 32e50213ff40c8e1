"""The verbs summary and archive: the state of the search, and the best of every niche. They change nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import click

from research.agents import autonomy
from research.agents.state import find_twin, profile_here
from research.cli.kit import json_option, show, this_lab
from research.core import git
from research.core.commit_message import EXPERIMENT, FREE, idea_of
from research.core.errors import ResearchError
from research.core.records import Plan
from research.core.settings import SETTINGS
from research.core.text import clean
from research.lab.lab import Lab
from research.report.text import IDEAS
from research.runs.hand_made import HAND
from research.store import reads
from research.store.db import Store
from research.store.open import read_store
from research.store.reads import Foreign, foreign
from research.verdict.models import Elite
from research.verdict.summary import ESTIMATED, Row, Standing, as_text, head_warnings, phase_shown, remembered, rows

NO_NICHE = "No niche holds a result yet."


def open_memory(lab: Lab) -> Store:
    """Opens the memory, caught up if anything waits for that; makes no file where nothing was ever recorded."""
    runs = lab.paths.runs
    by_hand = runs.is_dir() and any(name.startswith(HAND) for name in os.listdir(runs))
    if not lab.paths.memory.exists():
        return lab.open() if by_hand or lab.paths.ledger.exists() else read_store(lab.paths)
    store = read_store(lab.paths)
    if by_hand or reads.something_waits(store):
        lab.catch_up(store)
    return store


@click.command("summary")
@click.option("--contract", help="Show the runs of this contract; by default of the one that was kept in last.")
@json_option
def summary(contract: str | None, as_json: bool) -> None:
    """Shows the state of the search."""
    lab = this_lab()
    with open_memory(lab) as store:
        where = git.head(lab.work)
        digest = remembered(store, where.branch, profile_here(lab.environment), contract=contract)
        hidden = reads.other_contracts(store, where.branch, digest.contract)
        plan = reads.plan_of(store, where.branch)
        switch, others = autonomy.load(store), foreign(store)
        waits = [clean(one.idea.text) for one in reads.ideas(store) if one.status == "needs_agent"]
        warnings = (*_warnings_of_head(lab, store, where, plan), *digest.warnings)[: SETTINGS.warnings_shown]
    phase = phase_shown(digest, plan)
    data = {
        "branch": where.branch or None,
        "autonomy": switch.enabled,
        "contract": digest.contract,
        "not_shown": dict(hidden),
        "baseline": _plain(digest.baseline),
        "best": _plain(digest.best),
        "incumbent": _plain(digest.incumbent),
        "runs": digest.runs,
        "scored": digest.scored,
        "kept": digest.kept,
        "imported": asdict(others) if others else None,
        "noise": asdict(digest.noise),
        "phase": phase,
        "plan": _plan(plan),
        "conjectures": [asdict(one) for one in digest.conjectures],
        "elites": [asdict(one) for one in digest.niches[: SETTINGS.elites_shown]],
        "no_fly": [asdict(one) for one in digest.no_fly],
        "warnings": list(warnings),
    }
    here = [("Branch", digest.branch or "(no branch)"), ("Autonomy", "on" if switch.enabled else "off")]
    asked = [("Asked", f"{idea}: {IDEAS['needs_agent']}") for idea in waits[:1]]
    shown = [*here, *asked, *_of_others(others), *_of_hidden(hidden), *rows(digest, plan, warnings)]
    if as_json or not sys.stdout.isatty():
        show("summary", data, "Autoresearch discovery state:\n" + as_text(shown), as_json)
    else:
        _print_rows(shown)


@click.command("archive")
@json_option
def archive(as_json: bool) -> None:
    """Shows the best configuration of every niche."""
    lab = this_lab()
    with open_memory(lab) as store:
        digest = remembered(store, git.head(lab.work).branch)
    data = {"niches": [asdict(one) for one in digest.niches]}
    if as_json or not sys.stdout.isatty():
        heads = ("niche", "estimate", "n", "commit", "emitter", "tried", "what")
        lines = [
            (e.niche, f"{e.mean:.6f}", str(e.n), e.commit[:7], *_made(e)[:1], str(e.count), _made(e)[1])
            for e in digest.niches
        ]
        text = "\n".join("\t".join(row) for row in [heads, *lines]) if lines else NO_NICHE
        show("archive", data, f"{text}\n{ESTIMATED}" if lines else text, as_json)
    else:
        _print_niches(digest.niches)


def _warnings_of_head(lab: Lab, store: Store, where: git.Head, plan: Plan | None) -> Iterator[str]:
    """Yields the warnings that need the repository."""
    if where.commit is None:
        return
    try:
        head = git.commit(lab.work, where.commit)
    except ResearchError:
        return
    measured = reads.is_measured(store, head.hash)
    twin = ("", "") if measured else find_twin(lab.work, store, where.branch, head.hash, head.subject)
    yield from head_warnings(head.hash, head.subject, measured, plan.emitter if plan else None, *twin)


def _of_hidden(hidden: Sequence[tuple[str, int]]) -> Iterator[Row]:
    """Yields how many runs of other contracts are not shown, and how they are."""
    for contract, count in hidden:
        are = "run of another contract is" if count == 1 else "runs of another contract are"
        yield "Hidden", f"{count} {are} not shown: uv run research summary --contract {contract}"


def _of_others(others: Foreign | None) -> Iterator[Row]:
    """Yields what was imported, which the rest of the summary leaves out."""
    if others is None:
        return
    lowest = f", the lowest kept one {others.val_bpb:.6f} @ {others.commit[:7]}" if others.val_bpb is not None else ""
    count = "1 row" if others.rows == 1 else f"{others.rows} rows"
    yield "Imported", f"{count} from elsewhere, {others.scored} with a score{lowest}"
    yield "", "remembered, in no chart and never judged: their contract is unknown"


def _plain(one: Standing | None) -> dict[str, object] | None:
    if one is None:
        return None
    value = one.estimate
    return {
        "commit": one.commit,
        "mean": value.mean,
        "low": value.low,
        "high": value.high,
        "n": value.n,
        "emitter": one.emitter,
        "description": one.subject,
    }


def _plan(plan: Plan | None) -> dict[str, object] | None:
    if plan is None:
        return None
    fields = ("plan", "emitter", "category", "parent", "kind", "reason", "created_utc")
    return {name: getattr(plan, name) for name in fields}


def _print_rows(rows: list[Row]) -> None:
    """Prints two columns, wrapped at the terminal's width."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"Best": "bold green", "Gain": "green", "Warnings": "yellow", "No-fly": "red", "Memory": "dim"}
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    name = ""
    for word, text in rows:
        if word in ("Conjectures", "Elites", "No-fly", "Warnings", "Memory"):
            table.add_row("", "")
        name = word or name
        table.add_row(word, Text(text, style=colours.get(name, "")))
    Console().print(table)


def _made(elite: Elite) -> tuple[str, str]:
    """Return who proposed an elite and what it changed, in the page's words; nobody proposed the baseline."""
    is_change = elite.description.startswith(EXPERIMENT)
    return elite.emitter or (FREE if is_change else ""), clean(idea_of(elite.description)) if is_change else "baseline"


def _print_niches(niches: Sequence[Elite]) -> None:
    """Prints two lines a niche, so that a name of forty letters stays whole at 80 columns."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not niches:
        Console().print(NO_NICHE)
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for head in ("estimate", "n", "tried", "commit"):
        table.add_column(head, justify="left" if head == "commit" else "right", no_wrap=True)
    table.add_column("niche, and who made its elite how", overflow="fold")
    for e in niches:
        made = Text(": ".join(filter(None, _made(e))), style="dim")
        cell = Text("\n").join([Text(e.niche), made])
        table.add_row(f"{e.mean:.6f}", str(e.n), str(e.count), e.commit[:7], cell)
    Console().print(table)
    Console().print(ESTIMATED)
