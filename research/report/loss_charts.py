"""The loss of kept runs beside the baseline's: as it fell, and how far ahead of the baseline it was at each moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from research.report.charts import Chart, Line, Scale, Size, Text, grid, levels
from research.report.data import LossCurve, PageData
from research.report.progress import Curve, loss_at

SIZE = Size(520, 330, 12.5)

_SMOOTHED = 0.06  # share of the budget that a point is the mean of: one step's loss is noise
_FALL = 0.1  # share of the budget in which the loss falls so far that it would press the rest flat
_POINTS = 60
_LINE_EM = 1.25


def loss_charts(data: PageData) -> list[Chart]:
    """Return the two charts; none without a baseline's curve and another's."""
    curves = [replace(one, points=smoothed(one.points)) for one in data.curves if len(one.points) > 1]
    base = next((one for one in curves if one.kind == "baseline"), None)
    if base is None or len(curves) < 2:
        return []
    ahead = [replace(one, points=_minus(one.points, base.points)) for one in curves if one is not base]
    zero = replace(base, points=((_FALL, 0.0), (1.0, 0.0)))
    return [_draw("Training loss, nats a token", curves), _draw("Loss minus the baseline’s", [zero, *ahead])]


def smoothed(curve: Curve) -> Curve:
    """Return the mean loss around evenly spaced shares of the budget."""
    found = []
    for place in range(1, _POINTS + 1):
        share = place / _POINTS
        near = [loss for at, loss in curve if abs(at - share) <= _SMOOTHED / 2]
        if near:
            found.append((share, sum(near) / len(near)))
    return tuple(found)


def _minus(mine: Curve, base: Curve) -> Curve:
    pairs = [(share, loss, loss_at(base, share)) for share, loss in mine]
    return tuple((share, loss - there) for share, loss, there in pairs if there is not None)


def _draw(title: str, curves: Sequence[LossCurve]) -> Chart:
    shown = [(one, [(at, loss) for at, loss in one.points if at >= _FALL]) for one in curves]
    values = [loss for _, points in shown for _, loss in points]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = max(high - low, 1e-6) * 0.05
    scale = Scale(SIZE, _FALL, 1.0, low - room, high + room, SIZE.em * 2.2, SIZE.height - SIZE.em * 3.2, right_em=5.8)
    lines = []
    for one, points in shown:
        steps = [f"{scale.x(at):g} {scale.y(loss):g}" for at, loss in points]
        lines.append(Line(f"curve {one.kind}", "M" + "L".join(steps)))
    em, foot = SIZE.em, scale.bottom + SIZE.em * 1.5
    shares = ((0.25, "25 % of the budget"), (0.5, "50 %"), (0.75, "75 %"), (1.0, "100 %"))
    texts = [Text(scale.x(share), foot, words, anchor="middle") for share, words in shares]
    ends = sorted(((scale.y(points[-1][1]), one) for one, points in shown if points), key=lambda pair: pair[0])
    for height, (_, one) in zip(_apart([y for y, _ in ends], em * _LINE_EM, scale.bottom), ends, strict=True):
        words = "baseline" if one.kind == "baseline" else f"#{one.number}" + (" best" if one.kind == "best" else "")
        texts.append(
            Text(scale.right + em * 0.4, height + em * 0.35, words, "strong" if one.kind == "best" else "axis")
        )
    return Chart(title, SIZE, em * 0.3, (*grid(scale), *lines), (), (*levels(scale, title), *texts))


def _apart(heights: Sequence[float], distance: float, bottom: float) -> list[float]:
    """Move heights, which are in order, so far apart that words at them do not touch, all above the bottom."""
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + distance) if found else height)
    for place in range(len(found) - 1, -1, -1):
        found[place] = min(found[place], (found[place + 1] - distance) if place + 1 < len(found) else bottom)
    return found
