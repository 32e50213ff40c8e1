"""Turns what a page says into one self-contained HTML file and the charts' files, by the templates beside this file.

Values come from data.py, commands from the night's own module; the templates hold the words.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from research.agents.night.command import night_command, replicate_command
from research.agents.night.state import is_cut_off
from research.core.text import count_of
from research.report import charts, text
from research.report.data import PageData, Row
from research.report.text import changes_in_words, clock, interval

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"
FIGURES = ("val_bpb_since_inception.svg", "val_bpb_frontier.svg")
"""The files of ``research report --figures``."""


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    numbers = (text.signed, text.plain, text.interval, text.span, text.money, text.clock)
    for write in (*numbers, text.times, count_of, text.seeds, text.short):
        environment.filters[write.__name__] = write
    return environment


def _clean(value: object) -> object:
    """Replace what XML can't hold in text of others."""
    if type(value) is not str or value.isprintable():
        return value
    return "".join(char if char >= " " and not "\ud800" <= char <= "\udfff" else " " for char in value)


def render(data: PageData) -> str:
    """Return the page."""
    style = "".join((_TEMPLATES / name).read_text("utf-8") for name in ("chart.css", "page.css"))
    script = (_TEMPLATES / "page.js").read_text("utf-8")
    # Only this script may run, and nothing may be loaded: not even text that escaped the escaping could.
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = _environment().get_template("page.html.j2")
    return template.render(
        data=data,
        top=data.headline,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; base-uri 'none'",
        style=style,
        script=script,
        details=details(data),
        lucky=_lucky(data),
        audited=[c for c in data.candidates if c.decision == "keep" and c.audit],
        progress=[charts.progress(data, size) for size in (charts.WIDE, charts.NARROW)],
        frontier=[charts.frontier(data, size) for size in (charts.WIDE_FRONTIER, charts.NARROW_FRONTIER)],
        is_cut_off=data.night is not None and is_cut_off(data.night),
        go_on=night_command(data.night),
        replicate=lambda one: replicate_command(one.commit, data.night),
        merge=lambda one: f"git checkout main && git merge {one.commit[:12]}",
    )


def figures(data: PageData) -> dict[str, str]:
    """Return the two charts as SVG files of their own, by their names."""
    style = (_TEMPLATES / "chart.css").read_text("utf-8")
    drawn = zip(FIGURES, (charts.progress(data, is_file=True), charts.frontier(data, is_file=True)), strict=True)
    template = _environment().get_template("figure.svg.j2")
    return {name: template.render(chart=chart, data=data, style=style) for name, chart in drawn}


def _lucky(data: PageData) -> list[str]:
    """List the runs of changes that scored better than the best of the time."""
    base = data.headline.baseline.number if data.headline.baseline else 0
    found = []
    for row in data.rows:
        best = [step.estimate.mean for step in data.steps if step.number < row.number]
        if row.val_bpb is not None and row.first != base and best and row.val_bpb < best[-1]:
            found.append(f"#{row.number}")
    return found


def details(data: PageData) -> str:
    """Return what the rows unfold to, as JSON that can stand inside a script element; page.js reads its fields."""
    value = {
        "runs": [_details(row) for row in data.rows],
        "diffs": dict(data.diffs),
        "commands": [replicate_command("{commit}", data.night), "git show refs/research/runs/{run}"],
    }
    words = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return words.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _details(row: Row) -> list[str | int]:
    run, verdict = row.run, row.verdict
    return [
        row.first,
        run.commit,
        run.run,
        (verdict.why if verdict else "") or run.why,
        "; ".join(run.suspect),
        f"{run.failure.kind}: {run.failure.signature}" if run.failure else "",
        changes_in_words(run.delta),
        f"+{run.additions} −{run.deletions}" if run.additions or run.deletions else "",
        interval(verdict.difference, True, 5) if verdict and verdict.difference else "",
        f"{verdict.p_better:.3f}" if verdict and verdict.p_better is not None else "",
        f"{run.metrics.num_params_M:.1f}" if run.metrics else "",
        run.seed,
        clock(run.started_utc),
    ]
