"""Takes away code that is not needed."""

from __future__ import annotations

from collections.abc import Iterator

from research.search.emitters.base import Emitter
from research.verdict.models import Memory


def _growth(memory: Memory) -> Iterator[str]:
    """Yield a line on the number of statements that the kept changes have added."""
    kept = [known for known in memory.known.values() if known.decision == "keep"]
    added = sum(known.statements_added - known.statements_removed for known in kept)
    yield f"Kept changes have added {added} statements net; a change that is no worse and shorter may be kept."


EMITTER = Emitter(
    name="simplifier",
    purpose="take away what is not needed",
    order="remove, merge or switch off one part ({category}); fewer statements at the same score is the aim.",
    predicted="flat",
    facts=_growth,
)
