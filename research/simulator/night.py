"""Drives one policy through one simulated night, exactly as the policy interface says, and records the truth.

The driver does what the lab does in a real night: it runs what was ordered, moves the tip, repeats where the policy
asks for it. The policy sees Observations only; the true values go into the Night.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from itertools import count
from random import Random
from typing import Any

from research.core.contract import DEFAULT_SEED
from research.core.errors import ResearchError
from research.search.observation import Observation, Partial, configuration
from research.search.policies.base import REPLICATE, Policy
from research.simulator.agent import Agent
from research.simulator.edits import edit_between
from research.simulator.landscape import FULL_RUN_S, Config, Crash, Landscape
from research.simulator.noise import NightNoise

DECISIONS = ("keep", "discard", "replicate")
LOOKS = 20
"""Parts of the budget after each of which a policy may end a run."""
STOPPED_BPB = 0.002
"""By how much the agent takes a stopped run for worse than its parent: those that are stopped mostly are."""
BASELINE = "c0"
"""Id of the baseline."""
BUG = Crash("AttributeError: name is not defined", 0.03)
"""A bug in the proposal: seen at once."""


class PolicyError(ResearchError):
    """A policy answered what the interface does not know."""


@dataclass(frozen=True)
class Keep:
    """A change that was kept: the run after which, and its true effect against what it replaced (below 0 is better)."""

    index: int
    effect_bpb: float


@dataclass(frozen=True)
class Night:
    """A whole night: what the policy saw and decided, and what was true.

    Attributes:
        landscape: Where it happened.
        history: Every run, the baseline first.
        configs: The configuration behind every id.
        keeps: The changes that became the tip by being kept.
        tip_gains_bpb: True gain of the tip after every run, the baseline's 0 first.
        better: Runs that came, or would have come, to a lower score than the tip's with the same seed.
        better_stopped: Those of them that were stopped.
        shipped: Id that the policy ships.
        shipped_gain_bpb: Its true gain over the baseline.
        claimed_gain_bpb: The gain that it claims for it: its estimate of the baseline minus that of the shipped.
    """

    landscape: Landscape
    history: tuple[Observation, ...]
    configs: dict[Hashable, Config]
    keeps: tuple[Keep, ...]
    tip_gains_bpb: tuple[float, ...]
    better: int
    better_stopped: int
    shipped: Hashable
    shipped_gain_bpb: float
    claimed_gain_bpb: float


def play(policy: Policy, landscape: Landscape, runs: int, seed: int, gpu_s: float | None = None) -> Night:
    """Play one night.

    Args:
        policy: The policy; it is used up.
        landscape: Where.
        runs: Runs of the night at most, the baseline, replicates and crashes included.
        seed: Seed of the agent and of the night's noise: every policy that plays it meets the same.
        gpu_s: GPU seconds of the night, in which a run that is stopped early costs less; None leaves only the number of
            runs, and nothing is stopped.

    Raises:
        PolicyError: if the policy answers what the interface does not know.
    """
    world = World(landscape, runs, seed, gpu_s)
    look = getattr(policy, "look", None)
    if look is not None:
        look(world)
    policy.start(world.run_baseline())
    spent_s, repeat = FULL_RUN_S, None
    while len(world.history) < runs and (gpu_s is None or spent_s < gpu_s):
        if repeat is None:
            order = _checked_order(policy.ask(world.history), world)
            repeat = order[2] if order[0] == REPLICATE else None
        run_seed = _next_seed(policy, world, repeat)
        result = world.try_new(*order, run_seed) if repeat is None else world.repeat(repeat, run_seed)
        result = world.watch(policy, result)
        spent_s += result.gpu_s
        decision = policy.tell(result)
        if decision not in DECISIONS:
            raise PolicyError(f"tell answered {decision!r}.", f"It answers one of {', '.join(DECISIONS)}.")
        repeat = world.follow(result, decision)
    return _closed(policy, world)


class World:
    """The simulated lab during one night: it runs configurations, keeps the branch's tip, and knows the truth.

    Attributes:
        landscape: Where.
        runs: Runs of the whole night.
        agent: Who carries orders out.
        history: Every run so far, as a policy sees it.
        keeps: The changes that became the tip by being kept.
        tip_gains: True gain of the tip after every run, in bpb.
        better: Runs that came, or would have come, to a lower score than the tip's with the same seed.
        better_stopped: Those of them that were stopped.
        configs: The configuration behind every id.
    """

    def __init__(self, landscape: Landscape, runs: int, seed: int, gpu_s: float | None = None) -> None:
        self.landscape = landscape
        self.runs = runs
        self._gpu_s = gpu_s
        self.agent = Agent(landscape, Random(f"agent/{seed}"))
        self.history: list[Observation] = []
        self.keeps: list[Keep] = []
        self.tip_gains: list[float] = []
        self.configs: dict[Hashable, Config] = {}
        self._crashes: dict[Hashable, Crash | None] = {}
        self._firsts: dict[Hashable, Observation] = {}
        self._scores: dict[tuple[Hashable, int], float | None] = {}
        self._kept: list[Hashable] = [BASELINE]
        self.better = self.better_stopped = 0
        self._noise = NightNoise(seed, landscape.family.noise, landscape.family.interactions, landscape.family.tail)
        self._slips = Random(f"slips/{seed}")

    @property
    def tip(self) -> Hashable:
        """Id of the tip."""
        return self._kept[-1]

    def value(self, id: Hashable) -> float:
        """Return the true val_bpb of a configuration that ran."""
        return self.landscape.value(self.configs[id])

    def measure(self, config: Config, seed: int) -> float:
        """Return the score of one more run of a configuration on a seed; see research.simulator.noise."""
        return self.landscape.value(config) + self._noise.draw(config, seed)

    def unused_seed(self, id: Hashable) -> int:
        """Return the first seed, from the usual one upwards, on which a configuration has not run."""
        return next(seed for seed in count(DEFAULT_SEED) if (id, seed) not in self._scores)

    def run_baseline(self) -> Observation:
        """Run what the night starts from."""
        shape = self.landscape
        self.configs[BASELINE], self._crashes[BASELINE] = shape.baseline, None
        self.tip_gains.append(0.0)
        params_m = shape.params_m(shape.baseline)
        return self._run(Observation(0, BASELINE, params_m=params_m), BASELINE, DEFAULT_SEED)

    def repeat(self, id: Hashable, seed: int) -> Observation:
        """Run a known configuration again."""
        index = len(self.history)
        return self._run(replace(self._firsts[id], index=index, id=f"r{index}", replicate_of=id), id, seed)

    def try_new(self, emitter: Any, category: Any, parent_id: Any, seed: int = DEFAULT_SEED) -> Observation:
        """Let the agent carry out an order, and run what it proposes."""
        index, shape = len(self.history), self.landscape
        parent, id = self.tip if parent_id is None else parent_id, f"c{index}"
        before = self.configs[parent]
        config, proposer = self.agent.propose(emitter, category, before, self._hour())
        self.configs[id] = config
        self._crashes[id] = BUG if self._slips.random() < shape.slip else shape.crash(config)
        edit = edit_between(shape, before, config)._asdict()
        first = Observation(index, id, parent, emitter or proposer, params_m=shape.params_m(config), **edit)
        return self._run(first, id, seed)

    def _remember(self, result: Observation) -> None:
        """Let the agent know what its change came to; a stopped run looked worse than its parent."""
        id, parent, seed = result.id, result.parent_id, result.seed
        parent_bpb, tip_bpb = (self._score(id, seed) for id in (parent, self.tip))
        known = tip_bpb if tip_bpb is not None else 0.0
        compared = known if parent_bpb is None else parent_bpb
        value = compared + STOPPED_BPB if result.stopped_at else result.val_bpb
        self.agent.memory.add(self.configs[parent], self.configs[id], value, compared, known)

    def _hour(self) -> float:
        """Return the share of the night that is over."""
        if self._gpu_s is None:
            return len(self.history) / self.runs
        return min(1.0, sum(run.gpu_s for run in self.history) / self._gpu_s)

    def watch(self, policy: Policy, result: Observation) -> Observation:
        """Show a run to the policy while it goes on; return it as it ended: whole, or at the fraction of a stop."""
        stop, id = getattr(policy, "stop", None), configuration(result)
        theirs = self._scores.get((self.tip, result.seed)) if id != self.tip else None
        is_better = theirs is not None and result.val_bpb is not None and result.val_bpb < theirs
        self.better += is_better
        if stop is not None and self._gpu_s is not None and result.val_bpb is not None:
            for step in range(1, LOOKS):
                fraction, gap = step / LOOKS, None
                if theirs is not None:
                    gap = self._noise.gap(self.configs[id], result.seed, fraction, result.val_bpb - theirs)
                if stop(Partial(result.id, result.seed, fraction, gap)):
                    result = replace(result, val_bpb=None, stopped_at=fraction, gpu_s=result.gpu_s * fraction)
                    self.history[-1] = result
                    self._scores.pop((id, result.seed), None)
                    self.better_stopped += is_better
                    self._firsts[id] = result if result.replicate_of is None else self._firsts[id]
                    break
        if result.replicate_of is None:
            self._remember(result)
        return result

    def _score(self, id: Hashable, seed: int) -> float | None:
        """Return a configuration's latest score on a seed; where it has none, its first score."""
        return self._scores.get((id, seed), self._firsts[id].val_bpb)

    def _run(self, planned: Observation, id: Hashable, seed: int) -> Observation:
        """Run a configuration on a seed, and record it."""
        config, crash = self.configs[id], self._crashes[id]
        result = replace(
            planned,
            val_bpb=None if crash else self.measure(config, seed),
            crash=crash.signature if crash else None,
            peak_gb=None if crash else self.landscape.peak_gb(config),
            gpu_s=FULL_RUN_S * (crash.share if crash else 1.0),
            seed=seed,
            stopped_at=None,
        )
        self.history.append(result)
        self._firsts.setdefault(id, result)
        self._scores[id, seed] = result.val_bpb
        return result

    def follow(self, result: Observation, decision: str) -> Hashable | None:
        """Carry a decision out; return the configuration to repeat, if any."""
        id = configuration(result)
        if decision == "keep":
            self._keep(id)
        elif decision == "discard":  # the baseline stays at the branch's root
            self._kept = [self._kept[0], *(kept for kept in self._kept[1:] if kept != id)]
        self.agent.memory.tip = self.configs[self.tip]
        self.tip_gains.append(self.landscape.gain(self.configs[self.tip]))
        return id if decision == "replicate" else None

    def _keep(self, id: Hashable) -> None:
        if self._crashes[id] is not None:
            raise PolicyError(f"A crash was kept ({id}).", "A configuration that does not run can't be the tip.")
        if id == self.tip:
            return
        self.keeps.append(Keep(len(self.history) - 1, self.value(id) - self.value(self.tip)))
        self.agent.memory.add_kept(self.configs[self.tip], self.configs[id])
        self._kept = [*(kept for kept in self._kept if kept != id or kept == BASELINE), id]


