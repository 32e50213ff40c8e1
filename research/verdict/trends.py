"""Computes the gains so far of every kind of change, and the conjectures that they support or no longer support."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from research.code.diff import moves
from research.core.settings import SETTINGS
from research.verdict.models import HABIT, Configuration, Conjecture, FailurePattern, Topic, Trend
from research.verdict.noise import REACH

Topics = Mapping[Topic, Sequence[tuple[int, Configuration]]]
"""The configurations that are evidence about each topic, with their places among all."""


def by_topic(configurations: Sequence[Configuration]) -> Topics:
    """Return the configurations that are evidence about each kind of change and each move of a constant."""
    found: dict[Topic, list[tuple[int, Configuration]]] = {}
    for place, one in enumerate(configurations):
        topics = [(one.category, "")] if one.category else []
        for topic in (*topics, *moves(one.delta)):
            found.setdefault(topic, []).append((place, one))
    return found


def trends(topics: Topics) -> dict[Topic, Trend]:
    """Return the trend of every topic."""
    found: dict[Topic, Trend] = {}
    for topic, mine in topics.items():
        kept = sum(one.decision == "keep" for _, one in mine)
        crashed = sum(bool(one.failure) for _, one in mine)
        n, mean, low, high = _mean([gain for _, gain in _gains(mine)])
        found[topic] = Trend(*topic, n, mean, low, high, kept, crashed)
    return found


def _gains(mine: Sequence[tuple[int, Configuration]]) -> list[tuple[int, float]]:
    return [(place, one.gain.mean) for place, one in mine if one.gain is not None]


def _mean(gains: Sequence[float]) -> tuple[int, float, float, float]:
    """Return the number of gains, their mean, and the ends of its 95 % interval, which are infinite without a gain.

    The spread of effects has a prior, so that two that agree by accident are no certainty.
    """
    n = len(gains)
    if not n:
        return 0, 0.0, -math.inf, math.inf
    mean = sum(gains) / n
    dof = n - 1 + SETTINGS.spread_prior_n
    around = max(0.0, sum(gain * gain for gain in gains) - n * mean**2)
    variance = (SETTINGS.spread_prior_n * SETTINGS.spread_prior_bpb**2 + around) / dof
    # Student's t by the expansion of Cornish and Fisher (1938).
    z = REACH
    t = z + (z**3 + z) / (4 * dof) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof**2)
    reach = t * math.sqrt(variance / n)
    return n, mean, mean - reach, mean + reach


def _claim(topic: Topic, gains: Sequence[float]) -> str:
    """Return the sentence that the evidence supports about a topic, "" where it supports none."""
    n, mean, low, high = _mean(gains)
    if n < SETTINGS.min_conjecture_n or low <= 0 <= high:
        return ""
    name, way = topic
    if way:
        return f"{'Raising' if way == 'up' else 'Lowering'} {name} {'gains' if mean > 0 else 'loses'}"
    return f"Changes of kind {name} {'gain' if mean > 0 else 'lose'} on average"


def conjectures(
    n: int, topics: Topics, failures: Sequence[FailurePattern], since_keep: Sequence[Configuration]
) -> tuple[Conjecture, ...]:
    """Return the conjectures that the evidence supports, then those that were withdrawn lately.

    The surest gain and the surest loss come first, then the most frequent failure and the plateau, then the rest, the
    surest first: most ideas lose, so that a list by strength alone would hold nothing else.

    Args:
        n: Number of configurations that are evidence.
        topics: Those configurations by topic.
        failures: The ways to fail, the most frequent first.
        since_keep: The branch's configurations since the last kept one.
    """
    supported: list[Conjecture] = []
    withdrawn: list[tuple[int, Conjecture]] = []
    latest = n - SETTINGS.recent_kept
    for topic, mine in topics.items():
        placed = _gains(mine)
        gains = [gain for _, gain in placed]
        now = _claim(topic, gains)
        if now:
            supported.append(Conjecture(f"{now}.", *_mean(gains)))
        recent = [count for count, (place, _) in enumerate(placed, 1) if place >= latest]
        last = next((count for count in reversed(recent) if _claim(topic, gains[:count])), None)
        if last and (past := _claim(topic, gains[:last])) != now:
            _, seemed, *_ = _mean(gains[:last])
            text = f"Withdrawn: {past} (it seemed so after {last}, by {-seemed:+.6f} in val_bpb)."
            withdrawn.append((placed[last - 1][0], Conjecture(text, *_mean(gains), True)))
    supported.sort(key=lambda one: (-abs(one.mean) / (one.high - one.mean), one.text))
    withdrawn.sort(key=lambda entry: (-entry[0], entry[1].text))
    first = [*[one for one in supported if one.mean > 0][:1], *[one for one in supported if one.mean < 0][:1]]
    general = (*_of_failures(n, failures), *_of_plateau(since_keep))
    return (*first, *general, *(one for one in supported if one not in first), *(one for _, one in withdrawn))


def _of_failures(n: int, failures: Sequence[FailurePattern]) -> Iterator[Conjecture]:
    """Yield the most frequent way to fail, if it is a habit, with its share (Agresti and Coull 1998)."""
    for worst in failures[:1]:
        if worst.count >= 2:
            share = (worst.count + 2) / (n + 4)
            reach = 1.96 * math.sqrt(share * (1 - share) / (n + 4))
            text = f"{HABIT}{worst.signature!r} is a habit, last when {worst.category or 'something'} was changed."
            yield Conjecture(text, n, share, max(0.0, share - reach), min(1.0, share + reach))


def _of_plateau(since_keep: Sequence[Configuration]) -> Iterator[Conjecture]:
    """Yield that the search is on a plateau, if it is, with the mean gain of the configurations there."""
    gains = [one.gain.mean for one in since_keep if one.gain is not None]
    if len(since_keep) >= SETTINGS.plateau_stall and gains:
        text = "The search is on a plateau: the opposite of the trend, or two near misses together, may leave it."
        yield Conjecture(text, *_mean(gains))
