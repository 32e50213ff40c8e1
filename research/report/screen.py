"""Lays a view of watch out for a terminal: 80 columns and 24 lines are enough; colours only repeat what words say."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.text import Text

from research.core.text import chance, clean, count_of, listed
from research.report.answer import answer, planned
from research.report.data import RunRow
from research.report.progress import Curve, loss_at
from research.report.text import IDEAS, VERDICTS, clock, cut, plain, times
from research.report.watch import LiveView, RunInFlight

_STYLES = {"keep": "bold green", "baseline": "bold green", "replicate": "yellow", "investigate": "yellow",
           "discard": "dim", "stopped": "dim", "crash": "red"}  # fmt: skip
_LOW = 24  # lines of the smallest terminal that everything fits into
_CURVE_LINES, _MAX_CURVE_LINES = 4, 16  # the least that shows a bend, the most that says more
_LEAST_VERDICTS = 3
_WHY_COLUMNS = 120  # from this width on a verdict is followed by its reason
_FLIGHTS_SHOWN = 4  # more workers than that don't fit a screen; the rest are counted
_FLIGHTS_WITH_CURVE = 2  # with more there is no room for it
_FALL = 0.08  # share of the budget at whose beginning a loss falls so fast that it would flatten the rest of a plot
_SPARSE = 4  # one in so many dots of the best so far is drawn, which tells it apart without colours
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of U+2800, by row and column in a letter
_BLANK = 0x2800
_MARGIN = 8  # columns for the scale of a plot


def frame(view: LiveView, width: int, height: int = _LOW) -> RenderableType:
    """Return a view for a terminal of so many columns and, from 24 on, lines."""
    curve_lines = min(_MAX_CURVE_LINES, _CURVE_LINES + max(0, height - _LOW) // 2)
    parts = [_head(view, width), *_found(view, width), Text(), *_flights(view, width, curve_lines)]
    after = [Text(), *_next(view, width)]
    if view.verdicts:
        parts += [Text(), _verdicts_head(view)]
        wrapped = len(view.go_on) // width
        parts += _verdicts(view.verdicts[: max(_LEAST_VERDICTS, height - len(parts) - len(after) - wrapped)], width)
    return Group(*parts, *after)


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _named(name: str, words: str, style: str = "") -> Text:
    """Return a line that begins with a short name."""
    return _one_line(Text(f"{name:<6}", style="bold").append(words, style=style or "not bold"))


def _head(view: LiveView, width: int) -> Text:
    memory, now = view.data.memory, clock(view.now_utc, False)
    where = cut(" · ".join(filter(None, (memory.branch or "no branch", memory.contract))), width - len(now) - 1)
    return Text(f"{where:<{width - len(now)}}", style="bold").append(now, style="not bold dim")


def _wrapped(name: str, words: str, width: int) -> list[Text]:
    """Return wrapped lines, the first of which begins with a short name."""
    lines = textwrap.wrap(words, max(20, width - 6))
    return [_named("" if place else name, line) for place, line in enumerate(lines)]


def _found(view: LiveView, width: int) -> list[Text]:
    """Return lines on the progress of the night, what was found, and the numbers behind it."""
    data, found = view.data, answer(view.data)
    lines = _wrapped("shown", view.instead, width)
    lines += [_named("night", ", ".join(view.night))] if view.night else []
    if data.is_night_on and not data.is_recorded:
        lines.append(_named("", "to end it: uv run research night --stop", "dim"))
    lines.append(_named("found", found.head, "bold green" if found.is_good else ""))
    if not data.rows:
        return lines
    parts = [f"{count_of(len(data.rows), 'run')}, {len(data.kept)} kept, {data.count('crash')} crashed"]
    parts += [f"{stopped} stopped early"] if (stopped := data.count("stopped")) else []
    parts += [f"{hidden} of another contract not shown"] if (hidden := sum(data.not_shown.values())) else []
    if data.best and (value := data.best.known.estimate):
        parts.append(f"best {plain(value.mean)}, measured {times(value.n)}: {data.best.title}")
    return [*lines, _named("", "; ".join(parts), "dim")]


def _flights(view: LiveView, width: int, lines: int) -> list[Text]:
    alive = [flight for flight in view.flights if flight.alive]
    parts: list[Text] = []
    if not alive:
        words = "The next experiment is being chosen." if view.data.is_night_on else "No run is going on."
        parts += _wrapped("now", view.trouble, width) if view.trouble else [Text(words, style="dim")]
    for flight in alive[:_FLIGHTS_SHOWN]:
        parts += _flight(flight, view, width)
    if len(alive) > _FLIGHTS_SHOWN:
        parts.append(Text(f"and {len(alive) - _FLIGHTS_SHOWN} more", style="dim"))
    if gone := len(view.flights) - len(alive):
        parts.append(Text(f"{gone} begun and without a runner now; to close: uv run research record", style="yellow"))
    if 0 < len(alive) <= _FLIGHTS_WITH_CURVE:
        furthest = max(alive, key=lambda flight: flight.progress.fraction)
        name = "this run" if len(alive) == 1 else cut(furthest.title, max(10, width - 70))
        parts += _curves(furthest.progress.curve, view.best_curve, name, width, lines)
    return parts


def _flight(flight: RunInFlight, view: LiveView, width: int) -> list[Text]:
    progress, usual = flight.progress, view.data.run_s
    by = f"  [{flight.emitter}]" if flight.emitter else ""
    since = f", since {clock(flight.begun_utc, False)}"
    name = _named("now", cut(flight.title, max(20, width - 6 - len(by) - len(since))) + by + since)
    words = f" {100 * progress.fraction:3.0f} %  {progress.phase}, {_span(flight.seconds)}"
    words += f" of about {_span(usual)}" if usual else ""
    room = max(10, width - 7 - len(words))
    done = round(min(1.0, progress.fraction) * room)
    bar = Text(" " * 6).append("━" * done, style="green").append("─" * (room - done), style="dim").append(words)
    if progress.loss is None:
        return [name, _one_line(bar)]
    words = f"step {progress.step:,}, loss {progress.loss:.4f}"
    gap, where = flight.gap, "on the same rows"
    if gap is None and (there := loss_at(view.best_curve, progress.fraction)) is not None:
        gap, where = progress.loss - there, "at this moment"
    if gap is not None:
        words += f", {abs(gap):.4f} {'below' if gap < 0 else 'above'} the best so far {where}"
    return [name, _one_line(bar), _named("", words, "dim")]


def _span(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _curves(mine: Curve, best: Curve, name: str, width: int, height: int) -> list[Text]:
    """Return lines with a run's loss over the budget as a line, that of the best so far as dots, and the scale."""
    if len(mine) < 2 and not best:
        return []
    rows, low, high = plot([best, mine], max(20, width - _MARGIN - 1), height)
    lines = []
    for place, cells in enumerate(rows):
        scale = {0: f"{high:7.2f}", height - 1: f"{low:7.2f}"}.get(place, "")
        line = Text(f"{scale:<{_MARGIN}}", style="dim")
        for letter, curve in cells:
            line.append(letter, style=("cyan", "bold green", "")[curve])
        lines.append(_one_line(line))
    legend = Text(" " * _MARGIN + "loss over the budget: ", style="dim").append(f"{name} (line)", style="bold green")
    if best:
        legend.append(", ", style="dim").append("the best so far (dots)", style="cyan")
    return [*lines, legend]


