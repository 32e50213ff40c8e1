"""Defines the verbs that only read: summary, archive, noise and last-review."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict

import click

from research.agents import autonomy
from research.agents.next_step import head_warnings, profile_here
from research.cli.kit import json_option, open_memory, show, this_lab
from research.core import git
from research.core.commit_message import EXPERIMENT, FREE, idea_of
from research.core.errors import ResearchError
from research.core.records import Plan
from research.core.settings import SETTINGS
from research.core.text import clean, count_of
from research.lab.lab import Lab
from research.report.branches import begun_on, choose_branch
from research.report.text import IDEAS, no_such_contract
from research.report.usage import night_in_progress
from research.store import reads, recent
from research.store.db import Store
from research.verdict.digest import read_digest
from research.verdict.models import Configuration
from research.verdict.review import up_to_date
from research.verdict.summary import (
    ESTIMATED,
    SummaryRow,
    as_text,
    conjectures_shown,
    hidden_runs,
    phase_shown,
    rows,
)

NOISE = {
    "repeat": "two runs of one code and one seed",
    "seed": "the same code on other seeds",
    "interaction": "what a change does from seed to seed",
}
"""The three parts of a score's noise, in words."""


@click.command("summary")
@click.option("--contract", help="Show the runs of this contract; by default of the one that was kept in last.")
@json_option
def summary(contract: str | None, as_json: bool) -> None:
    lab = this_lab()
    with open_memory(lab) as store:
        where = git.head(lab.work)
        if contract is not None:
            known = [name for name, _ in reads.other_contracts(store, where.branch, None)]
            if contract not in known:
                raise ResearchError(*no_such_contract(contract, where.branch, known))
        digest = read_digest(store, where.branch, profile_here(lab.environment), contract=contract)
        hidden = reads.other_contracts(store, where.branch, digest.contract)
        plan = reads.plan_of(store, where.branch)
        switch, foreign = autonomy.load(store), reads.foreign(store)
        night = night_in_progress(store, lab)
        asked = [clean(one.idea.text) for one in reads.ideas(store) if one.status == "needs_agent"]
        about_head = _warnings_of_head(lab, store, where, plan)
        elsewhere = _runs_elsewhere(store, where.branch) if not digest.runs else ()  # which reads every run
        warnings = (*elsewhere, *about_head, *digest.warnings)[: SETTINGS.warnings_shown]
    plan_fields = ("plan", "emitter", "category", "parent", "kind", "reason", "created_utc")
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
        "imported": asdict(foreign) if foreign else None,
        "noise": asdict(digest.noise),
        "phase": phase_shown(digest, plan),
        "plan": {name: getattr(plan, name) for name in plan_fields} if plan else None,
        "conjectures": [asdict(one) for one in conjectures_shown(digest)],
        "elites": [asdict(one) for one in digest.elites[: SETTINGS.elites_shown]],
        "near_misses": [_plain(one) for one in digest.near_misses],
        "no_fly": [asdict(one) for one in digest.no_fly[: SETTINGS.no_fly_shown]],
        "warnings": warnings,
    }
    shown = [("Branch", digest.branch or "(no branch)"), ("Autonomy", "on" if switch.enabled else "off")]
    shown += [("Night", f"going on, {night}")] if night else []
    shown += [("Asked", f"{idea}: {IDEAS['needs_agent']}") for idea in asked[:1]]
    shown += _imported(foreign) if foreign else []
    shown += [("Hidden", line) for line in hidden_runs(hidden, "summary")]
    shown += rows(digest, plan, warnings)
    _show("summary", data, shown, as_json, "Autoresearch discovery state:\n")


