"""Lists the families of landscapes: the shapes that a search may meet, each a set of ranges from which a seed draws.

Three sets, by name: policies may be tuned on TUNING and are reported on HELD_OUT, which has other structures, not only
other numbers, and on SEEDS, which has the structure of "ordinary" and other noise. Nothing here knows a policy.

The agent (skill here, the constants in agent.py) is calibrated on TUNING: with these numbers the plain policies compare
as they do in the public loop's simulated nights (docs/search.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from research.core.errors import UsageError
from research.simulator.noise import USUAL_NOISE, InteractionKind, NoiseLevels

SkillChange = Literal["steady", "drift", "switch"]
"""The way in which the agent's skills move during a night: not at all, slowly, or at once."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Family:
    """One kind of landscape, with the ranges (low, high) from which a seed draws uniformly."""

    name: str
    why: str  # what it stands for
    knobs: int = 14  # numeric ideas
    switches: int = 18  # ideas to switch on
    removals: int = 8  # ideas to take out
    total_bpb: Range = (0.016, 0.026)  # gain that a search without noise and without a wrong step could reach
    away: Range = (1.0, 2.0)  # distance of a knob's best value from the baseline's, sd in steps
    tuned: Range = (0.7, 0.9)  # share of knobs that stand at their best within a fraction of a step
    uneven: float = 0.5  # sd of the natural logarithm of the categories' weights
    spread: Range = (0.5, 0.9)  # spread of the ideas' sizes, sd of the natural logarithm
    good: Range = (0.1, 0.2)  # share of switches that help
    null: Range = (0.0, 0.02)  # share of switches that do nothing worth measuring
    harm: Range = (1.0, 2.5)  # size of a harmful switch, as a multiple of a helping one
    knob_share: Range = (0.3, 0.5)  # weight of the knobs against the switches in the whole gain
    pairs: Range = (8, 20)  # random pairwise interactions
    synergies: Range = (1, 3)  # pairs that hurt alone and help together
    basin: int = 0  # steps that pay first and then block better ones
    crash_pairs: Range = (2, 5)  # pairs that crash together
    diverging: Range = (0.1, 0.3)  # share of knobs whose ends diverge
    headroom_gb: Range = (15.0, 35.0)  # memory left above the baseline
    slip: Range = (0.01, 0.04)  # probability that a proposal has a bug and crashes
    skill: Range = (0.15, 0.85)  # the emitters' skills
    change: SkillChange = "switch"  # the way in which the skills move
    self_image_sd: float = 0.25  # sd of the error in the agent's own estimate of its skills
    saturation: float = 0.0  # gain at which gains shrink to 1/e, as a multiple (above 1) of the total; 0 for none
    noise: NoiseLevels = USUAL_NOISE  # standard deviations of scores
    interactions: InteractionKind = "change"  # whether each change or each configuration differs from seed to seed
    tail: float = 0.0  # probability that a run's repeat noise is TAIL_FACTOR times as large


TUNING = (
    Family("ordinary", "the usual mixture, on which the agent is calibrated", total_bpb=(0.015, 0.016)),
    Family(
        "entangled",
        "many interactions and synergies, so that the order of steps matters",
        pairs=(25, 40),
        synergies=(4, 7),
    ),
    Family(
        "steady", "skills that stay, so that learning them pays", change="steady", skill=(0.1, 1.0), self_image_sd=0.5
    ),
    Family(
        "drifting",
        "skills that wander, on knobs mostly; every configuration does something else on every seed",
        interactions="configuration",
        change="drift",
        knobs=24,
        switches=10,
        tuned=(0.4, 0.7),
        knob_share=(0.6, 0.8),
    ),
)
HELD_OUT = (
    Family("separable", "no interaction at all", pairs=(0, 0), synergies=(0, 0), crash_pairs=(0, 0), change="drift"),
    Family("basin", "three steps that pay first and block a better one", basin=3, pairs=(5, 15), synergies=(1, 2)),
    Family(
        "fragile",
        "little memory, many crashes, noise with heavy tails",
        crash_pairs=(8, 14),
        diverging=(0.3, 0.6),
        headroom_gb=(4.0, 10.0),
        slip=(0.04, 0.08),
        tail=0.04,
        interactions="configuration",
    ),
    Family(
        "sparse",
        "few ideas help, and those by much",
        knobs=12,
        switches=19,
        good=(0.04, 0.09),
        null=(0.35, 0.55),
        spread=(1.0, 1.4),
        knob_share=(0.2, 0.4),
        total_bpb=(0.018, 0.03),
    ),
    Family(
        "levelling",
        "gains that shrink as the whole gets better, skills that stay",
        saturation=1.15,
        total_bpb=(0.012, 0.02),
        change="steady",
    ),
    Family(
        "misjudged",
        "an agent that is wrong about itself, and changes twice",
        interactions="configuration",
        change="switch",
        skill=(0.1, 1.0),
        self_image_sd=1.0,
        knobs=18,
        tuned=(0.6, 0.8),
    ),
)
SEEDS = (
    replace(TUNING[0], name="one-seed", why="another seed is a repeat", noise=NoiseLevels(0.0003, 0.0, 0.0)),
    replace(TUNING[0], name="near-seeds", why="seeds differ as repeats do", noise=NoiseLevels(0.0003, 0.0003, 0.0003)),
    replace(TUNING[0], name="far-seeds", why="seeds differ, changes hardly", noise=NoiseLevels(0.0003, 0.003, 0.0004)),
    replace(TUNING[0], name="fickle-seeds", why="changes differ by seed", noise=NoiseLevels(0.0003, 0.002, 0.0016)),
    replace(
        TUNING[0],
        name="short-runs",
        why="runs of a minute, or on a small machine: everything is loud",
        noise=NoiseLevels(0.001, 0.004, 0.001),
        interactions="configuration",
    ),
)
FAMILIES = {family.name: family for family in (*TUNING, *HELD_OUT, *SEEDS)}


def families_of(names: str) -> tuple[Family, ...]:
    """Return the families that a comma-separated list means: names, "tuning", "held-out", "seeds" or "all".

    Raises:
        UsageError: if a name is unknown.
    """
    sets = {"tuning": TUNING, "held-out": HELD_OUT, "seeds": SEEDS, "all": tuple(FAMILIES.values())}
    known = {**sets, **{name: (family,) for name, family in FAMILIES.items()}}
    chosen = [part.strip() for part in names.split(",") if part.strip()]
    if not chosen:
        raise UsageError("No family named.", "Leave --families out for the held-out set.")
    for name in chosen:
        if name not in known:
            raise UsageError(f"No family {name!r}.", f"Known: {', '.join(known)}.")
    return tuple(dict.fromkeys(family for name in chosen for family in known[name]))
