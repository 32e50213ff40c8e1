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

from research.agents.clients.base import usage_in
from research.agents.night.command import night_command, replicate_command
from research.core.settings import SETTINGS
from research.core.text import chance
from research.report import charts, text
from research.report.answer import answer, how_sure, take_command
from research.report.constant_charts import constant_charts
from research.report.data import PageData, Row
from research.report.loss_charts import loss_charts
from research.report.text import IDEAS, VERDICTS, changes_in_words, clock
from research.report.usage import tokens_per_second

if TYPE_CHECKING:
    from jinja2 import Environment

_COMMIT_CHARS = 12
_SHOW = "git show refs/research/runs/{run}"
_TEMPLATES = Path(__file__).parent / "templates"
_COLUMNS = (
    ("run", ""),
    ("val_bpb", "lower is better"),
    ("change", "from the best of the time, estimated when it was judged; below zero is better"),
    ("verdict", ""),
    ("what", ""),
    ("steps", "optimizer steps within the budget"),
    ("k tok/s", "thousand tokens a second of training"),
    ("GB", "peak memory"),
    ("min", "minutes from start to end"),
)
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
    numbers = (text.signed, text.plain, text.interval, text.span, text.money, text.clock, chance)
    for write in (*numbers, text.times, text.seeds, text.short):
        environment.filters[write.__name__] = write
    environment.filters |= {"speed": tokens_per_second, "how_sure": how_sure}
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
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; base-uri 'none'"
    top = data.headline
    has_memory = any(row.run.peak_vram_mb for row in data.rows)
    has_speed = any(tokens_per_second(row.run) for row in data.rows)
    hidden = {name for name, is_known in (("GB", has_memory), ("k tok/s", has_speed)) if not is_known}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            data=data,
            answer=answer(data),
            policy=policy + ("; connect-src 'self'" if data.is_night_on else ""),
            style=style,
            script=script,
            details=details(data),
            close=[*data.undecided, *data.looked_good],
            progress=[charts.progress(data, size) for size in (charts.WIDE, charts.NARROW)],
            losses=loss_charts(data),
            constants=constant_charts(data),
            columns=[column for column in _COLUMNS if column[0] not in hidden],
            has_memory=has_memory,
            has_speed=has_speed,
            verdicts=VERDICTS,
            ideas=IDEAS,
            go_on=night_command(data.night),
            take=take_command(top.best) if top.best else "",
            refresh_s=SETTINGS.page_refresh_s,
            stale_s=round(SETTINGS.page_stale_s + 3 * top.run_s),
        )
    )


def figures(data: PageData) -> dict[str, str]:
    """Return the two charts as SVG files of their own, by their names."""
    style = (_TEMPLATES / "chart.css").read_text("utf-8")
    drawn = zip(FIGURES, (charts.progress(data, is_file=True), charts.frontier(data)), strict=True)
    template = _environment().get_template("figure.svg.j2")
    return {name: template.render(chart=chart, data=data, style=style) for name, chart in drawn}


def details(data: PageData) -> str:
    """Return what is shown of every run when it is opened, as JSON that can stand inside a script element."""
    value = {
        "runs": [_details(row) for row in data.rows],
        "diffs": {commit[:_COMMIT_CHARS]: words for commit, words in data.diffs.items()},
        "commands": [] if data.is_recorded else [replicate_command("{commit}", data.night), _SHOW],
        "refresh_s": SETTINGS.page_refresh_s,
    }
    words = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return words.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _details(row: Row) -> list[str | int | None]:
    """Return what is not in the table, in the order in which page.js reads it."""
    run, metrics = row.run, row.run.metrics
    return [
        row.first,
        row.parent,
        run.commit[:_COMMIT_CHARS],
        run.run,
        (row.verdict.why if row.verdict else "") or run.why,
        "; ".join(run.suspect),
        f"{run.failure.kind}: {run.failure.signature}" if run.failure else "",
        changes_in_words(run.delta),
        f"+{run.additions} −{run.deletions}" if run.additions or run.deletions else "",
        row.emitter,
        run.category,
        run.seed,
        f"{metrics.num_params_M:.1f}" if metrics and metrics.num_params_M else "",
        clock(run.started_utc),
        usage_in(run.facts).in_words(),
    ]
