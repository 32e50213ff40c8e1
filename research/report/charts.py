"""The two charts as values: every run in order, and the best so far alone. The template chart.svg.j2 draws both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from research.core.settings import SETTINGS
from research.report.data import Candidate, PageData, Row, Step
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


WIDE, NARROW, FILE = Size(1060, 560, 12.5), Size(350, 440, 11.5), Size(1600, 920, 18.0)
WIDE_FRONTIER, NARROW_FRONTIER, FILE_FRONTIER = Size(1060, 380, 12.5), Size(350, 300, 11.5), Size(1600, 620, 18.0)

_LEFT_EM, _RIGHT_EM = 4.8, 5.4  # margins for values and for the names of lines
_TITLE_EM, _HEAD_EM = 7.3, 2.5  # room above a file's plot and a page's, without a legend
_CHAR_EM = 0.63  # width of a letter, rather too wide than too narrow: a label must not leave the plot
_LINE_EM = 1.3  # least distance of two lines of text
_LABEL_CHARS = (16, 52)  # a shorter label names nothing, a longer one hides the plot
_NAMED_RUNS = 300  # with more runs, marks tell a number and a score only: names would make the page too large


@dataclass(frozen=True)
class Scale:
    """Where runs and scores lie in the plot; y grows downward, a lower val_bpb lies lower."""

    size: Size
    runs: int
    low: float
    high: float
    top: float
    bottom: float

    @property
    def left(self) -> float:
        """Return the left edge of the plot."""
        return self.size.em * _LEFT_EM

    @property
    def right(self) -> float:
        """Return the right edge of the plot."""
        return self.size.width - self.size.em * _RIGHT_EM

    @property
    def levels(self) -> list[float]:
        """Return the scores that have a grid line."""
        return ticks(self.low, self.high, 5 if self.size.is_narrow else 7)

    def x(self, number: float) -> float:
        """Return the place of a run's number."""
        return round(self.left + (number - 0.5) / max(1, self.runs) * (self.right - self.left), 1)

    def y(self, bpb: float) -> float:
        """Return the height of a score, held within the plot."""
        share = min(1.0, max(0.0, (self.high - bpb) / (self.high - self.low)))
        return round(self.top + share * (self.bottom - self.top), 1)

    def holds(self, bpb: float) -> bool:
        """Return whether a score lies within the plot."""
        return self.low <= bpb <= self.high


@dataclass(frozen=True)
class Line:
    """A line or a band: its class and its path."""

    kind: str
    path: str


@dataclass(frozen=True)
class Mark:
    """A point: its class, its shape, what a pointer on it reads, the row that it leads to; ends of an interval."""

    x: float
    y: float
    kind: str
    shape: str
    title: str
    row: int
    top: float = 0.0
    bottom: float = 0.0


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
    """A drawing: its name, the size of its marks, and what is drawn where."""

    name: str
    size: Size
    radius: float
    has_legend: bool
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    texts: tuple[Text, ...]


def progress(data: PageData, size: Size = FILE, is_file: bool = False) -> Chart:
    """Draw every run in order: marks by what became of them, intervals of repeated ones, and the best so far.

    Args:
        data: What the page says.
        size: The drawing's size.
        is_file: Whether it is a file of its own, with a title.
    """
    best = data.headline.best
    repeated = [one for one in data.candidates if one.estimate and one.estimate.n > 1]
    must = [step.estimate.mean for step in data.steps]
    must += [one.estimate.high for one in repeated if one.estimate and one.decision == "keep"]
    must += [best.estimate.low] if best and best.estimate else []
    trusted = [row.val_bpb for row in data.rows if row.val_bpb is not None and not row.run.suspect]
    top_em = (6.0 if size.is_narrow else 3.0) + (_TITLE_EM if is_file else _HEAD_EM)
    scale = Scale(size, len(data.rows), *_limits(trusted, must, 0.2), size.em * top_em, size.height - size.em * 4.0)
    has_names = len(data.rows) <= _NAMED_RUNS and not size.is_narrow
    bars = [mark for one in repeated if (mark := _bar(scale, one))]
    runs = [_mark(scale, row, has_names) for row in data.rows]
    scored = [mark for mark in runs if mark.shape != "crash"]
    texts = []
    if scored:
        last = scored[-1]
        runs.append(replace(last, kind="ring", shape="ring"))
        texts.append(_latest(scale, last, f"{data.rows[last.row - 1].val_bpb:.4f}", data.steps))
    texts += _labels(scale, data.steps, texts)
    if len(scored) < len(data.rows):
        texts.append(Text(scale.left - size.em * 0.6, scale.bottom + size.em * 1.85, "crash", anchor="end"))
    return _chart("val_bpb since the beginning", data, scale, [*bars, *runs], texts, has_legend=True)


def frontier(data: PageData, size: Size = FILE_FRONTIER, is_file: bool = False) -> Chart:
    """Draw the best so far, run by run, with its interval and the names of what brought it."""
    must = [value for step in data.steps for value in (step.estimate.mean, step.estimate.low, step.estimate.high)]
    top_em = _TITLE_EM if is_file else _HEAD_EM
    scale = Scale(size, len(data.rows), *_limits([], must, 0.3), size.em * top_em, size.height - size.em * 2.2)
    marks = []
    for step in data.steps:
        if step.is_new:
            title = f"#{step.number} {interval(step.estimate, digits=6)}, n = {step.estimate.n}: {step.title}"
            marks.append(Mark(scale.x(step.number), scale.y(step.estimate.mean), "keep", "keep", title, step.number))
    return _chart("val_bpb frontier", data, scale, marks, _labels(scale, data.steps, []), has_legend=False)


