"""Reads a run's log while it grows: how far the run is, and its loss so far. Only known forms are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from research.core.contract import SCORE_FILE, SUMMARY_MARK
from research.core.files import read_json
from research.core.settings import SETTINGS
from research.store.rows import finite

Curve = tuple[tuple[float, float], ...]
"""Points (fraction of the budget, loss), the fraction from 0 to 1."""

_STEP = re.compile(
    r"step\s+(?P<step>\d{1,9})\s+(?P<percent>\d{1,3}\.\d)\s%\s+loss\s+(?P<loss>\d{1,3}\.\d{1,8})"
    r"(?:\s+(?P<speed>[\d,]{1,15})\stok/s)?(?:\s+(?P<left>\d{1,6})\ss\sleft)?"
)
_MODEL = re.compile(r"\d+ layers of \d+, [\d.]+ M parameters")


@dataclass(frozen=True)
class Progress:
    """How far a run is, by its log.

    Attributes:
        phase: "starting", "compiling", "training", "scoring" or "ending".
        fraction: Share of the training budget that is over, 0 to 1.
        step: Optimizer steps, 0 before the first line.
        loss: The latest loss, None before the first.
        speed: Tokens per second as printed, "" when not printed.
        left_s: Seconds of training left, None when not printed.
        curve: The losses so far.
    """

    phase: str = "starting"
    fraction: float = 0.0
    step: int = 0
    loss: float | None = None
    speed: str = ""
    left_s: int | None = None
    curve: Curve = ()


def read_progress(path: Path) -> Progress:
    """Read how far a run is from its log; "starting" without one."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - SETTINGS.live_log_bytes))
            return progress_of(file.read().decode("utf-8", "replace"))
    except OSError:
        return Progress()


def progress_of(text: str) -> Progress:
    """Return how far a run is by its log's text."""
    found = list(_STEP.finditer(text))
    if not found:
        return Progress("compiling" if _MODEL.search(text) else "starting")
    last = found[-1]
    fraction = _fraction(last)
    has_summary = any(line.strip() == SUMMARY_MARK for line in text[last.end() :].splitlines())
    phase = "scoring" if fraction >= 1.0 else "training" if fraction > 0 else "compiling"
    return Progress(
        phase="ending" if has_summary else phase,
        fraction=fraction,
        step=int(last["step"]),
        loss=float(last["loss"]),
        speed=last["speed"] or "",
        left_s=int(last["left"]) if last["left"] else None,
        curve=tuple((_fraction(line), float(line["loss"])) for line in found),
    )


def _fraction(line: re.Match[str]) -> float:
    return min(1.0, float(line["percent"]) / 100)


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


def loss_at(curve: Curve, fraction: float) -> float | None:
    """Return a curve's loss at a fraction of the budget, between its neighbours; None outside."""
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0 <= fraction <= x1:
            return y0 if x1 == x0 else y0 + (y1 - y0) * (fraction - x0) / (x1 - x0)
    return None
