"""Watches the log of a run that is going on, and asks the run to end when it will hardly beat the incumbent.

Runs of one seed see the same rows at the same step, so the training loss of the incumbent's run with the same seed can
be subtracted from that of a run. The difference, the gap, foretells the final one (research.verdict.forecast). Nothing
is foretold from a log that was not understood.
"""

from __future__ import annotations

import json
import re
import signal
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from research.core.contract import RUN_LOG, SUMMARY_MARK
from research.core.records import Run
from research.core.settings import SETTINGS
from research.runs.backend import StopRequest

RACE = "race"
"""Name of the run's fact that holds its race, as JSON."""
LOOKS = tuple(n / 20 for n in range(5, 20))
"""Fractions of the budget at which a run is looked at: every twentieth from a quarter on."""

_STEP = re.compile(
    r"step\s+(?P<step>\d{1,9})\s+(?P<percent>\d{1,3}\.\d) %\s+loss\s+(?P<loss>\d{1,3}\.\d{1,8})\s+"
    r"(?P<speed>[\d,]{1,15}) tok/s"
)
_PUBLIC = re.compile(
    r"step (?P<step>\d{1,9}) \((?P<percent>\d{1,3}\.\d)%\) \| loss: (?P<loss>\d{1,3}\.\d{1,8}) \|.*\| "
    r"tok/sec: (?P<speed>[\d,]{1,15}) \|"
)
"""The two known forms of a line of progress: this repository's, and the public script's."""


@dataclass(frozen=True)
class Point:
    """One line of progress."""

    step: int
    fraction: float  # share of the budget that is over
    loss: float  # in nats, since the line before
    speed: float  # tokens a second


def point_of(line: str) -> Point | None:
    """Parse a line of progress; return None for any other line."""
    match = _STEP.match(line) or _PUBLIC.match(line)
    if match is None or float(match["percent"]) > 100:
        return None
    speed = float(match["speed"].replace(",", "") or 0)
    return Point(int(match["step"]), float(match["percent"]) / 100, float(match["loss"]), speed)


class LossCurve:
    """The training loss over the budget, read from a log that may still grow."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.trouble = ""  # why the log can't be relied on
        self._steps, self._fractions = [0.0], [0.0]  # at the start and at every point
        self._sums = [0.0]  # of the losses of all steps until then
        self._rest = ""
        self._over = False

    def feed(self, data: bytes) -> None:
        """Take the next piece of the log."""
        if self._over:
            return
        *lines, self._rest = re.split(r"[\r\n]", self._rest + data.decode("utf-8", "replace"))
        self._rest = self._rest[-SETTINGS.line_chars :]
        for line in lines:
            if line.strip() == SUMMARY_MARK:
                self._over = True  # what follows is the summary
                return
            if point := point_of(line):
                self._add(point)

    def _add(self, point: Point) -> None:
        if point.step < self._steps[-1] or point.fraction < self._fractions[-1]:
            self.trouble = self.trouble or f"its log goes back from step {self._steps[-1]:.0f} to step {point.step}"
        self.points.append(point)
        self._sums.append(self._sums[-1] + (point.step - self._steps[-1]) * point.loss)
        self._steps.append(point.step)
        self._fractions.append(point.fraction)

    @property
    def fraction(self) -> float:
        """Return the share of the budget that is over."""
        return self._fractions[-1]

    def window_start(self, fraction: float) -> float | None:
        """Return where the window begins that ends at a fraction and over which the loss is averaged.

        It is SETTINGS.race_window of the budget long, or SETTINGS.race_min_lines lines where those are more; None where
        the log has not come to the fraction, or has fewer lines before it.
        """
        lines = bisect_left(self._fractions, fraction)  # that begin before the fraction
        if self.fraction < fraction or lines < SETTINGS.race_min_lines:
            return None
        return max(0.0, min(fraction - SETTINGS.race_window, self._fractions[lines - SETTINGS.race_min_lines]))

    def step(self, fraction: float) -> float:
        """Return the step at a fraction of the budget, interpolated between two lines."""
        return _interpolated(self._fractions, self._steps, fraction)

    def fraction_at(self, step: float) -> float:
        """Return the fraction of the budget at a step."""
        return _interpolated(self._steps, self._fractions, step)

    def mean(self, first: float, last: float) -> float | None:
        """Return the mean loss of the steps from one to another; None where the log ends before, or for no steps."""
        if not first < last <= self._steps[-1]:
            return None
        total = _interpolated(self._steps, self._sums, last) - _interpolated(self._steps, self._sums, first)
        return total / (last - first)

    def slope(self, fraction: float) -> float | None:
        """Return how fast the loss changes around a fraction, in nats a budget; None where that is not known."""
        reach = SETTINGS.race_slope_reach
        ends = max(0.0, fraction - reach), fraction, min(self.fraction, fraction + reach)
        start, middle, end = map(self.step, ends)
        before, after = self.mean(start, middle), self.mean(middle, end)
        return None if before is None or after is None else (after - before) / (0.5 * (ends[2] - ends[0]))

    def tokens(self, fraction: float) -> float | None:
        """Return the tokens seen by a fraction of the budget, divided by the budget's seconds; None where not known."""
        point = next((one for one in self.points if one.fraction >= fraction), None)
        return point.speed * fraction if point and point.speed > 0 else None


