"""How good the agent is in each of its seven ways of proposing, and how that changes while the night goes on."""

from __future__ import annotations

import math
from random import Random

from research.search.policies.base import EMITTERS
from research.simulator.families import Family

SKILL_POINTS = 50
"""Moments of a night at which a skill is known: every second run of a hundred."""
DRIFT_SD = 0.08
"""Step of a wandering skill from one moment to the next: about 0.5 over a night."""
SKEW = 2.0
"""Power of a uniform draw that a skill is: half of all skills are in the lowest quarter of their range."""
SWITCHES = (1, 2)
"""Least and most sudden changes in a night."""


def draw_skills(family: Family, seed: int) -> dict[str, tuple[float, ...]]:
    """Draw every emitter's skill over a night, each from a generator of its own: another emitter changes no other's."""
    rng = Random(f"{family.name}/{seed}/switches")
    switches = sorted(rng.randrange(10, SKILL_POINTS - 5) for _ in range(rng.randint(*SWITCHES)))
    return {emitter: _course(family, Random(f"{family.name}/{seed}/{emitter}"), switches) for emitter in EMITTERS}


def draw_self_image(family: Family, skills: dict[str, tuple[float, ...]], seed: int) -> dict[str, float]:
    """Draw what the agent thinks its skills are: those of the beginning, each with an error."""
    image = {}
    for emitter, course in skills.items():
        error = Random(f"{family.name}/{seed}/{emitter}/self").gauss(0.0, family.belief_sd)
        image[emitter] = min(1.0, max(0.0, course[0] + error))
    return image


def _course(family: Family, rng: Random, switches: list[int]) -> tuple[float, ...]:
    low, high = family.skill
    skill, course = _level(low, high, rng), []
    for moment in range(SKILL_POINTS):
        if family.change == "switch" and moment in switches:
            skill = _level(low, high, rng)
        if family.change == "drift":
            skill = min(high, max(low, skill + rng.gauss(0.0, DRIFT_SD)))
        course.append(skill)
    return tuple(course)


def _level(low: float, high: float, rng: Random) -> float:
    """A skill; most are low, few are high."""
    return low + (high - low) * math.pow(rng.random(), SKEW)
