"""Draws a landscape from a family and a seed: every effect, interaction, crash and skill."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

from research.code.classify import CATEGORIES
from research.search.emitters import EMITTERS
from research.simulator.catalogue import CATALOGUE, CatalogueEntry
from research.simulator.families import FAMILIES, Family, Range
from research.simulator.landscape import KNOB_REACH, MEMORY_LIMIT_GB, DrawnIdea, Interaction, Landscape

BASE_BPB = (0.985, 1.005)
NULL_SHARE_OF_GOOD = 0.03  # size of a switch that does nothing worth measuring, against a helping one
REMOVAL_GOOD = (0.1, 0.25)
"""Share of the baseline's features that it would be better without: people tried most of them before."""
TILT = 0.8
"""Largest tilt of a pair of knobs, against 2, at which the valley would have no floor; a knob is in two at most."""
SHIFT_STEPS = (0.5, 2.0)  # steps by which a switch moves a knob's best value
SHIFT_WORTH = (0.005, 0.03)  # most that such a move is worth, as a share of the whole gain: a steep knob moves less
TUNED_STEPS = 0.25  # distance of a knob that was tuned before from its best value, sd in steps
LEAST_GAIN = 0.2
"""Least that the knobs could gain, as a share of their steepness: where all are tuned, a step is no disaster."""
LEAST_STEEPNESS = 0.7
"""Least steepness of a knob, the median being 1: knobs that nothing depends on are not worth a run."""
SYNERGY = (0.04, 0.12)
"""Gain of a synergy beyond what its halves cost alone, in the unit in which the whole gain is about 1."""
BASIN_FIRST = (0.05, 0.09)  # gain of every step into the basin, as a share of the whole gain
BASIN_BLOCKED = (0.14, 0.22)  # gain of every blocked step without the basin, as a share of the whole gain
BASIN_BLOCK = 0.6  # share of that gain that every step into the basin takes away
DIVERGES_FROM = 3  # steps from the baseline at which a knob can make training diverge
MAX_DRAWS = 100  # landscapes drawn until one has something to gain: one in some thousand has not
SKILL_POINTS = 50  # moments of a night at which a skill is known: every second run of a hundred
DRIFT_SD = 0.08  # step of a wandering skill from one moment to the next: about 0.5 over a night
SKEW = 2.0  # exponent of the uniform draw of a skill: half of all skills are in the lowest quarter of their range
SWITCHES = (1, 2)  # least and most sudden changes in a night


def draw_landscape(family: str | Family, seed: int) -> Landscape:
    """Draw a landscape with something to gain; the same arguments give the same landscape.

    Args:
        family: A family or its name.
        seed: Any whole number.

    Raises:
        KeyError: if there is no family of that name.
        ValueError: if the family's ranges leave nothing to gain, however often one draws.
    """
    drawn = FAMILIES[family] if isinstance(family, str) else family
    rng = Random(f"{drawn.name}/{seed}")
    for _ in range(MAX_DRAWS):
        raw = _draw(drawn, seed, rng)
        if (reach := raw.reachable()) > 0:  # else every knob is tuned and every switch harms
            return _scaled(raw, reach, rng.uniform(*drawn.total_bpb))
    raise ValueError(f"{MAX_DRAWS} landscapes of {drawn.name!r} had nothing to gain: give it ideas that help.")


def _draw(family: Family, seed: int, rng: Random) -> Landscape:
    """Draw a landscape in a unit of its own."""
    ideas = _ideas(family, rng)
    pairs = _pairs(family, ideas, rng)
    if family.basin:
        ideas, pairs = _with_basin(family, ideas, pairs, rng)
    crashing = [sorted(rng.sample(range(len(ideas)), 2)) for _ in range(_whole(family.crash_pairs, rng))]
    skills = _skills(family, seed)
    return Landscape(
        family=family,
        seed=seed,
        ideas=ideas,
        pairs=pairs,
        crash_pairs=frozenset((first, second) for first, second in crashing),
        base_bpb=rng.uniform(*BASE_BPB),
        base_gb=MEMORY_LIMIT_GB - rng.uniform(*family.headroom_gb),
        saturation_bpb=0.0,
        slip=rng.uniform(*family.slip),
        skills=skills,
        self_image={emitter: _self_image(family, seed, emitter, course[0]) for emitter, course in skills.items()},
    )


def _whole(limits: Range, rng: Random) -> int:
    return rng.randint(int(limits[0]), int(limits[1]))


