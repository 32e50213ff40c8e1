"""Finds places for a chart's labels where they cover neither each other nor what is drawn, or leaves them out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_DISTANCES = (12, 30, 52, 78, 108, 142, 180, 222, 268, 318, 372, 430)


@dataclass(frozen=True)
class Box:
    """A rectangle: left, top, right, bottom."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether they have a point in common."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def within(self, other: Box) -> bool:
        """Whether this lies inside."""
        inside = self.left >= other.left and self.right <= other.right
        return inside and self.top >= other.top and self.bottom <= other.bottom


@dataclass(frozen=True)
class Anchor:
    """A point that wants a label of a size."""

    x: float
    y: float
    width: float
    height: float


def place(anchors: Sequence[Anchor], area: Box, taken: Iterable[Box], air: float, reach: float) -> list[Box | None]:
    """A box for every anchor, or None; the anchors come in order of importance.

    Args:
        anchors: What wants a label.
        area: Where labels may lie.
        taken: What they must not cover.
        air: Room to leave around a label.
        reach: How far from its point a label may lie.
    """
    busy = list(taken)
    found: list[Box | None] = []
    for anchor in anchors:
        box = next((b for b in _tries(anchor, reach) if b.within(area) and not any(b.meets(t) for t in busy)), None)
        found.append(box)
        if box:
            busy.append(Box(box.left - air, box.top - air / 2, box.right + air, box.bottom + air / 2))
    return found


def _tries(anchor: Anchor, reach: float) -> Iterable[Box]:
    """Boxes near a point, the nearest first: below it to the left (where no run has been), then around."""
    for away in (away for away in _DISTANCES if away <= reach):
        for share in (1.0, 0.75, 0.5, 0.25, 0.0):  # how much of the label lies left of the point
            left = anchor.x - share * anchor.width + (6 if share == 0.0 else -6 if share == 1.0 else 0)
            yield Box(left, anchor.y + away, left + anchor.width, anchor.y + away + anchor.height)
        for share in (0.0, 0.5, 1.0):
            left = anchor.x - share * anchor.width
            yield Box(left, anchor.y - away - anchor.height, left + anchor.width, anchor.y - away)