@click.command("archive")
@json_option
def archive(as_json: bool) -> None:
    lab = this_lab()
    with open_memory(lab) as store:
        branch = git.head(lab.work).branch
        digest = read_digest(store, branch)
        hidden = reads.other_contracts(store, branch, digest.contract)
    niches = digest.elites
    shown: list[SummaryRow] = [("Hidden", line) for line in hidden_runs(hidden, "summary")]
    for one in niches:
        is_change = one.description.startswith(EXPERIMENT)  # nobody proposed the baseline
        made = f"{one.emitter or FREE}: {clean(idea_of(one.description))}" if is_change else "baseline"
        shown.append((f"{one.mean:.6f}", f"n={one.n} @ {one.commit[:7]} {one.niche}, {one.count} tried"))
        shown.append(("", made))
    shown.append(("", ESTIMATED) if niches else ("Niches", "none holds a result yet"))
    data = {"niches": [asdict(one) for one in niches], "not_shown": dict(hidden)}
    _show("archive", data, shown, as_json)


@click.command("noise")
@json_option
def noise(as_json: bool) -> None:
    lab = this_lab()
    with open_memory(lab) as store:
        branch = git.head(lab.work).branch
        digest = read_digest(store, branch, profile_here(lab.environment))
        hidden = reads.other_contracts(store, branch, digest.contract)
    lines = list(hidden_runs(hidden, "summary"))
    for name, what in NOISE.items():
        one = getattr(digest.noise, name)
        n = f"n={one.n}" if one.n else "assumed, n=0"
        lines.append(f"{name:<12}sd {one.sd:.6f} bpb [{one.low:.6f}, {one.high:.6f}], {n}: {what}")
    data = {"contract": digest.contract, "not_shown": dict(hidden), **asdict(digest.noise)}
    show("noise", data, "\n".join(lines), as_json)


@click.command("last-review")
@json_option
def last_review(as_json: bool) -> None:
    with open_memory(this_lab()) as store:
        name = reads.latest_reviewed(store)
        mine = store.verdicts(name) if name else []
    text = next((up_to_date(one) for one in reversed(mine) if one.text), "No review recorded yet.")
    data = {"run": mine[-1].run if mine else None, "verdict": mine[-1].decision if mine else None, "text": text}
    show("last-review", data, text.rstrip("\n"), as_json)


def _imported(foreign: reads.Foreign) -> list[SummaryRow]:
    """Return the rows of the summary on what was imported."""
    words = f"{count_of(foreign.rows, 'row')} from elsewhere, {foreign.scored} with a score"
    if foreign.val_bpb is not None:
        where_kept = f" @ {foreign.commit[:7]}" if foreign.commit else ""  # most public ledgers name no commit
        words += f", the lowest kept one {foreign.val_bpb:.6f}{where_kept}"
    return [("Imported", words), ("", "remembered, in no chart and never judged: their contract is unknown")]


def _runs_elsewhere(store: Store, here: str) -> Iterator[str]:
    """Yield a warning where nothing was run on the branch checked out, and other views show another one."""
    if (shown := choose_branch(store.judged(), begun_on(store), here)) != here:
        yield f"No run was made on {here or 'this commit'}; those of {shown} are shown by: uv run research watch --once"


def _warnings_of_head(lab: Lab, store: Store, where: git.Head, plan: Plan | None) -> Iterator[str]:
    """Yield the warnings that need the repository."""
    if where.commit and not recent.is_measured(store, where.commit):
        with contextlib.suppress(ResearchError):
            yield from head_warnings(lab.work, store, where.branch, where.commit, plan.emitter if plan else None)


def _plain(one: Configuration | None) -> dict[str, object] | None:
    if one is None or one.estimate is None:
        return None
    return {"commit": one.commit, **asdict(one.estimate), "emitter": one.emitter, "description": one.subject}


def _show(verb: str, data: Mapping[str, object], shown: Iterable[SummaryRow], as_json: bool, head: str = "") -> None:
    """Print rows as lines, or on a terminal in two columns, wrapped at its width."""
    if as_json or not sys.stdout.isatty():
        show(verb, data, head + as_text(shown), as_json)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"Best": "bold green", "Change": "green", "Warnings": "yellow", "No-fly": "red", "Memory": "dim"}
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    name = ""
    for word, text in shown:
        if word in ("Conjectures", "Elites", "Near misses", "No-fly", "Warnings", "Memory"):
            table.add_row("", "")
        name = word or name
        table.add_row(word, Text(text, style=colours.get(name, "")))
    Console().print(table)
