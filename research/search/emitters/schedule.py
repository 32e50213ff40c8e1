"""Changes the schedule of the learning rate alone: when it rises, when it falls, and what is left of it at the end."""

from __future__ import annotations

from collections.abc import Iterator

from research.core.records import Plan
from research.search.emitters.base import Emitter
from research.search.emitters.text import format_configuration
from research.verdict.models import Memory

_WORDS = ("warmup", "warmdown", "cooldown", "anneal", "schedule", "final")
"""Words in the names of constants that shape a schedule."""


def _tried(plan: Plan, memory: Memory) -> Iterator[str]:
    """Say which changes of the schedule were tried lately."""
    moved = [known for known in memory.recent if any(EMITTER.covers(name, known.category) for name in known.delta)]
    yield from (f"Schedule: {format_configuration(known)}" for known in moved[-3:])


EMITTER = Emitter(
    name="schedule",
    purpose="change the learning rate's schedule",
    order="move one constant of the schedule: warmup, warmdown, its shape or the rate that is left at the end.",
    predicted="likely improve",
    facts=_tried,
    categories=("optimizer",),
    words=_WORDS,
)
