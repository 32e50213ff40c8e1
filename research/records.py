"""The nouns of the lab: what a run is, what was measured, what was judged and what was planned. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, cast

Outcome = Literal[
    "scored",
    "crash",
    "timeout",
    "refused",
    "repeat",
    "interrupted",
    "infrastructure",
    "capacity",
    "configuration",
]
"""How a launch ended, as the runner's end line says it."""

FailureKind = Literal[
    "oom", "assertion", "import", "shape", "nan", "probe", "timeout", "killed", "infrastructure", "unknown"
]

Decision = Literal["keep", "discard", "undecided"]
LedgerStatus = Literal["keep", "discard", "crash"]
Origin = Literal["runner", "hand", "log", "import"]
"""Who made the run: the runner; a person, with a folder; a person, with a bare log; another lab's ledger."""


@dataclass(frozen=True)
class Metrics:
    """The nine values of the public summary, in its order and units; val_bpb is better when lower."""

    val_bpb: float
    training_seconds: float
    total_seconds: float
    peak_vram_mb: float
    mfu_percent: float
    total_tokens_M: float
    num_steps: int
    num_params_M: float
    depth: int

    @classmethod
    def from_values(cls, values: Mapping[str, float | int]) -> Metrics:
        """Builds the nine from a mapping that holds all of them.

        Raises:
            KeyError: if one is missing.
        """
        return cls(**{f.name: cast("int", values[f.name]) for f in fields(cls)})

    def as_dict(self) -> dict[str, float | int]:
        """The nine as a plain mapping, in the public order."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class Failure:
    """Why a run has no score.

    Attributes:
        kind: The class of the failure.
        signature: The same text for the same fault, without addresses, sizes, paths or line numbers.
        text: What the log says, cleaned and bounded; text of others, to be quoted as data.
    """

    kind: FailureKind
    signature: str
    text: str
