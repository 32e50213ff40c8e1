"""Ideas that move one number: near its value for the local tuner, far for the others, off for the simplifier."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from research.agents.builtin.context import Bench, Draft, Drafts, Idea
from research.agents.builtin.knobs import Knob
from research.agents.builtin.sampling import draw
from research.agents.builtin.text import spliced
from research.core.settings import SETTINGS
from research.verdict.models import Trial


def number_ideas(bench: Bench, reach: float, local: bool = False) -> list[Idea]:
    """One idea for each number.

    Args:
        bench: The parent.
        reach: How far values may lie, in usual steps.
        local: Whether numbers whose moves were gains are favoured.
    """
    return [
        Idea(knob.constant, knob.rule.category, _worth(bench, knob, local), _sampled(bench, knob, reach))
        for knob in bench.knobs.values()
    ]


def _sampled(bench: Bench, knob: Knob, reach: float) -> Drafts:
    def drafts(rng: random.Random) -> Iterator[Draft]:
        for value in draw(knob, trials_of(bench, knob), bench.known, reach, rng):
            yield moved(bench, knob, value)

    return drafts


def trials_of(bench: Bench, knob: Knob) -> tuple[Trial, ...]:
    """What was tried with a number's constant."""
    return tuple(bench.memory.tried.get(knob.constant, ()))


def moved(bench: Bench, knob: Knob, value: float) -> Draft:
    """The parent with one number at another value."""
    spelled = knob.spell(value)
    content = spliced(bench.text.content, [knob.splice(bench.text, spelled)])
    return Draft(f"{knob.name} {knob.spelled} -> {spelled}", content)


def _worth(bench: Bench, knob: Knob, local: bool) -> float:
    """How promising a number is: the table's word, less for each move that lost, more for gains nearby."""
    trials = trials_of(bench, knob)
    gains = [trial.known.gain.mean for trial in trials if trial.known.gain is not None and trial.alone]
    losses = sum(gain <= 0 for gain in gains) + sum(trial.known.estimate is None for trial in trials)
    wins = sum(gain > 0 for gain in gains)
    worth = knob.rule.worth * (1 + wins) / math.sqrt(1 + wins + losses)
    return worth * SETTINGS.success_favour if local and wins else worth


def switched_off(bench: Bench) -> list[Idea]:
    """Ideas that give a number the value at which it does nothing."""
    found = []
    for knob in bench.knobs.values():
        off = knob.rule.off
        if off is not None and knob.value != off:
            found.append(Idea(knob.constant, "simplification", 0.5 * knob.rule.worth, _at(bench, knob, off)))
    return found


def _at(bench: Bench, knob: Knob, value: float) -> Drafts:
    return lambda rng: iter([moved(bench, knob, value)])