def gap_of(mine: LossCurve, theirs: LossCurve, fraction: float) -> float | None:
    """Return a run's loss minus another's at a fraction of the budget, in nats; None where a log does not reach it.

    The losses of the same steps are compared, since they are of the same rows, and rows differ by far more than two
    programs do. Where one of the two is slower it takes these steps later in its budget, with a smaller learning rate;
    so the other's slope over that time is subtracted. With another number of tokens a step, or a speed that differs too
    much for that, the rows of the same fraction are compared.
    """
    begin, seen, usual = mine.window_start(fraction), mine.tokens(fraction), theirs.tokens(fraction)
    if begin is None or seen is None or usual is None:
        return None
    first, last, their_last = mine.step(begin), mine.step(fraction), theirs.step(fraction)
    if last <= 0 or their_last <= 0:  # a log that does not count its steps
        return None
    tokens, tokens_a_step = seen / usual, seen / last / (usual / their_last)
    if max(abs(tokens - 1), abs(tokens_a_step - 1)) > SETTINGS.race_max_tokens_off:
        loss, other = mine.mean(first, last), theirs.mean(theirs.step(begin), their_last)
        return None if loss is None or other is None else loss - other
    loss, other = mine.mean(first, last), theirs.mean(first, last)
    then = 0.5 * (theirs.fraction_at(first) + theirs.fraction_at(last))
    slope = theirs.slope(then)
    if loss is None or other is None or slope is None:
        return None
    return loss - other - slope * (0.5 * (begin + fraction) - then)


def _interpolated(places: Sequence[float], values: Sequence[float], place: float) -> float:
    """Interpolate linearly between the two known places around a place."""
    after = min(max(1, bisect_left(places, place)), len(places) - 1)
    width = places[after] - places[after - 1]
    share = (place - places[after - 1]) / width if width > 0 else 1.0
    return values[after - 1] + share * (values[after] - values[after - 1])


def curve_of(folder: Path) -> LossCurve:
    """Read the curve of a finished run from the log in its folder; one without points where there is none."""
    curve = LossCurve()
    try:
        with (folder / RUN_LOG).open("rb") as file:
            curve.feed(file.read(SETTINGS.race_log_bytes) + b"\n")
    except OSError as error:
        curve.trouble = f"its log cannot be read ({error.strerror})"
    return curve


@dataclass(frozen=True)
class Prediction:
    """The forecast of a run's val_bpb minus the incumbent's with the same seed; below zero is better."""

    mean: float  # in bpb
    sd: float  # in bpb
    p_better: float  # probability that it is below zero


