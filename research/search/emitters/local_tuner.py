"""Takes one small step near the parent, in a direction that gained before."""

from __future__ import annotations

from collections.abc import Iterator

from research.search.emitters.base import Emitter
from research.verdict.models import Memory


def _gains(memory: Memory) -> Iterator[str]:
    """Yield lines on the constants that gained most by moving in one direction."""
    best = sorted(
        (trend for trend in memory.trends.values() if trend.direction and trend.n and trend.mean > 0),
        key=lambda trend: (-trend.mean, trend.name),
    )
    for trend in best[:3]:
        yield f"Moving {trend.name} {trend.direction} changed val_bpb by {-trend.mean:+.4f} on average (n={trend.n})."


EMITTER = Emitter(
    name="local_tuner",
    purpose="exploit what works nearby",
    order="one small {category} step near the parent, in a direction that gained before.",
    predicted="likely improve",
    facts=_gains,
)
