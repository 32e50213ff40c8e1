"""Writes warnings that somebody should read before the next experiment, from what the history alone shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from research.core.settings import SETTINGS
from research.core.text import clean
from research.verdict.models import Configuration


def alerts_of(mine: Sequence[Configuration]) -> Iterator[str]:
    """Yield warnings about a branch's configurations, which are given oldest first."""
    latest = [one.emitter for one in mine if one.parent and one.emitter][-SETTINGS.collapse_window :]
    for name, count in Counter(latest).most_common(1):
        if count >= SETTINGS.collapse_count:
            yield f"Emitter collapse: {name} made {count} of the last {len(latest)} experiments."
    suspects = [one for one in mine if one.suspect and one.estimate is None and not one.failure]
    if suspects:
        shown = "; ".join(f"{one.commit[:7]}: {clean(one.suspect).rstrip('.')}" for one in suspects[-3:])
        results = "1 result is" if len(suspects) == 1 else f"{len(suspects)} results are"
        yield f"{results} not counted ({shown})."
    waiting = [(one.commit[:7], one.estimate) for one in mine if one.decision == "investigate" and one.estimate]
    for name, value in waiting[-1:]:
        read = f"{name} reads {value.mean:.6f}, which is not kept before it is measured again"
        yield f"{read}: research replicate {name}."
    last = mine[-SETTINGS.phase_window :]
    if len(last) == SETTINGS.phase_window and all(one.failure for one in last):
        yield f"None of the last {len(last)} experiments came to a score."
