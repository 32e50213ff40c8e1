"""Defines the plain policies that ours has to beat: a free agent or random orders, and what reads lower is kept.

They take every score as it reads, as the public loop does; "paired" takes the mean of two seeds.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from statistics import fmean

from research.core.contract import DEFAULT_SEED
from research.core.settings import SETTINGS
from research.search.observation import Result, configuration
from research.search.policies.base import CATEGORIES, EMITTERS, REPLICATE, Answer, KeptChain, Order


class Climber:
    """Keeps a configuration whose score is lower than the tip's by more than a margin.

    Args:
        seed: Seed of the random orders.
        margin: In bpb.
        random_orders: Whether emitter and category are drawn uniformly; otherwise the agent is free.
    """

    def __init__(self, seed: int, margin: float = 0.0, random_orders: bool = False) -> None:
        self._random = random.Random(f"climber-{seed}")
        self._margin = margin
        self._random_orders = random_orders

    def start(self, baseline: Result) -> None:
        """Begin the night; see Policy."""
        self._chain = KeptChain(baseline.id)
        self._scores: dict[Hashable, list[float]] = {}
        self._take(baseline)

    def ask(self, history: Sequence[Result]) -> Order:
        """Return the next experiment, always from the tip; see Policy."""
        if not self._random_orders:
            return None, None, None
        return self._random.choice(EMITTERS), self._random.choice(CATEGORIES), None

    def next_seed(self) -> int:
        """Return the usual seed, on which everything runs."""
        return DEFAULT_SEED

    def tell(self, result: Result) -> Answer:
        """Keep what reads lower than the tip, by the margin; see Policy."""
        config = configuration(result)
        self._take(result)
        tip = self._chain.tip
        answer: Answer = "keep" if config == tip else "discard"
        if config != tip and config in self._scores and self._is_lower(config, tip):
            answer = "keep"
        self._chain.decide(config, answer)
        return answer

    def final(self, history: Sequence[Result]) -> Hashable:
        """Return the tip; see Policy."""
        return self._chain.tip

    def estimate(self, config: Hashable) -> float:
        """Return the mean of a configuration's scores: of the single one, as a rule; see Policy."""
        scores = self._scores[config]
        return sum(scores) / len(scores)

    def _is_lower(self, config: Hashable, tip: Hashable) -> bool:
        """Return whether it is lower than the tip by the margin; any score is lower than a crashed baseline's none."""
        return tip not in self._scores or self.estimate(config) < self.estimate(tip) - self._margin

    def _take(self, result: Result) -> None:
        if result.val_bpb is not None:
            self._scores.setdefault(configuration(result), []).append(result.val_bpb)


class Paired:
    """Keeps a configuration whose mean on two seeds is lower than the tip's on the same seeds by more than a margin.

    A candidate runs on the usual seed. If it is lower there, it gets a second seed that the tip has, and if the tip
    has no other, the tip gets one first. The agent is free.

    Args:
        margin: In bpb.
    """

    def __init__(self, margin: float) -> None:
        self._margin = margin

    def start(self, baseline: Result) -> None:
        """Begin the night; see Policy."""
        self._chain = KeptChain(baseline.id)
        self._scores: dict[Hashable, dict[int, list[float]]] = {}
        self._candidate: Hashable | None = None  # lower on its first seed, not decided yet
        self._seed = DEFAULT_SEED
        self._take(baseline)

    def ask(self, history: Sequence[Result]) -> Order:
        """Return the repeat that decides about the candidate, else a new experiment from the tip; see Policy."""
        self._seed = DEFAULT_SEED
        if self._candidate is None:
            return None, None, None
        known, candidate = self._scores[self._chain.tip], self._scores[self._candidate]
        shared = sorted(set(known) - set(candidate))
        self._seed = shared[0] if shared else max({*known, *candidate}) + 1
        return REPLICATE, None, self._candidate if shared else self._chain.tip

    def next_seed(self) -> int:
        """Return the seed of the run that was asked for."""
        return self._seed

    def tell(self, result: Result) -> Answer:
        """Decide by two seeds that candidate and tip share; see Policy."""
        config, tip = configuration(result), self._chain.tip
        self._take(result)
        answer: Answer = "discard"
        if config == tip:
            answer = "keep"
        elif result.replicate_of is None:
            self._candidate = config if self._gain(config) > 0.0 else None
            if tip not in self._scores and config in self._scores:  # any score is better than none
                self._candidate, answer = None, "keep"
        elif config == self._candidate:
            self._candidate = None
            answer = "keep" if self._gain(config) > self._margin else "discard"
        self._chain.decide(config, answer)
        return answer

    def final(self, history: Sequence[Result]) -> Hashable:
        """Return the tip; see Policy."""
        return self._chain.tip

    def estimate(self, config: Hashable) -> float:
        """Return the mean of a configuration's seeds; see Policy."""
        return fmean(map(fmean, self._scores[config].values()))

    def _gain(self, config: Hashable) -> float:
        """Return by how much a configuration is lower than the tip, on the mean of the seeds that both have."""
        own, tips = self._scores.get(config, {}), self._scores.get(self._chain.tip, {})
        shared = own.keys() & tips.keys()
        return fmean(fmean(tips[seed]) - fmean(own[seed]) for seed in shared) if shared else 0.0

    def _take(self, result: Result) -> None:
        if result.val_bpb is not None:
            self._scores.setdefault(configuration(result), {}).setdefault(result.seed, []).append(result.val_bpb)


def greedy(seed: int) -> Climber:
    """Return a policy that leaves the agent free and keeps what reads lower."""
    return Climber(seed)


def random_policy(seed: int) -> Climber:
    """Return a policy that draws emitter and category uniformly and keeps what reads lower."""
    return Climber(seed, random_orders=True)


def threshold(seed: int) -> Climber:
    """Return a policy that leaves the agent free and keeps what reads lower by a fixed margin."""
    return Climber(seed, margin=SETTINGS.threshold_margin_bpb)


def paired(seed: int) -> Paired:
    """Return a policy that leaves the agent free and keeps what is lower on two seeds by a fixed margin."""
    return Paired(SETTINGS.paired_margin_bpb)
