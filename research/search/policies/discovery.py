"""Plans real nights: keeps what is probably better on shared seeds, and orders something only for a reason.

1. **Compare on the same seeds.** Every value comes from the posterior of research.verdict.belief, in which the effect
   of a seed cancels where two configurations share it.
2. **Keep what is probably better, not what reads lower.** A change that may be better on one seed gets a second one
   that the tip has; the tip gets it first if it lacks it. Seeds take turns.
3. **Order for a reason only.** See research.search.bandit: proven emitters, else free choice.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from research.core.contract import DEFAULT_SEED
from research.core.records import OPEN_DECISIONS, PERSON, Decision
from research.core.settings import SETTINGS, Settings
from research.runs.racing import LOOKS
from research.search.bandit import Bandit
from research.search.emitters import EMITTERS
from research.search.observation import Observation, Partial, configuration
from research.search.policies.base import REPLICATE, Answer, KeptChain, Order, Policy
from research.verdict.belief import Belief, Score
from research.verdict.forecast import Forecast, Pair
from research.verdict.noise import OFFICIAL
from research.verdict.phase import PhaseInputs, phase_of
from research.verdict.rule import weigh
from research.verdict.seeds import ANYWHERE, Place, experiment_seed, first_seed, next_replicate
from research.verdict.variances import Condition

INVESTIGATE: Final = "investigate"
FORECAST_EVERY = 5  # runs after which the forecast is fitted anew: a few more runs move it little


class _PastResult(NamedTuple):
    """One past result of the night."""

    result: Observation
    ordered: str | None  # the emitter that was ordered, None where the agent was free
    decision: str  # "" until it is decided

    @property
    def is_idea(self) -> bool:
        """Return whether it is a new configuration, neither the baseline nor a repeat."""
        return self.result.replicate_of is None and self.result.parent_id is not None


class Discovery(Policy):
    """The policy that plans real nights.

    Args:
        seed: Seed of its random choices.
        settings: The thresholds.
    """

    def __init__(self, seed: int, settings: Settings = SETTINGS) -> None:
        self._seed = seed
        self._settings = settings

    def start(self, baseline: Observation) -> None:
        self.reason = ""
        self._past: list[_PastResult] = []
        self._scores: list[Score] = []
        self._gaps: dict[float, float] = {}  # gaps of the run that is going on, by fraction
        self._pairs: dict[float, list[Pair]] = {}
        self._forecast = Forecast()
        self._ordered: str | None = None
        self._next_seed = DEFAULT_SEED
        self._repeating = False
        self._place = ANYWHERE
        self._chain = KeptChain(baseline.id)
        self._belief: Belief | None = None
        self._before: Belief | None = None  # the posterior before the latest score, of which most still holds
        self._add(baseline, None)
        self._follow("keep")

    @property
    def belief(self) -> Belief:
        """Return the posterior of all results so far."""
        if self._belief is None:
            self._belief = Belief(self._scores, OFFICIAL, self._before)
        return self._belief

    def set_belief(self, belief: Belief) -> None:
        self._belief = belief

    def set_place(self, place: Place) -> None:
        self._place = place

    # What to do next --------------------------------------------------------------------------------------------------

    def ask(self, history: Sequence[Observation]) -> Order:
        # Drawn anew from the history's length: a night that is replayed from its records asks only once, at its end.
        rng = random.Random(f"discovery-{self._seed}-{len(history)}")
        if (again := self._worth_repeating()) is not None:
            return REPLICATE, None, self._repeat(*again)
        self._repeating = False
        inputs, settings = self._inputs(), self._settings
        is_stuck = phase_of(inputs, settings) == "recombine"
        if is_stuck and rng.random() < settings.recombine_share:
            self._ordered = "recombinator"
            why = "nothing has improved for a while and there are near misses to combine"
        else:
            self._ordered, why = self.credit().choose(rng)
        parent, start = None, "starts from the best so far"
        if inputs.stall >= settings.archive_stall and rng.random() < settings.archive_share:
            ranked = sorted(self.belief.configs, key=self.belief.mean)[: settings.archive_reach]
            if others := [config for config in ranked if config != self._chain.tip]:
                parent = rng.choice(others)
                start = "starts from the archive, since nothing has improved for a while"
        has_run_there = parent is not None and self.belief.seeds(parent, self._place.machine)
        self._next_seed = experiment_seed(self.belief, parent if has_run_there else self._chain.tip, self._place)
        self.reason = f"{why[:1].upper()}{why[1:]}; {start}."
        return self._ordered, None, parent

    def next_seed(self) -> int:
        return self._next_seed

    def _repeat(self, config: Hashable, seed: int, why: str) -> Hashable:
        """Make the next run a repeat of a configuration."""
        self._repeating, self._next_seed, self.reason = True, seed, why
        return config

    def _worth_repeating(self) -> tuple[Hashable, int, str] | None:
        """Return the configuration to run again before anything new, its seed and the reason; None for none."""
        tip, belief, settings = self._chain.tip, self.belief, self._settings
        if tip not in belief:
            return None
        if not belief.seeds(tip, self._place.machine):
            why = "The best so far has no run on this card yet: what runs here is compared with one that does."
            return tip, first_seed(belief, tip, self._place), why
        ideas = sum(past.result.replicate_of is None for past in self._past) - 1
        for config in self._undecided():
            if ideas < settings.ideas_before_replicates and self._weigh(config) != INVESTIGATE:
                continue
            if (again := next_replicate(belief, config, tip, self._place)) is None:
                continue
            which, seed = again
            why = "too close to call, or too large a gain to be kept on one seed's word"
            if which == tip:
                return which, seed, f"A change is {why}: the best so far gets another seed to compare it on."
            return which, seed, f"It is {why}: seed {seed} decides, which the best so far ran with too."
        if len(self._past) >= settings.repeat_after_runs and belief.variances.noise.repeat.n == 0:
            first = belief.seeds(tip, self._place.machine)[0]
            return tip, first, "One seed is run twice, so that repeats and seeds can be told apart."
        return None

    def _undecided(self) -> list[Hashable]:
        """Return the configurations that wait for another run and still deserve it, the oldest first."""
        last = {configuration(past.result): past.decision for past in self._past}
        return [
            config
            for config, decision in last.items()
            if decision in OPEN_DECISIONS
            and config in self.belief
            and config != self._chain.tip
            # The judge of a real night may know more than the scores.
            and (decision == INVESTIGATE or self._weigh(config) in OPEN_DECISIONS)
        ]

    def credit(self) -> Bandit:
        """Return the bandit with the credit of every emitter and of the free choice, by the latest results."""
        belief, settings = self.belief, self._settings
        bandit = Bandit(EMITTERS, settings)
        # A person's idea says nothing of how the agent does, free or ordered.
        latest = [past for past in self._past if past.is_idea and past.result.emitter != PERSON]
        times = [past.result.gpu_s for past in latest if past.result.val_bpb is not None]
        usual_s = sum(times) / len(times) if times else 0.0
        for result, ordered, _ in latest[-settings.replay_runs :]:
            known = result.id in belief and result.parent_id in belief
            gain = belief.expected_gain(result.id, result.parent_id) if known else 0.0
            cost = result.gpu_s / usual_s if usual_s > 0.0 else 1.0
            bandit.add(ordered, gain, min(max(cost, settings.min_cost), settings.max_cost))
        return bandit

    # A run that is going on -------------------------------------------------------------------------------------------

    def stop(self, partial: Partial) -> bool:
        """Return whether to end a run, since it will hardly be better than the tip.

        Repeats are never ended, and neither is one run in ten, so that the forecast stays checked.
        """
        fraction = round(partial.fraction, 2)
        if partial.gap is None or self._repeating or fraction < LOOKS[0]:
            return False
        self._gaps[fraction] = partial.gap
        if random.Random(f"whole-{self._seed}-{partial.id}").random() * self._settings.race_full_share < 1.0:
            return False
        return self._forecast.predict(partial.gap, fraction).p_better < self._settings.race_stop_p

    def _learn(self, result: Observation) -> None:
        """Add the final difference of a whole run to what the forecast is fitted to."""
        theirs = self._of_tip(result.seed)
        if result.val_bpb is not None and theirs is not None and self._gaps:
            for fraction, gap in self._gaps.items():
                self._pairs.setdefault(fraction, []).append((gap, result.val_bpb - theirs))
            if len(self._past) % FORECAST_EVERY == 0:
                self._forecast = Forecast(self._pairs)

    def _of_tip(self, seed: int) -> float | None:
        """Return the tip's first score with a seed."""
        return next((one.val_bpb for one in self.belief.scores(self._chain.tip) if one.condition.seed == seed), None)

    # What a result means ----------------------------------------------------------------------------------------------

    def tell(self, result: Observation) -> Answer:
        self._learn(result)
        self._add(result, self._ordered)
        self._gaps = {}
        config = configuration(result)
        answer = self._answer(config)
        self._follow(answer)
        # Another run of it may come at once; if the tip gets that seed first or ideas come first, ask() remembers it.
        if answer == "replicate":
            again = self._worth_repeating()
            if again is None or again[0] != config:
                return "discard"
            self._repeat(*again)
        return answer

    def note(self, result: Observation, decision: str) -> None:
        """Take a result that was decided about elsewhere: by the judge of a real night, or by a person."""
        self._add(result, result.emitter)  # a real commit's tag names whom the plan ordered
        self._follow(decision)

    def _add(self, result: Observation, ordered: str | None) -> None:
        self._past.append(_PastResult(result, ordered, decision=""))
        if (score := self._score_of(result)) is not None:
            self._scores.append(score)
            self._before, self._belief = self._belief, None

    def _score_of(self, result: Observation) -> Score | None:
        """Return a result's score or, of a stopped run, the forecast; None without either."""
        value, spread = result.val_bpb, 0.0
        if result.stopped_at is not None and self._gaps and (theirs := self._of_tip(result.seed)) is not None:
            fraction = max(self._gaps)
            foretold = self._forecast.predict(self._gaps[fraction], fraction)
            value, spread = theirs + foretold.mean, foretold.sd
        parent = result.parent_id if result.replicate_of is None else None
        return None if value is None else Score(configuration(result), parent, Condition(result.seed), value, spread)

    def _answer(self, config: Hashable) -> Answer:
        belief, tip = self.belief, self._chain.tip
        if config not in belief:
            return "discard"
        if tip not in belief:
            return "keep"
        kept, stays_p = self._chain.kept, self._settings.incumbent_stays_p
        if config == tip:
            stays = len(kept) == 1 or kept[-2] not in belief or belief.p_better(tip, kept[-2]) >= stays_p
            return "keep" if stays else "discard"
        if config in kept:  # kept earlier and measured again: it is the tip again only if the tip lost
            return "discard" if belief.p_better(tip, config) >= stays_p else "keep"
        decision = self._weigh(config)
        return "replicate" if decision == INVESTIGATE else decision

    def _weigh(self, config: Hashable) -> Decision:
        """Return the rule's decision about a configuration against the tip."""
        largest = self.belief.largest_gain(self._chain.kept)
        return weigh(self.belief, config, self._chain.tip, largest_gain=largest, settings=self._settings).decision

    def _follow(self, decision: str) -> None:
        """Note the decision about the latest result, and change the chain by it."""
        self._past[-1] = self._past[-1]._replace(decision=decision)
        self._chain.decide(configuration(self._past[-1].result), decision)
        self._ordered = None

    # What it says -----------------------------------------------------------------------------------------------------

    @property
    def phase(self) -> str:
        """Return the phase of the night; see research.verdict.phase."""
        return phase_of(self._inputs(), self._settings)

    def _inputs(self) -> PhaseInputs:
        belief, tip, settings = self.belief, self._chain.tip, self._settings
        ideas = [past.result for past in self._past if past.is_idea]
        kept = {configuration(past.result) for past in self._past if past.decision == "keep"}
        latest = ideas[-settings.phase_window :]
        stall = next((back for back, idea in enumerate(reversed(ideas)) if idea.id in kept), len(ideas))
        # Before a stall nobody asks for near misses, and finding them takes longest.
        late = ideas[-settings.near_miss_age :] if stall >= settings.recombine_stall else []
        near = sum(
            idea.id in belief
            and idea.id not in kept
            and tip in belief
            and belief.p_better(idea.id, tip) >= settings.near_miss_p
            for idea in late
        )
        return PhaseInputs(
            configurations=len(self._past),
            stall=stall,
            recent_crashes=sum(idea.crash is not None for idea in latest),
            recent_keeps=sum(idea.id in kept for idea in latest),
            near_misses=near - 2 * sum(idea.emitter == "recombinator" for idea in late),  # a try uses up a pair
        )

    def final(self, history: Sequence[Observation]) -> Hashable:
        """Return the configuration with the lowest posterior mean."""
        best = self.belief.best()
        return self._chain.tip if best is None else best

    def estimate(self, config: Hashable) -> float:
        """Return the posterior mean of a configuration's val_bpb."""
        return self.belief.mean(config)


ABLATIONS: Mapping[str, Callable[[int], Discovery]] = {
    f"discovery-no-{part}": partial(Discovery, settings=settings)
    for part, settings in {
        "replicates": replace(SETTINGS, confirm_p=math.inf, min_suspect_bpb=math.inf, repeat_after_runs=1_000_000),
        "archive-parents": replace(SETTINGS, archive_share=0.0),
        "racing": replace(SETTINGS, race_stop_p=0.0),
        "bandit": replace(SETTINGS, recombine_share=0.0, emitter_floor=0.0, order_p=math.inf),
        "forgetting": replace(SETTINGS, credit_fade=1.0),
    }.items()
}
"""Makers of the policy with one of its parts taken out, by name: they set thresholds at which it does nothing."""
