"""What kinds of change did so far, and the sentences that this supports, or supported and no longer does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from research.code.diff import ARROW, direction
from research.core.settings import SETTINGS
from research.verdict.models import HABIT, Configuration, Conjecture, FailurePattern, Topic, Trend
from research.verdict.noise import REACH

Topics = Mapping[Topic, Sequence[tuple[int, Configuration]]]
"""The configurations that are evidence about each topic, with their places among all."""


def by_topic(configurations: Sequence[Configuration]) -> Topics:
    """Return which configurations are evidence about which kind of change or move of a constant."""
    found: dict[Topic, list[tuple[int, Configuration]]] = {}
    for place, one in enumerate(configurations):
        topics: list[Topic] = [(one.category, "")] if one.category else []
        for name, text in one.delta.items():
            before, arrow, after = text.partition(ARROW)
            if arrow and (way := direction(before, after)):
                topics.append((name, way))
        for topic in topics:
            found.setdefault(topic, []).append((place, one))
    return found


def trends(topics: Topics) -> dict[Topic, Trend]:
    """Return what every topic did."""
    found: dict[Topic, Trend] = {}
    for topic, mine in topics.items():
        gains = _gains(mine)
        mean, reach = _mean(gains)
        kept = sum(one.decision == "keep" for _, one in mine)
        crashed = sum(bool(one.failure) for _, one in mine)
        found[topic] = Trend(*topic, len(gains), mean, mean - reach, mean + reach, kept, crashed)
    return found


def _gains(mine: Sequence[tuple[int, Configuration]]) -> list[float]:
    return [one.gain.mean for _, one in mine if one.gain is not None]


def _mean(gains: Sequence[float]) -> tuple[float, float]:
    """Return the mean of gains and half the width of its 95 % interval, which is infinite without any.

    The spread of effects has a prior, so that two that agree by accident are no certainty.
    """
    n = len(gains)
    if not n:
        return 0.0, math.inf
    mean = sum(gains) / n
    dof = n - 1 + SETTINGS.spread_prior_n
    around = max(0.0, sum(gain * gain for gain in gains) - n * mean**2)
    variance = (SETTINGS.spread_prior_n * SETTINGS.spread_prior_bpb**2 + around) / dof
    # Student's t by the expansion of Cornish and Fisher (1938).
    z = REACH
    t = z + (z**3 + z) / (4 * dof) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof**2)
    return mean, t * math.sqrt(variance / n)


def _sign(gains: Sequence[float]) -> int:
    """Return 1 if changes gain, -1 if they lose, 0 if the evidence does not tell."""
    mean, reach = _mean(gains)
    if len(gains) < SETTINGS.min_conjecture_n or abs(mean) <= reach:
        return 0
    return 1 if mean > 0 else -1


def _phrase(topic: Topic, sign: int) -> str:
    name, way = topic
    if way:
        return f"{'Raising' if way == 'up' else 'Lowering'} {name} {'gains' if sign > 0 else 'loses'}"
    return f"Changes of kind {name} {'gain' if sign > 0 else 'lose'} on average"


def _conjecture(text: str, gains: Sequence[float], withdrawn: bool = False) -> Conjecture:
    mean, reach = _mean(gains)
    return Conjecture(text, len(gains), mean, mean - reach, mean + reach, withdrawn)


def conjectures(
    configurations: Sequence[Configuration], topics: Topics, failures: Sequence[FailurePattern], stall: int
) -> tuple[Conjecture, ...]:
    """Return what the evidence supports, then what was withdrawn while it is recent.

    First what gains and what loses most surely, then the habit of failing and the plateau, then the rest, the surest
    first: most ideas lose, so that a list by strength alone would tell of nothing else.
    """
    supported = [
        _conjecture(f"{_phrase(topic, sign)}.", gains)
        for topic, mine in topics.items()
        if (sign := _sign(gains := _gains(mine)))
    ]
    supported.sort(key=lambda one: (-abs(one.mean) / (one.high - one.mean), one.text))
    first = [
        *[one for one in supported if one.mean > 0][:1],
        *[one for one in supported if one.mean < 0][:1],
    ]
    rest = [one for one in supported if one not in first]
    general = (*_of_failures(len(configurations), failures), *_of_stall(configurations, stall))
    return (*first, *general, *rest, *_withdrawn(topics, len(configurations) - SETTINGS.recent_kept))


def _withdrawn(topics: Topics, since: int) -> list[Conjecture]:
    """Return what the evidence supported at a place from ``since`` on and no longer does, the latest first."""
    found: list[tuple[int, Conjecture]] = []
    for topic, mine in topics.items():
        gains, places = _gains(mine), [place for place, one in mine if one.gain is not None]
        now = _sign(gains)
        for n in range(len(gains), 0, -1):
            if places[n - 1] < since:
                break
            if past := _sign(gains[:n]):
                if past != now:
                    seemed = f"it seemed so after {n}, by {-_mean(gains[:n])[0]:+.6f} in val_bpb"
                    text = f"Withdrawn: {_phrase(topic, past)} ({seemed})."
                    found.append((places[n - 1], _conjecture(text, gains, True)))
                break
    return [one for _, one in sorted(found, key=lambda entry: (-entry[0], entry[1].text))]


def _of_failures(n: int, failures: Sequence[FailurePattern]) -> list[Conjecture]:
    """Return the most frequent way to fail, if it is a habit, with its share (Agresti and Coull 1998)."""
    if not failures or failures[0].count < 2:
        return []
    worst = failures[0]
    share = (worst.count + 2) / (n + 4)
    reach = 1.96 * math.sqrt(share * (1 - share) / (n + 4))
    text = f"{HABIT}{worst.signature!r} is a habit, last when {worst.category or 'something'} was changed."
    return [Conjecture(text, n, share, max(0.0, share - reach), min(1.0, share + reach))]


def _of_stall(configurations: Sequence[Configuration], stall: int) -> list[Conjecture]:
    """Return that the search is on a plateau, if it is, with the mean gain of the configurations there."""
    gains = [one.gain.mean for one in configurations[-stall:] if one.gain is not None]
    if stall < SETTINGS.plateau_stall or not gains:
        return []
    text = "The search is on a plateau: the opposite of the trend, or two near misses together, may leave it."
    return [_conjecture(text, gains)]
