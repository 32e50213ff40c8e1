"""The plain searchers that ours has to beat: leave the agent free or throw dice, and keep what reads lower.

They believe every number, as the public loop does, and so keep luck along with progress.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence

from research.core.settings import SETTINGS
from research.search.observation import Result, configuration
from research.search.policies.base import CATEGORIES, EMITTERS, Answer, KeptChain, Order


class Climber:
    """Keeps a configuration whose score is lower than the tip's by more than a margin.

    Args:
        seed: Seed of the dice.
        margin: In bpb.
        dice: Whether emitter and category are drawn uniformly; otherwise the agent is free.
    """

    def __init__(self, seed: int, margin: float = 0.0, dice: bool = False) -> None:
        self._random = random.Random(f"climber-{seed}")
        self._margin = margin
        self._dice = dice

    def start(self, baseline: Result) -> None:
        """Begins the night; see Policy."""
        self._chain = KeptChain(baseline.id)
        self._scores: dict[Hashable, list[float]] = {}
        self._take(baseline)

    def ask(self, history: Sequence[Result]) -> Order:
        """The next experiment, always from the tip; see Policy."""
        if not self._dice:
            return None, None, None
        return self._random.choice(EMITTERS), self._random.choice(CATEGORIES), None

    def tell(self, result: Result) -> Answer:
        """Keeps what reads lower than the tip, by the margin; see Policy."""
        config = configuration(result)
        self._take(result)
        tip = self._chain.tip
        answer: Answer = "keep" if config == tip else "discard"
        if config != tip and config in self._scores and self._is_lower(config, tip):
            answer = "keep"
        self._chain.decide(config, answer)
        return answer

    def final(self, history: Sequence[Result]) -> Hashable:
        """The tip; see Policy."""
        return self._chain.tip

    def estimate(self, config: Hashable) -> float:
        """The mean of a configuration's scores: of the single one, as a rule; see Policy."""
        scores = self._scores[config]
        return sum(scores) / len(scores)

    def _is_lower(self, config: Hashable, tip: Hashable) -> bool:
        """Whether it reads lower than the tip by the margin; any score is lower than none, as of a crashed baseline."""
        return tip not in self._scores or self.estimate(config) < self.estimate(tip) - self._margin

    def _take(self, result: Result) -> None:
        if result.val_bpb is not None:
            self._scores.setdefault(configuration(result), []).append(result.val_bpb)


def greedy(seed: int) -> Climber:
    """The agent is free, and what reads lower is kept."""
    return Climber(seed)


def dice(seed: int) -> Climber:
    """Emitter and category are drawn uniformly, and what reads lower is kept."""
    return Climber(seed, dice=True)


def threshold(seed: int) -> Climber:
    """The agent is free, and what reads lower by a fixed margin is kept."""
    return Climber(seed, margin=SETTINGS.threshold_margin_bpb)
