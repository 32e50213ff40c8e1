"""Decides whether an NVIDIA card can run the official profile, and how many rows a forward fit into its memory.

The control plane imports this too, so torch is imported only where a card is looked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ROWS = ((40, 64), (20, 32), (12, 16))
"""Rows of 2,048 tokens a forward, by the GB that a card is sold with: 64 took 24.6 GB at most, 32 took 13.3."""
SEEN_SHARE = 0.92
"""Least GiB that a driver shows for each GB that a card is sold with; it keeps the rest for itself."""
CAPABILITY = (8, 0)
"""The first compute capability with bf16, that of the A100 and the RTX 30 series."""


@dataclass(frozen=True)
class Card:
    """An NVIDIA card."""

    name: str  # as the driver calls it
    memory_gib: float  # memory that this process may take, in GiB
    capability: tuple[int, int]  # compute capability, as (9, 0)

    def why_not_official(self) -> str:
        """Return in words why it can't run the official profile, "" if it can."""
        if self.capability < CAPABILITY:
            return f"{self.name} has no bf16 (compute capability {_dotted(self.capability)}, {_dotted(CAPABILITY)} has)"
        if not self.rows():
            return f"{self.name} has {self.memory_gib:.1f} GiB of memory ({ROWS[-1][0]} GB are needed)"
        return ""

    def rows(self) -> int:
        """Return the rows a forward that fit into its memory, 0 where not even the fewest do."""
        return next((rows for size, rows in ROWS if self.memory_gib >= SEEN_SHARE * size), 0)


def find() -> Card | None:
    """Return the card that a run gets, None without one that this build of torch can use."""
    import torch

    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    capability = (properties.major, properties.minor)
    names = torch.cuda.get_arch_list() if torch.version.cuda else []
    built = [int(digits) for name in names if (digits := re.sub(r"\D", "", name))]
    if built and 10 * capability[0] + capability[1] < min(built):
        return None
    share = torch.cuda.get_per_process_memory_fraction(0)
    return Card(properties.name, share * properties.total_memory / 2**30, capability)


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
