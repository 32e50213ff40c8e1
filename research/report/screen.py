"""Lays one picture of watch out for a terminal: 80 columns are enough, colours are a help and never the only sign."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from research.core.text import count_of
from research.report.data import Row
from research.report.progress import Curve, loss_at
from research.report.text import interval, plain, seeds, signed
from research.report.watch import Flight, LiveView

_STYLES = {
    "keep": "bold green",
    "baseline": "bold green",
    "replicate": "yellow",
    "investigate": "yellow",
    "discard": "dim",
    "crash": "red",
}
_CURVE_LINES = (4, 10)  # the least that shows a bend, the most that says more
_LOW = 24  # lines of the terminal that everything fits into
_VERDICTS_IF_LOW = 4
_FLIGHTS_SHOWN = 4  # more workers than that don't fit a screen; the rest are counted
_FALL = 0.08  # share of the budget in which a loss falls off a cliff, which would flatten the rest of a plot
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of U+2800, by row and column in a letter
_BLANK = 0x2800


def frame(view: LiveView, width: int, height: int = _LOW) -> RenderableType:
    """Return the picture, at most this wide and, from 24 lines on, this high."""
    spare = max(0, height - _LOW)
    low, high = _CURVE_LINES
    parts: list[RenderableType] = [_head(view, width), *_standing(view), Text()]
    parts += _flights(view, width, min(high, low + spare // 2))
    if view.verdicts:
        shown = view.verdicts[: _VERDICTS_IF_LOW + spare // 2]
        parts += [Text(), _verdicts_head(view), *_verdicts(shown)]
    parts += [Text(), *_facts(view)]
    return Group(*parts)


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _head(view: LiveView, width: int) -> RenderableType:
    where = " · ".join(filter(None, (view.data.branch or "no branch", view.data.contract)))
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(Text(where, style="bold"), Text(view.now_utc[11:19] + " UTC", style="dim"))
    grid.width = width
    return grid


def _standing(view: LiveView) -> list[Text]:
    """Say how far the night is, and what is best."""
    top = view.data.headline
    counts = Text(f"{count_of(top.runs, 'run')}, {top.kept} kept, {top.crashes} crashed")
    night = Text("night ", style="bold").append(", ".join(view.night), style="not bold")
    lines = [counts, _one_line(night)] if view.night else [counts]
    if top.best is None or top.best.estimate is None:
        counts.append("; no score is kept" if top.runs > top.crashes else "; nothing has scored yet")
        return lines
    text = Text("best  ", style="bold").append(interval(top.best.estimate, digits=5), style="bold green")
    gain = f", {signed(top.gain.mean)} on baseline" if top.gain else ""
    text.append(f", n = {top.best.n}{gain}", style="not bold")
    text.append(f"  {top.best.title}", style="not bold dim")
    return [*lines, _one_line(text)]


def _flights(view: LiveView, width: int, lines: int) -> list[RenderableType]:
    alive = [flight for flight in view.flights if flight.alive]
    parts: list[RenderableType] = [] if alive else [Text("No run is going on.", style="dim")]
    if view.go_on:
        parts += [Text("To go on:", style="yellow"), Text(view.go_on)]  # a line of its own is copied whole
    for flight in alive[:_FLIGHTS_SHOWN]:
        parts += _flight(flight, view.best_curve, width)
    if len(alive) > _FLIGHTS_SHOWN:
        parts.append(Text(f"and {len(alive) - _FLIGHTS_SHOWN} more", style="dim"))
    if gone := len(view.flights) - len(alive):
        parts.append(Text(f"{gone} begun and without a runner now; to close: uv run research record", style="yellow"))
    if len(alive) == 1:
        parts += _curves(alive[0].progress.curve, view.best_curve, width, lines)
    return parts


def _flight(flight: Flight, best: Curve, width: int) -> list[RenderableType]:
    progress = flight.progress
    name = Text("now   ", style="bold").append(flight.title, style="not bold")
    if flight.emitter:
        name.append(f"  [{flight.emitter}]", style="dim")
    clock = f"{int(flight.seconds) // 60}:{int(flight.seconds) % 60:02d}"
    words = f" {100 * progress.fraction:3.0f} %  {progress.phase}, {clock}"
    line = Text("      ").append_text(_bar(progress.fraction, max(10, width - 8 - len(words)))).append(words)
    parts: list[RenderableType] = [_one_line(name), _one_line(line)]
    if progress.loss is not None:
        there = loss_at(best, progress.fraction)
        compared = f" (the best so far had {there:.4f} there)" if there is not None else ""
        speed = f", {progress.speed} tok/s" if progress.speed else ""
        loss = Text(f"      step {progress.step:,}, loss {progress.loss:.4f}{compared}{speed}", style="dim")
        parts.append(_one_line(loss))
    return parts


def _bar(fraction: float, width: int) -> Text:
    done = round(min(1.0, max(0.0, fraction)) * width)
    return Text("━" * done, style="green").append("─" * (width - done), style="dim")


def _curves(mine: Curve, best: Curve, width: int, height: int) -> list[RenderableType]:
    """Draw this run's loss over the budget, before that of the best so far."""
    if len(mine) < 2 and not best:
        return []
    styles = {-1: "", 0: "dim cyan", 1: "bold green"}
    lines: list[RenderableType] = []
    for cells in plot([best, mine], max(20, width - 8), height):
        line = Text("      ")
        for letter, curve in cells:
            line.append(letter, style=styles[curve])
        lines.append(_one_line(line))
    legend = Text("      loss: ", style="dim").append("this run", style="bold green")
    if best:
        legend.append(", ", style="dim").append("the best so far", style="cyan")
    return [*lines, legend]


