"""Examines a surprising win, loss or crash by redoing a part of it."""

from __future__ import annotations

from collections.abc import Iterator

from research.core.settings import SETTINGS
from research.search.emitters.base import Emitter, format_configuration
from research.verdict.models import Configuration, Memory


def anomalies(memory: Memory) -> tuple[Configuration, ...]:
    """Return the surprises, then the recent failures, that were looked at less than enough, each the latest first."""
    failed = [known for known in memory.recent if known.failure and known not in memory.anomalies]
    looks = " ".join(known.subject for known in memory.known.values() if known.emitter == "anomaly_chaser")
    found = (*reversed(memory.anomalies), *reversed(failed))
    return tuple(known for known in found if looks.count(known.commit[:7]) < SETTINGS.looks_an_anomaly)


def _anomaly(memory: Memory) -> Iterator[str]:
    """Yield a line on the result that is to be examined."""
    for known in anomalies(memory)[:1]:
        off = f", {known.surprise:+.1f} sd from what changes usually do" if known.surprise else ""
        yield f"Anomaly: {format_configuration(known)}{off} (git show {known.commit[:12]})."


EMITTER = Emitter(
    name="anomaly_chaser",
    purpose="examine a surprising win, loss or crash",
    order="find out which half of that change was behind it: redo a part of it, or half the way.",
    predicted="uncertain",
    lacks=lambda memory: "" if anomalies(memory) else "nothing surprised so far",
    facts=_anomaly,
)
