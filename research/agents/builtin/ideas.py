"""Lists changes of a parent: numbers, named choices, parts switched off, trends reversed, changes merged."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from research.agents.builtin.constraints import DEPTHS, numbers_of
from research.agents.builtin.hyperparameters import Hyperparameter, hyperparameters
from research.agents.builtin.sampler import sample
from research.agents.builtin.source import Setting, Source
from research.code.classify import category_of_name
from research.code.constants import UNKNOWN, evaluate
from research.code.diff import ARROW
from research.core import git
from research.core.commit_message import idea_of
from research.core.records import Plan
from research.core.settings import SETTINGS
from research.search.emitters.anomaly_chaser import anomalies
from research.search.emitters.contrarian import Direction, dominant_category, recent_directions
from research.search.emitters.recombinator import Pair, mergeable
from research.verdict.models import Configuration, Memory

ReadSource = Callable[[str], "bytes | None"]
"""Returns the train.py of a commit, None where there is none."""


@dataclass(frozen=True)
class Draft:
    """A possible train.py: what was changed, as a commit's subject puts it, and the whole file."""

    what: str
    content: bytes


@dataclass(frozen=True)
class Idea:
    """One thing that can be changed, in one or several ways.

    Attributes:
        name: What is changed.
        category: The category of the change.
        weight: How often it is drawn, 1 for the ordinary.
        drafts: The ways to do it, the most promising first.
    """

    name: str
    category: str
    weight: float
    drafts: Iterable[Draft]


@dataclass(frozen=True)
class EditContext:
    """What a change is made from: the plan, what is known, the parent's train.py and other commits', and chance."""

    plan: Plan
    memory: Memory
    read_source: ReadSource
    source: Source
    rng: random.Random

    @cached_property
    def numbers(self) -> tuple[Hyperparameter, ...]:
        """Return the numbers that may be moved."""
        return hyperparameters(self.source)

    def moved(self, number: Hyperparameter, value: float, why: str = "") -> Draft:
        """Return the parent with one number at another value."""
        written = number.format(value)
        content = self.source.replace(number.node, written)
        return Draft(f"{number.name} {number.written}{ARROW}{written}{f' ({why})' if why else ''}", content)

    def rewritten(self, setting: Setting, text: str) -> Draft:
        """Return the parent with a setting written otherwise."""
        what = f"{setting.name} {self.source.text(setting.node)}{ARROW}{text}".replace('"', "")
        return Draft(what, self.source.replace(setting.node, text))


def _category(constant: str) -> str:
    """Return the category of a change of a constant; what has no telling name counts as architecture."""
    return category_of_name(constant) or "architecture"


def _idea(constant: str, weight: float, drafts: Iterable[Draft]) -> Idea:
    """Return an idea to change a constant."""
    return Idea(constant, _category(constant), weight, drafts)


def _weight_at(place: int, is_planned: bool) -> float:
    """Return the weight of the idea at a place of a list, the best first; the planned one comes before all others."""
    return 100.0 if is_planned else 1.0 / (1 + place)


# Numbers ----------------------------------------------------------------------------------------------------------


def number_ideas(context: EditContext, reach: float) -> list[Idea]:
    """Return one idea for each number: another value from the sampler, no farther than so many usual moves."""
    return [_idea(one.constant, _weight(context, one), _sampled(context, one, reach)) for one in context.numbers]


def _sampled(context: EditContext, number: Hyperparameter, reach: float) -> Iterator[Draft]:
    trials = context.memory.tried.get(number.constant, ())
    for value in sample(number, trials, context.source.values, reach, context.rng):
        yield context.moved(number, value)


def _weight(context: EditContext, number: Hyperparameter) -> float:
    """Return how promising a number is: its space's weight, less for every loss, more for every gain."""
    trials = context.memory.tried.get(number.constant, ())
    gains = [trial.known.gain.mean for trial in trials if trial.known.gain is not None and trial.alone]
    losses = sum(gain <= 0 for gain in gains) + sum(trial.known.estimate is None for trial in trials)
    wins = sum(gain > 0 for gain in gains)
    return number.space.weight * (1 + wins) / math.sqrt(1 + wins + losses)


