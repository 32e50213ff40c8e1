"""The drawing surface of a chart: its size, where values fall on it, and what both charts draw alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from research.core.records import Estimate
from research.core.settings import SETTINGS
from research.report.data import ReportData, Row, Step
from research.report.svg import decimals, tag, text, ticks, width_of
from research.report.text import interval

COLOURS = """
--ink:#1d2329;--soft:#5c6670;--line:#e3e6e9;--paper:#ffffff;--keep:#0b7a57;--drop:#a5adb6;--bad:#c0392b;--open:#b7791f;
--front:#0b7a57;--label:#39424b;
"""
DARK_COLOURS = """
--ink:#e7eaed;--soft:#9aa5b0;--line:#2b3138;--paper:#14181c;--keep:#3ecf9a;--drop:#66707b;--bad:#ff7b6b;--open:#e8b04a;
--front:#3ecf9a;--label:#c6ced6;
"""
"""The charts' palette, light and dark; the page sets the same names."""

RULES = """
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:var(--soft)}
.title{fill:var(--ink);font-weight:600}.stats{fill:var(--soft)}.axis{fill:var(--soft);font-variant-numeric:tabular-nums}
.grid{stroke:var(--line);stroke-width:1}.lane{fill:var(--soft)}
.keep{fill:var(--keep)}.discard{fill:var(--drop);fill-opacity:.75}.open{fill:var(--open)}
.again{fill:none;stroke-width:1.6}.again.keep{stroke:var(--keep)}.again.discard{stroke:var(--drop)}
.again.open{stroke:var(--open)}
.crash{stroke:var(--bad);stroke-width:2;fill:none;stroke-linecap:round}
.bar{stroke-width:2;fill:none}.bar.keep{stroke:var(--keep)}.bar.discard{stroke:var(--drop)}.bar.open{stroke:var(--open)}
.front{stroke:var(--front);stroke-width:3;fill:none;stroke-linejoin:round}.band{fill:var(--front);fill-opacity:.11}
.base{stroke:var(--soft);stroke-width:1.2;stroke-dasharray:2 6;stroke-linecap:round;fill:none}
.lead{stroke:var(--soft);stroke-width:.9;stroke-opacity:.7;fill:none}
.label,.nowlabel{fill:var(--label);paint-order:stroke;stroke:var(--paper);stroke-width:5px;stroke-linejoin:round}
.now{fill:none;stroke:var(--ink);stroke-width:1.8}.nowlabel{fill:var(--ink);font-weight:600}
"""


@dataclass(frozen=True)
class Canvas:
    """A chart's size in its own units, the size of its letters, and its labels: how many, how long, how far away."""

    width: int
    height: int
    font: float
    labels: int
    label_chars: int
    label_reach: float
    left: float
    top: float
    bottom: float
    right: float = 28.0


WIDE_PROGRESS = Canvas(1600, 920, 17.0, 24, 44, 268.0, 104.0, 150.0, 112.0)
WIDE_FRONTIER = Canvas(1600, 620, 17.0, 24, 44, 268.0, 104.0, 124.0, 66.0)
PHONE_PROGRESS = Canvas(720, 860, 24.0, 4, 16, 110.0, 118.0, 170.0, 132.0, 20.0)
PHONE_FRONTIER = Canvas(720, 560, 24.0, 4, 16, 110.0, 118.0, 84.0, 84.0, 20.0)


@dataclass(frozen=True)
class Plane:
    """Where values fall on a canvas; y grows downward, a lower val_bpb lies lower."""

    canvas: Canvas
    first: int
    last: int
    low: float
    high: float

    @property
    def right(self) -> float:
        """The right edge of the plot."""
        return self.canvas.width - self.canvas.right

    @property
    def bottom(self) -> float:
        """The lower edge of the plot."""
        return self.canvas.height - self.canvas.bottom

    def x(self, number: float) -> float:
        """The place of a run's number."""
        share = (number - self.first + 0.5) / (self.last - self.first + 1)
        return round(self.canvas.left + share * (self.right - self.canvas.left), 1)

    def y(self, bpb: float) -> float:
        """The height of a score, held within the plot."""
        share = min(1.0, max(0.0, (self.high - bpb) / (self.high - self.low)))
        return round(self.canvas.top + share * (self.bottom - self.canvas.top), 1)

    def holds(self, bpb: float) -> bool:
        """Whether a score lies within the plot."""
        return self.low <= bpb <= self.high


