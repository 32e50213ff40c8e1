"""Charts as values, which the template chart.svg.j2 draws: scales, marks and words, and those of the progress."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from research.core.settings import SETTINGS
from research.report.data import PageData, Row, Step
from research.report.text import cut, interval, signed


@dataclass(frozen=True)
class Size:
    """Width, height and letters of a drawing, in its own units."""

    width: int
    height: int
    em: float

    @property
    def is_narrow(self) -> bool:
        """Return whether it is drawn for a phone: fewer ticks and columns."""
        return self.width < 600


WIDE, NARROW, FILE = Size(1060, 470, 12.5), Size(350, 400, 11.5), Size(1600, 920, 18.0)
FILE_FRONTIER = Size(1600, 620, 18.0)
LEGEND = (
    ("keep", "keep", "kept"),
    ("discard", "discard", "not kept"),
    ("open", "open", "not decided"),
    ("again", "again", "measured again, joined to its first run"),
    ("front", "line", "best so far, with its 95 % interval"),
    ("crash", "crash", "crash"),
    ("stopped", "stopped", "stopped early"),
    ("off", "above", "off the scale"),
)
"""What marks mean: class, shape, words."""

_LEFT_EM, _RIGHT_EM = 4.8, 5.4  # margins for values and for the names of lines
_TITLE_EM = 4.8  # room for the title of a file
_CHAR_EM = 0.63  # width of a letter, rather too wide than too narrow: a label must not leave the plot
_LINE_EM = 1.3  # least distance of two lines of text
_LABEL_CHARS = (16, 52)  # a shorter label names nothing, a longer one hides the plot
_NAMED_RUNS = 300  # with more, marks have no names, which would make the page too large, nor a phone's chart all losers


@dataclass(frozen=True)
class Scale:
    """Where values lie in the plot, which begins at left and top; y grows downward, a lower value lies lower."""

    size: Size
    first: float
    last: float
    low: float
    high: float
    top: float
    bottom: float
    right_em: float = _RIGHT_EM

    @property
    def left(self) -> float:
        """Return the left edge of the plot."""
        return self.size.em * _LEFT_EM

    @property
    def right(self) -> float:
        """Return the right edge of the plot."""
        return self.size.width - self.size.em * self.right_em

    @property
    def levels(self) -> list[float]:
        """Return the values that have a grid line."""
        return ticks(self.low, self.high, max(4, round((self.bottom - self.top) / self.size.em / 4.5)))

    def x(self, value: float) -> float:
        """Return the place of a value across: a run's number, or a share."""
        return round(self.left + (value - self.first) / (self.last - self.first) * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        """Return the height of a value, held within the plot."""
        share = min(1.0, max(0.0, (self.high - value) / (self.high - self.low)))
        return round(self.top + share * (self.bottom - self.top), 1)

    def holds(self, value: float) -> bool:
        """Return whether a value lies within the plot."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Line:
    """A line or a band: its class and its path."""

    kind: str
    path: str


@dataclass(frozen=True)
class Mark:
    """A point: its class, its shape, what a pointer on it reads, the run that it leads to."""

    x: float
    y: float
    kind: str
    shape: str
    title: str
    row: int


@dataclass(frozen=True)
class Text:
    """Words at a place: their class, and which end of them lies there ("start", "middle", "end")."""

    x: float
    y: float
    words: str
    kind: str = "axis"
    anchor: str = "start"


@dataclass(frozen=True)
class Chart:
    """A drawing: its name, the size of its marks, what is drawn where, and what the marks mean."""

    name: str
    size: Size
    radius: float
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    texts: tuple[Text, ...]
    legend: tuple[tuple[str, str, str], ...] = ()


def progress(data: PageData, size: Size = FILE, is_file: bool = False) -> Chart:
    """Draw every run in order: marks by what became of them, repeats joined to what they repeat, the best so far.

    Args:
        data: What the page says.
        size: The drawing's size.
        is_file: Whether it is a file of its own, with title and legend.
    """
    best = data.headline.best
    must = [step.estimate.mean for step in data.steps]
    must += [best.estimate.low, best.estimate.high] if best and best.estimate else []
    trusted = [row.val_bpb for row in data.rows if row.val_bpb is not None and not row.run.suspect]
    top = size.em * ((_TITLE_EM + 3.6 if is_file else 0) + 2.2)
    low, high = _limits(trusted, must, 0.2)
    scale = Scale(size, 0.5, max(1, len(data.rows)) + 0.5, low, high, top, size.height - size.em * 4.0)
    has_names = len(data.rows) <= _NAMED_RUNS and not size.is_narrow
    marks = [_mark(scale, row, has_names) for row in data.rows]
    joins = [Line("join", f"M{a.x:g} {a.y:g}L{b.x:g} {b.y:g}") for a, b in _repeats(data.rows, marks)]
    if size.is_narrow and len(marks) > _NAMED_RUNS:
        every = len(marks) // _NAMED_RUNS + 1
        marks = [mark for mark in marks if mark.kind != "discard" or mark.row % every == 0]
    in_lane = {row.status for row in data.rows if row.val_bpb is None}
    texts = _labels(scale, data.steps, marks)
    if in_lane:
        lane = "no score" if len(in_lane) > 1 else min(in_lane)
        texts.append(Text(scale.left - size.em * 0.6, scale.bottom + size.em * 1.85, lane, anchor="end"))
    kinds = {mark.kind for mark in marks} | {"again" for mark in marks if mark.shape == "again"}
    legend = tuple(entry for entry in LEGEND if entry[0] in kinds or entry[0] == "front")
    return _chart("val_bpb since the beginning", data, scale, marks, texts, legend, joins)


def _repeats(rows: Sequence[Row], marks: Sequence[Mark]) -> list[tuple[Mark, Mark]]:
    """Return the marks of the first run and of every repeat that came to a score."""
    of = {row.number: mark for row, mark in zip(rows, marks, strict=True) if row.val_bpb is not None}
    pairs = [(row.first, row.number) for row in rows if row.first != row.number]
    return [(of[first], of[number]) for first, number in pairs if first in of and number in of]


def frontier(data: PageData, size: Size = FILE_FRONTIER) -> Chart:
    """Draw the best so far, run by run, with its interval and the names of what brought it."""
    must = [value for step in data.steps for value in (step.estimate.mean, step.estimate.low, step.estimate.high)]
    low, high = _limits([], must, 0.3)
    top, bottom = size.em * (_TITLE_EM + 2.5), size.height - size.em * 2.2
    scale = Scale(size, 0.5, max(1, len(data.rows)) + 0.5, low, high, top, bottom)
    marks = []
    for step in data.steps:
        if step.is_new:
            title = f"#{step.number} {interval(step.estimate, digits=6)}, n = {step.estimate.n}: {step.title}"
            marks.append(Mark(scale.x(step.number), scale.y(step.estimate.mean), "keep", "keep", title, step.number))
    return _chart("val_bpb frontier", data, scale, marks, _labels(scale, data.steps, []))


def _chart(
    name: str,
    data: PageData,
    scale: Scale,
    marks: Sequence[Mark],
    texts: Sequence[Text],
    legend: tuple[tuple[str, str, str], ...] = (),
    joins: Sequence[Line] = (),
) -> Chart:
    """Add what both charts have."""
    em, radius = scale.size.em, (scale.right - scale.left) / max(1, len(marks)) * 0.42
    radius = round(max(em * 0.2, min(em * 0.4, radius)), 1)
    lines = (*grid(scale), *_front(scale, data), *joins)
    around = (*levels(scale, "val_bpb, lower is better"), *_numbers(scale), *_ends(scale, data))
    return Chart(name, scale.size, radius, lines, tuple(marks), (*around, *texts), legend)


def _limits(values: Sequence[float], must: Sequence[float], room: float) -> tuple[float, float]:
    """Return limits within which what must be seen is seen and far outliers are not.

    Args:
        values: Every trusted score.
        must: Values that must lie within (the best so far, intervals).
        room: Share of the height to leave free below, for labels.
    """
    everything = sorted([*values, *must]) or [0.0, 1.0]
    low, anchors = everything[0], list(must) or everything
    usual = everything[min(len(everything) - 1, int(len(everything) * SETTINGS.chart_usual_share))]
    improvement = max(anchors) - low
    high = max(max(anchors), min(usual, low + improvement * SETTINGS.chart_stretch if improvement > 0 else usual))
    span = max(high - low, abs(low) * 1e-4, 1e-6)
    return low - span * (0.04 + room), high + span * 0.06


def grid(scale: Scale) -> list[Line]:
    """Draw a line at every level."""
    return [Line("grid", f"M{scale.left:g} {scale.y(level):g}H{scale.right:g}") for level in scale.levels]


def levels(scale: Scale, title: str, above_em: float = 0.9) -> list[Text]:
    """Write the values at the left, and what they are above them."""
    em, digits = scale.size.em, decimals(scale.levels)
    values = [
        Text(scale.left - em * 0.6, scale.y(v) + em * 0.35, f"{v:.{digits}f}".replace("-", "−"), anchor="end")
        for v in scale.levels
    ]
    return [Text(em * 0.4, scale.top - em * above_em, title), *values]


def _front(scale: Scale, data: PageData) -> list[Line]:
    """Draw the baseline, and the best so far as a step line with its interval as a band around it."""
    base = data.headline.baseline
    found = []
    if base and base.estimate and scale.holds(base.estimate.mean):
        found.append(Line("base", f"M{scale.left:g} {scale.y(base.estimate.mean):g}H{scale.right:g}"))
    path = ""
    for step, after in zip_longest(data.steps, data.steps[1:]):
        left, e = scale.x(step.number), step.estimate
        right = scale.x(after.number if after else scale.last)
        path += f"{'L' if path else 'M'}{left:g} {scale.y(e.mean):g}H{right:g}"
        found.append(Line("band", f"M{left:g} {scale.y(e.high):g}H{right:g}V{scale.y(e.low):g}H{left:g}z"))
    return [*found, Line("front", path)] if path else found


def _mark(scale: Scale, row: Row, has_name: bool) -> Mark:
    """Draw a run; one without a score lies in a lane of its own below."""
    x, bpb = scale.x(row.number), row.val_bpb
    if bpb is None:
        failure = row.run.failure.signature if row.run.failure else row.run.why
        title = f"#{row.number} {row.status}: {row.title}: {failure}" if has_name else ""
        return Mark(x, round(scale.bottom + scale.size.em * 1.5, 1), row.status, row.status, title, row.number)
    title = f"#{row.number} {bpb:.6f} {row.decision}: {row.title}" if has_name else ""
    if not scale.holds(bpb):
        return Mark(x, scale.y(bpb), "off", "above" if bpb > scale.high else "below", title, row.number)
    shape = row.status if row.first == row.number else "again"
    return Mark(x, scale.y(bpb), row.status, shape, title, row.number)


def _numbers(scale: Scale) -> list[Text]:
    """Write numbers of runs below."""
    last, em = int(scale.last), scale.size.em
    near, foot = em * 2.6, scale.size.height - em * 0.7
    inner = [int(n) for n in ticks(1, last, 5 if scale.size.is_narrow else 12) if n == int(n)]
    free = [n for n in inner if min(scale.x(n) - scale.x(1), scale.x(last) - scale.x(n)) > near]
    texts = [Text(scale.x(n), foot, str(n), anchor="middle") for n in sorted({1, *free, last})]
    return [*texts, Text(scale.right + em, foot, "run")]


def _ends(scale: Scale, data: PageData) -> list[Text]:
    """Name the baseline and the best so far beside the plot, where no mark lies."""
    base, best, em = data.headline.baseline, data.headline.best, scale.size.em
    at, texts = [], []
    if best and best is not base and data.steps:
        at.append(scale.y(data.steps[-1].estimate.mean))
        texts.append(Text(scale.right + em * 0.5, at[0] + em * 0.35, "best", "strong"))
    if base and base.estimate and scale.holds(base.estimate.mean):
        y = scale.y(base.estimate.mean)
        if at and abs(y - at[0]) < em * _LINE_EM:
            y = at[0] + em * _LINE_EM * (-1 if y <= at[0] else 1)
        texts.append(Text(scale.right + em * 0.5, y + em * 0.35, "baseline"))
    return texts


def _labels(scale: Scale, steps: Sequence[Step], marks: Sequence[Mark]) -> list[Text]:
    """Name what became the best, the present one first, then the largest gains: to the left below, where no run is.

    One name stands in a line of text, and none where there is no room.
    """
    em = scale.size.em
    texts: list[Text] = []
    moves = [step for step in steps[1:] if step.is_new]
    for step in [*moves[-1:], *sorted(moves[:-1], key=lambda s: s.gain.mean if s.gain else 0.0)]:
        x, middle = scale.x(step.number) - em * 0.4, scale.y(step.estimate.mean)
        room = int((x - scale.left) / em / _CHAR_EM)
        if room < _LABEL_CHARS[0]:
            continue
        words = _named(step, steps, min(room, _LABEL_CHARS[1]))
        left = x - len(words) * em * _CHAR_EM
        places = [middle + em * (1.25 + 0.65 * down) for down in range(8)]
        free = [y for y in places if y < scale.bottom and all(abs(y - other.y) >= em * _LINE_EM for other in texts)]
        clear = [y for y in free if not any(left < m.x < x and y - em < m.y < y + em * 0.4 for m in marks)]
        if free:
            texts.append(Text(x, (clear or free)[0], words, "label", "end"))
    return texts


def _named(step: Step, steps: Sequence[Step], max_chars: int) -> str:
    """Describe a move in so many letters; what was the best before brings nothing for a second time."""
    if any(other.commit == step.commit and other.number < step.number for other in steps):
        return cut(f"back to {step.title}", max_chars)
    gain = f" {signed(step.gain.mean)}" if step.gain else ""
    return cut(step.title, max_chars - len(gain)) + gain


def ticks(low: float, high: float, about: int) -> list[float]:
    """Return round values within a range: steps of 1, 2, 2.5 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / max(1, about)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def decimals(values: Sequence[float]) -> int:
    """Return the digits after the point that tell neighbouring ticks apart."""
    step = abs(values[1] - values[0]) if len(values) > 1 else 1e-4
    return next((n for n in range(7) if abs(round(step, n) - step) < step * 1e-6), 6)
