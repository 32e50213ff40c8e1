"""Lays one picture of watch out for a terminal: 80 columns are enough, colours are a help and never the only sign."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from research.report.braille import plot
from research.report.text import count_of, interval, plain, signed
from research.report.watch_data import Flight, LiveView, Said, shares_text
from research.report.watch_log import Curve, loss_at

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


def frame(view: LiveView, width: int, height: int = _LOW) -> RenderableType:
    """The picture, at most this wide and, from 24 lines on, this high."""
    spare = max(0, height - _LOW)
    low, high = _CURVE_LINES
    parts: list[RenderableType] = [_head(view, width), *_standing(view), Text()]
    parts += _flights(view, width, min(high, low + spare // 2))
    if view.verdicts:
        shown = view.verdicts[: _VERDICTS_IF_LOW + spare // 2]
        parts += [Text(), Text("latest verdicts", style="bold"), *_verdicts(shown)]
    parts += [Text(), *_facts(view)]
    return Group(*parts)


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _head(view: LiveView, width: int) -> RenderableType:
    where = " · ".join(part for part in (view.branch or "no branch", view.contract) if part)
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(Text(where, style="bold"), Text(view.now_utc[11:19] + " UTC", style="dim"))
    grid.width = width
    return grid


def _standing(view: LiveView) -> list[Text]:
    """How far the night is, and what is best."""
    night = (
        [_one_line(Text("night ", style="bold").append(", ".join(view.night), style="not bold"))] if view.night else []
    )
    counts = f"{count_of(view.runs, 'run')}, {view.kept} kept, {view.crashed} crashed"
    if view.best is None:
        why = "no score is kept" if view.runs > view.crashed else "nothing has scored yet"
        return [Text(f"{counts}; {why}"), *night]
    text = Text("best  ", style="bold")
    text.append(f"{interval(view.best, digits=5)}", style="bold green")
    # A baseline is as it was measured: nothing stood before that it could be held against.
    believed, gain = (" believed", f", {signed(view.gain.mean)} on baseline") if view.gain else ("", "")
    text.append(f"{believed}, n = {view.best.n}{gain}", style="not bold")
    text.append(f"  {view.best_title}", style="not bold dim")
    return [Text(counts), *night, _one_line(text)]


def _flights(view: LiveView, width: int, lines: int) -> list[RenderableType]:
    alive = [flight for flight in view.flights if flight.alive]
    parts: list[RenderableType] = [] if alive else [Text("No run is going on.", style="dim")]
    if view.go_on:
        parts += [Text("To go on:", style="yellow"), Text(view.go_on)]  # a line of its own is copied whole
    for flight in alive[:_FLIGHTS_SHOWN]:
        parts += _flight(flight, view.incumbent_curve, width)
    if len(alive) > _FLIGHTS_SHOWN:
        parts.append(Text(f"and {len(alive) - _FLIGHTS_SHOWN} more", style="dim"))
    if gone := len(view.flights) - len(alive):
        parts.append(Text(f"{gone} begun and without a runner now; to close: uv run research record", style="yellow"))
    if len(alive) == 1:
        parts += _curves(alive[0].progress.curve, view.incumbent_curve, width, lines)
    return parts


def _flight(flight: Flight, incumbent: Curve, width: int) -> list[RenderableType]:
    progress = flight.progress
    name = Text("now   ", style="bold").append(flight.title, style="not bold")
    if flight.emitter:
        name.append(f"  [{flight.emitter}]", style="dim")
    words = f" {100 * progress.fraction:3.0f} %  {progress.phase}, {_clock(flight.seconds)}"
    line = Text("      ").append_text(bar(progress.fraction, max(10, width - 8 - len(words)))).append(words)
    parts: list[RenderableType] = [_one_line(name), _one_line(line)]
    if progress.loss is not None:
        said = f"      step {progress.step:,}, loss {progress.loss:.4f}"
        there = loss_at(incumbent, progress.fraction)
        said += f" (what stands had {there:.4f} there)" if there is not None else ""
        said += f", {progress.speed} tok/s" if progress.speed else ""
        parts.append(_one_line(Text(said, style="dim")))
    return parts


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def bar(fraction: float, width: int) -> Text:
    """A progress bar."""
    done = round(min(1.0, max(0.0, fraction)) * width)
    return Text("━" * done, style="green").append("─" * (width - done), style="dim")


def _curves(mine: Curve, incumbent: Curve, width: int, height: int) -> list[RenderableType]:
    """This run's loss over the budget, with that of what stands behind it."""
    if len(mine) < 2 and not incumbent:
        return []
    styles = {-1: "", 0: "dim cyan", 1: "bold green"}
    lines: list[RenderableType] = []
    for cells in plot([incumbent, mine], max(20, width - 8), height):
        line = Text("      ")
        for letter, whose in cells:
            line.append(letter, style=styles[whose])
        lines.append(_one_line(line))
    legend = Text("      loss: ", style="dim").append("this run", style="bold green")
    if incumbent:
        legend.append(", ", style="dim").append("what stands", style="cyan")
    return [*lines, legend]


def _verdicts(verdicts: tuple[Said, ...]) -> list[Text]:
    """One line each, in columns of which only the last, the title, may be cut."""
    rows = []
    for one in verdicts:
        value = plain(one.val_bpb, 5) if one.val_bpb is not None else "–"
        chance = f"P {one.p_better:.2f}" if one.p_better is not None else ""
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
    shares = shares_text(view.shares)
    phase = f"{view.phase}; lately {shares}" if view.phase and shares else view.phase
    rows = [("next", view.next_up), ("phase", phase), ("lately", "" if view.phase else shares)]
    if not view.runs and not view.flights:
        rows.append(("begin", "uv run research night --max-runs 5"))
    return [
        _one_line(Text(f"{name:<5} ", style="bold").append(words, style="not bold")) for name, words in rows if words
    ]
