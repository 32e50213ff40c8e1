"""The two charts: every run in order with what is known of each, and the frontier alone; for the page and as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from research.core.settings import SETTINGS
from research.report import canvas as surface
from research.report.canvas import Canvas, Plane
from research.report.data import Candidate, ReportData, Row, Step
from research.report.labels import Anchor, Box, place
from research.report.svg import cut, tag, text, title
from research.report.text import signed

FILES = ("val_bpb_since_inception.svg", "val_bpb_frontier.svg")
"""The files of ``research report --figures``."""

_LEGEND = (
    ("keep", "kept"),
    ("discard", "discarded"),
    ("open", "not decided"),
    ("again", "replicate"),
    ("bar", "believed from several runs, 95 %"),
    ("front", "what the branch stood on, as measured by then, 95 %"),
    ("crash", "crash"),
)

_OFF = (("off", "off the scale"),)


def progress(data: ReportData, canvas: Canvas = surface.WIDE_PROGRESS, alone: bool = False) -> str:
    """Every run in order: dots by what became of them, crosses for crashes, intervals of replicated ones, frontier."""
    means = [c.estimate for c in data.candidates if c.estimate and c.estimate.n > 1 and c.decision == "keep"]
    must = [step.estimate.mean for step in data.steps] + [e.high for e in means]
    must += [data.headline.best.estimate.low] if data.headline.best and data.headline.best.estimate else []
    room = 0.20 if data.steps else 0.0
    plane = surface.plane_for(canvas, len(data.rows), surface.believed(data.rows), must, room)
    off = any(row.val_bpb is not None and not plane.holds(row.val_bpb) for row in data.rows)
    head, canvas = _head(canvas, data, "val_bpb since the beginning", alone, (*_LEGEND, *(_OFF if off else ())))
    plane = replace(plane, canvas=canvas)
    parts = list(head)
    parts += surface.axes(plane) + _lane(plane, data.rows) + _baseline(plane, data)
    parts += surface.frontier_line(plane, data.steps)
    parts += [_bar(plane, c) for c in data.candidates if c.estimate and c.estimate.n > 1]
    size = _radius(len(data.rows), canvas)
    parts += [_dot(plane, row, size) for row in data.rows if row.val_bpb is not None]
    boxes = [_around(plane, row, size) for row in data.rows if row.val_bpb is not None]
    boxes += [_bar_box(plane, c) for c in data.candidates if c.estimate and c.estimate.n > 1]
    boxes += _line_boxes(plane, data.steps)
    parts += _latest(plane, data.rows, size, boxes)
    parts += _labels(plane, data.steps, boxes)
    return surface.whole(canvas, parts, "val_bpb of every run", alone)


def frontier(data: ReportData, canvas: Canvas = surface.WIDE_FRONTIER, alone: bool = False) -> str:
    """What the branch stood on, run by run, with its interval and names."""
    must = [value for step in data.steps for value in (step.estimate.mean, step.estimate.low, step.estimate.high)]
    head, canvas = _head(canvas, data, "val_bpb frontier", alone, ())
    plane = surface.plane_for(canvas, len(data.rows), [], must, 0.30 if data.steps else 0.0)
    parts = [*head, *surface.axes(plane), *_baseline(plane, data)]
    parts += surface.frontier_line(plane, data.steps)
    fresh = [step for step in data.steps if step.fresh]
    parts += [
        tag("circle", title(_said(s)), class_="keep", cx=plane.x(s.number), cy=plane.y(s.estimate.mean), r=6.0)
        for s in fresh
    ]
    boxes = [Box(x - 8, y - 8, x + 8, y + 8) for s in fresh for x, y in [_spot(plane, s)]]
    boxes += _line_boxes(plane, data.steps)
    parts += _labels(plane, data.steps, boxes)
    return surface.whole(canvas, parts, "the val_bpb that the branch stood on", alone)


def _head(
    canvas: Canvas, data: ReportData, words: str, alone: bool, legend: Sequence[tuple[str, str]]
) -> tuple[list[str], Canvas]:
    """Title (a file's only; the page has its own), legend, and the canvas with as much room above as they need."""
    parts, y = [], canvas.font * 0.6
    if alone:
        where = f" · {data.branch}" if data.branch else ""
        stats = f"{surface.stats_line(data)} · {data.contract}"
        parts, y = [text(words + where, 28.0, 44.0, "title"), text(stats, 28.0, 74.0, "stats")], 80.0
    if legend:
        found, y = _legend(canvas, legend, y + canvas.font * 1.3)
        parts += found
    top = y + canvas.font * 2.7
    height = canvas.height if alone else round(canvas.height - canvas.top + top)
    return parts, replace(canvas, top=top, height=height)


def _legend(canvas: Canvas, entries: Sequence[tuple[str, str]], y: float) -> tuple[list[str], float]:
    """Symbols with their words, in as many lines as they need; the last line's height."""
    x = left = canvas.left if canvas.width > 1000 else 24.0
    parts = []
    for kind, words in entries:
        need = 28 + surface.label_width(words, canvas)
        if x + need > canvas.width - 8:
            x, y = left, y + canvas.font * 1.45
        parts += [_symbol(kind, x + 10, y - canvas.font * 0.34), text(words, x + 28, y, "axis")]
        x += need + canvas.font
    return parts, y


def _symbol(kind: str, x: float, y: float) -> str:
    if kind == "crash":
        return _cross(x, y, 5.0)
    if kind == "front":
        band = tag("rect", class_="band", x=x - 11, y=y - 7, width=22.0, height=14.0)
        return band + tag("path", class_="front", d=f"M{x - 11:g} {y:g}h22")
    if kind == "bar":
        return tag("path", class_="bar keep", d=_bar_path(x, y - 9, y + 9, y))
    if kind == "off":
        return tag("path", class_="discard", d=_triangle(x, y - 4, 5.5, -1))
    return tag("circle", class_="again discard" if kind == "again" else kind, cx=x, cy=y, r=5.5)


def _radius(count: int, canvas: Canvas) -> float:
    """Dots that shrink as runs crowd."""
    room = (canvas.width - canvas.left) / max(1, count)
    if canvas.width > 1000:
        return max(2.2, min(6.5, room * 0.42))
    return max(4.0, min(9.0, room * 0.6))  # a phone shows half of it


def _dot(plane: Plane, row: Row, size: float) -> str:
    assert row.val_bpb is not None
    x, y, words = plane.x(row.number), plane.y(row.val_bpb), title(_row_said(row))
    if not plane.holds(row.val_bpb):
        sign = 1 if row.val_bpb < plane.low else -1
        return tag("path", words, class_=row.status, d=_triangle(x, y, size, sign))
    if row.first != row.number:
        return tag("circle", words, class_=f"again {row.status}", cx=x, cy=y, r=size * 0.8)
    return tag("circle", words, class_=row.status, cx=x, cy=y, r=size * (1.15 if row.status == "keep" else 0.85))


def _triangle(x: float, y: float, size: float, sign: int) -> str:
    """It points to where a run lies that is off the scale: 1 down, -1 up."""
    return f"M{x - size:g} {y:g}h{2 * size:g}l{-size:g} {sign * size * 1.5:g}z"


def _row_said(row: Row) -> str:
    value = f"{row.val_bpb:.6f}" if row.val_bpb is not None else "crash"
    return f"#{row.number} {value} {row.decision}: {row.title}"


def _said(step: Step) -> str:
    e = step.estimate
    return f"#{step.number} {e.mean:.6f} [{e.low:.6f}, {e.high:.6f}], n = {e.n}: {step.title}"


def _around(plane: Plane, row: Row, size: float) -> Box:
    assert row.val_bpb is not None
    x, y = plane.x(row.number), plane.y(row.val_bpb)
    return Box(x - size, y - size, x + size, y + size)


def _cross(x: float, y: float, size: float, words: str = "") -> str:
    shape = f"M{x - size:g} {y - size:g}l{2 * size:g} {2 * size:g}m0 {-2 * size:g}l{-2 * size:g} {2 * size:g}"
    return tag("path", words, class_="crash", d=shape)


def _lane(plane: Plane, rows: Sequence[Row]) -> list[str]:
    """Crashes have no height; they lie in a lane of their own below."""
    crashed = [row for row in rows if row.val_bpb is None]
    if not crashed:
        return []
    y = plane.bottom + plane.canvas.font * 1.8
    size = min(5.5, _radius(len(rows), plane.canvas))
    words = text("crash", plane.canvas.left - 12, y + plane.canvas.font * 0.35, "axis", "end")
    return [
        words,
        *(_cross(plane.x(row.number), y, size, title(f"{_row_said(row)}: {row.signature}")) for row in crashed),
    ]


def _bar_path(x: float, top: float, bottom: float, mean: float, half: float = 5.0) -> str:
    ends = f"M{x - half:g} {top:g}h{2 * half:g}M{x - half:g} {bottom:g}h{2 * half:g}"
    return f"M{x:g} {top:g}V{bottom:g}{ends}M{x - half * 1.4:g} {mean:g}h{2.8 * half:g}"


def _bar(plane: Plane, candidate: Candidate) -> str:
    """What is believed of a configuration that ran more than once, with its interval, at its first run."""
    e = candidate.estimate
    assert e is not None
    if not plane.holds(e.mean):
        return ""
    kind = {"keep": "keep", "discard": "discard"}.get(candidate.decision, "open")
    half = max(2.5, min(5.0, (plane.right - plane.canvas.left) / plane.last * 0.4))
    words = title(
        f"#{candidate.number} believed {e.mean:.6f} [{e.low:.6f}, {e.high:.6f}] of {e.n} runs: {candidate.title}"
    )
    shape = _bar_path(plane.x(candidate.number), plane.y(e.high), plane.y(e.low), plane.y(e.mean), half)
    return tag("path", words, class_=f"bar {kind}", d=shape)


def _bar_box(plane: Plane, candidate: Candidate) -> Box:
    assert candidate.estimate is not None
    x, half = plane.x(candidate.number), 5.0
    return Box(x - half, plane.y(candidate.estimate.high), x + half, plane.y(candidate.estimate.low))


def _baseline(plane: Plane, data: ReportData) -> list[str]:
    base = data.headline.baseline
    if not base or not base.estimate or not plane.holds(base.estimate.mean):
        return []
    y = plane.y(base.estimate.mean)
    line = tag("path", class_="base", d=f"M{plane.canvas.left:g} {y:g}H{plane.right:g}")
    return [line, text("baseline", plane.right, y - 8, "axis", "end")]


def _latest(plane: Plane, rows: Sequence[Row], size: float, boxes: list[Box]) -> list[str]:
    """A ring around the last run with its number and score; its place is taken for labels."""
    last = next((row for row in reversed(rows) if row.val_bpb is not None), None)
    if last is None or last.val_bpb is None:
        return []
    x, y = plane.x(last.number), plane.y(last.val_bpb)
    words = f"latest: #{last.number} {last.val_bpb:.4f}"
    wide = surface.label_width(words, plane.canvas) * 1.08  # it is bold
    anchor = Anchor(x, y, wide, plane.canvas.font)
    area = Box(plane.canvas.left, plane.canvas.top, plane.right, plane.bottom)
    box = place([anchor], area, boxes, SETTINGS.chart_label_air, plane.canvas.label_reach)[0]
    ring = tag("circle", class_="now", cx=x, cy=y, r=size + 4.5)
    if box is None:
        return [ring]
    boxes.append(box)
    return [ring, _beside(words, x, box, plane.canvas, "nowlabel")]


def _beside(words: str, x: float, box: Box, canvas: Canvas, kind: str) -> str:
    """A label in its box, held at the side that is next to its point, whatever the letters' true width."""
    y = box.bottom - canvas.font * 0.2
    if box.right <= x:
        return text(words, box.right, y, kind, "end")
    if box.left >= x:
        return text(words, box.left, y, kind)
    at_edge = box.right >= canvas.width - canvas.right - 1
    return (
        text(words, box.right, y, kind, "end")
        if at_edge
        else text(words, (box.left + box.right) / 2, y, kind, "middle")
    )


def _spot(plane: Plane, step: Step) -> tuple[float, float]:
    return plane.x(step.number), plane.y(step.estimate.mean)


def _line_boxes(plane: Plane, steps: Sequence[Step]) -> list[Box]:
    """The frontier line as thin boxes, so that labels keep off it."""
    found: list[Box] = []
    if not steps:
        return found
    ends = [*(s.number for s in steps[1:]), plane.last + 0.5]
    for place_, (step, end) in enumerate(zip(steps, ends, strict=True)):
        (x, y), right = _spot(plane, step), plane.x(end)
        found.append(Box(x - 2, y - 4, right + 2, y + 4))
        if place_:
            before = plane.y(steps[place_ - 1].estimate.mean)
            found.append(Box(x - 3, min(before, y), x + 3, max(before, y)))
    return found


def _labels(plane: Plane, steps: Sequence[Step], boxes: Sequence[Box]) -> list[str]:
    """Names of the frontier's commits, the largest steps first, where there is room; no two overlap."""
    canvas = plane.canvas
    named = sorted((step for step in _moves(steps)), key=_change)[: canvas.labels]
    words = [_named(step, steps, canvas) for step in named]
    spots = [_spot(plane, step) for step in named]
    sizes = [surface.label_width(word, canvas) for word in words]
    anchors = [Anchor(x, y, wide, canvas.font) for (x, y), wide in zip(spots, sizes, strict=True)]
    area = Box(canvas.left + 4, canvas.top, plane.right, plane.bottom - 4)
    found = place(anchors, area, boxes, SETTINGS.chart_label_air, canvas.label_reach)
    parts = []
    for (x, y), word, box in zip(spots, words, found, strict=True):
        if box:
            end_y = box.top if box.top > y else box.bottom
            end_x = min(max(x, box.left), box.right)
            parts.append(tag("path", class_="lead", d=f"M{x:g} {y:g}L{end_x:g} {end_y:g}"))
            parts.append(_beside(word, x, box, canvas, "label"))
    return parts


def _moves(steps: Sequence[Step]) -> list[Step]:
    """Where the branch moved to something; what it began with has a line of its own."""
    return [step for step in steps[1:] if step.fresh]


def _change(step: Step) -> float:
    return step.gain.mean if step.gain else 0.0


def _named(step: Step, steps: Sequence[Step], canvas: Canvas) -> str:
    """A move in words; what had stood before brings nothing for a second time."""
    name = cut(step.title, canvas.label_chars)
    if any(other.commit == step.commit and other.number < step.number for other in steps):
        return f"back to {name}"
    return f"{name} {signed(step.gain.mean)}" if step.gain else name
