"""Lays the morning page out: values in, one self-contained HTML file out, which loads and sends nothing."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from research.report import sections, steps
from research.report.canvas import COLOURS, DARK_COLOURS, RULES
from research.report.data import ReportData
from research.report.html import esc
from research.report.run_table import page_data, run_table

_HERE = Path(__file__).parent
_GROUNDS = "--ground:#f6f7f8;--wash:#eef0f2;--keepwash:#e3f3ec;--badwash:#fbe9e7;--openwash:#fbf1de;"
_DARK_GROUNDS = "--ground:#0e1114;--wash:#1f252b;--keepwash:#14342a;--badwash:#3b1f1d;--openwash:#38290f;"


def render(data: ReportData) -> str:
    """The page."""
    style = (_HERE / "page.css").read_text("utf-8")
    script = (_HERE / "page.js").read_text("utf-8")
    # Only the script below may run, and nothing may be loaded: not even text that escaped the escaping could.
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; base-uri 'none'"
    parts = (
        sections.head,
        sections.start,
        sections.pictures,
        sections.findings,
        sections.audit,
        steps.next_steps,
        steps.promotion,
        sections.emitters,
        sections.archive,
        sections.crashes,
        sections.beliefs,
        run_table,
        sections.notes,
    )
    body = "\n".join(part for part in (make(data) for make in parts) if part)
    light, dark = COLOURS.strip() + _GROUNDS, DARK_COLOURS.strip() + _DARK_GROUNDS
    palette = f":root{{color-scheme:light dark;{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{esc(policy)}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{esc(_title(data))}</title><style>{palette}\n{RULES}{style}</style></head>\n<body><main>\n{body}\n"
        f"{_foot(data)}</main>\n"
        f'<script type="application/json" id="data">{page_data(data)}</script>\n'
        f"<script>{script}</script></body></html>\n"
    )


def _title(data: ReportData) -> str:
    gain = data.headline.gain
    where = data.branch or "autoresearch"
    return f"{where}: {gain.mean:+.4f} bpb".replace("-", "−") if gain else where


def _foot(data: ReportData) -> str:
    return (
        f"<footer>Made {esc(data.made_utc)} by <code>uv run research report</code>. Intervals are 95 %. "
        "Lower val_bpb is better.</footer>\n"
    )
