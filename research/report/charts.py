"""Draws the charts of the page and of ``report --figures``, as values from which chart.svg.j2 makes SVG.

Python draws, since the files must be whole without a browser; the page shows the same drawings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from research.code.constants import number
from research.core.records import Estimate
from research.core.settings import SETTINGS
from research.report.data import PageData, RunCurve, RunRow, ShownConfiguration
from research.report.progress import Curve, loss_at
from research.report.text import cut, interval, signed
from research.verdict.models import Trial


@dataclass(frozen=True)
class Size:
    """The size of a drawing, in its own units."""

    width: int
    height: int
    em: float  # size of its letters

    @property
    def is_narrow(self) -> bool:
        """Return whether it is drawn for a phone: fewer ticks and marks."""
        return self.width < 600


WIDE, NARROW, FILE = Size(1060, 470, 12.5), Size(350, 400, 11.5), Size(1600, 920, 18.0)
FILE_FRONTIER, LOSS, CONSTANT = Size(1600, 620, 18.0), Size(520, 330, 12.5), Size(310, 196, 12.5)
LEGEND = (
    ("keep", "keep", "kept"),
    ("discard", "discard", "not kept"),
    ("open", "open", "not decided"),
    ("again", "again", "measured again, joined to its first run"),
    ("front", "line", "best so far, with the 95 % interval of its gain"),
    ("crash", "crash", "crash"),
    ("stopped", "stopped", "stopped early"),
    ("off", "above", "off the scale"),
)
"""The meanings of marks: class, shape, words."""

_TITLE_EM = 4.8  # room for the title of a file
_CHAR_EM = 0.63  # width of a letter, rather too wide than too narrow: a label must not leave the plot
_LINE_EM = 1.3  # least distance of two lines of text
_LABEL_CHARS = (16, 52)  # a shorter label names nothing, a longer one hides the plot
_NAMED_RUNS = 300  # with more runs marks have no names, to keep the page small, and a phone's chart leaves losers out
_LOSS_SMOOTHED = 0.06  # share of the budget that a point is the mean of: one step's loss is noise
_LOSS_FROM = 0.1  # share of the budget in which the loss falls so far that it would press the rest flat
_LOSS_POINTS = 60
_LOG_FACTOR = 3.0  # values of a constant that differ by more lie on a logarithmic scale
_VALUE_CHARS = 12


@dataclass(frozen=True)
class Scale:
    """The scales of a plot, from values to places; y grows downward, and a lower value lies lower."""

    size: Size
    first: float  # value at the left edge
    last: float  # value at the right edge
    low: float  # value at the bottom
    high: float  # value at the top
    top: float  # place of the upper edge
    bottom: float  # place of the lower edge
    right_em: float = 5.4  # room to the right for the names of lines, in em

    @property
    def left(self) -> float:
        """Return the left edge of the plot."""
        return self.size.em * 4.8

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
    """A line or a band of a drawing."""

    kind: str  # its class
    path: str  # its SVG path


@dataclass(frozen=True)
class Mark:
    """A point of a drawing."""

    x: float
    y: float
    kind: str  # its class
    shape: str  # as in LEGEND
    title: str  # the text that a pointer on it shows
    row: int  # number of the run that it leads to


@dataclass(frozen=True)
class Text:
    """Words at a place of a drawing."""

    x: float
    y: float
    words: str
    kind: str = "axis"  # their class
    anchor: str = "start"  # the part of them that lies at the place: "start", "middle" or "end"


@dataclass(frozen=True)
class Chart:
    """A drawing."""

    name: str
    size: Size
    radius: float  # of its marks
    lines: Sequence[Line]
    marks: Sequence[Mark]
    texts: Sequence[Text]
    legend: Sequence[tuple[str, str, str]] = ()  # entries of LEGEND


# Every run, and the best so far --------------------------------------------------------------------------------------


def progress(data: PageData, size: Size = FILE) -> Chart:
    """Draw every run in order: a mark by its status, a line from each repeat to its first run, the best so far."""
    em, values = size.em, [value for _, _, value in data.steps]
    must = [value.mean for value in values] + [end for value in values[-1:] for end in (value.low, value.high)]
    trusted = [row.run.val_bpb for row in data.rows if row.run.val_bpb is not None and not row.run.suspect]
    top = em * ((_TITLE_EM + 3.6 if size is FILE else 0) + 2.2)  # a file has a title and its legend
    scale = _over_runs(data, size, _limits(trusted, must, 0.2), top, size.height - em * 4.0)
    has_names = len(data.rows) <= _NAMED_RUNS and not size.is_narrow
    marks = [_mark(scale, row, has_names) for row in data.rows]
    joins = list(_joins(data, marks))
    if size.is_narrow and len(marks) > _NAMED_RUNS:
        every = len(marks) // _NAMED_RUNS + 1
        marks = [mark for mark in marks if mark.kind != "discard" or mark.row % every == 0]
    texts = _words(scale, data, marks)
    if in_lane := {row.status for row in data.rows if row.run.val_bpb is None}:
        lane = "no score" if len(in_lane) > 1 else min(in_lane)
        texts.append(Text(scale.left - em * 0.6, scale.bottom + em * 1.85, lane, anchor="end"))
    kinds = {"front", *(mark.kind for mark in marks), *(mark.shape for mark in marks if mark.shape == "again")}
    legend = [entry for entry in LEGEND if entry[0] in kinds]
    radius = (scale.right - scale.left) / max(1, len(marks)) * 0.42
    radius = round(max(em * 0.2, min(em * 0.4, radius)), 1)
    lines = [*_grid(scale), *_front(scale, data), *joins]
    return Chart("val_bpb since the beginning", size, radius, lines, marks, texts, legend)


def _joins(data: PageData, marks: Sequence[Mark]) -> Iterator[Line]:
    """Draw a line from the mark of each repeat to that of the first run of its configuration."""
    scored = {row.number: mark for row, mark in zip(data.rows, marks, strict=True) if row.run.val_bpb is not None}
    for row in data.rows:
        first, mark = scored.get(row.first), scored.get(row.number)
        if first and mark and first is not mark:
            yield Line("join", f"M{first.x:g} {first.y:g}L{mark.x:g} {mark.y:g}")


def frontier(data: PageData, size: Size = FILE_FRONTIER) -> Chart:
    """Draw the best so far, run by run, with its interval and the names of the changes that improved it."""
    em = size.em
    limits = _limits([], [end for _, _, value in data.steps for end in (value.mean, value.low, value.high)], 0.3)
    scale = _over_runs(data, size, limits, em * (_TITLE_EM + 2.5), size.height - em * 2.2)
    marks = []
    for run, one, value in data.steps:
        title = f"#{run} {interval(value, digits=6)}, n = {value.n}: {one.title}"
        marks.append(Mark(scale.x(run), scale.y(value.mean), "keep", "keep", title, run))
    lines = [*_grid(scale), *_front(scale, data)]
    return Chart("val_bpb frontier", size, em * 0.4, lines, marks, _words(scale, data, []))


def _over_runs(data: PageData, size: Size, limits: tuple[float, float], top: float, bottom: float) -> Scale:
    """Return the scale of a chart over the runs' numbers."""
    return Scale(size, 0.5, max(1, len(data.rows)) + 0.5, *limits, top, bottom)


