"""What each constant did: the values it was given against the change in val_bpb that they brought, a chart for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from research.code.constants import number
from research.report.charts import Chart, Line, Mark, Scale, Size, Text, grid, levels
from research.report.data import PageData, ValueTried
from research.report.text import cut, interval

SIZE = Size(310, 196, 12.5)

_LOG_FACTOR = 3.0  # values that differ by more lie on a logarithmic scale
_VALUE_CHARS = 12
_CHAR_EM = 0.7


def constant_charts(data: PageData) -> list[Chart]:
    """Return a chart for every constant, all of one height in val_bpb, so that they can be compared."""
    every = [one.change for values in data.constants.values() for one in values]
    if not every:
        return []
    best = min(0.0, *(one.mean for one in every))
    usual = sorted(one.mean for one in every)[int(len(every) * 0.9)]  # one bad idea must not press the others flat
    low, high = best - 0.15 * (usual - best), max(usual, -best * 0.5) * 1.15
    if high - low < 1e-6:
        low, high = low - 1e-3, high + 1e-3
    return [_draw(name, values, low, high) for name, values in data.constants.items()]


def _draw(name: str, values: Sequence[ValueTried], low: float, high: float) -> Chart:
    values = _without_common(values)
    em, places = SIZE.em, _places(values)
    scale = Scale(SIZE, -0.08, 1.08, low, high, em * 3.0, SIZE.height - em * 2.4, right_em=0.6)
    lines, marks = [Line("base", f"M{scale.left:g} {scale.y(0):g}H{scale.right:g}")], []
    for one in values:
        x, y, begin = scale.x(places[one.after]), scale.y(one.change.mean), scale.x(places[one.before])
        lines.append(Line("join", f"M{begin:g} {scale.y(0):g}L{x:g} {y:g}"))
        lines.append(Line(f"bar {one.status}", f"M{x:g} {scale.y(one.change.high):g}V{scale.y(one.change.low):g}"))
        title = f"#{one.number} {name} {one.before} -> {one.after}: {interval(one.change, True)}"
        shape = one.status if scale.holds(one.change.mean) else "above"
        marks.append(Mark(x, y, one.status, shape, title, one.number))
    texts, taken = [], -math.inf
    for text, place in sorted(places.items(), key=lambda pair: pair[1]):
        words = cut(text, _VALUE_CHARS)
        half = len(words) * em * _CHAR_EM / 2
        x = min(max(scale.x(place), scale.left + half - em), scale.right - half + em * 0.6)
        if x - half > taken:
            texts.append(Text(x, SIZE.height - em * 0.6, words, anchor="middle"))
            taken = x + half + em * 0.4
    return Chart(name, SIZE, em * 0.36, (*grid(scale), *lines), tuple(marks), (*levels(scale, name, 1.6), *texts))


def _places(values: Sequence[ValueTried]) -> dict[str, float]:
    """Return where each value lies, from 0 to 1: by its size if all are numbers, else side by side."""
    texts = list(dict.fromkeys(text for one in values for text in (one.before, one.after)))
    numbers = [number(text) for text in texts]
    sizes = [value for value in numbers if value is not None]
    if len(sizes) < len(texts) or max(sizes) == min(sizes):
        sizes = list(map(float, range(len(texts))))
    elif min(sizes) > 0 and max(sizes) / min(sizes) >= _LOG_FACTOR:
        sizes = [math.log(value) for value in sizes]
    low, span = min(sizes), max(max(sizes) - min(sizes), 1e-9)
    return {text: (value - low) / span for text, value in zip(texts, sizes, strict=True)}


def _without_common(values: Sequence[ValueTried]) -> list[ValueTried]:
    """Leave out the branch of "A if CONDITION else B" that all values share: only the other one was tried."""
    texts = {text for one in values for text in (one.before, one.after)}
    for mark, place in ((" else ", 1), (" if ", 0)):
        parts = [text.split(mark, 1) for text in texts]
        if all(len(part) == 2 for part in parts) and len({part[1 - place] for part in parts}) == 1:
            bare = {text: text.split(mark, 1)[place] for text in texts}
            return [replace(one, before=bare[one.before], after=bare[one.after]) for one in values]
    return list(values)
