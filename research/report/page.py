"""Makes the page, one self-contained HTML file, and the charts' files, by the templates beside this file.

Values come from data.py, sentences from answer.py; the templates hold all other words.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from research.agents.clients.base import usage_in
from research.agents.night.command import night_command, replicate_command
from research.core.contract import PROFILES
from research.core.settings import SETTINGS
from research.core.text import chance, clean, listed
from research.report import charts, text
from research.report.answer import answer, how_sure, suggestions, take_command
from research.report.data import PageData, RunRow, emitter_totals
from research.report.usage import agent_usage, cost_of, tokens_per_second, work_of

if TYPE_CHECKING:
    from jinja2 import Environment

_COMMIT_CHARS = 12
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
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    writers = (text.signed, text.plain, text.interval, text.span, text.clock, text.times, text.short)
    for write in (*writers, text.title_of, chance, clean, how_sure):
        environment.filters[write.__name__] = write
    environment.filters |= {"speed": tokens_per_second, "seeds": partial(listed, "seed")}
    return environment


def _clean(value: object) -> object:
    """Return a value; in a text the characters that XML can't hold are replaced by blanks."""
    if type(value) is not str or value.isprintable():
        return value
    return "".join(char if char >= " " and not "\ud800" <= char <= "\udfff" else " " for char in value)


def render(data: PageData) -> str:
    """Return the page as HTML."""
    style = "".join((_TEMPLATES / name).read_text("utf-8") for name in ("chart.css", "page.css"))
    script = (_TEMPLATES / "page.js").read_text("utf-8")
    # Only this script may run, and nothing may be loaded: not even text that escaped the escaping could.
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; base-uri 'none'"
    runs = [row.run for row in data.rows]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            data=data,
            answer=answer(data),
            policy=policy + ("; connect-src 'self'" if data.is_night_on else ""),
            style=style,
            script=script,
            details=_details(data),
            work=work_of(runs),
            # A pocket run's training seconds are those of a processor, which says nothing of a share of the time.
            is_pocket=(data.memory.contract or "").startswith(PROFILES[1]),
            agent=agent_usage(data.launches, data.night),
            cost=cost_of(data.launches, data.night),
            progress=[charts.progress(data, size) for size in (charts.WIDE, charts.NARROW)],
            losses=charts.loss_charts(data.curves),
            constants=charts.constant_charts(data),
            suggestions=suggestions(data),
            emitters=emitter_totals(data.changes),
            has_speed=any(tokens_per_second(run) for run in runs),
            has_memory=any(run.peak_vram_mb for run in runs),
            verdicts=text.VERDICTS,
            ideas=text.IDEAS,
            go_on=night_command(data.night),
            take=take_command(data.best) if data.best else "",
            refresh_s=SETTINGS.page_refresh_s,
            stale_s=round(SETTINGS.page_stale_s + 3 * data.run_s),
        )
    )


def figures(data: PageData) -> dict[str, str]:
    """Return the two charts as SVG files of their own, by their names."""
    style = (_TEMPLATES / "chart.css").read_text("utf-8")
    drawn = zip(FIGURES, (charts.progress(data), charts.frontier(data)), strict=True)
    template = _environment().get_template("figure.svg.j2")
    return {name: template.render(chart=chart, data=data, style=style) for name, chart in drawn}


def _details(data: PageData) -> dict[str, Any]:
    """Return the data for page.js: the details of every run, the differences, and the commands."""
    show = "git show refs/research/runs/{run}"
    return {
        "runs": [_details_of(row) for row in data.rows],
        "diffs": {commit[:_COMMIT_CHARS]: words for commit, words in data.diffs.items()},
        "commands": [] if data.is_recorded else [replicate_command("{commit}", data.night), show],
        "refresh_s": SETTINGS.page_refresh_s,
    }


def _details_of(row: RunRow) -> list[str | int | None]:
    """Return the values of a run that are not in the table, in the order in which page.js reads them."""
    run, metrics = row.run, row.run.metrics
    return [
        row.first,
        row.parent,
        run.commit[:_COMMIT_CHARS],
        run.run,
        (row.verdict.why if row.verdict else "") or run.why,
        "; ".join(run.suspect),
        f"{run.failure.kind}: {run.failure.signature}" if run.failure else "",
        text.changes_in_words(run.delta),
        f"+{run.additions} −{run.deletions}" if run.additions or run.deletions else "",
        row.emitter,
        run.category,
        run.seed,
        f"{metrics.num_params_M:.1f}" if metrics and metrics.num_params_M else "",
        text.clock(run.started_utc),
        usage_in(run.facts).in_words(),
    ]
