"""Lists changes of a parent: numbers, named choices, parts switched off, trends reversed, changes merged."""

from __future__ import annotations

import ast
import itertools
import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cached_property, partial

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
from research.verdict.models import Configuration, Memory, Trial

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
        drafts: Makes the ways to do it, the most promising first.
    """

    name: str
    category: str
    weight: float
    drafts: Callable[[random.Random], Iterator[Draft]]


@dataclass(frozen=True)
class EditContext:
    """What a change is made from.

    Attributes:
        plan: What was planned.
        memory: What the lab knows.
        read_source: Returns the train.py of other commits.
        parent: The commit that is changed.
        source: Its train.py.
    """

    plan: Plan
    memory: Memory
    read_source: ReadSource
    parent: str
    source: Source

    @cached_property
    def numbers(self) -> tuple[Hyperparameter, ...]:
        """Return the numbers that may be moved."""
        return hyperparameters(self.source)

    def trials(self, number: Hyperparameter) -> Sequence[Trial]:
        """Return what was tried with a number's constant."""
        return self.memory.tried.get(number.constant, ())


def _category(constant: str) -> str:
    """Return the category of a change of a constant; what has no telling name counts as architecture."""
    return category_of_name(constant) or "architecture"


def _idea(constant: str, weight: float, drafts: Sequence[Draft]) -> Idea:
    """Return an idea whose drafts are equally promising."""
    return Idea(constant, _category(constant), weight, lambda rng: iter(rng.sample(drafts, len(drafts))))


# Numbers ----------------------------------------------------------------------------------------------------------


def number_ideas(context: EditContext, reach: float, prefer_gains: bool = False) -> list[Idea]:
    """Return one idea for each number: another value from the sampler.

    Args:
        context: The parent.
        reach: How far values may lie, in usual moves.
        prefer_gains: Whether numbers are drawn oftener whose moves were gains.
    """
    return [
        Idea(
            number.constant,
            _category(number.constant),
            _weight(context, number, prefer_gains),
            partial(_sampled, context, number, reach),
        )
        for number in context.numbers
    ]


def _sampled(context: EditContext, number: Hyperparameter, reach: float, rng: random.Random) -> Iterator[Draft]:
    for value in sample(number, context.trials(number), context.source.values, reach, rng):
        yield _moved(context, number, value)


def _moved(context: EditContext, number: Hyperparameter, value: float, why: str = "") -> Draft:
    """Return the parent with one number at another value."""
    written = number.format(value)
    content = context.source.replace(number.node, written)
    return Draft(f"{number.name} {number.written}{ARROW}{written}{f' ({why})' if why else ''}", content)


def _weight(context: EditContext, number: Hyperparameter, prefer_gains: bool) -> float:
    """Return how promising a number is: its space's weight, less for every loss, more for every gain."""
    trials = context.trials(number)
    gains = [trial.known.gain.mean for trial in trials if trial.known.gain is not None and trial.alone]
    losses = sum(gain <= 0 for gain in gains) + sum(trial.known.estimate is None for trial in trials)
    wins = sum(gain > 0 for gain in gains)
    weight = number.space.weight * (1 + wins) / math.sqrt(1 + wins + losses)
    return weight * SETTINGS.success_favour if prefer_gains and wins else weight


# Named choices ----------------------------------------------------------------------------------------------------

_MAX_PATTERN = 5
"""Letters of the longest window pattern that is proposed: longer ones hardly differ in models this shallow."""
_WORD = r"[\"']?[A-Za-z]\w*[\"']?"
_ALTERNATIVES = re.compile(rf"{_WORD}(?:\s*,\s*{_WORD})*,?\s+or\s+{_WORD}|{_WORD}(?:\s*[|/]\s*{_WORD})+")
"""Alternatives in a comment: "rms or layer", "relu, gelu or silu", "a | b | c"."""


def choice_ideas(context: EditContext) -> list[Idea]:
    """Return one idea for each switch, window pattern, and word whose alternatives the code or a comment names."""
    return [
        _idea(setting.name, 1.0, [_rewritten(context, setting, text) for text in alternatives])
        for setting in context.source.settings
        if (alternatives := _alternatives(context.source, setting))
    ]


def _rewritten(context: EditContext, setting: Setting, text: str) -> Draft:
    """Return the parent with a setting written otherwise."""
    what = f"{setting.name} {context.source.text(setting.node)}{ARROW}{text}".replace('"', "")
    return Draft(what, context.source.replace(setting.node, text))


def _alternatives(source: Source, setting: Setting) -> list[str]:
    """Return the other ways to write a setting."""
    value = setting.literal
    if isinstance(value, bool):
        return [str(not value)]
    if not isinstance(value, str) or not value:
        return []
    words = _patterns(value, source) if set(value) <= set("SL") else _words(value, setting)
    return [f'"{word}"' for word in words]


def _patterns(pattern: str, source: Source) -> list[str]:
    """Return the window patterns that make other layers see all; the last layer always does."""
    depth = int(next(numbers_of(source.values, DEPTHS), 8))
    found: dict[str, str] = {_repeated(pattern, depth): pattern}
    for length in range(1, _MAX_PATTERN + 1):
        for letters in map("".join, itertools.product("SL", repeat=length)):
            found.setdefault(_repeated(letters, depth), letters)
    return [letters for letters in found.values() if letters != pattern]