def _words(scale: Scale, data: PageData, marks: Sequence[Mark]) -> list[Text]:
    """Return all words of a chart over the runs' numbers."""
    base = data.baseline.known.estimate if data.baseline else None
    ends = [(data.steps[-1][2].mean, "best")] if data.steps and data.best is not data.baseline else []
    ends += [(base.mean, "baseline")] if base and scale.holds(base.mean) else []
    around = [*_levels(scale, "val_bpb, lower is better"), *_numbers(scale), *_ends(scale, ends)]
    return [*around, *_labels(scale, data, marks)]


def _limits(values: Sequence[float], must: Sequence[float], room: float) -> tuple[float, float]:
    """Return the lowest and highest value of a plot, which shows what it must and leaves far outliers out.

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
    span = max(high - low, abs(low) * 1e-3, 1e-6)
    return low - span * (0.04 + room), high + span * 0.06


def _mark(scale: Scale, row: RunRow, has_name: bool) -> Mark:
    """Return the mark of a run; one without a score lies in a lane of its own below."""
    x, bpb = scale.x(row.number), row.run.val_bpb
    if bpb is None:
        failure = row.run.failure.signature if row.run.failure else row.run.why
        title = f"#{row.number} {row.status}: {row.title}: {failure}" if has_name else ""
        return Mark(x, round(scale.bottom + scale.size.em * 1.5, 1), row.status, row.status, title, row.number)
    title = f"#{row.number} {bpb:.6f} {row.decision}: {row.title}" if has_name else ""
    if not scale.holds(bpb):
        return Mark(x, scale.y(bpb), "off", "above" if bpb > scale.high else "below", title, row.number)
    shape = row.status if row.first == row.number else "again"
    return Mark(x, scale.y(bpb), row.status, shape, title, row.number)


def _front(scale: Scale, data: PageData) -> Iterator[Line]:
    """Draw the baseline, and the best so far as a step line with its interval as a band around it."""
    base = data.baseline.known.estimate if data.baseline else None
    if base and scale.holds(base.mean):
        yield Line("base", f"M{scale.left:g} {scale.y(base.mean):g}H{scale.right:g}")
    path = ""
    for (run, _, value), after in zip_longest(data.steps, data.steps[1:]):
        left, right = scale.x(run), scale.x(after[0] if after else scale.last)
        path += f"{'L' if path else 'M'}{left:g} {scale.y(value.mean):g}H{right:g}"
        yield Line("band", f"M{left:g} {scale.y(value.high):g}H{right:g}V{scale.y(value.low):g}H{left:g}z")
    if path:
        yield Line("front", path)


def _numbers(scale: Scale) -> list[Text]:
    """Return the numbers of runs below the plot."""
    last, em = int(scale.last), scale.size.em
    near, foot = em * 2.6, scale.size.height - em * 0.7
    inner = [int(n) for n in ticks(1, last, 5 if scale.size.is_narrow else 12) if n == int(n)]
    free = [n for n in inner if min(scale.x(n) - scale.x(1), scale.x(last) - scale.x(n)) > near]
    texts = [Text(scale.x(n), foot, str(n), anchor="middle") for n in sorted({1, *free, last})]
    return [*texts, Text(scale.right + em, foot, "run")]


def _labels(scale: Scale, data: PageData, marks: Sequence[Mark]) -> list[Text]:
    """Return the names of the changes that became the best, to the left below their steps, where no run is.

    The present best comes first, then the largest gains. Each has a line of its own; a name without room is left out.
    """
    em = scale.size.em
    texts: list[Text] = []
    moves = data.steps[1:]
    by_gain = sorted(moves[:-1], key=lambda move: move[1].known.change.mean if move[1].known.change else 0.0)
    for run, one, value in [*moves[-1:], *by_gain]:
        x, middle = scale.x(run) - em * 0.4, scale.y(value.mean)
        room = int((x - scale.left) / em / _CHAR_EM)
        if room < _LABEL_CHARS[0]:
            continue
        is_back = any(other is one for at, other, _ in data.steps if at < run)  # it brings nothing a second time
        is_kept = one.status == "keep"  # what something better replaced is compared with that by now
        gain = f" {signed(one.known.change.mean)}" if one.known.change and is_kept and not is_back else ""
        title = f"back to {one.title}" if is_back else one.title
        words = cut(title, min(room, _LABEL_CHARS[1]) - len(gain)) + gain
        left = x - len(words) * em * _CHAR_EM
        places = [middle + em * (1.25 + 0.65 * down) for down in range(12)]
        free = [y for y in places if y < scale.bottom and all(abs(y - other.y) >= em * _LINE_EM for other in texts)]
        clear = [y for y in free if not any(left < mark.x < x and y - em < mark.y < y + em * 0.4 for mark in marks)]
        if free:
            texts.append(Text(x, (clear or free)[0], words, "label", "end"))
    return texts


# How the loss fell ---------------------------------------------------------------------------------------------------


def loss_charts(curves: Sequence[RunCurve]) -> list[Chart]:
    """Draw the losses of kept runs and of the baseline, and their differences from it; nothing without both."""
    smooth = [replace(one, points=smoothed(one.points)) for one in curves if len(one.points) > 1]
    base = next((one for one in smooth if one.kind == "baseline"), None)
    if base is None or len(smooth) < 2:
        return []
    ahead = []
    for one in smooth:
        pairs = [(at, loss, loss_at(base.points, at)) for at, loss in one.points]
        points = one.ahead or tuple((at, loss - there) for at, loss, there in pairs if there is not None)
        ahead.append(RunCurve(one.number, one.kind, points))
    return [_losses("Training loss, nats a token", smooth), _losses("Loss minus the baseline’s", ahead)]


def smoothed(curve: Curve) -> Curve:
    """Return the mean loss around evenly spaced shares of the budget."""
    found = []
    for place in range(1, _LOSS_POINTS + 1):
        share = place / _LOSS_POINTS
        near = [loss for at, loss in curve if abs(at - share) <= _LOSS_SMOOTHED / 2]
        if near:
            found.append((share, sum(near) / len(near)))
    return tuple(found)


def _losses(title: str, curves: Sequence[RunCurve]) -> Chart:
    shown = [(one, [(at, loss) for at, loss in one.points if at >= _LOSS_FROM]) for one in curves]
    values = [loss for _, points in shown for _, loss in points] or [0.0, 1.0]
    low, high, em = min(values), max(values), LOSS.em
    room = max(high - low, 1e-6) * 0.05
    scale = Scale(LOSS, _LOSS_FROM, 1.0, low - room, high + room, em * 2.2, LOSS.height - em * 3.2, right_em=5.8)
    lines = []
    for one, points in shown:
        steps = [f"{scale.x(at):g} {scale.y(loss):g}" for at, loss in points]
        lines.append(Line(f"curve {one.kind}", "M" + "L".join(steps)))
    foot = scale.bottom + em * 1.5
    shares = ((0.25, "25 % of the budget"), (0.5, "50 %"), (0.75, "75 %"), (1.0, "100 %"))
    texts = [Text(scale.x(share), foot, words, anchor="middle") for share, words in shares]
    names = {"baseline": "baseline", "kept": "#{}", "best": "#{} best"}
    ends = [(points[-1][1], names[one.kind].format(one.number)) for one, points in shown if points]
    texts += _ends(scale, ends)
    return Chart(title, LOSS, em * 0.3, [*_grid(scale), *lines], (), [*_levels(scale, title), *texts])


# What each constant did ----------------------------------------------------------------------------------------------


def constant_charts(data: PageData) -> list[Chart]:
    """Draw a chart for each constant that was tried, the most often first, all with the same scale of val_bpb."""
    made = {one.known.key: one for one in data.candidates}
    found = {name: _alone(tried, made)[-SETTINGS.values_shown :] for name, tried in data.memory.tried.items()}
    changes = {name: [_change(one).mean for one in trials] for name, trials in found.items() if trials}
    shown = sorted(changes, key=lambda name: (-len(changes[name]), min(changes[name])))[: SETTINGS.constants_shown]
    if not shown:
        return []
    every = sorted(change for name in shown for change in changes[name])
    best, usual = min(0.0, every[0]), every[int(len(every) * 0.9)]  # one bad idea must not press the others flat
    low, high = best - 0.15 * (usual - best), max(usual, -best * 0.5) * 1.15
    if high - low < 1e-6:
        low, high = low - 1e-3, high + 1e-3
    return [_constant(name, found[name], made, low, high) for name in shown]


def _change(trial: Trial) -> Estimate:
    """Return a value's change in val_bpb against its parent; below zero is better."""
    gain = trial.known.gain
    return Estimate(-gain.mean, -gain.high, -gain.low, gain.n) if gain else Estimate(0.0, 0.0, 0.0, 0)