def _checked_order(order: Any, world: World) -> tuple[Any, Any, Any]:
    """Return the answer to ask, if it is one.

    Raises:
        PolicyError: if it is not a triple, or names a configuration that never ran.
    """
    if not isinstance(order, tuple) or len(order) != 3:
        raise PolicyError(f"ask answered {order!r}.", "It answers (emitter, category, parent).")
    emitter, category, parent = order
    if (parent is not None or emitter == REPLICATE) and parent not in world.configs:
        raise PolicyError(f"ask named {parent!r}, which never ran.", "A parent is the id of an earlier configuration.")
    if not all(part is None or isinstance(part, str) for part in (emitter, category)):
        raise PolicyError(f"ask answered {order!r}.", "Emitter and category are names or None.")
    return emitter, category, parent


def _next_seed(policy: Policy, world: World, repeat: Hashable | None) -> int:
    """Return the seed of the next run: the policy's, or the usual one, or for a repeat the next unused one.

    Raises:
        PolicyError: if the policy answers something else than a whole number.
    """
    ask = getattr(policy, "next_seed", None)
    if ask is None:
        return DEFAULT_SEED if repeat is None else world.unused_seed(repeat)
    seed = ask()
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise PolicyError(f"next_seed answered {seed!r}.", "It answers a whole number.")
    return seed


def _closed(policy: Policy, world: World) -> Night:
    """Ask the policy what it ships and claims, and add the truth."""
    shipped = policy.final(world.history)
    if shipped not in world.configs:
        raise PolicyError(f"final named {shipped!r}, which never ran.", "It answers the id of a configuration.")
    return Night(
        landscape=world.landscape,
        history=tuple(world.history),
        configs=world.configs,
        keeps=tuple(world.keeps),
        tip_gains_bpb=tuple(world.tip_gains),
        better=world.better,
        better_stopped=world.better_stopped,
        shipped=shipped,
        shipped_gain_bpb=world.landscape.gain(world.configs[shipped]),
        claimed_gain_bpb=policy.estimate(BASELINE) - policy.estimate(shipped),
    )
