"""What kinds of change did so far, and the sentences that this supports, or supported and no longer does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from research.code.diff import direction
from research.core.records import Run
from research.core.settings import SETTINGS
from research.verdict.models import HABIT, Conjecture, FailurePattern, Trend

Topic = tuple[str, str]
"""A category with "", or a constant with "up" or "down"."""


class Tally:
    """Gains in bpb that come one by one, with the 95 % interval of their mean.

    The spread of effects has a prior, so that two that agree by accident are no certainty.
    """

    __slots__ = ("crashed", "kept", "latest", "n", "squares", "total")

    def __init__(self) -> None:
        self.n = self.kept = self.crashed = 0
        self.total = self.squares = 0.0
        self.latest = ""

    def add(self, gain: float) -> None:
        """Add a gain."""
        self.n += 1
        self.total += gain
        self.squares += gain * gain

    @property
    def mean(self) -> float:
        """Mean gain, 0 without any."""
        return self.total / self.n if self.n else 0.0

    def reach(self) -> float:
        """Half the width of the interval; infinite without any gain."""
        if not self.n:
            return math.inf
        dof = self.n - 1 + SETTINGS.spread_prior_n
        around = max(0.0, self.squares - self.n * self.mean**2)
        variance = (SETTINGS.spread_prior_n * SETTINGS.spread_prior_bpb**2 + around) / dof
        return _t(dof) * math.sqrt(variance / self.n)

    def says(self) -> int:
        """1 if its changes gain, -1 if they lose, 0 if the evidence does not tell."""
        if self.n < SETTINGS.min_conjecture_n or abs(self.mean) <= self.reach():
            return 0
        return 1 if self.mean > 0 else -1

    def trend(self, topic: Topic) -> Trend:
        """The tally as a value."""
        mean, reach = self.mean, self.reach()
        return Trend(*topic, self.n, mean, mean - reach, mean + reach, self.kept, self.crashed, self.latest)


def _t(dof: float) -> float:
    """Return how many standard errors the 95 % interval reaches (Cornish and Fisher 1938, for Student's t)."""
    z = NormalDist().inv_cdf(0.5 + 0.5 * SETTINGS.interval_share)
    first = (z**3 + z) / (4 * dof)
    return z + first + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof**2)


@dataclass(frozen=True)
class Change:
    """What one configuration is evidence about.

    Attributes:
        topics: Its kind of change and the constants that it moved.
        gain: Its parent's val_bpb minus its own, above zero is better; None where either has no score.
        kept: Whether it was kept.
        crashed: Whether it failed instead of scoring.
        commit: Its commit.
    """

    topics: tuple[Topic, ...]
    gain: float | None
    kept: bool
    crashed: bool
    commit: str


def topics_of(run: Run) -> tuple[Topic, ...]:
    """Return what a run's change is evidence about."""
    found: list[Topic] = [(run.category, "")] if run.category else []
    for name, text in run.delta.items():
        before, arrow, after = text.partition(" -> ")
        if arrow and (way := direction(before, after)):
            found.append((name, way))
    return tuple(found)


def trends(changes: Iterable[Change]) -> dict[Topic, Tally]:
    """Return what every topic did."""
    tallies: dict[Topic, Tally] = {}
    for change in changes:
        for topic in change.topics:
            tally = tallies.setdefault(topic, Tally())
            tally.latest = change.commit
            tally.kept += change.kept
            tally.crashed += change.crashed
            if change.gain is not None:
                tally.add(change.gain)
    return tallies


@dataclass
class _Past:
    """What the evidence said of a topic before: the sign, its tally then, and how many configurations ago."""

    sign: int
    n: int
    mean: float
    at: int


def _assertions(changes: Sequence[Change]) -> dict[Topic, _Past]:
    """Return the last time that each topic said something, as the configurations came."""
    tallies: dict[Topic, Tally] = {}
    found: dict[Topic, _Past] = {}
    for place, change in enumerate(changes):
        if change.gain is None:
            continue
        for topic in change.topics:
            tally = tallies.setdefault(topic, Tally())
            tally.add(change.gain)
            if sign := tally.says():
                found[topic] = _Past(sign, tally.n, tally.mean, place)
    return found


def _phrase(topic: Topic, sign: int) -> str:
    name, way = topic
    if way:
        return f"{'Raising' if way == 'up' else 'Lowering'} {name} {'gains' if sign > 0 else 'loses'}"
    return f"Changes of kind {name} {'gain' if sign > 0 else 'lose'} on average"


def conjectures(
    changes: Sequence[Change],
    tallies: Mapping[Topic, Tally],
    failures: Iterable[FailurePattern],
    stall: int,
) -> tuple[Conjecture, ...]:
    """What the evidence supports, then what was withdrawn while it is recent.

    First what gains and what loses most surely, then the habit of failing and the plateau, then the rest, the surest
    first: most ideas lose, so that a list by strength alone would tell of nothing else.
    """
    standing: list[tuple[float, Conjecture]] = []
    withdrawn: list[tuple[int, Conjecture]] = []
    asserted = _assertions(changes)
    for topic, tally in tallies.items():
        mean, reach = tally.mean, tally.reach()
        sign, past = tally.says(), asserted.get(topic)
        if sign:
            text = _phrase(topic, sign) + "."
            standing.append((abs(mean) / reach, Conjecture(text, tally.n, mean, mean - reach, mean + reach)))
        if past and past.sign != sign and len(changes) - past.at <= SETTINGS.recent_kept:
            seemed = f"it seemed so after {past.n}, by {-past.mean:+.6f} in val_bpb"
            text = f"Withdrawn: {_phrase(topic, past.sign)} ({seemed})."
            withdrawn.append((past.at, Conjecture(text, tally.n, mean, mean - reach, mean + reach, True)))
    standing.sort(key=lambda entry: (-entry[0], entry[1].text))
    withdrawn.sort(key=lambda entry: (-entry[0], entry[1].text))
    surest = [item for _, item in standing]
    lead = [next((one for one in surest if one.mean > 0), None), next((one for one in surest if one.mean < 0), None)]
    first = [one for one in lead if one is not None]
    rest = [one for one in surest if one not in first]
    shown = (*first, *_of_failures(len(changes), failures), *_of_stall(changes, stall), *rest)
    return (*shown, *(item for _, item in withdrawn))


def _of_failures(n: int, failures: Iterable[FailurePattern]) -> list[Conjecture]:
    """The most frequent way to fail, if it is a habit."""
    worst = next(iter(failures), None)
    if worst is None or worst.count < 2:
        return []
    share, reach = _share(worst.count, n)
    text = f"{HABIT}{worst.signature!r} is a habit, last when {worst.category or 'something'} was changed."
    return [Conjecture(text, n, share, max(0.0, share - reach), min(1.0, share + reach))]


def _share(count: int, n: int) -> tuple[float, float]:
    """A share with half its 95 % interval (Agresti and Coull 1998)."""
    share = (count + 2) / (n + 4)
    return share, 1.96 * math.sqrt(share * (1 - share) / (n + 4))


def _of_stall(changes: Sequence[Change], stall: int) -> list[Conjecture]:
    """A plateau, with the mean gain of the configurations on it."""
    if stall < SETTINGS.plateau_stall:
        return []
    tally = Tally()
    for change in changes[-stall:]:
        if change.gain is not None:
            tally.add(change.gain)
    if not tally.n:
        return []
    mean, reach = tally.mean, tally.reach()
    text = "The search is on a plateau: the opposite of the trend, or two near misses together, may leave it."
    return [Conjecture(text, tally.n, mean, mean - reach, mean + reach)]
