"""Chooses the seed of the next run, so that what is compared ran under the same seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable

from research.core.contract import DEFAULT_SEED
from research.runs.repeat import next_seed
from research.verdict.belief import Belief


def experiment_seed(belief: Belief, incumbent: Hashable | None) -> int:
    """Return the seed for a new configuration: of those that the incumbent has, the one with the fewest runs so far.

    Seeds take turns so that a line of kept changes does not fit one seed.
    """
    used = Counter(score.condition.seed for config in belief.configs for score in belief.scores(config))
    return min(belief.seeds(incumbent), key=lambda seed: (used[seed], seed), default=DEFAULT_SEED)


def next_replicate(belief: Belief, candidate: Hashable, incumbent: Hashable) -> tuple[Hashable, int]:
    """Return one of two configurations and the seed to run it again with, so that the two share one seed more.

    It is the candidate, with a seed that only the incumbent has; else the incumbent, with a seed that only the
    candidate has, or with a new one.
    """
    mine, theirs = belief.seeds(candidate), belief.seeds(incumbent)
    if missing := [seed for seed in theirs if seed not in mine]:
        return candidate, missing[0]
    if missing := [seed for seed in mine if seed not in theirs]:
        return incumbent, missing[0]
    return incumbent, next_seed({*theirs, *mine}, DEFAULT_SEED)


def replicate_seed(belief: Belief, config: Hashable, incumbent: Hashable | None, used: Collection[int] = ()) -> int:
    """Return the seed for another run of a configuration: the first that only the incumbent has, else an unused one.

    Used are more seeds that the configuration was given, in runs that go on or have no score.
    """
    has = {*belief.seeds(config), *used}
    theirs = [seed for seed in belief.seeds(incumbent) if seed not in has]
    return theirs[0] if theirs else next_seed(has, DEFAULT_SEED)
