"""Puts numbers and lists into words, the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence


def listed(noun: str, values: Sequence[object]) -> str:
    """Return a noun with its values: "seed 42", "seeds 42 and 43", "seeds 42, 43 and 44"."""
    words = [str(value) for value in values]
    if len(words) == 1:
        return f"{noun} {words[0]}"
    return f"{noun}s {', '.join(words[:-1])} and {words[-1]}" if words else f"no {noun}"
