"""Defines the verb simulate, which compares search policies on synthetic nights whose truth is known."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from research.cli.kit import Amount, Count, json_option, say_to_stderr, show
from research.core.errors import UsageError
from research.core.files import write_whole
from research.core.records import Estimate
from research.core.text import count_of

if TYPE_CHECKING:
    from research.simulator.comparison import ComparisonSetup, PolicyComparison
    from research.simulator.metrics import PolicyRow

UNKNOWN = "–"
"""The text for a value, or its interval, that the nights do not give."""
NEW_FILE = click.Path(path_type=Path, dir_okay=False, writable=True)  # refused at once, not after minutes of playing
PROGRESS_S = 10.0
"""Seconds between two lines of progress."""
WITH_INTERVALS = {
    "shipped gain": ("shipped_bpb", 1e4, 1),
    "to {against}": ("gain_ratio", 1, 2),
    "difference": ("gain_difference", 1e4, 1),
    "false keeps, %": ("false_share", 100, 1),
    "claims/true": ("claim_ratio", 1, 2),
}
"""Columns with 95 % intervals: title, field of a row, factor, digits. Gains are in 0.0001 bpb."""
MEANS = {
    "keeps": ("keeps", 1, 1),
    "replicates, %": ("replicate_share", 100, 0),
    "runs": ("runs", 1, 0),
    "stopped": ("stopped", 1, 0),
    "better ones stopped, %": ("better_stopped_share", 100, 1),
}
"""Columns with means only, in the same form."""


@click.command("simulate")
@click.option("--policies", default="greedy,threshold,paired,random,classic,discovery", help="Names, comma-separated.")
@click.option("--landscapes", type=Count(min=1), default=200, help="Landscapes, each played once by every policy.")
@click.option(
    "--runs", type=Count(min=2), default=100, help="Runs of a night, baseline, replicates and crashes included."
)
@click.option("--gpu-time", is_flag=True, help="Nights of equal GPU time, that of RUNS whole runs; losers are stopped.")
@click.option("--sigma", type=Amount(), help="Sd of repeats of one seed, in bpb; by default each family's own.")
@click.option("--seed-sd", type=Amount(), help="Sd of seeds, in bpb; by default each family's own.")
@click.option("--interaction-sd", type=Amount(), help="Sd of change x seed, in bpb; by default each family's own.")
@click.option("--forecast-error", type=Amount(), help="Factor of the error with which runs are foretold; measured: 1.")
@click.option("--seed", default=0, help="Seed of landscapes, agent and noise.")
@click.option("--families", default="held-out", help="tuning, held-out, seeds, all, or families' names.")
@click.option("--against", default="greedy", help="The policy that all are compared with; it is played too.")
@click.option("--workers", type=Count(min=0), default=0, help="Processes; 0 takes one for every core.")
@click.option("--chart", type=NEW_FILE, help="Write the course of the true gain to this SVG.")
@json_option
def simulate(
    policies: str,
    against: str,
    families: str,
    sigma: float | None,
    seed_sd: float | None,
    interaction_sd: float | None,
    forecast_error: float | None,
    workers: int,
    chart: Path | None,
    as_json: bool,
    **size: Any,
) -> None:
    from research.simulator.chart import draw_courses
    from research.simulator.comparison import ComparisonSetup, compare
    from research.simulator.families import families_of

    levels = {"repeat": sigma, "seed": seed_sd, "interaction": interaction_sd, "forecast": forecast_error}
    given = {name: level for name, level in levels.items() if level is not None}
    drawn = tuple(replace(family, noise=replace(family.noise, **given)) for family in families_of(families))
    setup = ComparisonSetup(_checked(policies, against), against, drawn, **size)  # landscapes, runs, seed, gpu_time
    answer = compare(setup, workers or os.cpu_count() or 1, _progress(setup.landscapes))
    if chart:
        title = f"{setup.landscapes} synthetic nights, {_noise(setup)}"
        across = "GPU time, in whole runs" if setup.gpu_time else "runs of the night"
        write_whole(chart.absolute(), draw_courses(answer.courses, title, across).encode())
    data = {
        **size,
        "against": against,
        "families": [{"name": one.name, "noise": asdict(one.noise), "interactions": one.interactions} for one in drawn],
        "rows": [_row_data(row) for row in answer.rows],
        "by_family": {name: [_row_data(row) for row in rows] for name, rows in answer.by_family.items()},
        "chart": str(chart) if chart else None,
    }
    show("simulate", data, _text(answer), as_json)


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
    """Return a function that prints to stderr, now and then, how many nights are done and how long the rest takes."""
    began = said = time.monotonic()

    def say(done: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= PROGRESS_S and done < total:
            said = now
            left_s = (now - began) * (total - done) / done
            say_to_stderr(f"{done} of {total} nights in {now - began:.0f} s, about {left_s:.0f} s left")

    return say


def _row_data(row: PolicyRow) -> dict[str, Any]:
    """Return a row for JSON, which has no infinity and no nan."""
    found: dict[str, Any] = {"policy": row.policy}
    for name, value in vars(row).items():
        if isinstance(value, Estimate):
            found[name] = {key: number if math.isfinite(number) else None for key, number in asdict(value).items()}
    return found


def _text(answer: PolicyComparison) -> str:
    """Return the tables: all families together, then each family's gains against the compared policy's."""
    q = answer.setup
    whole = [("policy", *(name.format(against=q.against) for name in WITH_INTERVALS), *MEANS)]
    for row in answer.rows:
        row = replace(row, false_share=_as_share(row.false_share))
        cells = [_format(getattr(row, name), scale, digits) for name, scale, digits in WITH_INTERVALS.values()]
        cells += [_format_mean(getattr(row, name), scale, digits) for name, scale, digits in MEANS.values()]
        whole.append((row.policy, *cells))
    others = [name for name in q.policies if name != q.against]
    by_family = [("family", "n", f"gain of {q.against}", *(f"{name} to {q.against}" for name in others))]
    for family, rows in answer.by_family.items():
        row_of = {row.policy: row for row in rows}
        first = row_of[q.against].shipped_bpb
        ratios = [_format(row_of[name].gain_ratio, 1, 2) for name in others]
        by_family.append((family, str(first.n), _format(first, 1e4, 0), *ratios))
    note = (
        f"{count_of(q.landscapes, 'night')} of {q.runs} {'full runs of GPU time' if q.gpu_time else 'runs'}, "
        f"{_noise(q)}, seed {q.seed}.\nGains in 0.0001 bpb; [95 % intervals], ratios and differences paired by night."
    )
    return "\n".join([*_table(whole), "", note, "", *_table(by_family)])


def _as_share(value: Estimate) -> Estimate:
    """Return a share with its interval cut to 0 and 1, which the interval of a ratio may exceed."""
    if value.n < 2 or math.isnan(value.mean):
        return value
    return replace(value, low=max(0.0, value.low), high=min(1.0, value.high))


def _format(value: Estimate, scale: float, digits: int) -> str:
    """Return a value with its interval, and a dash for what is not known: one night has no interval."""
    middle = _format_mean(value, scale, digits)
    if middle == UNKNOWN:
        return middle
    if value.n < 2 or not (math.isfinite(value.low) and math.isfinite(value.high)):
        return f"{middle} [{UNKNOWN}]"
    return f"{middle} [{value.low * scale:.{digits}f}, {value.high * scale:.{digits}f}]"


def _format_mean(value: Estimate, scale: float, digits: int) -> str:
    return f"{value.mean * scale:.{digits}f}" if math.isfinite(value.mean) else UNKNOWN


def _noise(setup: ComparisonSetup) -> str:
    """Return the sds of the families' noise, in one phrase."""
    phrases = []
    for name in ("repeat", "seed", "interaction"):
        sds = sorted({getattr(family.noise, name) for family in setup.families})
        phrases.append(f"{name} sd {' to '.join(f'{sd:g}' for sd in dict.fromkeys((sds[0], sds[-1])))}")
    return ", ".join(phrases) + " bpb"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
