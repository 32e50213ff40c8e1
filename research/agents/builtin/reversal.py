"""Ideas that go against the latest trend: a constant that kept moving one way goes the other."""

from __future__ import annotations

import random
from collections.abc import Iterator

from research.agents.builtin.context import Bench, Draft, Drafts, Idea
from research.agents.builtin.knobs import Knob
from research.agents.builtin.numbers import moved, number_ideas
from research.agents.builtin.sampling import from_scale, rounded, to_scale, usual_step
from research.core.settings import SETTINGS
from research.search.emitters.trend import Lean, fashion, leans

_STRIDES = (1.0, 2.0, 0.5, 3.0)
"""Lengths of a move the other way, in usual steps."""


def reversals(bench: Bench) -> list[Idea]:
    """The opposite of every trend, then moves of a kind that is out of fashion."""
    planned = bench.plan.details.get("oppose")
    found = []
    for place, lean in enumerate(leans(bench.memory)):
        knobs = [knob for knob in bench.knobs.values() if knob.constant == lean.name]
        if knobs:
            worth = 100.0 if lean.name == planned else 10.0 / (1 + place)
            found.append(Idea(lean.name, knobs[0].rule.category, worth, _against(bench, knobs, lean)))
    if kind := fashion(bench.memory):
        others = [idea for idea in number_ideas(bench, SETTINGS.wide_reach) if idea.category != kind]
        found += [Idea(idea.name, idea.category, 0.1 * idea.worth, idea.drafts) for idea in others]
    return found


def _against(bench: Bench, knobs: list[Knob], lean: Lean) -> Drafts:
    sign = -1.0 if lean.way == "up" else 1.0

    def drafts(rng: random.Random) -> Iterator[Draft]:
        ways = [(knob, stride) for stride in _STRIDES for knob in knobs]
        for knob, stride in ways:
            if knob.value <= 0 and knob.rule.scale != "linear":
                continue
            place = to_scale(knob.rule, knob.value) + sign * stride * usual_step(knob.rule)
            value = rounded(knob.rule, from_scale(knob.rule, place))
            if (value - knob.value) * sign > 0:
                draft = moved(bench, knob, value)
                yield Draft(f"{draft.what} (against the trend {lean.way})", draft.content)

    return drafts
