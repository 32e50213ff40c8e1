"""What kinds of change did so far, and the sentences that this supports, or supported and no longer does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from research.code.diff import direction
from research.core.settings import SETTINGS
from research.verdict.configurations import Config, Gathered
from research.verdict.distributions import t_quantile
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

    def add(self, gain: float, times: int = 1) -> None:
        """Adds a gain, or with -1 takes it back."""
        self.n += times
        self.total += times * gain
        self.squares += times * gain * gain

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
    """How many standard errors the 95 % interval reaches; many degrees of freedom are rounded down to a few values."""
    coarse = dof if dof < 100 else 100 * 2.0 ** math.floor(math.log2(dof / 100))
    return t_quantile(0.5 + 0.5 * SETTINGS.interval_share, coarse)


def topics_of(config: Config) -> list[Topic]:
    """What a configuration is evidence about."""
    found: list[Topic] = [(config.run.category, "")] if config.run.category else []
    for name, text in config.run.delta.items():
        before, arrow, after = text.partition(" -> ")
        if arrow and (way := direction(before, after)):
            found.append((name, way))
    return found


def trends(gathered: Gathered, topics: Mapping[str, Sequence[Topic]]) -> dict[Topic, Tally]:
    """What every topic did, from the means that hold now."""
    tallies: dict[Topic, Tally] = {}
    for key, config in gathered.configs.items():
        parent = gathered.parent(config)
        own = gathered.mean(key)
        above = gathered.mean(parent.key) if parent else None
        for topic in topics[key]:
            tally = tallies.setdefault(topic, Tally())
            tally.latest = config.run.commit
            tally.kept += config.decision == "keep"
            if own is None:
                tally.crashed += config.failure is not None
            elif above is not None:
                tally.add(above - own)
    return tallies


@dataclass
class _Past:
    """What a topic said before: the sign, its tally then, and how many configurations ago."""

    sign: int
    n: int
    mean: float
    at: int


def _assertions(gathered: Gathered, topics: Mapping[str, Sequence[Topic]]) -> dict[Topic, _Past]:
    """The last time that each topic said something, as the history went."""
    tallies: dict[Topic, Tally] = {}
    counted: dict[str, float] = {}
    said: dict[Topic, _Past] = {}
    for place, (key, gain) in enumerate(gathered.steps):
        if gain is None:
            continue
        before = counted.get(key)
        counted[key] = gain
        for topic in topics[key]:
            tally = tallies.setdefault(topic, Tally())
            if before is not None:
                tally.add(before, -1)
            tally.add(gain)
            if sign := tally.says():
                said[topic] = _Past(sign, tally.n, tally.mean, place)
    return said


def _phrase(topic: Topic, sign: int) -> str:
    name, way = topic
    if way:
        return f"{'Raising' if way == 'up' else 'Lowering'} {name} {'gains' if sign > 0 else 'loses'}"
    return f"Changes of kind {name} {'gain' if sign > 0 else 'lose'} on average"


def conjectures(
    gathered: Gathered,
    topics: Mapping[str, Sequence[Topic]],
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
    said = _assertions(gathered, topics)
    for topic, tally in tallies.items():
        mean, reach = tally.mean, tally.reach()
        sign, past = tally.says(), said.get(topic)
        if sign:
            text = _phrase(topic, sign) + "."
            standing.append((abs(mean) / reach, Conjecture(text, tally.n, mean, mean - reach, mean + reach)))
        if past and past.sign != sign and len(gathered.steps) - past.at <= SETTINGS.recent_kept:
            seemed = f"it seemed so after {past.n}, by {-past.mean:+.6f} in val_bpb"
            text = f"Withdrawn: {_phrase(topic, past.sign)} ({seemed})."
            withdrawn.append((past.at, Conjecture(text, tally.n, mean, mean - reach, mean + reach, True)))
    standing.sort(key=lambda entry: (-entry[0], entry[1].text))
    withdrawn.sort(key=lambda entry: (-entry[0], entry[1].text))
    surest = [item for _, item in standing]
    lead = [next((one for one in surest if one.mean > 0), None), next((one for one in surest if one.mean < 0), None)]
    first = [one for one in lead if one is not None]
    rest = [one for one in surest if one not in first]
    told = (*first, *_of_failures(gathered, failures), *_of_stall(gathered, stall), *rest)
    return (*told, *(item for _, item in withdrawn))


def _of_failures(gathered: Gathered, failures: Iterable[FailurePattern]) -> list[Conjecture]:
    """The most frequent way to fail, if it is a habit."""
    worst = next(iter(failures), None)
    if worst is None or worst.count < 2:
        return []
    n = len(gathered.configs)
    share, reach = _share(worst.count, n)
    text = f"{HABIT}{worst.signature!r} is a habit, last when {worst.category or 'something'} was changed."
    return [Conjecture(text, n, share, max(0.0, share - reach), min(1.0, share + reach))]


def _share(count: int, n: int) -> tuple[float, float]:
    """A share with half its 95 % interval (Agresti and Coull 1998)."""
    share = (count + 2) / (n + 4)
    return share, 1.96 * math.sqrt(share * (1 - share) / (n + 4))


def _of_stall(gathered: Gathered, stall: int) -> list[Conjecture]:
    """A plateau, with the mean gain of the configurations on it."""
    if stall < SETTINGS.plateau_stall:
        return []
    tally = Tally()
    latest = dict(gathered.steps[-stall:])
    for gain in latest.values():
        if gain is not None:
            tally.add(gain)
    if not tally.n:
        return []
    mean, reach = tally.mean, tally.reach()
    text = "The search is on a plateau: the opposite of the trend, or two near misses together, may leave it."
    return [Conjecture(text, tally.n, mean, mean - reach, mean + reach)]
