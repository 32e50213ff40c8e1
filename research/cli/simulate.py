"""The verb simulate: compares search policies on synthetic nights."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from research.cli.kit import FILE, Amount, Count, json_option, say_to_stderr, show
from research.core.errors import UsageError
from research.core.files import write_whole
from research.core.records import Estimate

if TYPE_CHECKING:
    from research.simulator.comparison import Comparison
    from research.simulator.metrics import Row

SCALE = 1e4
"""Gains are printed in units of 0.0001 bpb."""
SAY_EVERY = 20
"""Landscapes between two words to someone waiting: some seconds."""
HEADER = (
    "policy",
    "shipped gain",
    "against first",
    "ratio",
    "false keeps",
    "claimed/true",
    "regret",
    "repl.",
    "crashes",
)


@click.command("simulate")
@click.option(
    "--policies",
    default="greedy,random,threshold,classic,discovery",
    help="Names, comma-separated; the others are compared with the first.",
)
@click.option("--landscapes", type=Count(min=1), default=200, help="Landscapes, each played once by every policy.")
@click.option(
    "--runs",
    type=Count(min=2),
    default=100,
    help="Runs of a night, baseline, replicates and crashes included.",
)
@click.option("--sigma", type=Amount(), default=0.0004, help="Noise of one run, sd in bpb.")
@click.option("--seed", default=0, help="Seed of landscapes, agent and noise.")
@click.option("--families", default="held-out", help="tuning, held-out, all, or families' names.")
@click.option("--workers", type=Count(min=0), default=0, help="Processes; 0 takes one for every core.")
@click.option("--chart", type=FILE, help="Write the course of the true gain to this SVG.")
@json_option
def simulate(
    policies: str,
    landscapes: int,
    runs: int,
    sigma: float,
    seed: int,
    families: str,
    workers: int,
    chart: Path | None,
    as_json: bool,
) -> None:
    """Plays the nights and prints what each policy is worth."""
    from research.simulator.chart import draw_courses
    from research.simulator.comparison import Question, compare
    from research.simulator.families import families_of

    names = tuple(dict.fromkeys(name.strip() for name in policies.split(",") if name.strip()))
    _check(names)
    question = Question(names, families_of(families), landscapes, runs, sigma, seed)
    answer = compare(question, workers or os.cpu_count() or 1, _progress(landscapes))
    if chart:
        title = f"{landscapes} synthetic nights of {runs} runs, noise {sigma:g} bpb"
        write_whole(chart.absolute(), draw_courses(answer.courses, title).encode())
    show("simulate", _data(answer, chart), _text(answer), as_json)


def _check(names: tuple[str, ...]) -> None:
    """Refuses what is no policy.

    Raises:
        UsageError: if there is none, or a name is unknown.
    """
    from research.simulator.comparison import make

    if not names:
        raise UsageError("No policy named.", "Leave --policies out for the usual five.")
    for name in names:
        try:
            make(name, 0)
        except ValueError as error:
            raise UsageError(f"{str(error)[:1].upper()}{str(error)[1:]}.", "Name those with --policies.") from None


def _progress(total: int) -> Any:
    """Returns what reports progress at a terminal, and nothing in a pipe."""

    def say(done: int) -> None:
        if sys.stderr.isatty() and done % SAY_EVERY == 0:
            say_to_stderr(f"{done} of {total} landscapes")

    return say


def _data(answer: Comparison, chart: Path | None) -> dict[str, Any]:
    q = answer.question
    return {
        "landscapes": q.landscapes,
        "runs": q.runs,
        "sigma": q.sigma,
        "seed": q.seed,
        "families": [family.name for family in q.families],
        "rows": [_row_data(row) for row in answer.rows],
        "by_family": {name: [_row_data(row) for row in rows] for name, rows in answer.by_family.items()},
        "chart": str(chart) if chart else None,
    }


def _row_data(row: Row) -> dict[str, Any]:
    named = {
        **row.values,
        "gain_over_first": row.gain_over_first,
        "gain_ratio": row.gain_ratio,
        "false_share": row.false_share,
        "overclaim": row.overclaim,
        "claim_ratio": row.claim_ratio,
    }
    return {"policy": row.policy, **{name: _estimate_data(e) for name, e in named.items()}}


def _estimate_data(e: Estimate) -> dict[str, float | int | None]:
    """Returns an estimate for JSON, which has no infinity."""
    mean, low, high = (json.loads(json.dumps(x)) if abs(x) < float("inf") else None for x in (e.mean, e.low, e.high))
    return {"mean": mean, "low": low, "high": high, "n": e.n}


def _cells(row: Row) -> tuple[str, ...]:
    """Returns one row of the table; gains in 0.0001 bpb with their 95 % intervals."""
    values = row.values
    return (
        row.policy,
        _spelled(values["shipped_bpb"], SCALE, 1),
        _spelled(row.gain_over_first, SCALE, 1),
        _spelled(row.gain_ratio, 1, 2),
        _spelled(row.false_share, 100, 1),
        _spelled(row.claim_ratio, 1, 2),
        f"{values['regret'].mean:.2f}",
        f"{100 * values['replicate_share'].mean:.0f} %",
        f"{values['crashes'].mean:.1f}",
    )


def _spelled(e: Estimate, scale: float, digits: int) -> str:
    return f"{e.mean * scale:.{digits}f} [{e.low * scale:.{digits}f}, {e.high * scale:.{digits}f}]"


def _notes(answer: Comparison) -> str:
    """Explains the table's numbers and the question they answer."""
    q = answer.question
    return (
        f"{q.landscapes} landscapes x {q.runs} runs, noise {q.sigma:g} bpb, seed {q.seed}; gains in 0.0001 bpb, "
        "false keeps in %,\nregret in bpb x minutes, [95 % intervals], differences paired by landscape."
    )


def _by_family(answer: Comparison) -> list[tuple[str, ...]]:
    """Returns every family's shipped gain, the header first."""
    rows = [
        (name, str(rows[0].gain_over_first.n), *(_spelled(r.values["shipped_bpb"], SCALE, 0) for r in rows))
        for name, rows in answer.by_family.items()
    ]
    return [("family", "n", *answer.question.policies), *rows]


def _text(answer: Comparison) -> str:
    """Writes the tables as plain text: all families, then each family's shipped gain."""
    whole = [HEADER, *(_cells(row) for row in answer.rows)]
    return "\n".join([*_table(whole), "", _notes(answer), "", *_table(_by_family(answer))])


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
