"""The noun of doctor's answers: one thing that was looked at, and the command that mends it. Standard library only."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str  # in a word or two
    ok: bool
    say: str  # what was found, one line
    fix: str = ""  # the command that mends it; where nothing is wrong, one that may be typed

    def as_dict(self) -> dict[str, str | bool]:
        """Return the check as JSON values."""
        return asdict(self)
