"""Drives one policy through one simulated night, exactly as the policy interface says, and writes down the truth.

The driver is the lab: it runs what was ordered, moves the tip, repeats where the policy asks for it. The policy sees
Results only; the truth beside them goes into the Night.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any, Protocol

from research.core.contract import DEFAULT_SEED
from research.core.errors import ResearchError
from research.simulator.agent import Agent
from research.simulator.landscape import FULL_RUN_S, Config, Crash, Landscape
from research.simulator.noise import NightNoise
from research.simulator.trial import Trial, edit_between

DECISIONS = ("keep", "discard", "replicate")
BUG = Crash("AttributeError: name is not defined", 0.03)
"""A bug in the proposal: seen at once."""


class Policy(Protocol):
    """What the driver needs of a search policy."""

    def start(self, baseline: Any) -> None: ...
    def ask(self, history: Sequence[Any]) -> tuple[Any, Any, Any]: ...
    def tell(self, result: Any) -> str: ...
    def final(self, history: Sequence[Any]) -> Hashable: ...
    def estimate(self, id: Any) -> float: ...


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
        trials: Every run, the baseline first.
        decisions: The answer to every run but the baseline, in order.
        keeps: The changes that became the tip by being kept.
        tip_gains_bpb: True gain of the tip after every run, the baseline's 0 first.
        shipped: Id that the policy ships.
        shipped_gain_bpb: Its true gain over the baseline.
        claimed_gain_bpb: The gain that it claims for it: its estimate of the baseline minus that of the shipped.
    """

    landscape: Landscape
    trials: tuple[Trial, ...]
    decisions: tuple[str, ...]
    keeps: tuple[Keep, ...]
    tip_gains_bpb: tuple[float, ...]
    shipped: Hashable
    shipped_gain_bpb: float
    claimed_gain_bpb: float


def play(policy: Policy, landscape: Landscape, runs: int, seed: int, gpu_s: float | None = None) -> Night:
    """Plays one night.

    Args:
        policy: The policy; it is used up.
        landscape: Where.
        runs: Runs of the night, the baseline, replicates and crashes included.
        seed: Seed of the agent and of the night's noise: every policy that plays it meets the same.
        gpu_s: GPU seconds of the night; None leaves only the number of runs.

    Raises:
        PolicyError: if the policy answers what the interface does not know.
    """
    world = World(landscape, runs, seed)
    look = getattr(policy, "look", None)
    if look is not None:
        look(world)
    policy.start(world.run_baseline())
    spent_s, repeat = FULL_RUN_S, None
    while len(world.trials) < runs and (gpu_s is None or spent_s < gpu_s):
        if repeat is None:
            order = _checked_order(policy.ask(world.trials), world)
            repeat = order[2] if order[0] == "replicate" else None
        seed = _next_seed(policy, world, repeat)
        trial = world.try_new(*order, seed) if repeat is None else world.repeat(repeat, seed)
        spent_s += trial.gpu_s
        decision = policy.tell(trial)
        if decision not in DECISIONS:
            raise PolicyError(f"tell answered {decision!r}.", f"It answers one of {', '.join(DECISIONS)}.")
        repeat = world.follow(trial, decision)
    return _closed(policy, world)


