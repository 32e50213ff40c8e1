"""Plans real nights: keeps what is probably better on shared seeds, and orders something only for a reason.

1. **Compare on the same seeds.** Every value comes from the posterior of research.verdict.belief, in which the effect
   of a seed cancels where two configurations share it.
2. **Keep what is probably better, not what reads lower.** A change that may be better on one seed gets a second one
   that the tip has; the tip gets it first if it lacks it. Seeds take turns.
3. **Order for a reason only.** See research.search.bandit: proven emitters, else free choice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from research.core.contract import DEFAULT_SEED
from research.core.records import OPEN_DECISIONS, PERSON
from research.core.settings import SETTINGS, Settings
from research.runs.racing import LOOKS
from research.search.bandit import EMITTER, FREE, Bandit, Choice, Key
from research.search.observation import Partial, Result, configuration
from research.search.policies.base import CATEGORIES, EMITTERS, REPLICATE, Answer, KeptChain, Order
from research.verdict.belief import Belief, Score
from research.verdict.forecast import Forecast, Pair
from research.verdict.noise import OFFICIAL
from research.verdict.phase import PhaseInputs, phase_of
from research.verdict.rule import Judgement, weigh
from research.verdict.seeds import experiment_seed, next_replicate
from research.verdict.variances import Condition


@dataclass(frozen=True)
class Parts:
    """Which of its parts are in use; ablations take one out each.

    Attributes:
        racing: Stopping runs that will hardly be better; without it every run goes to its end.
        replicates: Measuring again; without it every decision is by single runs.
        archive_parents: Starting from the archive now and then while nothing improves; else always from the tip.
        bandit: Orders; without it the agent is always free.
        forgetting: Old credit fading.
        rotation: Seeds taking turns; without it experiments run on the tip's first seed.
    """

    racing: bool = True
    replicates: bool = True
    archive_parents: bool = True
    bandit: bool = True
    forgetting: bool = True
    rotation: bool = True


ALL_PARTS = Parts()


INVESTIGATE = "investigate"
FORECAST_EVERY = 5
"""Runs after which what gaps foretell is learned anew: a few more runs move it little."""


class _Past(NamedTuple):
    """One result of the night, how it was ordered, and what was decided about it."""

    result: Result
    choice: Choice
    decision: str


class Discovery:
    """See the module.

    Args:
        seed: Same seed and history, same orders.
        parts: Which of its parts are in use.
        settings: The thresholds.

    Attributes:
        reason: Why the last ask chose what it chose, one sentence.
    """

    def __init__(self, seed: int, parts: Parts = ALL_PARTS, settings: Settings = SETTINGS) -> None:
        self._seed = seed
        self._settings = settings
        self._parts = parts

    def start(self, baseline: Result) -> None:
        """Begin a night, forgetting any before it; see Policy."""
        self.reason = ""
        self._past: list[_Past] = []
        self._scores: list[Score] = []
        self._gaps: dict[float, float] = {}  # of the run that is going on, by fraction
        self._pairs: dict[float, list[Pair]] = {}
        self._ordered = Choice(None, None, "")
        self._next_seed = DEFAULT_SEED
        self._chain = KeptChain(baseline.id)
        self._belief: Belief | None = None
        self._before: Belief | None = None
        self._repeating = False
        self._forecast = Forecast()
        self._given: Belief | None = None
        self._add(_Past(baseline, Choice(None, None, ""), "keep"))

    @property
    def belief(self) -> Belief:
        """Return the posterior of all results so far."""
        if self._given is not None:
            return self._given
        if self._belief is None:
            self._belief = Belief.from_history(self._scores, OFFICIAL, self._before)
        return self._belief

    def _add(self, past: _Past) -> None:
        self._past.append(past)
        if (score := _score_of(past.result) or self._foretold(past.result)) is not None:
            self._scores.append(score)
            self._before, self._belief = self._belief, None

    def use(self, belief: Belief) -> None:
        """Take the posterior of a real night, whose configurations have the same names, in place of its own."""
        self._given = belief

    # What to do next ---------------------------------------------------------------------------------------------

    def ask(self, history: Sequence[Result]) -> Order:
        """Return the next experiment; see Policy."""
        # Drawn anew from the history's length: a night that is replayed from its records asks only once, at its end.
        self._random = random.Random(f"discovery-{self._seed}-{len(history)}")
        again = self._worth_repeating()
        self._repeating = again is not None
        if again is not None:
            config, self._next_seed, self.reason = again
            return REPLICATE, None, config
        self._ordered = choice = self._choice()
        parent, whence = self._parent()
        known = parent if parent in self.belief else self._chain.tip
        first = next(iter(self.belief.seeds(known)), DEFAULT_SEED)
        self._next_seed = experiment_seed(self.belief, known) if self._parts.rotation else first
        self.reason = f"{choice.why[:1].upper()}{choice.why[1:]}; {whence}."
        return choice.emitter, choice.category, None if parent == self._chain.tip else parent

    def next_seed(self) -> int:
        """Return the seed of the run that was just asked for; see Policy."""
        return self._next_seed

    def _worth_repeating(self) -> tuple[Hashable, int, str] | None:
        """Return the configuration to run again before anything new, its seed and why; None if nothing is."""
        tip, belief, settings = self._chain.tip, self.belief, self._settings
        if not self._parts.replicates or tip not in belief:
            return None
        ideas = sum(past.result.replicate_of is None for past in self._past) - 1
        for config in self._undecided():
            large = self._weigh(config).decision == INVESTIGATE
            if ideas < settings.ideas_before_replicates and not large:
                continue
            which, seed = next_replicate(belief, config, tip)
            why = "too close to call, or too large a gain to be kept on one seed's word"
            if which == tip:
                return which, seed, f"A change is {why}: the best so far gets another seed to compare it on."
            return which, seed, f"It is {why}: seed {seed} decides, which the best so far ran with too."
        if len(self._past) >= settings.repeat_after_runs and belief.variances.of_repeat.n == 0:
            first = next(iter(belief.seeds(tip)), DEFAULT_SEED)
            return tip, first, "One seed is run twice, so that repeats and seeds can be told apart."
        return None

    def _undecided(self) -> list[Hashable]:
        """Return the configurations that wait for another run and still deserve it, the oldest first."""
        belief, tip = self.belief, self._chain.tip
        last: dict[Hashable, str] = {}
        for past in self._past:
            last[configuration(past.result)] = past.decision
        waiting = [config for config, decision in last.items() if decision in OPEN_DECISIONS and config in belief]
        return [
            config
            for config in waiting
            if config != tip
            and (
                last[config] == INVESTIGATE  # the judge of a real night may know more than the scores
                or self._weigh(config).decision in OPEN_DECISIONS
            )
        ]

    def _choice(self) -> Choice:
        """Return emitter and category of the next experiment."""
        if not self._parts.bandit:
            return Choice(None, None, "the agent is free")
        if self.phase == "recombine" and self._random.random() < self._settings.recombine_share:
            return Choice("recombinator", None, "nothing has improved for a while and there are near misses to combine")
        return self._credit().choose(self._random)

    def _credit(self) -> Bandit:
        """Return what every emitter and category brought, from the latest results."""
        belief = self.belief
        bandit = Bandit(EMITTERS, CATEGORIES, self._settings, self._parts.forgetting)
        latest = [
            past
            for past in self._past
            if past.result.replicate_of is None
            and past.result.parent_id is not None
            and past.result.emitter != PERSON  # says nothing of how the agent does, free or ordered
        ]
        times = [past.result.gpu_s for past in latest if past.result.val_bpb is not None]
        usual_s = sum(times) / len(times) if times else 0.0
        for result, choice, _ in latest[-self._settings.replay_runs :]:
            gain = 0.0
            if result.id in belief and result.parent_id in belief:
                gain = belief.expected_gain(result.id, result.parent_id)
            mode = EMITTER if choice.emitter else FREE  # a record does not tell whether the category was ordered
            cost = result.gpu_s / usual_s if usual_s > 0.0 else 1.0
            cost = min(max(cost, self._settings.min_cost), self._settings.max_cost)
            bandit.add(Key(mode, result.emitter or choice.emitter, result.category), gain, cost)
        return bandit

    def _parent(self) -> tuple[Hashable, str]:
        """Return what the next experiment is made from, and what that is."""
        tip, settings = self._chain.tip, self._settings
        stalled = self._inputs().stall >= settings.archive_stall
        if self._parts.archive_parents and stalled and self._random.random() < settings.archive_share:
            ranked = sorted(self.belief.configs, key=self.belief.mean)[: settings.archive_reach]
            if others := [config for config in ranked if config != tip]:
                return self._random.choice(others), "starts from the archive, since nothing has improved for a while"
        return tip, "starts from the best so far"

    # A run that is going on ----------------------------------------------------------------------------------------

    def stop(self, partial: Partial) -> bool:
        """Return whether to end a run: when it will hardly be better than the tip; see Policy.

        Repeats are never ended, and neither is one run in ten, so that the forecast stays checked.
        """
        if partial.gap is None or self._repeating:
            return False
        fraction = round(partial.fraction, 2)
        self._gaps[fraction] = partial.gap
        if not self._parts.racing or fraction < LOOKS[0]:
            return False
        if random.Random(f"whole-{self._seed}-{partial.id}").random() * self._settings.race_full_share < 1.0:
            return False
        return self._forecast.predict(partial.gap, fraction).p_better < self._settings.race_stop_p

    def _foretold(self, result: Result) -> Score | None:
        """Return what was foretold of a run that was stopped, as the posterior takes it."""
        stopped = getattr(result, "stopped_at", None) is not None
        theirs = self._at(self._chain.tip, _seed_of(result)) if stopped else None
        if theirs is None or not self._gaps:
            return None
        known = self._forecast.predict(self._gaps[max(self._gaps)], max(self._gaps))
        condition, parent = Condition(_seed_of(result)), result.parent_id if result.replicate_of is None else None
        return Score(configuration(result), parent, condition, theirs + known.mean, known.sd)

    def _learn(self, result: Result) -> None:
        """Let the forecast know what a whole run came to."""
        theirs = self._at(self._chain.tip, _seed_of(result))
        if result.val_bpb is not None and theirs is not None and self._gaps:
            for fraction, gap in self._gaps.items():
                self._pairs.setdefault(fraction, []).append((gap, result.val_bpb - theirs))
            if len(self._past) % FORECAST_EVERY == 0:
                self._forecast = Forecast(self._pairs)

    def _at(self, config: Hashable, seed: int) -> float | None:
        """Return a configuration's first score with a seed."""
        if config not in self.belief:
            return None
        return next((one.val_bpb for one in self.belief.scores(config) if one.condition.seed == seed), None)

    # What a result means -----------------------------------------------------------------------------------------

    def tell(self, result: Result) -> Answer:
        """Take a result and decide; see Policy."""
        self._learn(result)
        self._add(_Past(result, self._ordered, "discard"))
        self._gaps = {}
        config = configuration(result)
        answer = self._answer(config)
        self._follow(answer)
        if answer != REPLICATE:
            return answer
        # Another run of it may come at once; if the tip gets that seed first or ideas come first, ask() remembers it.
        again = self._worth_repeating()
        if again is None or again[0] != config:
            return "discard"
        _, self._next_seed, self.reason = again
        self._repeating = True
        return answer

    def note(self, result: Result, decision: str) -> None:
        """Take a result that was decided about elsewhere: by the judge of a real night, or by a person."""
        # A real commit's tag names whom the plan ordered.
        self._add(_Past(result, Choice(result.emitter, None, ""), decision))
        self._follow(decision)

    def _answer(self, config: Hashable) -> Answer:
        belief, tip = self.belief, self._chain.tip
        if config not in belief or tip not in belief:
            return "discard" if config not in belief else "keep"
        if config == tip:
            before = self._chain.before
            stays = before not in belief or belief.p_better(tip, before) >= self._settings.incumbent_stays_p
            return "keep" if stays else "discard"
        if config in self._chain.kept:  # kept earlier and measured again: it is the tip again only if the tip lost
            return "discard" if belief.p_better(tip, config) >= self._settings.incumbent_stays_p else "keep"
        decision = self._weigh(config).decision
        if decision == "investigate" or decision == "replicate":
            return "replicate" if self._parts.replicates else "discard"
        return decision

    def _weigh(self, config: Hashable) -> Judgement:
        """Return what the rule decides about a configuration against the tip."""
        return weigh(self.belief, config, self._chain.tip, largest_gain=self._largest_gain(), settings=self._settings)

    def _largest_gain(self) -> float:
        """Return the largest step down along the kept configurations, in bpb."""
        means = [self.belief.mean(config) for config in self._chain.kept if config in self.belief]
        return max((one - two for one, two in pairwise(means)), default=0.0)

    def _follow(self, decision: str) -> None:
        """Take the decision about the latest result."""
        last = self._past[-1]
        self._past[-1] = last._replace(decision=decision)
        self._chain.decide(configuration(last.result), decision)
        self._ordered = Choice(None, None, "")

    # What it says ------------------------------------------------------------------------------------------------

    @property
    def phase(self) -> str:
        """Return what the night is at; see research.verdict.phase."""
        return phase_of(self._inputs(), self._settings)

    def _inputs(self) -> PhaseInputs:
        belief, tip, settings = self.belief, self._chain.tip, self._settings
        ideas = [past for past in self._past if past.result.replicate_of is None and past.result.parent_id is not None]
        kept = {configuration(past.result) for past in self._past if past.decision == "keep"}
        stall = next((back for back, past in enumerate(reversed(ideas)) if past.result.id in kept), len(ideas))
        latest = ideas[-settings.phase_window :]
        late = ideas[-settings.near_miss_age :]
        near = sum(
            past.result.id in belief
            and past.result.id not in kept
            and tip in belief
            and belief.p_better(past.result.id, tip) >= settings.near_miss_p
            for past in late
        )
        combined = sum(past.result.emitter == "recombinator" for past in late)
        return PhaseInputs(
            configurations=len(self._past),
            stall=stall,
            recent_crashes=sum(past.result.crash is not None for past in latest),
            recent_keeps=sum(past.result.id in kept for past in latest),
            near_misses=near - 2 * combined,
        )

    @property
    def shares(self) -> Mapping[str | None, float]:
        """Return what every emitter, and None for a free choice, is worth now, in shares of one."""
        return self._credit().shares()

    def final(self, history: Sequence[Result]) -> Hashable:
        """Return the configuration with the lowest posterior mean; see Policy."""
        best = self.belief.best()
        return self._chain.tip if best is None else best

    def estimate(self, config: Hashable) -> float:
        """Return the posterior mean of a configuration's val_bpb; see Policy."""
        return self.belief.mean(config)


def _score_of(result: Result) -> Score | None:
    """Return a result as the posterior takes it, None without a score."""
    if result.val_bpb is None:
        return None
    parent = result.parent_id if result.replicate_of is None else None
    return Score(configuration(result), parent, Condition(_seed_of(result)), result.val_bpb)


def _seed_of(result: Result) -> int:
    """Return a result's seed; a driver that knows none ran with the usual one."""
    return getattr(result, "seed", DEFAULT_SEED)


def _without(**parts: bool) -> Callable[[int], Discovery]:
    return lambda seed: Discovery(seed, Parts(**parts))


ABLATIONS: Mapping[str, Callable[[int], Discovery]] = {
    "discovery-no-replicates": _without(replicates=False),
    "discovery-no-archive-parents": _without(archive_parents=False),
    "discovery-no-racing": _without(racing=False),
    "discovery-no-bandit": _without(bandit=False),
    "discovery-no-forgetting": _without(forgetting=False),
    "discovery-no-rotation": _without(rotation=False),
}
"""The policy with one of its parts taken out, by name."""