def _repeated(pattern: str, depth: int) -> str:
    return "".join(itertools.islice(itertools.cycle(pattern), max(1, depth - 1)))


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
        off, weight = number.space.off, number.space.weight
        if off is not None and number.value != off:
            found.append(_idea(number.constant, 0.5 * weight, [_moved(context, number, off)]))
        elif number.space.integer and number.value > 1 and _category(number.constant) == "architecture":
            smaller = _moved(context, number, _smaller(context, number), "smaller")
            found.append(_idea(number.constant, 0.2 * weight, [smaller]))
    for setting in context.source.settings:
        if text := _off(setting):
            found.append(_idea(setting.name, 0.8, [_rewritten(context, setting, text)]))
    return found


def _smaller(context: EditContext, number: Hyperparameter) -> float:
    """Return the next smaller value."""
    if factor := number.factor(context.source.values):
        return number.value - factor
    return number.space.value(number.space.position(number.value) - number.space.stride)


def _off(setting: Setting) -> str:
    """Return how a setting is written that does nothing, "" where nobody knows."""
    value, node = evaluate(setting.node, {}), setting.node
    if value is True:
        return "False"
    if isinstance(value, str) and set(value) == set("SL"):
        return '"L"'
    if isinstance(node, ast.Tuple) and len(node.elts) == 2 and setting.comment.startswith("from, to"):
        end = ast.unparse(node.elts[1])
        return f"({end}, {end})" if ast.unparse(node.elts[0]) != end else ""
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
            weight = 100.0 if trend.name == planned else 10.0 / (1 + place)
            found.append(Idea(trend.name, _category(trend.name), weight, partial(_reversed, context, numbers, trend)))
    if dominant := dominant_category(context.memory):
        others = [idea for idea in number_ideas(context, SETTINGS.wide_reach) if idea.category != dominant]
        found += [replace(idea, weight=0.1 * idea.weight) for idea in others]
    return found


def _reversed(
    context: EditContext, numbers: Sequence[Hyperparameter], trend: Direction, rng: random.Random
) -> Iterator[Draft]:
    sign = -1.0 if trend.way == "up" else 1.0
    for stride, number in itertools.product(_STRIDES, numbers):
        space = number.space
        if number.value > 0 or space.scale == "linear":
            value = space.value(space.position(number.value) + sign * stride * space.stride)
            if (value - number.value) * sign > 0:
                yield _moved(context, number, value, f"against the trend {trend.way}")


# Recorded changes -------------------------------------------------------------------------------------------------


def merge_ideas(context: EditContext) -> list[Idea]:
    """Return two near misses carried onto the parent together; the planned pair first."""
    details = context.plan.details
    planned = {details.get("first"), details.get("second")}
    return [
        Idea(
            f"{pair.first.commit[:7]} and {pair.second.commit[:7]}",
            "mixed",
            100.0 if {pair.first.commit, pair.second.commit} == planned else 1.0 / (1 + place),
            partial(_merged, context, pair),
        )
        for place, pair in enumerate(itertools.islice(mergeable(context.memory), SETTINGS.merges_tried))
    ]


def _merged(context: EditContext, pair: Pair, rng: random.Random) -> Iterator[Draft]:
    content = context.source.content
    for known in (pair.first, pair.second):
        merged = merge(context.read_source(known.parent), content, context.read_source(known.commit))
        if merged is None or merged == content:
            return
        content = merged
    yield Draft(f"{_subject(pair.first)} + {_subject(pair.second)}", content)


def _subject(known: Configuration) -> str:
    """Return what a recorded change was, in a few words."""
    return idea_of(known.subject) or known.commit[:7]


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
    """Return halves of what crashed or surprised: some of its pieces, or half the way of a number."""
    planned = context.plan.details.get("anomaly")
    return [
        Idea(
            f"half of {known.commit[:7]}",
            known.category or "mixed",
            100.0 if known.commit == planned else 1.0 / (1 + place),
            partial(_halved, context, known),
        )
        for place, known in enumerate(anomalies(context.memory)[: SETTINGS.anomalies_tried])
    ]


def _halved(context: EditContext, known: Configuration, rng: random.Random) -> Iterator[Draft]:
    yield from _half_way(context, known)
    base, changed = context.read_source(known.parent), context.read_source(known.commit)
    if base is None or changed is None:
        return
    lines, pieces = base.splitlines(keepends=True), _pieces(base, changed)
    middle = (len(pieces) + 1) // 2
    halves = [pieces[:middle], pieces[middle:], pieces[::2], pieces[1::2]] if len(pieces) > 1 else []
    for half in rng.sample(halves, len(halves)):
        content = merge(base, context.source.content, _with_pieces(lines, half))
        if content is not None:
            yield Draft(f"{len(half)} of {len(pieces)} pieces of {known.commit[:7]} ({_subject(known)})", content)


Piece = tuple[int, int, Sequence[bytes]]
"""Lines of a base from the first number up to the second give way to new ones."""


def _pieces(base: bytes, changed: bytes) -> list[Piece]:
    """Return what was changed, a piece a line where as many lines came as went."""
    old, new = base.splitlines(keepends=True), changed.splitlines(keepends=True)
    found: list[Piece] = []
    for tag, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal" and j - i == m - k:
            found += [(i + n, i + n + 1, new[k + n : k + n + 1]) for n in range(j - i)]
        elif tag != "equal":
            found.append((i, j, new[k:m]))
    return found


def _with_pieces(lines: Sequence[bytes], pieces: Sequence[Piece]) -> bytes:
    result = list(lines)
    for start, end, new in reversed(pieces):
        result[start:end] = new
    return b"".join(result)


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
            yield _moved(context, number, value, f"{why} {known.commit[:7]}")
