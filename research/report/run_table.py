"""The table of every run: sorted and filtered in the page, each with its facts and its difference one click away."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from research.agents.night.command import replicate_command
from research.agents.night.state import NightState
from research.report.data import ReportData, Row
from research.report.html import esc, pill, section
from research.report.sections import decision_kind
from research.report.text import clock, interval, plain, signed

_HEADS = (
    ("n", "#"),
    ("n", "val_bpb"),
    ("n wide", "vs. what stood"),
    ("wide", "verdict"),
    ("", "what"),
    ("wide", "emitter"),
    ("wide", "touched"),
    ("n wide", "GB"),
    ("n wide", "min"),
    ("", ""),
)


def run_table(data: ReportData) -> str:
    """The section with tools, table and what the rows unfold to."""
    if not data.rows:
        return ""
    head = "".join(f'<th class="{k}">{f"<button>{n}</button>" if n else ""}</th>' for k, n in _HEADS)
    body = "".join(_row(row) for row in data.rows)
    table = f'<table id="runs"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    say = (
        "Click a column to sort, a row to see what it changed and why it was judged so. Vs. what stood: the change in "
        "val_bpb as its verdict believed it, − is better."
    )
    return section(
        "Every run", say, f'{_tools(data)}<div class="card"><div class="scroll">{table}</div></div>', "every-run"
    )


def _tools(data: ReportData) -> str:
    # A row's own verdict may differ: what was kept in the end was first to be measured again.
    states = [("keep", "change kept"), ("open", "not decided"), ("discard", "change discarded"), ("crash", "crashed")]
    chosen = _options("every verdict", [s for s in states if any(row.status == s[0] for row in data.rows)])
    names = sorted({row.emitter for row in data.rows if row.emitter})
    return (
        '<div class="tools"><input id="words" type="search" placeholder="Filter: words of a change, a commit, a name"'
        ' aria-label="Filter runs"><select id="status" aria-label="Verdict">'
        f'{chosen}</select><select id="emitter" aria-label="Emitter">'
        f'{_options("every emitter", [(n, n) for n in names])}</select><output id="count"></output></div>'
    )


def _options(every: str, values: Iterable[tuple[str, str]]) -> str:
    rest = "".join(f'<option value="{esc(value)}">{esc(words)}</option>' for value, words in values)
    return f'<option value="">{esc(every)}</option>{rest}'


def _row(row: Row) -> str:
    again = f" <small>(again #{row.first})</small>" if row.first != row.number else ""
    value = plain(row.val_bpb, 5) if row.val_bpb is not None else "–"
    against = signed(row.difference.mean, 5) if row.difference else ""
    commit = f"<small><code>{esc(row.commit[:7])}</code></small>"
    verdict = pill(row.decision, decision_kind(row.decision, row.val_bpb is None))
    cells = [
        _cell("n", str(row.number), row.number),
        _cell("n", value, row.val_bpb),
        _cell("n wide", against, row.difference.mean if row.difference else None),
        f'<td class="wide">{verdict}</td>',
        f'<td class="t"><span class="narrow">{verdict} </span>{esc(row.title)}{again} {commit}</td>',
        f'<td class="wide">{esc(row.emitter)}</td>',
        f'<td class="wide">{esc(row.category)}</td>',
        _cell("n wide", f"{row.peak_gb:.1f}" if row.peak_gb is not None else "", row.peak_gb),
        _cell("n wide", f"{row.minutes:.1f}" if row.minutes is not None else "", row.minutes),
        '<td><button class="more" aria-expanded="false">diff</button></td>',
    ]
    marks = f'data-run="{esc(row.run)}" data-status="{row.status}" data-emitter="{esc(row.emitter)}"'
    return f"<tr {marks}>{''.join(cells)}</tr>"


def _cell(kind: str, words: str, value: float | None) -> str:
    return f'<td class="{kind}" data-v="{"" if value is None else f"{value:.8g}"}">{esc(words)}</td>'


def page_data(data: ReportData) -> str:
    """What the rows unfold to, as JSON that can stand inside a script element."""
    value: dict[str, Any] = {"runs": {row.run: _facts(row, data.night) for row in data.rows}, "diffs": dict(data.diffs)}
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _facts(row: Row, night: NightState | None) -> dict[str, Any]:
    pairs = [
        ("why", row.why),
        ("not believed", row.doubt),
        ("failure", row.signature),
        ("changed", row.changes),
        ("lines", row.lines),
        ("change", f"{interval(row.difference, True, 5)} against what stood, as believed" if row.difference else ""),
        ("P(better)", f"{row.p_better:.3f}" if row.p_better is not None else ""),
        ("emitter", row.emitter),
        ("touched", row.category),
        ("size", f"{row.params_m:.1f} M parameters" if row.params_m is not None else ""),
        ("run", row.run),
        ("commit", row.commit),
        ("seed", str(row.seed)),
        ("started", clock(row.started_utc)),
    ]
    if row.first != row.number:
        nodiff = f"A replicate of run {row.first}: the same code with another seed."
    elif row.decision == "baseline":
        nodiff = "The baseline: what everything is compared with."
    else:
        nodiff = "The difference is not in this page; the last command shows it."
    commands = [replicate_command(row.commit, night)] if row.commit else []
    commands.append(f"git show refs/research/runs/{row.run}")
    facts = [pair for pair in pairs if pair[1]]
    return {"commit": row.commit, "facts": facts, "nodiff": nodiff, "commands": commands}
