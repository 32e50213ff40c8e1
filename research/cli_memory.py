"""The verbs that tell what the lab knows: where the search stands, and the best of every niche. They change nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import typer

from research import repo
from research.agents import autonomy
from research.cli_kit import JsonFlag, show
from research.cli_runs import this_lab
from research.errors import ResearchError
from research.lab import Lab
from research.memory.digest import Digest, Standing, phase_of, remembered
from research.memory.view import Conjecture
from research.memory.warnings import in_flight_warning, plan_warning
from research.records import Plan
from research.runs.adoption import HAND
from research.runs.log import clean
from research.runs.preflight import emitter_of
from research.settings import SETTINGS
from research.store import reads
from research.store.db import Store
from research.store.open import read_store

Row = tuple[str, str]
"""A name, "" to go on with the one before, and what there is to say."""


def register(app: typer.Typer) -> None:
    """Adds this module's verbs to the front door."""
    app.command("summary")(summary)
    app.command("archive")(archive)


def open_memory(lab: Lab) -> Store:
    """The memory, caught up if anything waits for that; where nothing was ever recorded, no file is made."""
    runs = lab.places.runs
    by_hand = runs.is_dir() and any(entry.name.startswith(HAND) for entry in os.scandir(runs))
    if not lab.places.memory.exists():
        return lab.open() if by_hand or lab.places.ledger.exists() else read_store(lab.places)
    store = read_store(lab.places)
    if by_hand or reads.something_waits(store):
        lab.catch_up(store)
    return store


def summary(as_json: JsonFlag = False) -> None:
    """Show where the search stands: baseline, best, plan, conjectures, elites, what to avoid, warnings."""
    lab = this_lab()
    with open_memory(lab) as store:
        where = repo.head(lab.work)
        digest, plan = remembered(store, where.branch), store.pending_plan()
        switch = autonomy.load(store)
        warnings = (*_warnings_of_head(lab, store, where, plan), *digest.warnings)[: SETTINGS.warnings_shown]
    phase = (plan.details.get("phase") if plan else "") or phase_of(digest.inputs)
    data = {
        "branch": where.branch or None,
        "autonomy": switch.enabled,
        "contract": digest.contract,
        "baseline": _plain(digest.baseline),
        "best": _plain(digest.best),
        "incumbent": _plain(digest.incumbent),
        "runs": digest.runs,
        "scored": digest.scored,
        "kept": digest.kept,
        "noise": {"sd": digest.noise_sd, "n": digest.noise_n},
        "phase": phase,
        "plan": _plan(plan),
        "conjectures": [asdict(one) for one in digest.conjectures],
        "elites": [asdict(one) for one in digest.niches[: SETTINGS.elites_shown]],
        "no_fly": [asdict(one) for one in digest.no_fly],
        "warnings": list(warnings),
    }
    if as_json or not sys.stdout.isatty():
        text = "Autoresearch discovery state:\n" + _as_text(_rows(digest, switch.enabled, phase, plan, warnings))
        show("summary", data, text, as_json)
    else:
        _print_rows(list(_rows(digest, switch.enabled, phase, plan, warnings)))


def archive(as_json: JsonFlag = False) -> None:
    """Show the best configuration of every niche, the lowest mean first."""
    lab = this_lab()
    with open_memory(lab) as store:
        digest = remembered(store, repo.head(lab.work).branch)
    data = {"niches": [asdict(one) for one in digest.niches]}
    heads = ("niche", "mean", "n", "commit", "emitter", "tried", "what")
    rows = [
        (e.niche, f"{e.mean:.6f}", str(e.n), e.commit[:7], e.emitter or "-", str(e.count), clean(e.description))
        for e in digest.niches
    ]
    if as_json or not sys.stdout.isatty():
        text = "\n".join("\t".join(row) for row in [heads, *rows]) if rows else "No niche holds a result yet."
        show("archive", data, text, as_json)
    else:
        _print_table(heads, rows)


def _warnings_of_head(lab: Lab, store: Store, where: repo.Head, plan: Plan | None) -> Iterator[str]:
    """Warnings that need the repository."""
    if where.commit is None:
        return
    try:
        head = repo.commit(lab.work, where.commit)
    except ResearchError:
        return
    measured = reads.is_measured(store, head.hash)
    if text := in_flight_warning(head.hash, head.subject, measured):
        yield text
    if not measured and plan and (text := plan_warning(plan.emitter, emitter_of(head.subject))):
        yield text


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


def _one_line(one: Standing | None, none: str) -> str:
    if one is None:
        return none
    value = one.estimate
    spread = f"[{value.low:.6f}, {value.high:.6f}] n={value.n}"
    return f"{value.mean:.6f} {spread} @ {one.commit[:7]}"


def _of_plan(plan: Plan) -> str:
    who = plan.emitter or "the agent is free"
    what = f" on {plan.category}" if plan.category else ""
    start = f" from {plan.parent[:7]}" if plan.parent else ""
    head = (
        f"replicate {plan.parent[:7] if plan.parent else 'the tip'}" if plan.kind == "replicate" else who + what + start
    )
    return f"{head}: {plan.reason}"


def _of_conjecture(one: Conjecture) -> str:
    return f"{clean(one.text)} ({one.mean:+.6f} [{one.low:+.6f}, {one.high:+.6f}], n={one.n})"


def _rows(d: Digest, enabled: bool, phase: str, plan: Plan | None, warnings: tuple[str, ...]) -> Iterator[Row]:
    """What the summary says, in the order in which one asks."""
    yield "Branch", d.branch or "(no branch)"
    yield "Autonomy", "on" if enabled else "off"
    yield "Baseline", _one_line(d.baseline, "no baseline yet")
    yield "Best", _one_line(d.best, "no best yet")
    if d.best:
        yield "", clean(d.best.subject)
    if d.best and d.baseline and d.best.commit != d.baseline.commit:
        yield "Gain", f"{d.baseline.estimate.mean - d.best.estimate.mean:+.6f} bpb over the baseline"
    yield "Runs", f"{d.runs} recorded, {d.scored} scored; {d.kept} configurations kept; {d.inputs.stall} since the last"
    yield "Noise", f"sd {d.noise_sd:.6f} bpb of one run, from {d.noise_n} replicates"
    yield "Phase", phase
    yield "Plan", _of_plan(plan) if plan else "none pending"
    yield from _section("Conjectures", [_of_conjecture(one) for one in d.conjectures])
    elites = d.niches[: SETTINGS.elites_shown]
    yield from _section("Elites", [f"{e.mean:.6f} n={e.n} @ {e.commit[:7]} {e.niche}" for e in elites])
    yield from _section("No-fly", [f"{p.count}x {clean(p.signature)}" for p in d.no_fly])
    yield from _section("Warnings", [clean(text) for text in warnings])
    yield "Memory", "results/discovery/ holds all of it; never commit it"


def _section(name: str, lines: list[str]) -> Iterator[Row]:
    yield from ((name if place == 0 else "", line) for place, line in enumerate(lines))


def _as_text(rows: Iterator[Row]) -> str:
    return "\n".join(f"{name + ':' if name else '':<13}{text}".rstrip() for name, text in rows)


def _print_rows(rows: list[Row]) -> None:
    """On a terminal: two columns, wrapped at its width."""
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


def _print_table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        Console().print("No niche holds a result yet.")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for head in heads:
        table.add_column(head, justify="right" if head in ("mean", "n", "tried") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