# Named choices ----------------------------------------------------------------------------------------------------

_WORD = r"[\"']?[A-Za-z]\w*[\"']?"
_ALTERNATIVES = re.compile(rf"{_WORD}(?:\s*,\s*{_WORD})*,?\s+or\s+{_WORD}|{_WORD}(?:\s*[|/]\s*{_WORD})+")
"""Alternatives in a comment: "rms or layer", "relu, gelu or silu", "a | b | c"."""


def choice_ideas(context: EditContext) -> list[Idea]:
    """Return one idea for each switch, window pattern, and word whose alternatives the code or a comment names."""
    found = []
    for setting in context.source.settings:
        if texts := _alternatives(context.source, setting):
            drafts = [context.rewritten(setting, text) for text in context.rng.sample(texts, len(texts))]
            found.append(_idea(setting.name, 1.0, drafts))
    return found


def _alternatives(source: Source, setting: Setting) -> list[str]:
    """Return the other ways to write a setting."""
    value = evaluate(setting.node, {})
    if isinstance(value, bool):
        return [str(not value)]
    if not isinstance(value, str) or not value:
        return []
    if set(value) <= set("SL"):
        words = _patterns(value, int(next(iter(numbers_of(source.values, DEPTHS)), 8)))
    else:
        words = _words(value, setting)
    return [f'"{word}"' for word in words]


def _patterns(pattern: str, depth: int) -> list[str]:
    """Return the patterns in which every layer, every second, every third, ... sees all; the last always does."""

    def layers(letters: str) -> str:
        return "".join(itertools.islice(itertools.cycle(letters), max(1, depth - 1)))

    found = ("S" * short + "L" for short in range(depth))
    return [letters for letters in found if layers(letters) != layers(pattern)]


def _words(word: str, setting: Setting) -> list[str]:
    """Return the words with which the code compares a setting, and the alternatives that its comment names."""
    lists = (re.findall(r"\w+", match) for match in _ALTERNATIVES.findall(setting.comment))
    named = {name for names in lists if word in names for name in names if name != "or"}
    return sorted((setting.compared | named) - {word})


# Switching off ----------------------------------------------------------------------------------------------------


def off_ideas(context: EditContext) -> list[Idea]:
    """Return ideas that make a part do nothing, or a number of the architecture one move smaller."""
    found = []
    for number in context.numbers:
        space = number.space
        if space.off is not None and number.value != space.off:
            found.append(_idea(number.constant, 0.5 * space.weight, [context.moved(number, space.off)]))
        elif space.integer and number.value > 1 and _category(number.constant) == "architecture":
            smaller = space.value(space.position(number.value) - space.stride)
            found.append(_idea(number.constant, 0.2 * space.weight, [context.moved(number, smaller, "smaller")]))
    for setting in context.source.settings:
        if text := _off(setting):
            found.append(_idea(setting.name, 0.8, [context.rewritten(setting, text)]))
    return found


def _off(setting: Setting) -> str:
    """Return how a setting is written that does nothing, "" where nobody knows."""
    value = evaluate(setting.node, {})
    if value is True:
        return "False"
    if isinstance(value, str) and set(value) == set("SL"):
        return '"L"'
    if setting.is_tested and value is not UNKNOWN and value:
        return {int: "0", float: "0.0", tuple: "()"}.get(type(value), "")
    return ""


# Reversals --------------------------------------------------------------------------------------------------------

_STRIDES = (1.0, 2.0, 0.5, 3.0)
"""Lengths of a move against the trend, in usual moves."""


