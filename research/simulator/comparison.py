"""Compares policies on the same landscapes with the same dice, over several processes; deterministic by seed.

Landscape k belongs to family k modulo their number and is drawn with the seed's k-th number, whatever the number of
processes, so that a comparison is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from research.search.policy import Policy, make_policy
from research.simulator.families import Family
from research.simulator.metrics import Measures, Row, measure, row
from research.simulator.night import play
from research.simulator.references import REFERENCES
from research.simulator.sampling import landscape

SEED_STRIDE = 1_000_003
"""Distance between the landscapes of two seeds: more landscapes than that are never asked for."""


@dataclass(frozen=True)
class Question:
    """What is compared.

    Attributes:
        policies: Names.
        against: The one of them that all are compared with.
        families: Families to draw from, in turn.
        landscapes: Number of landscapes.
        runs: Runs of a night.
        seed: Seed of everything.
    """

    policies: tuple[str, ...]
    against: str
    families: tuple[Family, ...]
    landscapes: int
    runs: int
    seed: int


@dataclass(frozen=True)
class Comparison:
    """The answer: a row for every policy, over all families and by family, and the mean course of the tip's gain."""

    question: Question
    rows: tuple[Row, ...]
    by_family: dict[str, tuple[Row, ...]]
    courses: dict[str, tuple[float, ...]]


Nights = list[tuple[Measures, tuple[float, ...]]]
"""For every policy: the measures, and the tip's gain after every run."""


def compare(question: Question, workers: int = 1, progress: Callable[[int], None] = lambda done: None) -> Comparison:
    """Play every policy on every landscape.

    Args:
        question: What to compare.
        workers: Processes.
        progress: Called with the number of landscapes that are done.
    """
    paths = range(question.landscapes)
    played: list[Nights] = []
    if workers <= 1:
        for place in paths:
            played.append(_play_all(question, place))
            progress(len(played))
    else:
        with ProcessPoolExecutor(workers) as pool:
            for nights in pool.map(_play_all, [question] * len(paths), paths, chunksize=2):
                played.append(nights)
                progress(len(played))
    count = len(question.families)
    by_family = {f.name: _rows(question, played[i::count]) for i, f in enumerate(question.families) if played[i::count]}
    return Comparison(question, _rows(question, played), by_family, _courses(question, played))


def make(name: str, seed: int) -> Policy:
    """Return a policy of the product, or a yardstick, by name.

    Raises:
        ValueError: for an unknown name.
    """
    return REFERENCES[name](seed) if name in REFERENCES else make_policy(name, seed)


def _play_all(question: Question, place: int) -> Nights:
    """Play every policy's night on one landscape."""
    seed = question.seed * SEED_STRIDE + place
    shape = landscape(question.families[place % len(question.families)], seed)
    nights = (play(make(name, seed), shape, question.runs, seed) for name in question.policies)
    return [(measure(night), night.tip_gains_bpb) for night in nights]


def _rows(question: Question, played: Sequence[Nights]) -> tuple[Row, ...]:
    nights = {name: [every[i][0] for every in played] for i, name in enumerate(question.policies)}
    return tuple(row(name, nights[name], nights[question.against]) for name in question.policies)


def _courses(question: Question, played: Sequence[Nights]) -> dict[str, tuple[float, ...]]:
    courses = {}
    for i, name in enumerate(question.policies):
        gains = [nights[i][1] for nights in played]
        courses[name] = tuple(sum(moment) / len(gains) for moment in zip(*gains, strict=False))
    return courses