def plot(curves: Sequence[Curve], width: int, height: int) -> list[list[tuple[str, int]]]:
    """Draw curves with braille dots, two by four in every letter, which any terminal with UTF-8 shows.

    Args:
        curves: What to draw, the most important last.
        width: Letters in a line.
        height: Lines.

    Returns:
        Lines of letters, each with the place of the last curve that passes through it (-1 for none).
    """
    cells = [[(_BLANK, -1)] * width for _ in range(height)]
    losses = [loss for curve in curves for share, loss in curve if share >= _FALL]
    losses = losses or [loss for curve in curves for _, loss in curve]
    if losses:
        high, span = max(losses), max(max(losses) - min(losses), 1e-9)
        for place, curve in enumerate(curves):
            spots = [(min(1.0, s) * (2 * width - 1), (high - v) / span * (4 * height - 1)) for s, v in curve]
            for x, y in _joined(spots):
                if y >= -0.5:  # what lies above the plot is left out
                    column, row = round(x), min(4 * height - 1, max(0, round(y)))
                    letter, owner = cells[row // 4][column // 2]
                    dots = letter if owner == place else _BLANK
                    cells[row // 4][column // 2] = dots | _DOTS[row % 4][column % 2], place
    return [[(chr(letter), owner) for letter, owner in line] for line in cells]


def _joined(spots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Fill the way between neighbours, so that a curve has no holes."""
    found = list(spots[:1])
    for (x0, y0), (x1, y1) in pairwise(spots):
        steps = max(1, round(x1 - x0))
        found += [(x0 + (x1 - x0) * n / steps, y0 + (y1 - y0) * n / steps) for n in range(1, steps + 1)]
    return found


def _verdicts_head(view: LiveView) -> Text:
    """Name the list, and say which seeds the latest of its changes was compared on."""
    head, latest = Text("latest verdicts", style="bold"), view.verdicts[0]
    on = view.seeds_of(latest)
    words = f"  #{latest.number} compared on {seeds(on)}" if on else ""
    return _one_line(head.append(words, style="not bold dim"))


def _verdicts(verdicts: Sequence[Row]) -> list[Text]:
    """Write a line each, in columns of which only the last, the title, may be cut."""
    rows = []
    for one in verdicts:
        value = plain(one.val_bpb, 5) if one.val_bpb is not None else "–"
        p_better = one.verdict.p_better if one.verdict else None
        chance = f"P {p_better:.2f}" if p_better is not None else ""
        rows.append((f"#{one.number}", one.decision, value, chance, one.title))
    wide = [max((len(row[place]) for row in rows), default=0) for place in range(4)]
    lines = []
    for number, decision, value, chance, title in rows:
        line = Text(f"{number:>{wide[0]}} ", style="dim")
        line.append(f"{decision:<{wide[1]}}", style=_STYLES.get(decision, "not dim"))
        line.append(f" {value:>{wide[2]}} ", style="not dim").append(f"{chance:>{wide[3]}} ")
        lines.append(_one_line(line.append(title, style="not dim")))
    return lines


def _facts(view: LiveView) -> list[RenderableType]:
    data = view.data
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in view.shares)
    rows = [("next", f"{data.plan.title}: {data.plan.why}" if data.plan else "")]
    rows.append(("phase", f"{data.phase}; lately {shares}" if shares else data.phase if data.rows else ""))
    if not data.rows and not view.flights:
        rows.append(("begin", "uv run research night --max-runs 5"))
    return [
        _one_line(Text(f"{name:<5} ", style="bold").append(words, style="not bold")) for name, words in rows if words
    ]