def plot(curves: Sequence[Curve], width: int, height: int) -> tuple[list[list[tuple[str, int]]], float, float]:
    """Return curves drawn with braille dots, two by four in every letter, which any terminal with UTF-8 shows.

    Args:
        curves: The curves, the most important last: it is a line, the others are dots.
        width: Letters in a line.
        height: Lines.

    Returns:
        Lines of letters, each with the index of the last curve that passes through it (-1 for none); the lowest and
        the highest loss that they show.
    """
    cells = [[(_BLANK, -1)] * width for _ in range(height)]
    losses = [loss for curve in curves for share, loss in curve if share >= _FALL]
    losses = losses or [loss for curve in curves for _, loss in curve]
    low, high = min(losses, default=0.0), max(losses, default=0.0)
    span = max(high - low, 1e-9)
    for place, curve in enumerate(curves):
        across, down = 2 * width - 1, (4 * height - 1) / span
        spots = [(min(1.0, share) * across, (high - loss) * down) for share, loss in curve]
        for x, y in _joined(spots)[:: 1 if place == len(curves) - 1 else _SPARSE]:
            if y >= -0.5:  # what lies above the plot is left out
                column, row = round(x), min(4 * height - 1, max(0, round(y)))
                letter, owner = cells[row // 4][column // 2]
                dots = letter if owner == place else _BLANK
                cells[row // 4][column // 2] = dots | _DOTS[row % 4][column % 2], place
    return [[(chr(letter), owner) for letter, owner in line] for line in cells], low, high


def _joined(spots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return points with more points between neighbours, so that a curve has no holes."""
    found = list(spots[:1])
    for (x0, y0), (x1, y1) in pairwise(spots):
        steps = max(1, round(x1 - x0))
        found += [(x0 + (x1 - x0) * n / steps, y0 + (y1 - y0) * n / steps) for n in range(1, steps + 1)]
    return found


def _verdicts_head(view: LiveView) -> Text:
    """Return the title of the list, with the seeds that the latest change was compared on."""
    head, latest = Text("latest verdicts", style="bold"), view.verdicts[0]
    on = view.seeds_of(latest)
    words = f"  #{latest.number} compared on {listed('seed', on)}" if on else ""
    return _one_line(head.append(words, style="not bold dim"))


def _verdicts(verdicts: Sequence[RunRow], width: int) -> list[Text]:
    """Return a line for each verdict, in columns of which only the last, the title, may be cut."""
    rows = []
    for one in verdicts:
        p_better = one.verdict.p_better if one.verdict else None
        value = plain(one.run.val_bpb, 5) if one.run.val_bpb is not None else "–"
        likely = f"P {chance(p_better)}" if p_better is not None else ""
        rows.append((f"#{one.number}", VERDICTS.get(one.decision, one.decision), value, likely))
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for one, (number, decision, value, likely) in zip(verdicts, rows, strict=True):
        why = f"  {one.verdict.why}" if one.verdict and width >= _WHY_COLUMNS else ""
        line = Text(f"{number:>{wide[0]}} ", style="dim")
        line.append(f"{decision:<{wide[1]}}", style=_STYLES.get(one.decision, "not dim"))
        line.append(f" {value:>{wide[2]}} {likely:>{wide[3]}} {one.title}{why}", style="not dim")
        lines.append(_one_line(line))
    return lines


def _next(view: LiveView, width: int) -> list[Text]:
    """Return lines on what comes next, and the command that goes on where the night does not by itself."""
    plan = planned(view.data)
    parts = _wrapped("next", f"{plan.title}: {plan.why}", width) if plan else []
    asked = next((one for one in view.data.ideas if one.status == "needs_agent"), None)
    if asked and not (plan and plan.title.endswith(clean(asked.idea.text))):
        parts += _wrapped("asked", f"{IDEAS[asked.status]}: {clean(asked.idea.text)}", width)
    if view.go_on:
        words = "The night was cut off. To go on:" if view.data.night else "To begin:"
        parts += [Text(words, style="yellow"), Text(view.go_on)]  # a line of its own is copied whole
    return parts
