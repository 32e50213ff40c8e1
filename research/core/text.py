"""Words for people and agents that every room spells alike: counts, and other people's text quoted as data."""

from __future__ import annotations


def count_of(number: int, one: str) -> str:
    """Returns how many of what: "1 run", "2 runs"."""
    return f"{number} {one if number == 1 else one + 's'}"


def quoted(text: str, chars: int) -> str:
    """Quotes other people's text as data: on one line, cut to so many characters, in quotes that it cannot close."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return '"' + (line if len(line) <= chars else line[: chars - 1] + "…").replace('"', "'") + '"'
