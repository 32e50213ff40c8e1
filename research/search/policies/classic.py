"""The planner and the recommendation rule of the public loop that this project follows, as it was, for comparison.

Its formulas are kept with their faults (best moves to any lower number, crashes and deletions earn reward, near misses
never age, the niche is the order's and not the change's), with one exception: emitters are gone through in sorted
order, where it iterated over a set and so gave another plan each time. "investigate" counts as discard, as it did for
the tip.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from research.search.emitters import registry
from research.search.observation import Result, configuration
from research.search.policies.base import CATEGORIES, EMITTERS, Answer, KeptChain, Order

BIASES: Mapping[str, Mapping[str, float]] = {
    "baseline": {"local_tuner": 0.2, "simplifier": 0.1},
    "exploit": {"local_tuner": 0.35, "optimizer_hacker": 0.25, "simplifier": 0.15},
    "explore": {"architecture_mutator": 0.35, "contrarian": 0.25, "optimizer_hacker": 0.1},
    "recombine": {"recombinator": 0.4, "contrarian": 0.2, "architecture_mutator": 0.1},
    "stabilize": {"anomaly_chaser": 0.4, "simplifier": 0.2, "local_tuner": 0.1},
}
FIRST_CATEGORIES = ("optimizer", "architecture", "attention", "batch", "normalization")
ALL_CATEGORIES = (*CATEGORIES, "mixed", "simplification")


@dataclass
class Tally:
    """What an emitter or a category has to its name: attempts, reward, place of its last use."""

    attempts: int = 0
    reward: float = 0.0
    last: int = -1

    @property
    def mean(self) -> float:
        """Reward per attempt; 0 before the first."""
        return self.reward / self.attempts if self.attempts else 0.0


@dataclass
class Outcome:
    """One result against the best before it."""

    gain: float | None
    longer: int
    hunks: int
    careless: bool
    crash: str | None
    peak_gb: float | None
    emitter: str
    category: str


@dataclass
class Memory:
    """Its state, in its own terms."""

    best: float = math.inf
    baseline_gb: float | None = None
    count: int = 0
    stall: int = 0
    streak: tuple[str, int] = ("", 0)
    emitters: dict[str, Tally] = field(default_factory=dict)
    categories: dict[str, Tally] = field(default_factory=dict)
    niches: Counter[str] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)
    near_misses: deque[str] = field(default_factory=lambda: deque(maxlen=12))
    recent: deque[tuple[bool, bool]] = field(default_factory=lambda: deque(maxlen=5))
    recent_emitters: deque[str] = field(default_factory=lambda: deque(maxlen=8))


class Classic:
    """The public loop's planner with its own rule.

    Args:
        seed: Unused; its plan is a function of the history.
    """

    def __init__(self, seed: int) -> None:
        self._memory = Memory()
        self._values: dict[Hashable, list[float]] = {}
        self._niche = ""
        self._planned = ("local_tuner", "optimizer")

    def start(self, baseline: Result) -> None:
        """Begins the night; see Policy."""
        self._chain = KeptChain(baseline.id)
        if baseline.val_bpb is not None:
            self._values[baseline.id] = [baseline.val_bpb]
            self._memory.best = baseline.val_bpb
        self._memory.baseline_gb = baseline.peak_gb
        self._memory.count = 1

    def ask(self, history: Sequence[Result]) -> Order:
        """The emitter with the highest score in this phase, the niche's category; see Policy."""
        phase = phase_of(self._memory)
        emitter = choose_emitter(self._memory, phase)
        category = choose_category(self._memory, phase)
        self._planned, self._niche = (emitter, category), f"{category}/{phase}"
        return emitter, category, None

    def tell(self, result: Result) -> Answer:
        """Keeps by its recommendation rule; see Policy."""
        config = configuration(result)
        if result.val_bpb is not None:
            self._values.setdefault(config, []).append(result.val_bpb)
        if result.replicate_of is not None:
            return "keep" if config == self._chain.tip else "discard"
        outcome = self._outcome(result)
        terms = score_terms(self._memory, outcome, self._niche)
        answer = recommend(outcome, -terms["complexity"])
        learn(self._memory, outcome, self._niche, sum(terms.values()), answer == "keep")
        if result.val_bpb is not None:
            self._memory.best = min(self._memory.best, result.val_bpb)
        self._chain.decide(config, answer)
        return answer

    def final(self, history: Sequence[Result]) -> Hashable:
        """The tip; see Policy."""
        return self._chain.tip

    def estimate(self, config: Hashable) -> float:
        """A configuration's score, taken as it reads; see Policy."""
        scores = self._values[config]
        return sum(scores) / len(scores)

    def _outcome(self, result: Result) -> Outcome:
        gain = None if result.val_bpb is None else round(self._memory.best - result.val_bpb, 6)
        text = result.diff_text.lower()
        return Outcome(
            gain if gain is None or math.isfinite(gain) else 0.0,
            result.additions - result.deletions,
            result.diff_text.count("@@"),
            any(word in text for word in ("todo", "hack", "fixme")),
            result.crash,
            result.peak_gb,
            result.emitter or self._planned[0],
            result.category or self._planned[1],
        )