def _scaled(raw: Landscape, reachable: float, total_bpb: float) -> Landscape:
    """Return a landscape with every effect scaled, so that the reachable gain is total_bpb."""
    saturation = raw.family.saturation * total_bpb
    before = -saturation * math.log(1 - total_bpb / saturation) if saturation else total_bpb
    by = before / reachable
    ideas = tuple(replace(idea, effect_bpb=tuple(by * bpb for bpb in idea.effect_bpb)) for idea in raw.ideas)
    pairs = tuple(Interaction(first, second, by * bpb) for first, second, bpb in raw.pairs)
    return replace(raw, ideas=ideas, pairs=pairs, saturation_bpb=saturation)


# Ideas ------------------------------------------------------------------------------------------------------------


def _ideas(family: Family, rng: Random) -> tuple[DrawnIdea, ...]:
    """Draw the ideas with their own effects, in a unit that is fixed later."""
    counts = {"knob": family.knobs, "switch": family.switches, "removal": family.removals}
    chosen: list[CatalogueEntry] = []
    for kind, count in counts.items():
        chosen += rng.sample([entry for entry in CATALOGUE if entry.kind == kind], count)
    spread, away = rng.uniform(*family.spread), rng.uniform(*family.away)
    knob_weight = rng.uniform(*family.knob_share)
    weights = {category: rng.lognormvariate(0.0, family.uneven) for category in CATEGORIES}
    tuned = rng.uniform(*family.tuned)
    shapes: list[tuple[float, float]] = []  # of each knob: its best value in steps, and how steep its parabola is
    for entry in chosen[: family.knobs]:
        best = rng.gauss(0.0, TUNED_STEPS if rng.random() < tuned else away)
        shapes.append((best, weights[entry.category] * max(LEAST_STEEPNESS, rng.lognormvariate(0.0, spread))))
    flips = [_flip_effect(family, entry, spread, weights[entry.category], rng) for entry in chosen[family.knobs :]]
    to_gain = sum(steepness * best**2 for best, steepness in shapes)
    knob_unit = knob_weight / max(to_gain, LEAST_GAIN * sum(steepness for _, steepness in shapes))
    flip_unit = (1 - knob_weight) / max(0.5, -sum(min(0.0, effect) for effect in flips))
    ideas = [
        _knob(family, entry, best, steepness, knob_unit, rng)
        for entry, (best, steepness) in zip(chosen[: family.knobs], shapes, strict=True)
    ]
    for entry, effect in zip(chosen[family.knobs :], flips, strict=True):
        gb, m = _sizes(entry, rng)
        ideas.append(DrawnIdea(entry, (0.0, flip_unit * effect), gb, m, rng.randint(2, 14)))
    rng.shuffle(ideas)
    return tuple(ideas)


def _flip_effect(family: Family, entry: CatalogueEntry, spread: float, weight: float, rng: Random) -> float:
    """Draw the effect of changing a switch or taking a feature out; below zero is better."""
    size = rng.lognormvariate(0.0, spread)
    if rng.random() < rng.uniform(*(REMOVAL_GOOD if entry.kind == "removal" else family.good)):
        return -size * weight
    if rng.random() < rng.uniform(*family.null):
        return size * rng.gauss(0.0, NULL_SHARE_OF_GOOD)
    return size * rng.uniform(*family.harm)


def _sizes(entry: CatalogueEntry, rng: Random) -> tuple[float, float]:
    """Draw the memory (GiB) and parameters (millions) that one level of an idea adds."""
    sign = -1.0 if entry.kind == "removal" else 1.0
    return sign * entry.size_gb * rng.uniform(0.5, 1.5), sign * entry.size_m * rng.uniform(0.5, 1.5)


def _knob(family: Family, entry: CatalogueEntry, best: float, steepness: float, unit: float, rng: Random) -> DrawnIdea:
    levels = (*range(KNOB_REACH + 1), *range(-KNOB_REACH, 0))
    diverges: frozenset[int] = frozenset()
    if rng.random() < rng.uniform(*family.diverging):
        edge, sign = rng.randint(DIVERGES_FROM, KNOB_REACH), rng.choice((-1, 1))
        diverges = frozenset(sign * level for level in range(edge, KNOB_REACH + 1))
    effects = tuple(unit * (steepness * ((level - best) ** 2 - best**2)) for level in levels)
    return DrawnIdea(entry, effects, *_sizes(entry, rng), 1, diverges)


# Interactions -----------------------------------------------------------------------------------------------------


