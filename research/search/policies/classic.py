"""Plans and decides by the formulas of the public loop that this project follows, for comparison.

They are kept with their faults (best moves to any lower number, crashes and deletions earn reward, near misses never
age, the niche is the order's and not the change's), with one exception: emitters are gone through in sorted order,
where it iterated over a set and so gave another plan each time. "investigate" counts as discard, as it did for the tip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from research.code.classify import CATEGORIES, MIXED, SIMPLIFICATION
from research.search.emitters import EMITTERS
from research.search.observation import Observation, configuration
from research.search.policies.base import Answer, Order
from research.search.policies.baselines import Plain

BIASES = {
    "exploit": {"local_tuner": 0.35, "optimizer_hacker": 0.25, "simplifier": 0.15},
    "explore": {"architecture_mutator": 0.35, "contrarian": 0.25, "optimizer_hacker": 0.1},
    "recombine": {"recombinator": 0.4, "contrarian": 0.2, "architecture_mutator": 0.1},
    "stabilize": {"anomaly_chaser": 0.4, "simplifier": 0.2, "local_tuner": 0.1},
}
"""Numbers that a phase adds to the scores of emitters."""


class _Experiment(NamedTuple):
    """One result of the night."""

    emitter: str
    category: str
    niche: str
    gain: float  # in bpb over the best before it, above zero is better; -inf without a score
    crash: str | None  # the crash's signature
    reward: float


class Classic(Plain):
    """The public loop's planner with its own rule, which draws nothing at random, so that the seed is unused."""

    def __init__(self, seed: int) -> None:
        self._planned = "local_tuner", "optimizer", ""

    def start(self, baseline: Observation) -> None:
        super().start(baseline)
        self._best = math.inf if baseline.val_bpb is None else baseline.val_bpb
        self._baseline_gb = baseline.peak_gb
        self._past: list[_Experiment] = []

    def ask(self, history: Sequence[Observation]) -> Order:
        """Return the emitter with the highest score in this phase and the niche's category."""
        phase = self._phase()
        emitter, category = self._emitter(phase), self._category(phase)
        self._planned = emitter, category, f"{category}/{phase}"
        return emitter, category, None

    def tell(self, result: Observation) -> Answer:
        """Keep by its recommendation rule."""
        config = configuration(result)
        self._take(result)
        if result.replicate_of is not None:
            return "keep" if config == self._chain.tip else "discard"
        emitter, category, niche = self._planned
        gain = -math.inf
        if result.val_bpb is not None:
            gain = round(self._best - result.val_bpb, 6) if math.isfinite(self._best) else 0.0
            self._best = min(self._best, result.val_bpb)
        complexity = _complexity(result)
        new = _Experiment(result.emitter or emitter, result.category or category, niche, gain, result.crash, 0.0)
        self._past.append(new._replace(reward=self._reward(result, new) - complexity))
        return self._decide(config, gain > 0.001 or (gain > 0.0 and complexity <= 0.2))

    def _reward(self, result: Observation, new: _Experiment) -> float:
        """Return fitness, novelty, information and surprise of a result, less its memory."""
        category = sum(past.category == new.category for past in self._past)
        emitter = sum(past.emitter == new.emitter for past in self._past)
        niche = sum(past.niche == new.niche for past in self._past)
        fitness = max(0.0, new.gain) * 100.0
        if abs(new.gain) <= 0.0002 and result.deletions > result.additions:
            fitness += 0.1
        novelty = 0.35 / math.sqrt(niche + 1) + 0.2 / math.sqrt(category + 1) + 0.1 / math.sqrt(emitter + 1)
        information = 0.25 / math.sqrt(category + 1) + (0.1 if self._stall() >= 4 else 0.0)
        if new.crash and all(past.crash != new.crash for past in self._past):
            information += 0.2
        vram = 0.0
        if result.peak_gb and self._baseline_gb:
            vram = 0.5 * max(0.0, (result.peak_gb - self._baseline_gb) / self._baseline_gb)
        return fitness + novelty + information + _surprise(new) - vram

    def _stall(self) -> int:
        """Return the number of experiments since the last one that was lower than the best."""
        return next((back for back, past in enumerate(reversed(self._past)) if past.gain > 0.0), len(self._past))

    def _near_misses(self) -> list[str]:
        """Return the categories of the results that were nearly as good as the best."""
        return [past.category for past in self._past if -0.0015 <= past.gain <= 0.0]

    def _phase(self) -> str:
        latest = [past.gain for past in self._past[-5:]]
        if latest.count(-math.inf) >= 2:
            return "stabilize"
        if self._stall() >= 6 and len(self._near_misses()) >= 2:
            return "recombine"
        return "exploit" if self._stall() < 4 and sum(gain > 0.0 for gain in latest) >= 2 else "explore"

    def _emitter(self, phase: str) -> str:
        """Return the emitter with the highest upper confidence bound, phase bias and penalties included."""
        names = [past.emitter for past in self._past]
        latest, last = names[-8:], names[-1] if names else ""
        streak = next((back for back, name in enumerate(reversed(names)) if name != last), len(names))
        stall = self._stall()

        def score(name: str) -> float:
            rewards = [past.reward for past in self._past if past.emitter == name]
            value = sum(rewards) / len(rewards) if rewards else 0.0
            value += math.sqrt(2.0 * math.log(len(names) + 3) / (len(rewards) + 1)) + BIASES[phase].get(name, 0.0)
            value += 0.35 if stall >= 4 and name not in latest[-4:] else 0.0
            value -= 0.08 * latest.count(name)
            return value - (0.05 + 0.15 * (streak - 1) if name == last else 0.0)

        return max((name for name in sorted(EMITTERS) if name != last or streak < 3), key=score)

    def _category(self, phase: str) -> str:
        """Return the least tried category; the best rewarded in exploit, those of two near misses in recombine."""
        if phase == "recombine":
            before, last = self._near_misses()[-2:]
            return last if last == before else f"{before}+{last}"
        tried: dict[str, list[float]] = {}
        for past in self._past:
            tried.setdefault(past.category, []).append(past.reward)
        if phase == "exploit":
            return max(sorted(tried), key=lambda name: sum(tried[name]) / len(tried[name]))
        return min((*CATEGORIES, MIXED, SIMPLIFICATION), key=lambda name: len(tried.get(name, ())))


def _complexity(result: Observation) -> float:
    longer, text = result.additions - result.deletions, result.diff_text.lower()
    careless = any(word in text for word in ("todo", "hack", "fixme"))
    hunks = result.diff_text.count("@@")
    return 0.02 * max(0, longer) + 0.05 * hunks + 0.15 * careless - 0.01 * max(0, -longer)


def _surprise(new: _Experiment) -> float:
    """Return the bonus for a result that the emitter's prediction did not foresee."""
    known = EMITTERS.get(new.emitter)
    predicted = known.predicted if known else "uncertain"
    if new.crash:
        return 0.15
    if new.gain > 0.0 and predicted in ("flat", "uncertain", "risky"):
        return 0.2
    if new.gain <= 0.0 and predicted in ("improve", "likely improve"):
        return 0.15
    return 0.1 if abs(new.gain) > 0.0015 else 0.0
