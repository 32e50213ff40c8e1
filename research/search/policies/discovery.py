"""The policy that plans real nights: keeps what is probably better, builds on what stands, ships the best believed.

Three habits, each with its reason:

1. **Believe no score as it reads.** Every value is a posterior: its runs, its parent's value, and what ideas usually
   do (research.verdict.effects). So tips are not champions by luck, and claimed gains are true on average.
2. **Keep what is probably better, not what reads lower.** False keeps are what greedy loses most by; gains smaller than
   the noise are hardly worth having (docs/search.md, acceptance).
3. **Order for a reason only.** See research.search.bandit: neglected categories, proven emitters, else free choice.

Replicates are spent where noise is as large as what ideas do (on the baseline, on the tip, on near ties), and on a tip
whose children say that it was lucky.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from research.core.settings import SETTINGS, Settings
from research.search.bandit import EMITTER, FREE, Bandit, Choice, Key
from research.search.observation import Result, configuration
from research.search.phases import Step, phase_of, stall_of
from research.search.policies.base import CATEGORIES, EMITTERS, REPLICATE, Answer, Order, Standing
from research.search.policies.knowledge import Knowledge
from research.verdict.effects import expected_gain, noise_sd
from research.verdict.rule import may_repeat


@dataclass(frozen=True)
class Parts:
    """Which of its parts are in use; ablations take one out each.

    Attributes:
        replicates: Measuring again; without it every decision is by single runs.
        archive_parents: Starting from the archive now and then while nothing improves; else always from the tip.
        bandit: Orders; without it the agent is always free.
        forgetting: Old credit fading.
    """

    replicates: bool = True
    archive_parents: bool = True
    bandit: bool = True
    forgetting: bool = True


ALL_PARTS = Parts()


class Discovery:
    """See the module.

    Args:
        seed: Same seed and history, same orders.
        parts: Which of its parts are in use.
        settings: The thresholds.

    Attributes:
        reason: Why the last ask chose what it chose, one sentence.
        knowledge: What it believes.
    """

    def __init__(self, seed: int, parts: Parts = ALL_PARTS, settings: Settings = SETTINGS) -> None:
        self._seed = seed
        self._settings = settings
        self._parts = parts

    def start(self, baseline: Result) -> None:
        """Begins a night, forgetting any before it; see Policy."""
        self.reason = ""
        self.knowledge = Knowledge(self._settings)
        self._bandit = Bandit(EMITTERS, CATEGORIES, self._settings, self._parts.forgetting)
        self._steps: list[Step] = []
        self._ordered = Choice(None, None, "")
        self._wanted: Hashable | None = None
        self._largest_gain = 0.0
        self._baseline = baseline.id
        self._standing = Standing(baseline.id)
        self.knowledge.add(baseline)

    # What to do next ---------------------------------------------------------------------------------------------

    def ask(self, history: Sequence[Result]) -> Order:
        """The next experiment; see Policy."""
        # Drawn anew from the history's length: a night that is replayed from its records asks only once, at its end.
        self._random = random.Random(f"discovery-{self._seed}-{len(history)}")
        repeat, why = self._worth_repeating()
        if repeat is not None:
            self.reason = why
            return REPLICATE, None, repeat
        self._ordered = choice = self._choice()
        parent, whence = self._parent()
        self.reason = f"{choice.why[:1].upper()}{choice.why[1:]}; {whence}."
        return choice.emitter, choice.category, None if parent == self._standing.tip else parent

    def _worth_repeating(self) -> tuple[Hashable | None, str]:
        """The configuration to run again before anything new, if there is one, and why."""
        if self._wanted is not None:
            return self._wanted, "Too close to call, or too good to be believed: another seed decides."
        if not self._parts.replicates:
            return None, ""
        know, settings = self.knowledge, self._settings
        if not self._baseline_known():
            return self._baseline, "Every gain is counted from the baseline, and its repeats tell the noise."
        tip = self._standing.tip
        runs = know.evidence.n(tip)
        if 0 < runs < settings.max_work_runs and may_repeat(know.evidence, settings):
            if know.belief(tip).sd > settings.work_ratio * know.effects.size:
                return tip, "What stands is known less well than ideas differ, so it is measured again."
            if know.doubt(tip) > settings.doubt_errors:
                return tip, "What was made from it says that what stands is worse than it read; another seed decides."
        return None, ""

    def _baseline_known(self) -> bool:
        """Whether the baseline was run as often as the noise asks for."""
        evidence, settings = self.knowledge.evidence, self._settings
        runs = evidence.n(self._baseline)
        if not self._parts.replicates or runs == 0:
            return True
        error = noise_sd(evidence) / math.sqrt(runs)
        enough = max(settings.baseline_error_bpb, settings.work_ratio * self.knowledge.effects.size)
        wants_more = runs < settings.max_baseline_runs and error > enough
        return runs >= settings.baseline_runs and not wants_more

    def _choice(self) -> Choice:
        """Emitter and category of the next experiment."""
        if not self._parts.bandit:
            return Choice(None, None, "the agent is free")
        if self.phase == "recombine" and self._random.random() < self._settings.recombine_share:
            return Choice("recombinator", None, "nothing has improved for a while and there are near misses to combine")
        return self._bandit.choose(self._random)

    def _parent(self) -> tuple[Hashable, str]:
        """What the next experiment is made from, and what that is."""
        tip, settings = self._standing.tip, self._settings
        stalled = stall_of(self._steps) >= settings.archive_stall
        if self._parts.archive_parents and stalled and self._random.random() < settings.archive_share:
            others = [config for config in self._ranked()[: settings.archive_reach] if config != tip]
            if others:
                return self._random.choice(others), "from the archive, for nothing has improved for a while"
        return tip, "from the tip"

    def _ranked(self) -> list[Hashable]:
        """Every measured configuration, the best believed first."""
        return sorted(self.knowledge.evidence, key=lambda config: self.knowledge.belief(config).mean)

    def _best(self) -> Hashable:
        """The configuration with the lowest believed value; the tip while nothing has a score."""
        evidence = self.knowledge.evidence
        return min(evidence, key=lambda c: self.knowledge.belief(c).mean) if len(evidence) else self._standing.tip

    # What a result means -----------------------------------------------------------------------------------------

    def tell(self, result: Result) -> Answer:
        """Takes a result and decides; see Policy."""
        self._learn(result)
        answer = self._answer(configuration(result))
        self._follow(result, answer)
        return answer

    def note(self, result: Result, decision: str) -> None:
        """Takes a result that was decided about elsewhere: by the judge of a real night, or by a person."""
        if not self._ordered.why:  # it was not asked for this one: a real commit's tag names whom the plan ordered
            self._ordered = Choice(result.emitter, None, "")
        self._learn(result)
        self._follow(result, "replicate" if decision == "investigate" else decision)

    def _answer(self, config: Hashable) -> Answer:
        know, tip = self.knowledge, self._standing.tip
        if config not in know.evidence or tip not in know.evidence:
            return "discard" if config not in know.evidence else "keep"
        if config == tip:
            before = self._standing.before
            stays = before is None or know.p_better(tip, before) >= self._settings.incumbent_stays_p
            return "keep" if stays else "discard"
        if config in self._standing.line:  # kept earlier and measured again: it stands again only if the tip lost
            return "discard" if know.p_better(tip, config) >= self._settings.incumbent_stays_p else "keep"
        decision = know.weigh(config, tip, self._largest_gain).decision
        if decision == "investigate" or decision == "replicate":
            return "replicate" if self._parts.replicates else "discard"
        return decision

    def _learn(self, result: Result) -> None:
        """Takes a result into beliefs and credit."""
        know = self.knowledge
        know.add(result)
        self._wanted = None
        if result.replicate_of is not None or result.parent_id is None:
            return
        gain = 0.0
        if result.id in know.evidence and result.parent_id in know.evidence:
            gain = expected_gain(know.effects.posterior(know.gap(result.id)))
        choice = self._ordered
        mode = EMITTER if choice.emitter else FREE  # a record does not tell whether the category was ordered
        cost = result.gpu_s / know.usual_s if know.usual_s > 0.0 else 1.0
        cost = min(max(cost, self._settings.min_cost), self._settings.max_cost)
        self._bandit.add(Key(mode, result.emitter or choice.emitter, result.category), choice.category, gain, cost)
        self._ordered = Choice(None, None, "")

    def _follow(self, result: Result, decision: str) -> None:
        """Takes a decision into the standing and the course of the night."""
        config, know = configuration(result), self.knowledge
        known = config in know.evidence
        if decision == "keep" and known and self._standing.tip in know.evidence:
            self._largest_gain = max(
                self._largest_gain, know.belief(self._standing.tip).mean - know.belief(config).mean
            )
        self._wanted = config if decision == "replicate" and known else None
        if result.replicate_of is None and result.parent_id is not None:
            self._steps.append(self._step(result))
        self._standing.decide(config, decision)

    def _step(self, result: Result) -> Step:
        """An experiment in the course of the night."""
        know = self.knowledge
        combined = result.emitter == "recombinator"
        if result.id not in know.evidence or result.parent_id not in know.evidence:
            return Step(crashed=result.id not in know.evidence, combined=combined)
        p_better = know.effects.p_better(know.gap(result.id))
        improved = p_better >= 0.5
        return Step(False, improved, not improved and p_better >= self._settings.near_miss_p, combined)

    # What it says ------------------------------------------------------------------------------------------------

    @property
    def phase(self) -> str:
        """What the night is at: see research.search.phases."""
        return phase_of(self._steps, self._baseline_known(), self._settings)

    @property
    def shares(self) -> Mapping[str | None, float]:
        """What every emitter, and None for a free choice, is worth now, in shares of one."""
        return self._bandit.shares()

    def final(self, history: Sequence[Result]) -> Hashable:
        """The configuration with the lowest believed value; see Policy."""
        return self._best()

    def estimate(self, config: Hashable) -> float:
        """The believed value of a configuration; see Policy."""
        return self.knowledge.belief(config).mean


def _without(**parts: bool) -> Callable[[int], Discovery]:
    return lambda seed: Discovery(seed, Parts(**parts))


ABLATIONS: Mapping[str, Callable[[int], Discovery]] = {
    "discovery-no-replicates": _without(replicates=False),
    "discovery-no-archive-parents": _without(archive_parents=False),
    "discovery-no-bandit": _without(bandit=False),
    "discovery-no-forgetting": _without(forgetting=False),
}
"""The policy with one of its parts taken out, by name."""
