"""Defines the plain policies that ours has to beat: a free agent or random orders, and every lower score is kept.

They take every score as it is, as the public loop does; "paired" takes the mean of two seeds.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from statistics import fmean

from research.code.classify import CATEGORIES
from research.core.contract import DEFAULT_SEED
from research.core.settings import SETTINGS
from research.search.emitters import EMITTERS
from research.search.observation import Observation, configuration
from research.search.policies.base import REPLICATE, Answer, KeptChain, Order, Policy


class Plain(Policy):
    """The base of the plain policies: uncorrected scores, and a chain of kept configurations, whose tip ships."""

    def start(self, baseline: Observation) -> None:
        self._chain = KeptChain(baseline.id)
        self._scores: dict[Hashable, dict[int, list[float]]] = {}  # by configuration and seed
        self._take(baseline)

    def final(self, history: Sequence[Observation]) -> Hashable:
        """Return the tip."""
        return self._chain.tip

    def estimate(self, config: Hashable) -> float:
        """Return the mean of a configuration's seeds."""
        return fmean(map(fmean, self._scores[config].values()))

    def _take(self, result: Observation) -> None:
        if result.val_bpb is not None:
            self._scores.setdefault(configuration(result), {}).setdefault(result.seed, []).append(result.val_bpb)

    def _decide(self, config: Hashable, is_kept: bool) -> Answer:
        answer: Answer = "keep" if is_kept else "discard"
        self._chain.decide(config, answer)
        return answer


class Climber(Plain):
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

    def ask(self, history: Sequence[Observation]) -> Order:
        """Return the next experiment, always from the tip."""
        if not self._random_orders:
            return None, None, None
        return self._random.choice([*EMITTERS]), self._random.choice(CATEGORIES), None

    def tell(self, result: Observation) -> Answer:
        """Keep a configuration whose score is lower than the tip's by the margin."""
        config, tip = configuration(result), self._chain.tip
        self._take(result)
        return self._decide(config, config == tip or (config in self._scores and self._is_lower(config, tip)))

    def _is_lower(self, config: Hashable, tip: Hashable) -> bool:
        """Return whether a score is lower than the tip's by the margin; every score is, where the tip has none."""
        return tip not in self._scores or self.estimate(config) < self.estimate(tip) - self._margin


class Paired(Plain):
    """Keeps a configuration whose mean on two seeds is lower than the tip's on the same seeds by more than a margin.

    A candidate runs on the usual seed. If it is lower there, it gets a second seed that the tip has, and if the tip
    has no other, the tip gets one first. The agent is free.
    """

    def start(self, baseline: Observation) -> None:
        super().start(baseline)
        self._candidate: Hashable | None = None  # lower on its first seed, not decided yet
        self._seed = DEFAULT_SEED

    def ask(self, history: Sequence[Observation]) -> Order:
        """Return the repeat that decides about the candidate, else a new experiment from the tip."""
        self._seed = DEFAULT_SEED
        if self._candidate is None:
            return None, None, None
        known, candidate = self._scores[self._chain.tip], self._scores[self._candidate]
        shared = sorted(set(known) - set(candidate))
        self._seed = shared[0] if shared else max({*known, *candidate}) + 1
        return REPLICATE, None, self._candidate if shared else self._chain.tip

    def next_seed(self) -> int:
        return self._seed

    def tell(self, result: Observation) -> Answer:
        """Decide by two seeds that candidate and tip share."""
        config, tip = configuration(result), self._chain.tip
        self._take(result)
        is_kept = config == tip
        if not is_kept and result.replicate_of is None:
            is_kept = tip not in self._scores and config in self._scores  # any score is better than none
            self._candidate = config if not is_kept and self._gain(config) > 0.0 else None
        elif not is_kept and config == self._candidate:
            self._candidate = None
            is_kept = self._gain(config) > SETTINGS.paired_margin_bpb
        return self._decide(config, is_kept)

    def _gain(self, config: Hashable) -> float:
        """Return the tip's score minus a configuration's, on the mean of the seeds that both have; 0 without one."""
        own, tips = self._scores.get(config, {}), self._scores.get(self._chain.tip, {})
        shared = own.keys() & tips.keys()
        return fmean(fmean(tips[seed]) - fmean(own[seed]) for seed in shared) if shared else 0.0