def _alone(tried: Sequence[Trial], made: Mapping[str, ShownConfiguration]) -> list[Trial]:
    """Return the values that a constant was given alone and that were scored.

    An arm of "A if CONDITION else B" that all values share is left out.
    """
    alone = [one for one in tried if one.alone and one.known.gain and one.known.key in made]
    trials = [one for one in alone if any(row.run.val_bpb is not None for row in made[one.known.key].rows)]
    texts = {text for one in trials for text in (one.before, one.after)}
    for mark, place in ((" else ", 1), (" if ", 0)):
        parts = {text: text.split(mark, 1) for text in texts}
        if all(len(part) == 2 for part in parts.values()) and len({part[1 - place] for part in parts.values()}) == 1:
            return [replace(one, before=parts[one.before][place], after=parts[one.after][place]) for one in trials]
    return trials


def _constant(
    name: str, trials: Sequence[Trial], made: Mapping[str, ShownConfiguration], low: float, high: float
) -> Chart:
    em, places = CONSTANT.em, _places(trials)
    scale = Scale(CONSTANT, -0.08, 1.08, low, high, em * 3.0, CONSTANT.height - em * 2.4, right_em=0.6)
    zero = scale.y(0)
    lines, marks = [Line("base", f"M{scale.left:g} {zero:g}H{scale.right:g}")], []
    for trial in trials:
        change, one = _change(trial), made[trial.known.key]
        x, y = scale.x(places[trial.after]), scale.y(change.mean)
        lines.append(Line("join", f"M{scale.x(places[trial.before]):g} {zero:g}L{x:g} {y:g}"))
        lines.append(Line(f"bar {one.status}", f"M{x:g} {scale.y(change.high):g}V{scale.y(change.low):g}"))
        title = f"#{one.number} {name} {trial.before} -> {trial.after}: {interval(change, True)}"
        shape = one.status if scale.holds(change.mean) else "above"
        marks.append(Mark(x, y, one.status, shape, title, one.number))
    texts, taken = [], -math.inf
    for value, place in sorted(places.items(), key=lambda pair: pair[1]):
        words = cut(value, _VALUE_CHARS)
        half = len(words) * em * 0.35
        x = min(max(scale.x(place), scale.left + half - em), scale.right - half + em * 0.6)
        if x - half > taken:
            texts.append(Text(x, CONSTANT.height - em * 0.6, words, anchor="middle"))
            taken = x + half + em * 0.4
    return Chart(name, CONSTANT, em * 0.36, [*_grid(scale), *lines], marks, [*_levels(scale, name, 1.6), *texts])


