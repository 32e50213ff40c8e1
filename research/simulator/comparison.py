"""Compares policies on the same nights, over several processes; the same seed gives the same answer.

Landscape k belongs to family k modulo their number and is drawn with the seed's k-th number, whatever the number of
processes, so that a comparison is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

from research.search.policies.baselines import Climber
from research.search.policy import Policy, make_policy
from research.simulator.families import Family
from research.simulator.landscape import FULL_RUN_S
from research.simulator.metrics import Measures, Row, measure, row
from research.simulator.night import Night, play
from research.simulator.sampling import landscape

SEED_STRIDE = 1_000_003  # distance between the landscapes of two seeds: more landscapes than that are never asked for
MAX_RUNS_FACTOR = 10
"""How many times the whole runs a night may have runs at most: a stopped run costs a quarter of one at least."""


@dataclass(frozen=True)
class Question:
    """What is compared; with gpu_time nights are equally long, not of equally many runs, and a policy may stop runs.

    Runs are those of a night, or the whole runs whose time it lasts.
    """

    policies: tuple[str, ...]
    against: str  # the one of them that all are compared with
    families: tuple[Family, ...]  # drawn from in turn
    landscapes: int
    runs: int
    seed: int
    gpu_time: bool = False


@dataclass(frozen=True)
class Comparison:
    """The answer: a row for every policy, over all families and by family, and the mean course of the tip's gain."""

    question: Question
    rows: tuple[Row, ...]
    by_family: dict[str, tuple[Row, ...]]
    courses: dict[str, tuple[float, ...]]


Played = dict[str, tuple[Measures, list[float]]]
"""By policy, for one landscape: the night's measures, and the tip's gain after every run."""


def compare(question: Question, workers: int = 1, progress: Callable[[int], None] = lambda done: None) -> Comparison:
    """Play every policy on every landscape.

    Args:
        question: What to compare.
        workers: Processes.
        progress: Called with the number of landscapes that are done.
    """
    places = range(question.landscapes)
    played: list[Played] = []
    with ProcessPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
        play_one = partial(_play_all, question)
        for nights in pool.map(play_one, places, chunksize=2) if pool else map(play_one, places):
            played.append(nights)
            progress(len(played))
    count = len(question.families)
    by_family = {f.name: _rows(question, played[i::count]) for i, f in enumerate(question.families) if played[i::count]}
    courses = {}
    for name in question.policies:
        moments = zip(*(nights[name][1] for nights in played), strict=False)
        courses[name] = tuple(sum(moment) / len(played) for moment in moments)
    return Comparison(question, _rows(question, played), by_family, courses)


def _play_all(question: Question, place: int) -> Played:
    """Play every policy's night on one landscape."""
    seed = question.seed * SEED_STRIDE + place
    shape = landscape(question.families[place % len(question.families)], seed)
    runs, gpu_s = question.runs, None
    if question.gpu_time:
        runs, gpu_s = question.runs * MAX_RUNS_FACTOR, question.runs * FULL_RUN_S
    nights = {name: play(make(name, seed), shape, runs, seed, gpu_s) for name in question.policies}
    return {name: (measure(night), night.tip_gains_bpb) for name, night in nights.items()}


def _rows(question: Question, played: Sequence[Played]) -> tuple[Row, ...]:
    nights = {name: [every[name][0] for every in played] for name in question.policies}
    return tuple(row(name, nights[name], nights[question.against]) for name in question.policies)


class PerfectAcceptance(Climber):
    """A yardstick, no policy of the product: decides by the true values, so it shows what perfect decisions ship."""

    def look(self, night: Night) -> None:
        """Take the simulator's state, which the driver shows to a policy that has this method."""
        self._night = night

    def _is_lower(self, config: Hashable, tip: Hashable) -> bool:
        return self._night.value(config) < self._night.value(tip)


YARDSTICK = "perfect-acceptance"


def make(name: str, seed: int) -> Policy:
    """Return a policy of the product, or the yardstick, by name.

    Raises:
        ValueError: for an unknown name.
    """
    return PerfectAcceptance(seed) if name == YARDSTICK else make_policy(name, seed)