Predict = Callable[[float, float], Prediction]
"""A function of a gap, in nats, and the fraction of the budget at which it was seen."""


@dataclass(frozen=True)
class Look:
    """One look at a run that is going on."""

    fraction: float  # share of the budget that was over
    gap: float  # its smoothed training loss minus the incumbent's on the same rows, in nats
    known: Prediction  # the forecast by that gap


@dataclass(frozen=True)
class Race:
    """The record of watching a run."""

    against: str = ""  # name of the incumbent's run
    exempt: str = ""  # why the run is not ended whatever is foretold, "" for one that may be
    looks: tuple[Look, ...] = ()  # in order
    trouble: str = ""  # why there is no forecast, or none at the last look

    @property
    def would_stop(self) -> Look | None:
        """Return the first look at which the chance was too small, whether the run was ended or not."""
        return next((one for one in self.looks if one.known.p_better < SETTINGS.race_stop_p), None)

    def to_fact(self) -> str:
        """Write it as JSON, without what is empty."""
        looks = [
            [one.fraction, round(one.gap, 4), *(float(f"{value:.3g}") for value in vars(one.known).values())]
            for one in self.looks
        ]
        plain = {**vars(self), "looks": looks}
        return json.dumps({name: value for name, value in plain.items() if value}, separators=(",", ":"))


def race_of(run: Run) -> Race:
    """Return the race that a run's facts hold, an empty one where they hold none."""
    try:
        plain = json.loads(run.facts.get(RACE) or "{}")
        looks = tuple(
            Look(fraction, gap, Prediction(mean, sd, p)) for fraction, gap, mean, sd, p in plain.get("looks", ())
        )
        return Race(plain.get("against", ""), plain.get("exempt", ""), looks, plain.get("trouble", ""))
    except (ValueError, TypeError, AttributeError):
        return Race()


@dataclass
class Watch:
    """A watch of one run against the incumbent's."""

    against: str  # name of the incumbent's run
    reference: LossCurve  # its curve
    predict: Predict
    exempt: str = ""  # why the run is not ended whatever is foretold, "" for one that may be
    incomparable: str = ""  # why the losses of the two can't be compared, "" where they can
    curve: LossCurve = field(default_factory=LossCurve)
    looks: list[Look] = field(default_factory=list)
    trouble: str = ""
    due: int = 0  # the look that comes next
    stopping: bool = False  # whether the run is to be ended

    def feed(self, data: bytes) -> None:
        """Take the next piece of the run's log, and look at the run where a look is due."""
        self.curve.feed(data)
        while self.due < len(LOOKS) and self.curve.fraction >= LOOKS[self.due] and not self.stopping:
            fraction = LOOKS[self.due]
            self.due += 1
            if (gap := self.gap(fraction)) is not None:
                known = self.predict(gap, fraction)
                self.looks.append(Look(fraction, gap, known))
                self.stopping = not self.exempt and known.p_better < SETTINGS.race_stop_p

    def gap(self, fraction: float) -> float | None:
        """Return the gap at a fraction of the budget; None where there is no forecast, with the reason noted."""
        if self.incomparable:
            return None
        self.trouble = self.curve.trouble or self.reference.trouble
        seen, usual = self.curve.tokens(fraction), self.reference.tokens(fraction)
        if self.trouble or seen is None or usual is None:
            return None
        if abs(seen / usual - 1) > SETTINGS.race_max_tokens_off:
            self.trouble = f"it saw {seen / usual - 1:+.0%} tokens"
            return None
        return gap_of(self.curve, self.reference, fraction)

    def race(self) -> Race:
        """Return the record of the watch."""
        return Race(self.against, self.exempt, tuple(self.looks), self.incomparable or self.trouble)


@dataclass(frozen=True)
class RacingStop:
    """The stop request of a run that is watched: a signal to the runner, or the watch's own."""

    asked: StopRequest
    watch: Watch

    def requested(self) -> int | None:
        """See StopRequest."""
        return self.asked.requested() or (signal.SIGTERM if self.watch.stopping else None)
