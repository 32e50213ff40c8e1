"""Curves drawn with braille dots: two by four points in every letter, which any terminal with UTF-8 shows."""

from __future__ import annotations

from collections.abc import Sequence

from research.report.watch_log import Curve

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of U+2800, by row and column in a letter
_BLANK = 0x2800
_SETTLED = 0.08  # share of the budget after which a loss no longer falls off a cliff, which would flatten the rest


def plot(curves: Sequence[Curve], width: int, height: int) -> list[list[tuple[str, int]]]:
    """Letters of a plot, each with the place of the last curve that passes through it (-1 for none).

    Args:
        curves: What to draw, the most important last.
        width: Letters in a line.
        height: Lines.
    """
    dots = [[0] * width for _ in range(height)]
    whose = [[-1] * width for _ in range(height)]
    losses = [loss for curve in curves for share, loss in curve if share >= _SETTLED]
    losses = losses or [loss for curve in curves for _, loss in curve]
    if losses:
        low, high = min(losses), max(losses)
        for place, curve in enumerate(curves):
            for x, y in _points(curve, width * 2, height * 4, low, high):
                row, column = y // 4, x // 2
                if whose[row][column] != place:
                    dots[row][column], whose[row][column] = 0, place
                dots[row][column] |= _DOTS[y % 4][x % 2]
    return [[(chr(_BLANK + d), w) for d, w in zip(*line, strict=True)] for line in zip(dots, whose, strict=True)]


def _points(curve: Curve, width: int, height: int, low: float, high: float) -> list[tuple[int, int]]:
    """Dots of a curve, joined so that it has no holes; what lies above the plot is left out."""
    found: list[tuple[int, int]] = []
    span = max(high - low, 1e-9)
    before: tuple[float, float] | None = None
    for share, loss in curve:
        x, y = min(1.0, share) * (width - 1), (high - loss) / span * (height - 1)
        steps = max(1, round(x - before[0])) if before else 1
        for step in range(1, steps + 1):
            part = step / steps
            at_x = before[0] + (x - before[0]) * part if before else x
            at_y = before[1] + (y - before[1]) * part if before else y
            if at_y >= -0.5:
                found.append((round(at_x), min(height - 1, max(0, round(at_y)))))
        before = (x, y)
    return found
