"""Defines a check, a line of doctor's answer. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One thing that doctor looked at: what it found, and the command that mends it."""

    name: str  # of the thing, in a word or two
    ok: bool  # whether nothing is wrong with it
    say: str  # what was found, one line
    fix: str = ""  # the command that mends it; where nothing is wrong, one that may be typed
