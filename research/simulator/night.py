"""Drives one policy through one simulated night, exactly as the policy interface says, and records the truth.

The driver does what the lab does in a real night: it runs what was ordered, moves the tip, repeats where the policy
asks for it. The policy sees Observations only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable
from dataclasses import replace
from random import Random

from research.core.contract import DEFAULT_SEED
from research.search.observation import Observation, Partial, configuration
from research.search.policies.base import REPLICATE, KeptChain, Order, Policy
from research.simulator.agent import Agent, moves_between
from research.simulator.landscape import FULL_RUN_S, Config, Crash, Landscape
from research.simulator.noise import NightNoise

STOPPED_BPB = 0.002
"""Loss against its parent that the agent assumes of a stopped run, in bpb: stopped runs are mostly worse."""
BASELINE = "c0"
"""Id of the baseline."""
BUG = Crash("AttributeError: name is not defined", 0.03)
"""The crash of a proposal with a bug, which shows at once."""


def play(policy: Policy, landscape: Landscape, runs: int, seed: int, gpu_s: float | None = None) -> SimulatedNight:
    """Play one night, and return it.

    Args:
        policy: The policy, which can't be used again.
        landscape: The landscape.
        runs: Runs of the night at most, the baseline, replicates and crashes included.
        seed: Seed of the agent and of the night's noise, which are the same for every policy that plays it.
        gpu_s: GPU seconds of the night, in which a run that is stopped early costs less; None leaves only the number of
            runs, and nothing is stopped.
    """
    night = SimulatedNight(landscape, runs, seed, gpu_s)
    if see_truth := getattr(policy, "see_truth", None):
        see_truth(night)
    policy.start(night.run_baseline())
    order: Order | None = None
    while len(night.history) < runs and (gpu_s is None or night.spent_s < gpu_s):
        emitter, category, id = order or policy.ask(night.history)
        if emitter == REPLICATE:
            result = night.repeat(policy, id, policy.next_seed())
        else:
            result = night.try_new(policy, emitter, category, id, policy.next_seed())
        decision = policy.tell(result)
        night.follow(result, decision)
        order = (REPLICATE, None, configuration(result)) if decision == REPLICATE else None
    shipped = policy.final(night.history)
    night.shipped_gain_bpb = landscape.gain(night.configs[shipped])
    night.claimed_gain_bpb = policy.estimate(BASELINE) - policy.estimate(shipped)
    return night


class SimulatedNight:
    """The simulated lab during one night: it runs configurations, keeps the branch's tip, and knows the truth.

    Attributes:
        landscape: The landscape.
        history: Every run so far, as a policy sees it, the baseline first.
        configs: The configuration behind every id.
        spent_s: GPU seconds that all runs took.
        keep_effects_bpb: True effect of every change that was kept against what it replaced, below zero is better.
        tip_gains_bpb: True gain of the tip after every run, the baseline's 0 first.
        better: Runs that came, or would have come, to a lower score than the tip's with the same seed.
        better_stopped: Those of them that were stopped.
        shipped_gain_bpb: True gain of the shipped configuration over the baseline.
        claimed_gain_bpb: The policy's estimate of the baseline minus its estimate of the shipped configuration.
    """

    def __init__(self, landscape: Landscape, runs: int, seed: int, gpu_s: float | None = None) -> None:
        self.landscape = landscape
        self.history: list[Observation] = []
        self.configs: dict[Hashable, Config] = {BASELINE: landscape.baseline}
        self.spent_s = 0.0
        self.keep_effects_bpb: list[float] = []
        self.tip_gains_bpb = [0.0]
        self.better = self.better_stopped = 0
        self.shipped_gain_bpb = self.claimed_gain_bpb = 0.0
        self._runs, self._gpu_s = runs, gpu_s
        self._ends_s: list[float] = []  # seconds spent by the end of every run after the baseline
        self._agent = Agent(landscape, Random(f"agent/{seed}"))
        self._chain = KeptChain(BASELINE)
        self._crashes: dict[Hashable, Crash | None] = {BASELINE: None}
        self._firsts: dict[Hashable, Observation] = {}
        self._scores: dict[tuple[Hashable, int], float | None] = {}
        self._noise = NightNoise(seed, landscape.family.noise, landscape.family.interactions, landscape.family.tail)
        self._slips = Random(f"slips/{seed}")

    def value(self, id: Hashable) -> float:
        """Return the true val_bpb of a configuration that ran."""
        return self.landscape.value(self.configs[id])

    # Runs -------------------------------------------------------------------------------------------------------------

    def run_baseline(self) -> Observation:
        """Run the configuration that the night starts from."""
        params_m = self.landscape.params_m(self.landscape.baseline)
        return self._run(Observation(0, BASELINE, params_m=params_m), DEFAULT_SEED)

    def repeat(self, policy: Policy, id: Hashable, seed: int) -> Observation:
        """Run a known configuration again."""
        index = len(self.history)
        planned = replace(self._firsts[id], index=index, id=f"r{index}", replicate_of=id)
        return self._run(planned, seed, policy)

    def try_new(
        self, policy: Policy, emitter: str | None, category: str | None, parent: Hashable | None, seed: int
    ) -> Observation:
        """Let the agent carry out an order, run its proposal, and let it remember the result."""
        index, landscape = len(self.history), self.landscape
        parent, id = self._chain.tip if parent is None else parent, f"c{index}"
        before = self.configs[parent]
        elapsed = index / self._runs if self._gpu_s is None else min(1.0, self.spent_s / self._gpu_s)
        config, proposer = self._agent.propose(emitter, category, before, elapsed)
        self.configs[id] = config
        self._crashes[id] = BUG if self._slips.random() < landscape.slip else landscape.crash(config)
        changes = landscape.edit(before, config)
        planned = Observation(index, id, parent, emitter or proposer, params_m=landscape.params_m(config), **changes)
        result = self._run(planned, seed, policy)
        tip_bpb = self._score(self._chain.tip, seed) or 0.0
        parent_bpb = self._score(parent, seed) or tip_bpb
        value = parent_bpb + STOPPED_BPB if result.stopped_at else result.val_bpb
        self._agent.remember(before, config, value, parent_bpb, tip_bpb)
        return result

    def _run(self, planned: Observation, seed: int, watcher: Policy | None = None) -> Observation:
        """Run a configuration on a seed, watched by a policy, and add the result to the history."""
        id = configuration(planned)
        config, crash = self.configs[id], self._crashes[id]
        result = replace(
            planned,
            val_bpb=None if crash else self.value(id) + self._noise.draw(config, seed),
            crash=crash.signature if crash else None,
            peak_gb=None if crash else self.landscape.peak_gb(config),
            gpu_s=FULL_RUN_S * (crash.share if crash else 1.0),
            seed=seed,
            stopped_at=None,
        )
        if watcher is not None and result.val_bpb is not None:
            result = self._watched(watcher, result, result.val_bpb)
        self.history.append(result)
        self.spent_s += result.gpu_s
        self._firsts.setdefault(id, result)
        if result.stopped_at is None:
            self._scores[id, seed] = result.val_bpb
        return result

    def _watched(self, policy: Policy, result: Observation, val_bpb: float) -> Observation:
        """Show a run's gaps to the tip's to the policy; return it as it ended: whole, or at the fraction of a stop."""
        id, stop = configuration(result), getattr(policy, "stop", None)
        theirs = self._scores.get((self._chain.tip, result.seed))
        if id == self._chain.tip or theirs is None:
            return result  # there is no gap to show
        is_better = val_bpb < theirs
        self.better += is_better
        if stop and self._gpu_s is not None:
            for fraction, gap in self._noise.gaps(self.configs[id], result.seed, val_bpb - theirs):
                if stop(Partial(result.id, result.seed, fraction, gap)):
                    self.better_stopped += is_better
                    return replace(result, val_bpb=None, stopped_at=fraction, gpu_s=result.gpu_s * fraction)
        return result

    def _score(self, id: Hashable, seed: int) -> float | None:
        """Return a configuration's latest score on a seed; where it has none, its first score."""
        return self._scores.get((id, seed), self._firsts[id].val_bpb)

    # Decisions --------------------------------------------------------------------------------------------------------

    def follow(self, result: Observation, decision: str) -> None:
        """Move the tip by a decision about a result."""
        id, tip = configuration(result), self._chain.tip
        if decision == "keep" and id != tip:
            self.keep_effects_bpb.append(self.value(id) - self.value(tip))
            self._agent.trend.extend(moves_between(self.configs[tip], self.configs[id]))
        self._chain.decide(id, decision)
        self.tip_gains_bpb.append(self.landscape.gain(self.configs[self._chain.tip]))
        self._ends_s.append(self.spent_s)

    def course_bpb(self) -> list[float]:
        """Return the tip's true gain after every run; where a night lasts a time, after every whole run's worth."""
        if self._gpu_s is None:
            return self.tip_gains_bpb
        moments_s = (number * FULL_RUN_S for number in range(1, round(self._gpu_s / FULL_RUN_S) + 1))
        return [self.tip_gains_bpb[bisect_right(self._ends_s, moment)] for moment in moments_s]