def _places(trials: Sequence[Trial]) -> dict[str, float]:
    """Return the place of each value, from 0 to 1: by its size if all are numbers, else side by side."""
    texts = list(dict.fromkeys(text for one in trials for text in (one.before, one.after)))
    numbers = [number(text) for text in texts]
    sizes = [value for value in numbers if value is not None]
    if len(sizes) < len(texts) or max(sizes) == min(sizes):
        sizes = list(map(float, range(len(texts))))
    elif min(sizes) > 0 and max(sizes) / min(sizes) >= _LOG_FACTOR:
        sizes = [math.log(value) for value in sizes]
    low, span = min(sizes), max(max(sizes) - min(sizes), 1e-9)
    return {text: (value - low) / span for text, value in zip(texts, sizes, strict=True)}


# Parts of every chart ------------------------------------------------------------------------------------------------


def _grid(scale: Scale) -> list[Line]:
    """Draw a line at every level."""
    return [Line("grid", f"M{scale.left:g} {scale.y(level):g}H{scale.right:g}") for level in scale.levels]


def _levels(scale: Scale, title: str, above_em: float = 0.9) -> list[Text]:
    """Return the values at the left of the plot, and a title above them."""
    em, digits = scale.size.em, decimals(scale.levels)
    texts = [Text(em * 0.4, scale.top - em * above_em, title)]
    for level in scale.levels:
        value = f"{level:.{digits}f}".replace("-", "−")
        texts.append(Text(scale.left - em * 0.6, scale.y(level) + em * 0.35, value, anchor="end"))
    return texts


def _ends(scale: Scale, names: Sequence[tuple[float, str]]) -> list[Text]:
    """Return the names of lines, beside the plot at their last values, moved apart so that no words touch."""
    em, distance = scale.size.em, scale.size.em * _LINE_EM
    ends = sorted((scale.y(value), words) for value, words in names)
    heights: list[float] = []
    for y, _ in ends:
        heights.append(max(y, heights[-1] + distance) if heights else y)
    limit = scale.bottom
    for place in reversed(range(len(heights))):  # what was moved below the plot moves up again
        heights[place] = limit = min(heights[place], limit)
        limit -= distance
    return [
        Text(scale.right + em * 0.45, y + em * 0.35, words, "strong" if words.endswith("best") else "axis")
        for y, (_, words) in zip(heights, ends, strict=True)
    ]


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
