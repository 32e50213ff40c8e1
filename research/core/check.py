"""The noun of doctor's answers: one thing that was looked at, and the command that mends it. Standard library only."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What it is, in a word or two.
        ok: Whether it is as it should be.
        say: What was found, one line.
        fix: The command that mends it, "" where there is nothing to mend.
    """

    name: str
    ok: bool
    say: str
    fix: str = ""

    def as_dict(self) -> dict[str, str | bool]:
        """Returns the check as JSON values."""
        return asdict(self)
