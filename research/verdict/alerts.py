"""Writes warnings that somebody should read before the next experiment, from what the history alone shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from research.core.settings import SETTINGS
from research.core.text import clean
from research.verdict.models import Configuration


def alerts_of(mine: Sequence[Configuration]) -> tuple[str, ...]:
    """Return warnings about a branch's configurations, oldest first."""
    return tuple(filter(None, (_collapse(mine), _suspects(mine), _investigated(mine), _nothing_scores(mine))))


def _collapse(mine: Sequence[Configuration]) -> str:
    latest = [one.emitter for one in mine if one.parent and one.emitter][-SETTINGS.collapse_window :]
    for name, count in Counter(latest).most_common(1):
        if count >= SETTINGS.collapse_count:
            return f"Emitter collapse: {name} made {count} of the last {len(latest)} experiments."
    return ""


def _suspects(mine: Sequence[Configuration]) -> str:
    open_ones = [one for one in mine if one.suspect and one.estimate is None and not one.failure]
    if not open_ones:
        return ""
    shown = "; ".join(f"{one.commit[:7]}: {clean(one.suspect).rstrip('.')}" for one in open_ones[-3:])
    results = "1 result is" if len(open_ones) == 1 else f"{len(open_ones)} results are"
    return f"{results} not counted ({shown})."


def _investigated(mine: Sequence[Configuration]) -> str:
    for one in reversed(mine):
        if one.decision == "investigate" and one.estimate is not None:
            name = one.commit[:7]
            read = f"{name} reads {one.estimate.mean:.6f}, which is not kept before it is measured again"
            return f"{read}: research replicate {name}."
    return ""


def _nothing_scores(mine: Sequence[Configuration]) -> str:
    latest = mine[-SETTINGS.phase_window :]
    if len(latest) == SETTINGS.phase_window and all(one.failure for one in latest):
        return f"None of the last {len(latest)} experiments came to a score."
    return ""