def _pairs(family: Family, ideas: tuple[DrawnIdea, ...], rng: Random) -> tuple[Interaction, ...]:
    """Draw interactions and synergies: tilted valleys, moved optima, switches that help or spoil each other."""
    # Half the second difference of a knob's term: the bpb of one step away from its best.
    steep = {
        i: (idea.effect_bpb[1] + idea.effect_bpb[-1] - 2 * idea.effect_bpb[0]) / 2
        for i, idea in enumerate(ideas)
        if idea.entry.kind == "knob"
    }
    alone = [idea.effect_bpb[1] for idea in ideas]
    tilted = dict.fromkeys(steep, 0)
    pairs: dict[tuple[int, int], float] = {}
    for _ in range(_whole(family.pairs, rng)):
        first, second = sorted(rng.sample(range(len(ideas)), 2))
        if first in tilted and second in tilted:
            if max(tilted[first], tilted[second]) >= 2:
                continue
            tilted[first] += 1
            tilted[second] += 1
            bpb = rng.uniform(-TILT, TILT) * math.sqrt(steep[first] * steep[second])
        elif first in tilted or second in tilted:
            slope = steep[first if first in tilted else second]
            shift = min(rng.uniform(*SHIFT_STEPS), math.sqrt(rng.uniform(*SHIFT_WORTH) / slope))
            bpb = 2 * slope * shift * rng.choice((-1, 1))
        else:
            bpb = rng.uniform(-1, 1) * math.sqrt(abs(alone[first] * alone[second]))
        pairs[first, second] = bpb
    flips = [i for i in range(len(ideas)) if i not in steep]
    for _ in range(_whole(family.synergies, rng)):
        first, second = sorted(rng.sample(flips, 2))
        pairs[first, second] = -max(0.0, alone[first]) - max(0.0, alone[second]) - rng.uniform(*SYNERGY)
    return tuple(Interaction(first, second, bpb) for (first, second), bpb in pairs.items())


def _with_basin(
    family: Family, ideas: tuple[DrawnIdea, ...], pairs: tuple[Interaction, ...], rng: Random
) -> tuple[tuple[DrawnIdea, ...], tuple[Interaction, ...]]:
    """Add a basin: switches that gain at once, and others that gain more, but no longer once the first are on."""
    chosen = rng.sample([i for i, idea in enumerate(ideas) if idea.entry.kind == "switch"], 2 * family.basin)
    first, blocked = chosen[: family.basin], chosen[family.basin :]
    effect = {index: -rng.uniform(*BASIN_FIRST) for index in first}
    effect |= {index: -rng.uniform(*BASIN_BLOCKED) for index in blocked}
    ideas = tuple(
        replace(idea, effect_bpb=(0.0, effect[index])) if index in effect else idea for index, idea in enumerate(ideas)
    )
    others = [pair for pair in pairs if pair.first not in effect and pair.second not in effect]
    walls = [
        Interaction(min(step, index), max(step, index), -BASIN_BLOCK * effect[index])
        for step in first
        for index in blocked
    ]
    return ideas, (*others, *walls)


# The agent ------------------------------------------------------------------------------------------------------------


def _skills(family: Family, seed: int) -> dict[str, tuple[float, ...]]:
    """Draw every emitter's skill over a night, each from a generator of its own, so that they are independent."""
    rng = Random(f"{family.name}/{seed}/switches")
    switches = sorted(rng.randrange(10, SKILL_POINTS - 5) for _ in range(rng.randint(*SWITCHES)))
    return {emitter: _course(family, Random(f"{family.name}/{seed}/{emitter}"), switches) for emitter in EMITTERS}


def _course(family: Family, rng: Random, switches: list[int]) -> tuple[float, ...]:
    low, high = family.skill
    skill, course = 0.0, []
    for moment in range(SKILL_POINTS):
        if moment == 0 or (family.change == "switch" and moment in switches):
            skill = low + (high - low) * math.pow(rng.random(), SKEW)  # most are low, few are high
        if family.change == "drift":
            skill = min(high, max(low, skill + rng.gauss(0.0, DRIFT_SD)))
        course.append(skill)
    return tuple(course)


def _self_image(family: Family, seed: int, emitter: str, skill: float) -> float:
    """Draw the agent's own estimate of its skill: the skill at the beginning, with an error."""
    error = Random(f"{family.name}/{seed}/{emitter}/self").gauss(0.0, family.self_image_sd)
    return min(1.0, max(0.0, skill + error))
