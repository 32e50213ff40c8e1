"""Examines a surprising win, loss or crash by redoing a part of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from research.core.records import Plan
from research.core.settings import SETTINGS
from research.search.emitters.base import Emitter, needs_parent
from research.search.emitters.text import format_configuration
from research.verdict.models import Configuration, Memory


def anomalies(memory: Memory) -> tuple[Configuration, ...]:
    """Return what is worth a closer look and had few, the latest first: surprises, then what failed lately."""
    failed = [known for known in memory.recent if known.failure and known not in memory.anomalies]
    looks = " ".join(known.subject for known in memory.known.values() if known.emitter == "anomaly_chaser")
    found = (*reversed(memory.anomalies), *reversed(failed))
    return tuple(known for known in found if looks.count(known.commit[:7]) < SETTINGS.looks_an_anomaly)


def _needs_anomaly(memory: Memory) -> str | None:
    return needs_parent(memory) or (None if anomalies(memory) else "nothing surprised so far")


def _anomaly(plan: Plan, memory: Memory) -> Iterator[str]:
    """Say which result is to be examined: the planned one, else the latest."""
    wanted = plan.details.get("anomaly")
    found = anomalies(memory)
    chosen = next((known for known in found if known.commit == wanted), found[0] if found else None)
    if chosen is not None:
        off = f", {chosen.surprise:+.1f} sd from its neighbours" if chosen.surprise else ""
        yield f"Anomaly: {format_configuration(chosen)}{off} (git show {chosen.commit[:12]})."


def _anomaly_details(memory: Memory) -> Mapping[str, str]:
    """Return the commit to examine, for the plan."""
    found = anomalies(memory)
    return {"anomaly": found[0].commit} if found else {}


EMITTER = Emitter(
    name="anomaly_chaser",
    purpose="examine a surprising win, loss or crash",
    order="find out which half of that change was behind it: redo a part of it, or half the way.",
    predicted="uncertain",
    ready=_needs_anomaly,
    facts=_anomaly,
    details=_anomaly_details,
)
