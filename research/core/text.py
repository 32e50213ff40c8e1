"""Puts numbers and lists into words, and quotes other people's text, the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from research.core.settings import SETTINGS

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)?|\x1b.?")


def listed(noun: str, values: Sequence[object]) -> str:
    """Return a noun with its values: "seed 42", "seeds 42 and 43", "seeds 42, 43 and 44"."""
    words = [str(value) for value in values]
    if len(words) == 1:
        return f"{noun} {words[0]}"
    return f"{noun}s {', '.join(words[:-1])} and {words[-1]}" if words else f"no {noun}"


def any_of(values: Iterable[str]) -> str:
    """Return words to choose from: "a", "a or b", "a, b or c"."""
    *others, last = values
    return f"{', '.join(others)} or {last}" if others else last


def count_of(number: int, one: str) -> str:
    """Return a number with its noun: "1 run", "2 runs"."""
    return f"{number} {one if number == 1 else one + 's'}"


def first_few(items: Sequence[str], most: int) -> list[str]:
    """Return the first few of a list; where there are more, the last one says how many: "and 3 more"."""
    more = [f"and {len(items) - most} more"] if len(items) > most else []
    return [*items[:most], *more]


def chance(p: float) -> str:
    """Format a probability, which is never quite 0 or 1."""
    return "> 0.99" if p > 0.99 else "< 0.01" if p < 0.01 else f"{p:.2f}"


def clean(text: str, limit: int = SETTINGS.line_chars) -> str:
    """Return one line without terminal escapes and control characters, cut to so many characters."""
    text = _ESCAPES.sub("", text[: 4 * limit])
    text = "".join(char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def quoted(text: str, limit: int = SETTINGS.line_chars) -> str:
    """Quote other people's text as data: one clean line, in quotation marks that it cannot close."""
    return '"' + clean(" ".join(text.split()), limit).replace('"', "'") + '"'
