"""Reads the progress of a run, and its loss so far, from its growing log. Only known forms of lines are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from research.core.contract import SCORE_FILE, SUMMARY_MARK
from research.core.files import read_json
from research.core.settings import SETTINGS
from research.runs.racing import LossCurve, gap_of, point_of
from research.store.rows import finite

Curve = tuple[tuple[float, float], ...]
"""Points (fraction of the budget, loss), the fraction from 0 to 1."""

_GAPS = 60  # points of a curve of gaps over the whole budget
_COMPILES = re.compile(r"official profile on .*\n\d+ layers of \d+")


@dataclass(frozen=True)
class Progress:
    """The progress of a run, by its log."""

    phase: str = "starting"  # or "compiling", "training", "scoring", "ending"
    fraction: float = 0.0  # share of the training budget that is over
    step: int = 0
    loss: float | None = None  # the latest, in nats
    speed: float = 0.0  # tokens per second, 0 when not printed
    curve: Curve = ()


def read_progress(path: Path) -> Progress:
    """Read the progress of a run from its log; "starting" without one."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - SETTINGS.live_log_bytes))
            return progress_of(file.read().decode("utf-8", "replace"))
    except OSError:
        return Progress()


def progress_of(text: str) -> Progress:
    """Return the progress of a run, by its log's text."""
    *lines, _ = re.split(r"[\r\n]", text)  # the last one may be half a line
    points = [point for line in lines if (point := point_of(line)) is not None]
    before = "compiling" if _COMPILES.search(text) else "starting"
    if not points:
        return Progress(before)
    last = points[-1]
    phase = "scoring" if last.fraction >= 1.0 else "training"
    if last.fraction == 0 and before == "compiling":
        phase = before
    if SUMMARY_MARK in map(str.strip, lines):
        phase = "ending"
    curve = tuple((point.fraction, point.loss) for point in points)
    return Progress(phase, last.fraction, last.step, last.loss, last.speed, curve)


def read_curve(folder: Path) -> Curve:
    """Read the loss curve that a finished run's score.json reports, () without one."""
    reported = (read_json(folder / SCORE_FILE) or {}).get("reported")
    points = reported.get("loss_curve") if isinstance(reported, dict) else None
    found = []
    for point in points if isinstance(points, list) else []:
        if isinstance(point, list) and len(point) == 2:
            share, loss = finite(point[0]), finite(point[1])
            if share is not None and loss is not None and 0 <= share <= 1.01:
                found.append((share, loss))
    return tuple(found)


def gaps(mine: LossCurve, theirs: LossCurve) -> Curve:
    """Return a curve minus another over the same rows, from a tenth of the budget on, () where the logs don't tell."""
    shares = [place / _GAPS for place in range(_GAPS // 10, _GAPS + 1)]
    told = ((share, gap_of(mine, theirs, share)) for share in shares)
    return tuple((share, gap) for share, gap in told if gap is not None)


def loss_at(curve: Curve, fraction: float) -> float | None:
    """Return a curve's loss at a fraction of the budget, between its neighbours; None outside."""
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0 <= fraction <= x1:
            return y0 if x1 == x0 else y0 + (y1 - y0) * (fraction - x0) / (x1 - x0)
    return None