def reversal_ideas(context: EditContext) -> list[Idea]:
    """Return the opposite of every trend, then moves of the categories that were not tried lately."""
    planned = context.plan.details.get("oppose")
    found = []
    for place, trend in enumerate(recent_directions(context.memory)):
        if numbers := [number for number in context.numbers if number.constant == trend.name]:
            weight = 10.0 * _weight_at(place, trend.name == planned)
            found.append(_idea(trend.name, weight, _reversed(context, numbers, trend)))
    if dominant := dominant_category(context.memory):
        others = [idea for idea in number_ideas(context, SETTINGS.wide_reach) if idea.category != dominant]
        found += [replace(idea, weight=0.1 * idea.weight) for idea in others]
    return found


def _reversed(context: EditContext, numbers: Sequence[Hyperparameter], trend: Direction) -> Iterator[Draft]:
    sign = -1.0 if trend.way == "up" else 1.0
    for stride, number in itertools.product(_STRIDES, numbers):
        space = number.space
        if number.value > 0 or space.scale == "linear":
            value = space.value(space.position(number.value) + sign * stride * space.stride)
            if (value - number.value) * sign > 0:
                yield context.moved(number, value, f"against the trend {trend.way}")


# Recorded changes -------------------------------------------------------------------------------------------------


def merge_ideas(context: EditContext) -> list[Idea]:
    """Return two near misses carried onto the parent together; the planned pair first."""
    details, found = context.plan.details, []
    planned = {details.get("first"), details.get("second")}
    for place, pair in enumerate(itertools.islice(mergeable(context.memory), SETTINGS.merges_tried)):
        one, other = pair.first.commit, pair.second.commit
        weight = _weight_at(place, {one, other} == planned)
        found.append(Idea(f"{one[:7]} and {other[:7]}", "mixed", weight, _merged(context, pair)))
    return found


def _merged(context: EditContext, pair: Pair) -> Iterator[Draft]:
    content, subjects = context.source.content, []
    for known in (pair.first, pair.second):
        merged = merge(context.read_source(known.parent), content, context.read_source(known.commit))
        if merged is None or merged == content:
            return
        content = merged
        subjects.append(idea_of(known.subject) or known.commit[:7])
    yield Draft(" + ".join(subjects), content)


_MARK = b"\x1f\n"
"""Put between any two lines before merging: git refuses changes of adjacent lines, and constants are adjacent."""


def merge(base: bytes | None, ours: bytes, theirs: bytes | None) -> bytes | None:
    """Return two changes of a base together; None where they conflict or a text is missing."""
    if base is None or theirs is None:
        return None
    marked = (b"".join(line + _MARK for line in text.splitlines(keepends=True)) for text in (base, ours, theirs))
    merged = git.merge_file(*marked)
    return None if merged is None else merged.replace(_MARK, b"")


def half_ideas(context: EditContext) -> list[Idea]:
    """Return half of every number's move in what crashed or surprised; the planned one first."""
    planned, found = context.plan.details.get("anomaly"), []
    for place, known in enumerate(anomalies(context.memory)[: SETTINGS.anomalies_tried]):
        weight = _weight_at(place, known.commit == planned)
        name, category = f"half of {known.commit[:7]}", known.category or "mixed"
        found.append(Idea(name, category, weight, _half_way(context, known)))
    return found


def _half_way(context: EditContext, known: Configuration) -> Iterator[Draft]:
    """Yield half of a number's move; after a gain a move half as far again."""
    has_won = known.gain is not None and known.gain.mean > 0
    share, why = (1.5, "further than") if has_won else (0.5, "half as far as")
    for number in context.numbers:
        before, arrow, after = known.delta.get(number.constant, "").partition(ARROW)
        old, new = (number.parse(text, context.source.values) for text in (before, after))
        if not arrow or old is None or new is None or old == new or min(old, new) < 0:
            continue
        value = number.space.between(old, new, share)
        if number.format(value) not in (number.written, number.format(new)):
            yield context.moved(number, value, f"{why} {known.commit[:7]}")