class World:
    """The state of one night: configurations by id, the tip, and the truth."""

    def __init__(self, landscape: Landscape, runs: int, seed: int) -> None:
        self.landscape = landscape
        self.runs = runs
        self.agent = Agent(landscape, Random(f"agent/{seed}"))
        self.trials: list[Trial] = []
        self.decisions: list[str] = []
        self.keeps: list[Keep] = []
        self.tip_gains: list[float] = []
        self.configs: dict[Hashable, Config] = {}
        self._crashes: dict[Hashable, Crash | None] = {}
        self._firsts: dict[Hashable, Trial] = {}
        self._kept: list[Hashable] = []
        self._noise = NightNoise(seed, landscape.family.noise, landscape.family.interactions, landscape.family.tail)
        self._seeds: dict[Hashable, set[int]] = {}
        self._slips = Random(f"slips/{seed}")

    @property
    def tip(self) -> Hashable:
        """Id of the tip."""
        return self._kept[-1]

    def run_baseline(self) -> Trial:
        """The first run."""
        trial = self._run("c0", None, None, None, self.landscape.baseline, DEFAULT_SEED)
        self._kept.append(trial.id)
        self.tip_gains.append(0.0)
        return trial

    def measure(self, config: Config, seed: int) -> float:
        """Return the score of one more run of a configuration on a seed; see research.simulator.noise."""
        return self.landscape.value(config) + self._noise.draw(config, seed)

    def unused_seed(self, id: Hashable) -> int:
        """Return the first seed, from the usual one upwards, on which a configuration has not run."""
        return next(seed for seed in count(DEFAULT_SEED) if seed not in self._seeds[id])

    def repeat(self, id: Hashable, seed: int) -> Trial:
        """Run a known configuration again."""
        first = self._firsts[id]
        return self._run(f"r{len(self.trials)}", first, first.emitter, None, first.config, seed)

    def try_new(self, emitter: Any, category: Any, parent_id: Any, seed: int = DEFAULT_SEED) -> Trial:
        """Let the agent carry out an order, and run what it proposes."""
        parent = self.tip if parent_id is None else parent_id
        proposal = self.agent.propose(emitter, category, self.configs[parent], len(self.trials) / self.runs)
        trial = self._run(f"c{len(self.trials)}", None, emitter or proposal.emitter, parent, proposal.config, seed)
        parent_bpb, tip_bpb = (self._firsts[id].val_bpb for id in (parent, self.tip))
        known = tip_bpb if tip_bpb is not None else 0.0
        self.agent.book.write(
            self.configs[parent], proposal.config, trial.val_bpb, known if parent_bpb is None else parent_bpb, known
        )
        return trial

    def follow(self, trial: Trial, decision: str) -> Hashable | None:
        """Carries a decision out; returns the configuration to repeat, if any."""
        self.decisions.append(decision)
        id = trial.id if trial.replicate_of is None else trial.replicate_of
        if decision == "keep":
            self._keep(id)
        elif decision == "discard":
            self._discard(id)
        self.tip_gains.append(self.landscape.gain(self.configs[self.tip]))
        return id if decision == "replicate" else None

    def _keep(self, id: Hashable) -> None:
        if self._crashes[id] is not None:
            raise PolicyError(f"A crash was kept ({id}).", "A configuration that does not run can't be the tip.")
        if id == self.tip:
            return
        old, new = self.configs[self.tip], self.configs[id]
        self.keeps.append(Keep(len(self.trials) - 1, self.landscape.value(new) - self.landscape.value(old)))
        self._kept = [*(kept for kept in self._kept if kept != id or kept == "c0"), id]
        self.agent.book.kept(old, new)
        self.agent.book.tip = new

    def _discard(self, id: Hashable) -> None:
        """Takes a configuration off the branch; the baseline stays at its root."""
        self._kept = [self._kept[0], *(kept for kept in self._kept[1:] if kept != id)]
        self.agent.book.tip = self.configs[self.tip]

    def _run(
        self, id: str, repeats: Trial | None, emitter: str | None, parent: Hashable | None, config: Config, seed: int
    ) -> Trial:
        shape, index = self.landscape, len(self.trials)
        if repeats is None:
            self.configs[id] = config
            buggy = index > 0 and self._slips.random() < shape.slip
            self._crashes[id] = BUG if buggy else shape.crash(config)
        of = id if repeats is None else repeats.id
        crash = self._crashes[of]
        before = config if parent is None else self.configs[parent]
        edit = edit_between(shape, before, config)
        trial = Trial(
            index=index,
            id=id,
            parent_id=repeats.parent_id if repeats else (None if parent is None else str(parent)),
            emitter=emitter,
            category=repeats.category if repeats else (edit.category if parent is not None else None),
            val_bpb=None if crash else self.measure(config, seed),
            crash=crash.signature if crash else None,
            peak_gb=None if crash else shape.peak_gb(config),
            params_m=shape.params_m(config),
            additions=repeats.additions if repeats else edit.additions,
            deletions=repeats.deletions if repeats else edit.deletions,
            diff_text=repeats.diff_text if repeats else edit.diff_text,
            delta=repeats.delta if repeats else edit.delta,
            replicate_of=repeats.id if repeats else None,
            gpu_s=FULL_RUN_S * (crash.share if crash else 1.0),
            config=config,
            seed=seed,
        )
        self._seeds.setdefault(of, set()).add(seed)
        self.trials.append(trial)
        if repeats is None:
            self._firsts[id] = trial
        return trial


def _checked_order(order: Any, world: World) -> tuple[Any, Any, Any]:
    """The answer to ask, if it is one.

    Raises:
        PolicyError: if it is not a triple, or names a configuration that never ran.
    """
    if not isinstance(order, tuple) or len(order) != 3:
        raise PolicyError(f"ask answered {order!r}.", "It answers (emitter, category, parent).")
    emitter, category, parent = order
    if (parent is not None or emitter == "replicate") and parent not in world.configs:
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
    """Asks the policy what it ships and claims, and adds the truth."""
    shipped = policy.final(world.trials)
    if shipped not in world.configs:
        raise PolicyError(f"final named {shipped!r}, which never ran.", "It answers the id of a configuration.")
    claimed = policy.estimate("c0") - policy.estimate(shipped)
    return Night(
        landscape=world.landscape,
        trials=tuple(world.trials),
        decisions=tuple(world.decisions),
        keeps=tuple(world.keeps),
        tip_gains_bpb=tuple(world.tip_gains),
        shipped=shipped,
        shipped_gain_bpb=world.landscape.gain(world.configs[shipped]),
        claimed_gain_bpb=claimed,
    )
