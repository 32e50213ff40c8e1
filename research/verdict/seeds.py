"""Chooses the seed of the next run, so that what is compared ran with the same seeds on the same machine.

Two cards of one kind differ in speed by a percent, so a run is compared with runs of its own card.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable
from dataclasses import dataclass

from research.core.contract import DEFAULT_SEED
from research.runs.repeat import next_seed
from research.verdict.belief import Belief


@dataclass(frozen=True)
class Place:
    """The machine or card of the next run, and those of the workers beside it, by the names that runs record."""

    machine: str = ""  # "" where it does not matter or is not known
    others: tuple[str, ...] = ()  # of the workers beside it


ANYWHERE = Place()


def experiment_seed(belief: Belief, incumbent: Hashable | None, place: Place = ANYWHERE) -> int:
    """Return the seed for a new configuration: of those that the incumbent has there, the one with the fewest runs.

    Seeds take turns so that a line of kept changes does not fit one seed.
    """
    used = _runs_by_seed(belief, place)
    return min(belief.seeds(incumbent, place.machine), key=lambda seed: (used[seed], seed), default=DEFAULT_SEED)


def first_seed(belief: Belief, incumbent: Hashable, place: Place) -> int:
    """Return the seed for an incumbent's first run on a machine: the one most used there, else one that it has not.

    Workers that begin at once on machines that are new to it get different ones.
    """
    if used := _runs_by_seed(belief, place):
        return max(used, key=lambda seed: (used[seed], -seed))
    has = {*belief.seeds(incumbent)}
    for _ in range(sorted({place.machine, *place.others}).index(place.machine)):
        has.add(next_seed(has, DEFAULT_SEED))
    return next_seed(has, DEFAULT_SEED)


def next_replicate(
    belief: Belief, candidate: Hashable, incumbent: Hashable, place: Place = ANYWHERE
) -> tuple[Hashable, int] | None:
    """Return one of two configurations and the seed to run it again with, so that the two share one seed more.

    It is the candidate, with a seed that only the incumbent has; else the incumbent, with a seed that only the
    candidate has, or with a new one. None where the candidate's run is due on the machine of another worker.
    """
    mine, theirs = (belief.seeds(config, place.machine) for config in (candidate, incumbent))
    if missing := [seed for seed in theirs if seed not in mine]:
        return candidate, missing[0]
    if any({*belief.seeds(incumbent, other)} - {*belief.seeds(candidate, other)} for other in place.others):
        return None
    if missing := [seed for seed in mine if seed not in theirs]:
        return incumbent, missing[0]
    return incumbent, next_seed({*belief.seeds(incumbent), *belief.seeds(candidate)}, DEFAULT_SEED)


def _runs_by_seed(belief: Belief, place: Place) -> Counter[int]:
    """Return how many runs each seed has on a machine."""
    conditions = (score.condition for config in belief.configs for score in belief.scores(config))
    return Counter(one.seed for one in conditions if place.machine in ("", one.machine))


def replicate_seed(
    belief: Belief,
    config: Hashable,
    incumbent: Hashable | None,
    used: Collection[int] = (),
    place: Place = ANYWHERE,
) -> int:
    """Return the seed for another run of a configuration: the first that only the incumbent has, else an unused one.

    Used are more seeds that the configuration was given, in runs that go on or have no score.
    """
    has = {*belief.seeds(config), *used}
    theirs = [seed for seed in belief.seeds(incumbent, place.machine) if seed not in has]
    return theirs[0] if theirs else next_seed(has, DEFAULT_SEED)