def score_terms(memory: Memory, outcome: Outcome, niche: str) -> dict[str, float]:
    """The six terms of its discovery score, costs below zero."""
    category = memory.categories.get(outcome.category, Tally()).attempts
    emitter = memory.emitters.get(outcome.emitter, Tally()).attempts
    gain = outcome.gain if outcome.gain is not None else 0.0
    fitness = max(0.0, gain) * 100.0
    if outcome.gain is not None and abs(gain) <= 0.0002 and outcome.longer < 0:
        fitness += 0.1
    novelty = 0.35 / math.sqrt(memory.niches[niche] + 1) + 0.2 / math.sqrt(category + 1) + 0.1 / math.sqrt(emitter + 1)
    information = 0.25 / math.sqrt(category + 1) + (0.1 if memory.stall >= 4 else 0.0)
    if outcome.crash and outcome.crash not in memory.crashes:
        information += 0.2
    complexity = (
        0.02 * max(0, outcome.longer) + 0.05 * outcome.hunks + 0.15 * outcome.careless - 0.01 * max(0, -outcome.longer)
    )
    vram = 0.0
    if outcome.peak_gb and memory.baseline_gb:
        vram = 0.5 * max(0.0, (outcome.peak_gb - memory.baseline_gb) / memory.baseline_gb)
    return {
        "fitness": fitness,
        "novelty": novelty,
        "information": information,
        "surprise": surprise(outcome, gain),
        "complexity": -complexity,
        "vram": -vram,
    }


def surprise(outcome: Outcome, gain: float) -> float:
    """Its bonus for results that its emitter's prediction did not foresee."""
    predicted = registry.EMITTERS[outcome.emitter].predicted if outcome.emitter in registry.EMITTERS else "uncertain"
    if outcome.crash:
        return 0.15
    if gain > 0.0 and predicted in ("flat", "uncertain", "risky"):
        return 0.2
    if gain <= 0.0 and predicted in ("improve", "likely improve"):
        return 0.15
    return 0.1 if abs(gain) > 0.0015 else 0.0


def recommend(outcome: Outcome, complexity: float) -> Answer:
    """Its rule: what it calls investigate (a shorter draw, or a score of 0.5) is a discard here, like the rest."""
    if outcome.crash or outcome.gain is None:
        return "discard"
    return "keep" if outcome.gain > 0.001 or (outcome.gain > 0.0 and complexity <= 0.2) else "discard"


def learn(memory: Memory, outcome: Outcome, niche: str, reward: float, kept: bool) -> None:
    """Takes one experiment into the state."""
    improved = outcome.gain is not None and outcome.gain > 0.0
    emitter = memory.emitters.setdefault(outcome.emitter, Tally())
    category = memory.categories.setdefault(outcome.category, Tally())
    for tally in (emitter, category):
        tally.attempts += 1
        tally.reward += reward
    memory.count += 1
    emitter.last = memory.count
    memory.niches[niche] += 1
    if outcome.crash:
        memory.crashes[outcome.crash] += 1
    if outcome.gain is not None and -0.0015 <= outcome.gain <= 0.0:
        memory.near_misses.append(outcome.category)
    memory.stall = 0 if improved or kept else memory.stall + 1
    memory.recent.append((improved, outcome.gain is None))
    memory.recent_emitters.append(outcome.emitter)
    name, length = memory.streak
    memory.streak = (outcome.emitter, length + 1 if name == outcome.emitter else 1)


def phase_of(memory: Memory) -> str:
    """Its phase."""
    if memory.count == 0:
        return "baseline"
    if sum(crashed for _, crashed in memory.recent) >= 2:
        return "stabilize"
    if memory.stall >= 6 and len(memory.near_misses) >= 2:
        return "recombine"
    if memory.stall >= 4:
        return "explore"
    return "exploit" if sum(improved for improved, _ in memory.recent) >= 2 else "explore"


def choose_emitter(memory: Memory, phase: str) -> str:
    """The emitter with the highest upper confidence bound, phase bias and penalties included."""
    t = max(1, memory.count)
    last_four = list(memory.recent_emitters)[-4:]
    streak_name, streak = memory.streak

    def score(name: str) -> float:
        tally = memory.emitters.get(name, Tally())
        value = tally.mean + math.sqrt(2.0 * math.log(t + 2) / (tally.attempts + 1)) + BIASES[phase].get(name, 0.0)
        value += 0.35 if memory.stall >= 4 and name not in last_four else 0.0
        value -= 0.05 if tally.last == t else 0.0
        value -= 0.08 * memory.recent_emitters.count(name)
        return value - (0.15 * (streak - 1) if name == streak_name else 0.0)

    free = [name for name in sorted(EMITTERS) if not (name == streak_name and streak >= 3)]
    return max(free, key=score)


def choose_category(memory: Memory, phase: str) -> str:
    """The least tried category; the best rewarded in exploit, those of the last two near misses in recombine."""
    if phase == "recombine":
        last, before = memory.near_misses[-1], memory.near_misses[-2]
        return last if last == before else f"{before}+{last}"
    if not memory.categories:
        return FIRST_CATEGORIES[0]
    if phase == "exploit":
        return max(sorted(memory.categories), key=lambda name: memory.categories[name].mean)
    return min(ALL_CATEGORIES, key=lambda name: memory.categories.get(name, Tally()).attempts)