def _chart(
    name: str, data: PageData, scale: Scale, marks: Sequence[Mark], texts: Sequence[Text], has_legend: bool
) -> Chart:
    """Add what both charts have."""
    em, radius = scale.size.em, (scale.right - scale.left) / max(1, len(marks)) * 0.42
    radius = round(max(em * 0.2, min(em * 0.38, radius)), 1)
    lines, around = tuple(_lines(scale, data)), (*_axes(scale), *_ends(scale, data))
    return Chart(name, scale.size, radius, has_legend, lines, tuple(marks), (*around, *texts))


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


def _lines(scale: Scale, data: PageData) -> list[Line]:
    """Draw the grid, the baseline, and the best so far as a step line with its interval as a band around it."""
    across = f"H{scale.right:g}"
    found = [Line("grid", f"M{scale.left:g} {scale.y(level):g}{across}") for level in scale.levels]
    base = data.headline.baseline
    if base and base.estimate and scale.holds(base.estimate.mean):
        found.append(Line("base", f"M{scale.left:g} {scale.y(base.estimate.mean):g}{across}"))
    path = ""
    for step, after in zip_longest(data.steps, data.steps[1:]):
        left, e = scale.x(step.number), step.estimate
        right = scale.x(after.number if after else scale.runs + 0.5)
        path += f"{'L' if path else 'M'}{left:g} {scale.y(e.mean):g}H{right:g}"
        found.append(Line("band", f"M{left:g} {scale.y(e.high):g}H{right:g}V{scale.y(e.low):g}H{left:g}z"))
    return [*found, Line("front", path)] if path else found


def _mark(scale: Scale, row: Row, has_name: bool) -> Mark:
    """Draw a run; one without a score lies in a lane of its own below."""
    x, bpb = scale.x(row.number), row.val_bpb
    if bpb is None:
        failure = row.run.failure.signature if row.run.failure else row.run.why
        title = f"#{row.number} crash" + (f": {row.title}: {failure}" if has_name else "")
        return Mark(x, round(scale.bottom + scale.size.em * 1.5, 1), "crash", "crash", title, row.number)
    title = f"#{row.number} {bpb:.6f} {row.decision}" + (f": {row.title}" if has_name else "")
    if not scale.holds(bpb):
        return Mark(x, scale.y(bpb), "off", "above" if bpb > scale.high else "below", title, row.number)
    kind = row.status if row.first == row.number else f"{row.status} again"
    return Mark(x, scale.y(bpb), kind, row.status, title, row.number)


def _bar(scale: Scale, one: Candidate) -> Mark | None:
    """Draw a configuration's value, which more than one run has measured, with its interval, at its first run."""
    e = one.estimate
    if e is None or not scale.holds(e.mean):
        return None
    kind = one.decision if one.decision in ("keep", "discard") else "open"
    title = f"#{one.number} {interval(e, digits=6)} by {e.n} runs: {one.title}"
    x, y = scale.x(one.number), scale.y(e.mean)
    return Mark(x, y, f"{kind} bar", "bar", title, one.number, scale.y(e.high), scale.y(e.low))


def _axes(scale: Scale) -> list[Text]:
    """Write values at the left, and numbers of runs below."""
    em, levels = scale.size.em, scale.levels
    digits = decimals(levels)
    texts = [Text(scale.left, scale.top - em * 0.8, "val_bpb, lower is better")]
    texts += [Text(scale.left - em * 0.6, scale.y(v) + em * 0.35, f"{v:.{digits}f}", anchor="end") for v in levels]
    last, near, foot = max(1, scale.runs), em * 2.6, scale.size.height - em * 0.7
    inner = [int(n) for n in ticks(1, last, 5 if scale.size.is_narrow else 12) if n == int(n)]
    free = [n for n in inner if min(scale.x(n) - scale.x(1), scale.x(last) - scale.x(n)) > near]
    texts += [Text(scale.x(n), foot, str(n), anchor="middle") for n in sorted({1, *free, last})]
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


def _latest(scale: Scale, mark: Mark, score: str, steps: Sequence[Step]) -> Text:
    """Name the latest score on the side that the line of the best does not take."""
    em, words = scale.size.em, f"latest: #{mark.row} {score}"
    is_below = bool(steps and mark.y > scale.y(steps[-1].estimate.mean)) or mark.y - em * 1.8 < scale.top
    is_left = mark.x - scale.left > len(words) * em * _CHAR_EM
    y = mark.y + em * (1.7 if is_below else -0.9)
    return Text(mark.x + em * (0.5 if is_left else -0.5), y, words, "strong label", "end" if is_left else "start")


def _labels(scale: Scale, steps: Sequence[Step], taken: Sequence[Text]) -> list[Text]:
    """Name what became the best, the present one first, then the largest gains: to the left below, where no run is.

    One name stands in a line of text, and none where there is no room.
    """
    em, texts = scale.size.em, list(taken)
    moves = [step for step in steps[1:] if step.is_new]
    for step in [*moves[-1:], *sorted(moves[:-1], key=lambda s: s.gain.mean if s.gain else 0.0)]:
        x, middle = scale.x(step.number), scale.y(step.estimate.mean)
        y = min(max(scale.y(step.estimate.low) + em, middle + em * 1.25), middle + em * 3, scale.bottom - em * 0.3)
        room = int((x - scale.left) / em / _CHAR_EM)
        if room >= _LABEL_CHARS[0] and all(abs(y - other.y) >= em * _LINE_EM for other in texts):
            words = _named(step, steps, min(room, _LABEL_CHARS[1]))
            texts.append(Text(x - em * 0.4, y, words, "label", "end"))
    return texts[len(taken) :]


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
