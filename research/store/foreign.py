"""What was taken in from elsewhere, in a line: it is never judged, so nothing else in a summary tells of it."""

from __future__ import annotations

from dataclasses import dataclass

from research.store.db import Store


@dataclass(frozen=True)
class Foreign:
    """Rows of other ledgers and memories.

    Attributes:
        rows: How many.
        scored: How many have a score.
        commit: The commit with the lowest score among those that were kept there, "" if none was.
        val_bpb: That score, in bpb.
    """

    rows: int
    scored: int
    commit: str = ""
    val_bpb: float | None = None


def foreign(store: Store) -> Foreign | None:
    """What was taken in, None if nothing was."""
    ((rows, scored),) = store.tuples("SELECT COUNT(*), COUNT(val_bpb) FROM runs WHERE origin = 'import'")
    if not rows:
        return None
    kept = store.tuples(
        "SELECT \"commit\", val_bpb FROM runs WHERE origin = 'import' AND val_bpb IS NOT NULL AND 'keep' IN"
        " (json_extract(facts, '$.status'), lower(json_extract(facts, '$.recommendation')))"
        " ORDER BY val_bpb, seq LIMIT 1"
    )
    return Foreign(rows, scored, *kept[0]) if kept else Foreign(rows, scored)
