"""The verb simulate: compares search policies on synthetic nights and prints what they are worth."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from research.cli.kit import JsonFlag, say_to_stderr, show
from research.core.errors import UsageError
from research.core.files import write_whole
from research.core.records import Estimate
from research.simulator.chart import draw_courses
from research.simulator.comparison import Comparison, Question, compare, make
from research.simulator.families import families_of
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


def register(app: typer.Typer) -> None:
    """Adds this module's verb to the front door."""
    app.command("simulate")(simulate)


def simulate(
    policies: Annotated[
        str, typer.Option(help="Names, comma-separated; the others are compared with the first.")
    ] = "greedy,threshold,paired,classic,discovery",
    landscapes: Annotated[int, typer.Option(min=1, help="Landscapes, each played once by every policy.")] = 200,
    runs: Annotated[int, typer.Option(min=2, help="Runs of a night, baseline, replicates and crashes included.")] = 100,
    sigma: Annotated[
        float | None,
        typer.Option(min=0.0, help="Sd of repeats of one seed, in bpb; without it the family's own, usually 0.0003."),
    ] = None,
    seed_sd: Annotated[
        float | None, typer.Option(min=0.0, help="Sd of seeds, in bpb; without it the family's own, usually 0.002.")
    ] = None,
    interaction_sd: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Sd of change x seed, in bpb; without it the family's own, usually 0.0008.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of landscapes, agent and noise.")] = 0,
    families: Annotated[str, typer.Option(help="tuning, held-out, all, or families' names.")] = "held-out",
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 takes one for every core.")] = 0,
    chart: Annotated[Path | None, typer.Option(help="Write the course of the true gain to this SVG.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare search policies on synthetic nights whose truth is known."""
    names = tuple(dict.fromkeys(name.strip() for name in policies.split(",") if name.strip()))
    _check(names)
    sds = {"repeat": sigma, "seed": seed_sd, "interaction": interaction_sd}
    given = {name: sd for name, sd in sds.items() if sd is not None}
    drawn = tuple(replace(family, noise=replace(family.noise, **given)) for family in families_of(families))
    question = Question(names, drawn, landscapes, runs, seed)
    answer = compare(question, workers or os.cpu_count() or 1, _progress(landscapes))
    if chart:
        title = f"{landscapes} synthetic nights of {runs} runs, {_noise(question)}"
        write_whole(chart.absolute(), draw_courses(answer.courses, title).encode())
    if as_json or not sys.stdout.isatty():
        show("simulate", _data(answer, chart), _text(answer), as_json)
    else:
        _print_tables(answer)


def _check(names: tuple[str, ...]) -> None:
    """Refuses what is no policy.

    Raises:
        UsageError: if there is none, or a name is unknown.
    """
    if not names:
        raise UsageError("No policy named.", "Leave --policies out for the usual five.")
    for name in names:
        try:
            make(name, 0)
        except ValueError as error:
            raise UsageError(f"{str(error)[:1].upper()}{str(error)[1:]}.", "Name those with --policies.") from None


def _progress(total: int) -> Any:
    """Words for someone waiting at a terminal, none in a pipe."""

    def say(done: int) -> None:
        if sys.stderr.isatty() and done % SAY_EVERY == 0:
            say_to_stderr(f"{done} of {total} landscapes")

    return say


def _data(answer: Comparison, chart: Path | None) -> dict[str, Any]:
    q = answer.question
    return {
        "landscapes": q.landscapes,
        "runs": q.runs,
        "seed": q.seed,
        "families": [{"name": family.name, "noise": asdict(family.noise)} for family in q.families],
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
    """An estimate for JSON, which has no infinity."""
    mean, low, high = (json.loads(json.dumps(x)) if abs(x) < float("inf") else None for x in (e.mean, e.low, e.high))
    return {"mean": mean, "low": low, "high": high, "n": e.n}


def _cells(row: Row) -> tuple[str, ...]:
    """One row of the table; gains in 0.0001 bpb with their 95 % intervals."""
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
    """What the table's numbers are, and the question they answer."""
    q = answer.question
    return (
        f"{q.landscapes} landscapes x {q.runs} runs, {_noise(q)}, seed {q.seed}; gains in 0.0001 bpb, "
        "false keeps in %,\nregret in bpb x minutes, [95 % intervals], differences paired by landscape."
    )


def _noise(question: Question) -> str:
    """Return the sds of the families' noise, in one phrase."""
    phrases = []
    for name in ("repeat", "seed", "interaction"):
        sds = sorted({getattr(family.noise, name) for family in question.families})
        phrases.append(f"{name} sd {' to '.join(f'{sd:g}' for sd in dict.fromkeys((sds[0], sds[-1])))}")
    return ", ".join(phrases) + " bpb"


def _by_family(answer: Comparison) -> list[tuple[str, ...]]:
    """Every family's shipped gain, the header first."""
    rows = [
        (name, str(rows[0].gain_over_first.n), *(_spelled(r.values["shipped_bpb"], SCALE, 0) for r in rows))
        for name, rows in answer.by_family.items()
    ]
    return [("family", "n", *answer.question.policies), *rows]


def _text(answer: Comparison) -> str:
    """The tables as plain text: all families, then each family's shipped gain."""
    whole = [HEADER, *(_cells(row) for row in answer.rows)]
    return "\n".join([*_table(whole), "", _notes(answer), "", *_table(_by_family(answer))])


def _print_tables(answer: Comparison) -> None:
    """The same for a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for head, *rows in ([HEADER, *(_cells(row) for row in answer.rows)], _by_family(answer)):
        table = Table(*head, box=box.SIMPLE_HEAD, padding=(0, 1))
        for row in rows:
            table.add_row(*(cell.replace("[", "\\[") for cell in row))
        console.print(table)
    console.print(_notes(answer), markup=False, highlight=False)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
