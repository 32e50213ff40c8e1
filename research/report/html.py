"""The pieces that the page is laid out with; every text from outside is escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from research.core.records import Estimate
from research.report.svg import clean
from research.report.text import plain, signed


def esc(value: object) -> str:
    """Text for HTML, attribute values included."""
    return escape(clean(str(value)), quote=True)


def section(name: str, say: str, inner: str, anchor: str = "") -> str:
    """A part of the page with its heading and one sentence; nothing when there is nothing inside."""
    if not inner:
        return ""
    mark = f' id="{esc(anchor)}"' if anchor else ""
    said = f"<p>{esc(say)}</p>" if say else ""
    return f"<section{mark}><h2>{esc(name)}</h2>{said}{inner}</section>"


def command(line: str) -> str:
    """A command to type, with a button that copies it."""
    words = " ".join(f"<span>{esc(word)}</span>" for word in line.split(" "))  # a narrow screen breaks between words
    return f'<div class="cmd"><code>{words}</code><button data-copy>copy</button></div>'


def pill(words: str, kind: str) -> str:
    """A word on a coloured ground."""
    return f'<span class="pill {esc(kind)}">{esc(words)}</span>'


def table(heads: Iterable[tuple[str, str]], rows: Iterable[Iterable[tuple[str, str]]], kind: str = "") -> str:
    """A table; heads and cells are (class, HTML)."""
    head = "".join(f'<th class="{k}">{h}</th>' for k, h in heads)
    body = "".join("<tr>" + "".join(f'<td class="{k}">{c}</td>' for k, c in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def card(inner: str) -> str:
    """Something on a ground of its own."""
    return f'<div class="card">{inner}</div>' if inner else ""


def more_or_less(estimate: Estimate | None, digits: int = 4, sign: bool = True) -> str:
    """A mean with its interval beneath."""
    if estimate is None:
        return '<span class="soft">–</span>'
    write = signed if sign else plain
    bounds = f"{write(estimate.low, digits)} to&nbsp;{write(estimate.high, digits)}"
    return f"{write(estimate.mean, digits)}<br><small>{bounds}</small>"


def bullets(lines: Iterable[str]) -> str:
    """A plain list of sentences."""
    inner = "".join(f"<li>{esc(line)}</li>" for line in lines)
    return f'<ul class="plain">{inner}</ul>' if inner else ""
