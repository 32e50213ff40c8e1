"""Defines the verb simulate: compares search policies on synthetic nights whose truth is known."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from research.cli.kit import FILE, Amount, Count, json_option, say_to_stderr, show
from research.core.errors import UsageError
from research.core.files import write_whole
from research.core.records import Estimate

if TYPE_CHECKING:
    from research.simulator.comparison import Comparison, Question
    from research.simulator.metrics import Row

SCALE = 1e4
"""Gains are printed in units of 0.0001 bpb."""
UNKNOWN = "–"
"""Printed for a value, or its interval, that the nights do not give."""
PROGRESS_S = 10.0
"""Seconds between two lines of progress."""
HEADER = (
    "difference",
    "false keeps, %",
    "claims/true",
    "keeps",
    "replicates",
    "runs",
    "stopped",
    "better ones stopped",
)


@click.command("simulate")
@click.option("--policies", default="greedy,threshold,paired,random,classic,discovery", help="Names, comma-separated.")
@click.option("--landscapes", type=Count(min=1), default=200, help="Landscapes, each played once by every policy.")
@click.option(
    "--runs",
    type=Count(min=2),
    default=100,
    help="Runs of a night, baseline, replicates and crashes included.",
)
@click.option("--gpu-time", is_flag=True, help="Nights of equal GPU time, that of RUNS whole runs; losers are stopped.")
@click.option("--sigma", type=Amount(), help="Sd of repeats of one seed, in bpb; by default each family's own.")
@click.option("--seed-sd", type=Amount(), help="Sd of seeds, in bpb; by default each family's own.")
@click.option("--interaction-sd", type=Amount(), help="Sd of change x seed, in bpb; by default each family's own.")
@click.option("--seed", default=0, help="Seed of landscapes, agent and noise.")
@click.option("--families", default="held-out", help="tuning, held-out, seeds, all, or families' names.")
@click.option("--against", default="greedy", help="The policy that all are compared with; it is played too.")
@click.option("--workers", type=Count(min=0), default=0, help="Processes; 0 takes one for every core.")
@click.option("--chart", type=FILE, help="Write the course of the true gain to this SVG.")
@json_option
def simulate(
    policies: str,
    landscapes: int,
    runs: int,
    gpu_time: bool,
    sigma: float | None,
    seed_sd: float | None,
    interaction_sd: float | None,
    seed: int,
    families: str,
    against: str,
    workers: int,
    chart: Path | None,
    as_json: bool,
) -> None:
    """Plays the nights and prints what each policy is worth."""
    from research.simulator.chart import draw_courses
    from research.simulator.comparison import Question, compare
    from research.simulator.families import families_of

    names = _checked(policies, against)
    sds = {"repeat": sigma, "seed": seed_sd, "interaction": interaction_sd}
    given = {name: sd for name, sd in sds.items() if sd is not None}
    drawn = tuple(replace(family, noise=replace(family.noise, **given)) for family in families_of(families))
    question = Question(names, against, drawn, landscapes, runs, seed, gpu_time)
    answer = compare(question, workers or os.cpu_count() or 1, _progress(landscapes))
    if chart:
        title = f"{landscapes} synthetic nights of {runs} runs, {_noise(question)}"
        write_whole(chart.absolute(), draw_courses(answer.courses, title).encode())
    show("simulate", _data(answer, chart), _text(answer), as_json)


def _checked(policies: str, against: str) -> tuple[str, ...]:
    """Return the names of the policies to play.

    Raises:
        UsageError: if there is none, or a name is unknown.
    """
    from research.simulator.comparison import make

    names = tuple(dict.fromkeys(name.strip() for name in policies.split(",") if name.strip()))
    if not names:
        raise UsageError("No policy named.", "Leave --policies out for the usual ones.")
    names = names if against in names else (against, *names)
    for name in names:
        try:
            make(name, 0)
        except ValueError as error:
            raise UsageError(f"{str(error)[:1].upper()}{str(error)[1:]}.", "Name those with --policies.") from None
    return names


def _progress(total: int) -> Callable[[int], None]:
    """Return a function that says on stderr, now and then, how many nights are done and how long the rest takes."""
    began = said = time.monotonic()

    def say(done: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= PROGRESS_S and done < total:
            said = now
            left_s = (now - began) * (total - done) / done
            say_to_stderr(f"{done} of {total} nights in {now - began:.0f} s, about {left_s:.0f} s left")

    return say


def _data(answer: Comparison, chart: Path | None) -> dict[str, Any]:
    q = answer.question
    return {
        "landscapes": q.landscapes,
        "runs": q.runs,
        "gpu_time": q.gpu_time,
        "seed": q.seed,
        "against": q.against,
        "families": [{"name": f.name, "noise": asdict(f.noise), "interactions": f.interactions} for f in q.families],
        "rows": [_row_data(row) for row in answer.rows],
        "by_family": {name: [_row_data(row) for row in rows] for name, rows in answer.by_family.items()},
        "chart": str(chart) if chart else None,
    }


def _row_data(row: Row) -> dict[str, Any]:
    fields = {name: value for name, value in vars(row).items() if isinstance(value, Estimate)}
    return {"policy": row.policy, **{name: _estimate_data(value) for name, value in fields.items()}}


def _estimate_data(e: Estimate) -> dict[str, float | int | None]:
    """Return an estimate for JSON, which has no infinity."""
    mean, low, high = (json.loads(json.dumps(x)) if abs(x) < float("inf") else None for x in (e.mean, e.low, e.high))
    return {"mean": mean, "low": low, "high": high, "n": e.n}


def _text(answer: Comparison) -> str:
    """Return the tables: all families together, then each family's gains against the compared policy's."""
    q = answer.question
    to = f"to {q.against}"
    whole: list[tuple[str, ...]] = [("policy", "shipped gain", to, *HEADER)]
    whole += [_cells(row) for row in answer.rows]
    by_family: list[tuple[str, ...]] = [
        ("family", "n", f"gain of {q.against}", *(f"{name} {to}" for name in q.policies if name != q.against))
    ]
    for name, rows in answer.by_family.items():
        first = next(row.shipped_bpb for row in rows if row.policy == q.against)
        ratios = [_format(row.gain_ratio, 1, 2) for row in rows if row.policy != q.against]
        by_family.append((name, str(first.n), _format(first, SCALE, 0), *ratios))
    note = (
        f"{q.landscapes} nights of {q.runs} {'full runs of GPU time' if q.gpu_time else 'runs'}, {_noise(q)}, "
        f"seed {q.seed}.\nGains in 0.0001 bpb; [95 % intervals], "
        "ratios and differences paired by night."
    )
    return "\n".join([*_table(whole), "", note, "", *_table(by_family)])


def _cells(row: Row) -> tuple[str, ...]:
    """Return one row of the table; gains in 0.0001 bpb with their 95 % intervals."""
    return (
        row.policy,
        _format(row.shipped_bpb, SCALE, 1),
        _format(row.gain_ratio, 1, 2),
        _format(row.gain_difference, SCALE, 1),
        _format(_as_share(row.false_share), 100, 1),
        _format(row.claim_ratio, 1, 2),
        f"{row.keeps.mean:.1f}",
        f"{100 * row.replicate_share.mean:.0f} %",
        f"{row.runs.mean:.0f}",
        f"{row.stopped.mean:.0f}",
        f"{100 * row.better_stopped_share.mean:.1f} %",
    )


def _as_share(e: Estimate) -> Estimate:
    """Returns a share whose interval ends at none and all; the interval of a ratio knows nothing of these limits."""
    return replace(e, low=max(0.0, e.low), high=min(1.0, e.high)) if e.n > 1 and not math.isnan(e.mean) else e


def _format(e: Estimate, scale: float, digits: int) -> str:
    """Returns a value with its interval, and a dash for what is not known: one night has no interval."""
    if not math.isfinite(e.mean):
        return UNKNOWN
    middle = f"{e.mean * scale:.{digits}f}"
    if e.n < 2 or not (math.isfinite(e.low) and math.isfinite(e.high)):
        return f"{middle} [{UNKNOWN}]"
    return f"{middle} [{e.low * scale:.{digits}f}, {e.high * scale:.{digits}f}]"


def _noise(question: Question) -> str:
    """Return the sds of the families' noise, in one phrase."""
    phrases = []
    for name in ("repeat", "seed", "interaction"):
        sds = sorted({getattr(family.noise, name) for family in question.families})
        phrases.append(f"{name} sd {' to '.join(f'{sd:g}' for sd in dict.fromkeys((sds[0], sds[-1])))}")
    return ", ".join(phrases) + " bpb"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
