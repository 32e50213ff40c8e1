"""Tells a sick machine from bad candidates: crashes alike of different edits, and then of what ran before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from research.core.records import Run
from research.core.settings import SETTINGS

NOT_THE_CANDIDATES = "the machine, not the candidates"
"""How the reason begins of a night that ended because its machine failed."""


@dataclass(frozen=True)
class Alike:
    """The latest crashes of a night, one after another, with one signature, each of another edit."""

    runs: tuple[Run, ...] = ()

    def after(self, run: Run) -> Alike:
        """Returns what is alike after another run has ended."""
        if run.failure is None or run.outcome not in ("crash", "timeout"):
            return Alike()
        if not self.runs or signature(self.runs) != run.failure.signature:
            return Alike((run,))
        if any(run.fingerprint == other.fingerprint for other in self.runs):
            return self
        return Alike((*self.runs, run))

    @property
    def is_suspect(self) -> bool:
        """Return whether the machine may be what fails, so that the best so far is to be run once."""
        return len(self.runs) >= SETTINGS.alike_crashes


def signature(runs: Sequence[Run]) -> str:
    """Return the signature that runs share."""
    return runs[0].failure.signature if runs and runs[0].failure else ""


def blame(runs: Sequence[Run]) -> str:
    """Say that the machine fails, and how."""
    text = runs[-1].failure.text if runs[-1].failure else ""
    edits = f"{len(runs) - 1} different edits, and then the best so far, which ran before,"
    return f"{NOT_THE_CANDIDATES}: {edits} end with {text}"
