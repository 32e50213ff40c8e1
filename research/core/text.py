"""Puts numbers and lists into words, the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence


def listed(noun: str, values: Sequence[object]) -> str:
    """Return a noun with its values: "seed 42", "seeds 42 and 43", "seeds 42, 43 and 44"."""
    words = [str(value) for value in values]
    if len(words) == 1:
        return f"{noun} {words[0]}"
    return f"{noun}s {', '.join(words[:-1])} and {words[-1]}" if words else f"no {noun}"


def count_of(number: int, one: str) -> str:
    """Returns how many of what: "1 run", "2 runs"."""
    return f"{number} {one if number == 1 else one + 's'}"


def quoted(text: str, chars: int) -> str:
    """Quotes other people's text as data: on one line, cut to so many characters, in quotes that it cannot close."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return '"' + (line if len(line) <= chars else line[: chars - 1] + "…").replace('"', "'") + '"'
