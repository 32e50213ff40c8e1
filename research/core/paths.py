"""Names every path that the control plane uses, in a checkout and on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from research.core.contract import ENV_HOME


@dataclass(frozen=True)
class LabPaths:
    """The paths of one checkout."""

    root: Path  # top of the work tree whose results/ and results.tsv are used, absolute

    @property
    def runs(self) -> Path:
        """Return the folder that holds a folder for every run."""
        return self.root / "results" / "runs"

    @property
    def discovery(self) -> Path:
        """Return the folder of the memory and of what hooks write."""
        return self.root / "results" / "discovery"

    @property
    def memory(self) -> Path:
        """Return the memory, an SQLite file."""
        return self.discovery / "memory.db"

    @property
    def last_review(self) -> Path:
        """Return the file with the last run's review."""
        return self.discovery / "last_review.md"

    @property
    def ledger(self) -> Path:
        """Return the public ledger."""
        return self.root / "results.tsv"


def machine_home(environment: Mapping[str, str] | None = None) -> Path:
    """Return $AUTORESEARCH_HOME, which holds data, tokenizers and device locks of this machine."""
    values = os.environ if environment is None else environment
    return Path(values.get(ENV_HOME) or "~/.cache/autoresearch").expanduser().absolute()
