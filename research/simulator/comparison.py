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

from research.search.policies.base import Policy
from research.search.policies.baselines import Climber
from research.search.policy import make_policy
from research.simulator.families import Family
from research.simulator.landscape import FULL_RUN_S
from research.simulator.metrics import Measures, PolicyRow, measure, policy_row
from research.simulator.night import SimulatedNight, play
from research.simulator.sampling import draw_landscape

SEED_STRIDE = 1_000_003  # distance between the landscapes of two seeds: more landscapes than that are never asked for
MAX_RUNS_FACTOR = 10
"""Most runs of a night, as a multiple of the whole runs it lasts: a stopped run takes a quarter of one or more."""


@dataclass(frozen=True)
class ComparisonSetup:
    """The policies to compare, and the nights to compare them on."""

    policies: tuple[str, ...]  # names
    against: str  # name of the policy that all are compared with
    families: tuple[Family, ...]  # the families that landscapes are drawn from, in turn
    landscapes: int
    runs: int  # of a night
    seed: int
    gpu_time: bool = False  # whether nights last as long as so many whole runs, and policies may stop runs


@dataclass(frozen=True)
class PolicyComparison:
    """The result of a comparison of policies."""

    setup: ComparisonSetup
    rows: tuple[PolicyRow, ...]  # a row for each policy, over all families
    by_family: dict[str, tuple[PolicyRow, ...]]  # the same for each family, by its name
    courses: dict[str, tuple[float, ...]]  # the tip's mean true gain in bpb after every run (or its time), by policy


Played = dict[str, tuple[Measures, list[float]]]
"""The nights on one landscape by policy: the night's measures, and the tip's gain after every run or its time."""


def compare(
    setup: ComparisonSetup, workers: int = 1, progress: Callable[[int], None] = lambda done: None
) -> PolicyComparison:
    """Play every policy on every landscape, and return how they compare.

    Args:
        setup: The policies and nights to compare.
        workers: Processes.
        progress: Called with the number of landscapes that are done.
    """
    played: list[Played] = []
    with ProcessPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
        play_one, numbers = partial(_play_all, setup), range(setup.landscapes)
        for nights in pool.map(play_one, numbers, chunksize=2) if pool else map(play_one, numbers):
            played.append(nights)
            progress(len(played))
    count = len(setup.families)
    by_family = {f.name: _rows(setup, played[i::count]) for i, f in enumerate(setup.families) if played[i::count]}
    courses = {}
    for name in setup.policies:
        moments = zip(*(nights[name][1] for nights in played), strict=True)
        courses[name] = tuple(sum(moment) / len(played) for moment in moments)
    return PolicyComparison(setup, _rows(setup, played), by_family, courses)


def _play_all(setup: ComparisonSetup, number: int) -> Played:
    """Play every policy's night on one landscape."""
    seed = setup.seed * SEED_STRIDE + number
    landscape = draw_landscape(setup.families[number % len(setup.families)], seed)
    runs, gpu_s = setup.runs, None
    if setup.gpu_time:
        runs, gpu_s = setup.runs * MAX_RUNS_FACTOR, setup.runs * FULL_RUN_S
    nights = {name: play(make(name, seed), landscape, runs, seed, gpu_s) for name in setup.policies}
    return {name: (measure(night), night.course_bpb()) for name, night in nights.items()}


def _rows(setup: ComparisonSetup, played: Sequence[Played]) -> tuple[PolicyRow, ...]:
    nights = {name: [every[name][0] for every in played] for name in setup.policies}
    return tuple(policy_row(name, nights[name], nights[setup.against]) for name in setup.policies)


class PerfectAcceptance(Climber):
    """A policy for comparison only, which decides by the true values and so shows what perfect decisions ship."""

    def see_truth(self, night: SimulatedNight) -> None:
        """Take the simulated night, which is given to a policy that has this method."""
        self._night = night

    def _is_lower(self, config: Hashable, tip: Hashable) -> bool:
        return self._night.value(config) < self._night.value(tip)


YARDSTICK = "perfect-acceptance"


def make(name: str, seed: int) -> Policy:
    """Return a policy by name, PerfectAcceptance among them.

    Raises:
        ValueError: for an unknown name.
    """
    return PerfectAcceptance(seed) if name == YARDSTICK else make_policy(name, seed)