def plane_for(canvas: Canvas, count: int, values: Sequence[float], must: Sequence[float], room: float) -> Plane:
    """A plane on which what must be seen is seen and far outliers are not.

    Args:
        canvas: The canvas.
        count: Number of the last run.
        values: Every believed score.
        must: Values that must lie within (the frontier, intervals).
        room: Share of the height to leave free below, for labels.
    """
    everything = sorted([*values, *must]) or [0.0, 1.0]
    low, anchors = everything[0], list(must) or everything
    usual = everything[min(len(everything) - 1, int(len(everything) * SETTINGS.chart_usual_share))]
    good = max(anchors) - low
    high = max(max(anchors), min(usual, low + good * SETTINGS.chart_stretch if good > 0 else usual))
    span = max(high - low, abs(low) * 1e-4, 1e-6)
    return Plane(canvas, 1, max(1, count), low - span * (0.04 + room), high + span * 0.06)


def axes(plane: Plane, what: str = "val_bpb, lower is better") -> list[str]:
    """Grid lines with their values, and what is counted to the right."""
    canvas = plane.canvas
    values = ticks(plane.low, plane.high, 7 if canvas.width > 1000 else 5)
    digits = decimals(values)
    parts = []
    for value in values:
        y = plane.y(value)
        parts.append(tag("path", class_="grid", d=f"M{canvas.left:g} {y:g}H{plane.right:g}"))
        parts.append(text(f"{value:.{digits}f}", canvas.left - 12, y + canvas.font * 0.35, "axis", "end"))
    parts.append(text(what, canvas.left, canvas.top - 17, "axis"))
    foot = canvas.height - 18.0
    numbers = [int(n) for n in ticks(plane.first, plane.last, 12 if canvas.width > 1000 else 5) if n == int(n)]
    for number in dict.fromkeys([plane.first, *numbers, plane.last]):
        crowded = number != plane.last and plane.x(plane.last) - plane.x(number) < canvas.font * 3
        second = number != plane.first and plane.x(number) - plane.x(plane.first) < canvas.font * 2.4
        if not crowded and (not second or number == plane.last):
            parts.append(text(str(number), plane.x(number), foot - canvas.font * 1.25, "axis", "middle"))
    parts.append(text("run", plane.right, foot, "axis", "end"))
    return parts


def frontier_line(plane: Plane, steps: Sequence[Step]) -> list[str]:
    """The frontier as a step line, with the interval of what stood as a band around it."""
    if not steps:
        return []
    line, parts = "", []
    ends = [*(step.number for step in steps[1:]), plane.last + 0.5]
    for place, (step, end) in enumerate(zip(steps, ends, strict=True)):
        left, right, y = plane.x(step.number), plane.x(end), plane.y(step.estimate.mean)
        line += f"{'M' if place == 0 else 'L'}{left:g} {y:g}H{right:g}"
        parts.append(_band(plane, step.estimate, left, right))
    return [*parts, tag("path", class_="front", d=line)]


def _band(plane: Plane, estimate: Estimate, left: float, right: float) -> str:
    top, bottom = plane.y(estimate.high), plane.y(estimate.low)
    shape = {"x": left, "y": top, "width": round(right - left, 1), "height": round(max(0.0, bottom - top), 1)}
    return tag("rect", class_="band", **shape)


def believed(rows: Iterable[Row]) -> list[float]:
    """The scores that count for the range of an axis."""
    return [row.val_bpb for row in rows if row.val_bpb is not None and not row.doubt]


def stats_line(data: ReportData) -> str:
    """The night in one line."""
    head = data.headline
    parts = [f"{head.runs} runs", f"{head.kept} kept", f"{head.crashes} crashed"]
    best, gain = head.best, head.gain
    if best and best.estimate and best.measured is not None:
        parts.append(f"best {best.measured:.4f} as measured, n = {best.estimate.n}")
    if gain and gain.n:
        parts.append(f"believed {interval(gain, True)} against the baseline")
    return " · ".join(parts)


def whole(canvas: Canvas, parts: Sequence[str], name: str, alone: bool) -> str:
    """The picture: for a file of its own with palette and ground, for the page without."""
    size = f'viewBox="0 0 {canvas.width} {canvas.height}"'
    letters = f"text{{font-size:{canvas.font:g}px}}.title{{font-size:{canvas.font * 1.5:g}px}}"
    inner = "".join(parts)
    if not alone:
        style = f'style="font-size:{canvas.font:g}px"'
        return f'<svg class="chart" {size} {style} role="img" aria-label="{name}">{inner}</svg>'
    palette = f":root{{{COLOURS.strip()}}}@media(prefers-color-scheme:dark){{:root{{{DARK_COLOURS.strip()}}}}}"
    ground = '<rect width="100%" height="100%" fill="var(--paper)"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} width="{canvas.width}" height="{canvas.height}" role="img"'
        f' aria-label="{name}"><style>{palette}{RULES}{letters}</style>{ground}{inner}</svg>\n'
    )


def label_width(words: str, canvas: Canvas) -> float:
    """How wide a label is on a canvas."""
    return width_of(words, canvas.font)
