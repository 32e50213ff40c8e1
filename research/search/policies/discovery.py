"""The policy that plans real nights."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from research.results import Result, configuration
from research.search.policies.base import REPLICATE, Answer, Order, Standing
from research.search.policies.knowledge import Knowledge
from research.settings import SETTINGS, Settings


@dataclass(frozen=True)
class Parts:
    """Which of its parts are in use; ablations take one out."""

    replicates: bool = True
    archive_parents: bool = True
    ahead: bool = True
    bandit: bool = True
    forgetting: bool = True


class Discovery:
    def __init__(self, seed: int, parts: Parts = Parts(), settings: Settings = SETTINGS) -> None:
        self._random = random.Random(f"discovery-{seed}")
        self._settings = settings
        self._parts = parts
        self.knowledge = Knowledge(settings)
        self._forced: Hashable | None = None
        self._largest = 0.0

    def start(self, baseline: Result) -> None:
        self._standing = Standing(baseline.id)
        self._base = baseline.id
        self.knowledge.add(baseline)

    def ask(self, history: Sequence[Result]) -> Order:
        know = self.knowledge
        if self._forced is not None:
            return REPLICATE, None, self._forced
        if self._parts.replicates and know.evidence.n(self._base) < self._settings.baseline_runs:
            return REPLICATE, None, self._base
        if not self._parts.ahead:
            return None, None, None
        work = self._best()
        if know.evidence.n(work) < self._settings.work_runs:
            return REPLICATE, None, work
        return None, None, None if work == self._standing.tip else work

    def _best(self) -> Hashable:
        return min(self.knowledge.evidence, key=lambda c: self.knowledge.belief(c).mean)

    def tell(self, result: Result) -> Answer:
        self.knowledge.add(result)
        answer = self._answer(result)
        self._apply(configuration(result), answer)
        return answer

    def note(self, result: Result, decision: str) -> None:
        self.knowledge.add(result)
        self._apply(configuration(result), "replicate" if decision == "investigate" else decision)

    def _apply(self, config: Hashable, answer: str) -> None:
        self._forced = config if answer == "replicate" else None
        if answer == "keep" and config in self.knowledge.evidence:
            gain = self.knowledge.belief(self._standing.tip).mean - self.knowledge.belief(config).mean
            self._largest = max(self._largest, gain)
        self._standing.decide(config, answer)

    def _answer(self, result: Result) -> Answer:
        config, tip = configuration(result), self._standing.tip
        if config not in self.knowledge.evidence:
            return "discard"
        if config == tip:
            before = self._standing.before
            stays = before is None or self.knowledge.p_better(tip, before) >= self._settings.incumbent_stays_p
            return "keep" if stays else "discard"
        weighed = self.knowledge.weigh(config, tip, self._largest)
        answer: Answer = "replicate" if weighed.decision == "investigate" else weighed.decision
        if answer == "replicate" and not self._parts.replicates:
            answer = "keep" if weighed.p_better >= self._settings.tie_keep_p else "discard"
        return answer

    phase = "explore"
    reason = ""
    shares: Mapping[str | None, float] = {}

    def final(self, history: Sequence[Result]) -> Hashable:
        return self._best()

    def estimate(self, config: Hashable) -> float:
        return self.knowledge.belief(config).mean


def _without(**parts: bool) -> Callable[[int], Discovery]:
    return lambda seed: Discovery(seed, Parts(**parts))


ABLATIONS: Mapping[str, Callable[[int], Discovery]] = {
    "discovery-no-replicates": _without(replicates=False),
    "discovery-no-archive-parents": _without(archive_parents=False),
    "discovery-no-bandit": _without(bandit=False),
    "discovery-no-forgetting": _without(forgetting=False),
}
