"""Makes the built-in agent's proposal: one idea of the planned kind on the planned parent, never made before.

Ideas are numbers, named choices, parts switched off, trends reversed, changes merged and moves halved.
"""

from __future__ import annotations

import itertools
import math
import random
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from research.agents.builtin.constraints import DEPTHS, new_violations, numbers_of
from research.agents.builtin.hyperparameters import Hyperparameter, hyperparameters, sample
from research.agents.builtin.source import Setting, Source, arm_in_force
from research.code.classify import category_of_name
from research.code.constants import assignments, evaluate
from research.code.diff import ARROW
from research.code.fingerprint import fingerprint
from research.core import git
from research.core.commit_message import FREE, idea_of
from research.core.records import EXPERIMENT, Plan
from research.core.settings import SETTINGS
from research.search.emitters import EMITTERS
from research.search.emitters import FREE as FREE_CHOICE
from research.search.emitters.anomaly_chaser import anomalies
from research.search.emitters.contrarian import Direction, dominant_category, recent_directions
from research.search.emitters.recombinator import NearMissPair, mergeable
from research.verdict.models import Configuration, Memory, Trial

ReadSource = Callable[[str], "bytes | None"]
"""A function that returns the train.py of a commit, None where there is none."""


class NothingToPropose(Exception):
    """No idea of the planned kind is left that is new and can run; the message has the reason."""


@dataclass(frozen=True)
class Proposal:
    """One experiment, ready to be committed."""

    text: bytes  # the whole train.py
    subject: str  # of the commit
    parent: str  # full hash of the commit that it changes


@dataclass(frozen=True)
class Draft:
    """A possible train.py."""

    what: str  # the change, as a commit's subject puts it
    content: bytes  # the whole file


@dataclass(frozen=True)
class EditIdea:
    """One thing that can be changed, in one or several ways.

    Attributes:
        name: The constant that is changed, "" for a recorded change.
        category: The category of the change.
        weight: Weight with which it is drawn, 1 for an ordinary one.
        drafts: The ways to do it, the most promising first.
    """

    name: str
    category: str
    weight: float
    drafts: Iterable[Draft]


@dataclass(frozen=True)
class EditContext:
    """The values that a change is made from."""

    memory: Memory
    read_source: ReadSource
    source: Source  # the parent's train.py
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
        """Return the parent with another text in place of a setting's value."""
        what = f"{setting.name} {self.source.text(setting.node)}{ARROW}{text}".replace('"', "")
        return Draft(what, self.source.replace(setting.node, text))


def propose(plan: Plan, memory: Memory, read_source: ReadSource, seed: int, profile: str | None = None) -> Proposal:
    """Return the planned experiment; the same plan, memory and seed give the same one.

    A train.py that does the same as an earlier one is never proposed. The profile is by default the contract's.

    Raises:
        NothingToPropose: if no idea is left, with the reason.
    """
    if plan.kind != EXPERIMENT:
        raise NothingToPropose(f"a {plan.kind} is run, not proposed")
    parent = plan.parent or (memory.incumbent.commit if memory.incumbent else "")
    content = read_source(parent) if parent else None
    if content is None:
        raise NothingToPropose(f"there is no train.py at {parent[:7] or 'the parent'}")
    try:
        source = Source(content, profile or profile_of(memory))
    except SyntaxError as error:
        raise NothingToPropose(f"the train.py of {parent[:7]} does not parse: {error.msg}") from None
    rng = random.Random(f"{seed}/{plan.plan}/{plan.emitter}/{parent}")
    wanted, refused = (plan.category or "").split("+"), Counter[str]()

    def draw(idea: EditIdea) -> float:
        """Return a number that is lower the sooner an idea is drawn, by weight; of the planned category oftener."""
        weight = idea.weight * (SETTINGS.category_favour if idea.category in wanted else 1.0)
        return -math.log(1 - rng.random()) / max(weight, 1e-9)

    known = {fingerprint(content): "would change nothing"} | dict.fromkeys(memory.fingerprints, "measured already")
    for idea in sorted(_ideas(plan.emitter, EditContext(memory, read_source, source, rng)), key=draw):
        for draft in idea.drafts:
            problem = _problem(source, draft.content, known)
            if problem is None:
                return Proposal(draft.content, _subject(draft.what, plan.emitter), parent)
            refused[problem] += 1
    why = ", ".join(f"{count} {problem}" for problem, count in refused.most_common(3)) or "it has no idea here"
    raise NothingToPropose(f"{plan.emitter or 'the free agent'} has nothing new for {parent[:7]}: {why}")


def assign(plan: Plan, memory: Memory, read_source: ReadSource, name: str, value: str) -> Proposal:
    """Return the experiment that gives a constant the value that a person asks for.

    Raises:
        NothingToPropose: if that can't be done, or was measured already.
    """
    parent = plan.parent or ""
    source = Source(read_source(parent) or b"", profile_of(memory))
    node = dict(assignments(source.tree.body)).get(name)
    if node is None:
        raise NothingToPropose(f"train.py has no constant {name} at {parent[:7]}")
    arm = arm_in_force(node, source.values)
    text = source.replace(arm, value)
    known = dict.fromkeys(memory.fingerprints, "this was measured already")
    known |= {fingerprint(source.content): "it has this value already"}
    if problem := _problem(source, text, known):
        raise NothingToPropose(f"{name}={value}: {problem}")
    return Proposal(text, _subject(f"{name} {source.text(arm)} -> {value}", plan.emitter), parent)


def profile_of(memory: Memory) -> str:
    """Return the profile of a memory's contract; of a custom contract by the device of its baseline."""
    name = (memory.contract or "").split("-")[0]
    if name in ("official", "pocket"):
        return name
    device = (memory.baseline.device or "").lower() if memory.baseline else ""
    return "official" if any(word in device for word in ("nvidia", "cuda", "gpu")) else "pocket"


def _problem(parent: Source, content: bytes, known: Mapping[str, str]) -> str | None:
    """Return why a train.py is not to be run, None if it may be; known holds such reasons by fingerprint."""
    try:
        source = Source(content, parent.profile)
        problem = known.get(fingerprint(content))
    except SyntaxError:
        return "would not parse"
    broken = new_violations(parent, source)
    return problem or (f"refused: {broken[0]}" if broken else None)


def _subject(what: str, emitter: str | None) -> str:
    """Return a commit's subject in one line."""
    tag = f" [emitter={emitter or FREE}]"
    room = SETTINGS.subject_chars - len("exp: ") - len(tag)
    return f"exp: {textwrap.shorten(what, room, placeholder='...')}{tag}"


# What the emitters change -----------------------------------------------------------------------------------------


def _category(constant: str) -> str:
    """Return the category of a change of a constant; what has no telling name counts as architecture."""
    return category_of_name(constant) or "architecture"


def _idea(constant: str, weight: float, drafts: Iterable[Draft]) -> EditIdea:
    """Return an idea to change a constant."""
    return EditIdea(constant, _category(constant), weight, drafts)


_NEXT = 0.25
"""Weight of each idea in a list of recorded changes, as a share of the weight of the one before it."""


def number_ideas(context: EditContext, reach: float) -> list[EditIdea]:
    """Return one idea for each number: another value from the sampler, no farther than so many usual moves."""
    found = []
    for number in context.numbers:
        trials = context.memory.tried.get(number.constant, ())
        values = sample(number, trials, context.source.values, reach, context.rng)
        drafts = map(partial(context.moved, number), values)
        found.append(_idea(number.constant, number.space.weight * _promise(trials), drafts))
    return found


def _promise(trials: Sequence[Trial]) -> float:
    """Return the weight of another move of a number: 1 before any, less for every loss, more for every gain."""
    gains = [trial.known.gain.mean for trial in trials if trial.known.gain is not None and trial.alone]
    losses = sum(gain <= 0 for gain in gains) + sum(trial.known.estimate is None for trial in trials)
    wins = sum(gain > 0 for gain in gains)
    return (1 + wins) / math.sqrt(1 + wins + losses)


_WORD = r"[\"']?[A-Za-z]\w*[\"']?"
_ALTERNATIVES = re.compile(rf"{_WORD}(?:\s*,\s*{_WORD})*,?\s+or\s+{_WORD}|{_WORD}(?:\s*[|/]\s*{_WORD})+")
"""Alternatives in a comment: "rms or layer", "relu, gelu or silu", "a | b | c"."""


def choice_ideas(context: EditContext) -> list[EditIdea]:
    """Return one idea for each switch, window pattern, and word whose alternatives the code or a comment names."""
    found = []
    for setting in context.source.settings:
        value, texts = evaluate(setting.node, {}), list[str]()
        if isinstance(value, bool):
            texts = [str(not value)]
        elif isinstance(value, str) and value:
            others = _patterns(value, context.source) if set(value) <= set("SL") else _words(value, setting)
            texts = [f'"{other}"' for other in others]
        drafts = [context.rewritten(setting, text) for text in context.rng.sample(texts, len(texts))]
        found += [_idea(setting.name, 1.0, drafts)] if drafts else []
    return found


def _patterns(pattern: str, source: Source) -> list[str]:
    """Return the patterns in which every layer, every second, every third, ... sees all; the last always does."""
    depth = int(next(iter(numbers_of(source.values, DEPTHS)), 8))

    def layers(letters: str) -> str:
        return "".join(itertools.islice(itertools.cycle(letters), max(1, depth - 1)))

    found = ("S" * short + "L" for short in range(depth))
    return [letters for letters in found if layers(letters) != layers(pattern)]


def _words(word: str, setting: Setting) -> list[str]:
    """Return the words with which the code compares a setting, and the alternatives that its comment names."""
    lists = (re.findall(r"\w+", match) for match in _ALTERNATIVES.findall(setting.comment))
    named = {name for names in lists if word in names for name in names if name != "or"}
    return sorted((setting.compared | named) - {word})


_OFF = {bool: "False", int: "0", float: "0.0", tuple: "()"}
"""By type, the value that switches a setting off, as train.py spells it."""


def off_ideas(context: EditContext) -> list[EditIdea]:
    """Return ideas that switch a part off, or make a number of the architecture one move smaller."""
    found = []
    for number in context.numbers:
        space = number.space
        if space.off is not None and number.value != space.off:
            found.append(_idea(number.constant, 0.5 * space.weight, [context.moved(number, space.off)]))
        elif space.integer and number.value > 1 and _category(number.constant) == "architecture":
            smaller = space.value(space.position(number.value) - space.stride)
            found.append(_idea(number.constant, 0.2 * space.weight, [context.moved(number, smaller, "smaller")]))
    for setting in context.source.settings:
        value = evaluate(setting.node, {})
        off = _OFF.get(type(value))
        if off and value and (setting.is_tested or value is True):
            found.append(_idea(setting.name, 0.8, [context.rewritten(setting, off)]))
    return found


_STRIDES = (1.0, 2.0, 0.5, 3.0)
"""Lengths of a move against the trend, in usual moves."""


def reversal_ideas(context: EditContext) -> list[EditIdea]:
    """Return ideas that move against each trend, then moves of the categories that do not dominate lately."""
    found = []
    for place, trend in enumerate(recent_directions(context.memory)):
        numbers = [number for number in context.numbers if number.constant == trend.name]
        found.append(_idea(trend.name, 10.0 * _NEXT**place, _reversed(context, numbers, trend)))
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


def merge_ideas(context: EditContext) -> list[EditIdea]:
    """Return ideas that carry two near misses onto the parent together, the best pair first."""
    pairs = itertools.islice(mergeable(context.memory), SETTINGS.merges_tried)
    return [EditIdea("", "mixed", _NEXT**place, _merged(context, pair)) for place, pair in enumerate(pairs)]


def _merged(context: EditContext, pair: NearMissPair) -> Iterator[Draft]:
    content, subjects = context.source.content, []
    for known in (pair.first, pair.second):
        merged = merge(context.read_source(known.parent), content, context.read_source(known.commit))
        if merged is None or merged == content:
            return
        content = merged
        subjects.append(idea_of(known.subject) or known.commit[:7])
    yield Draft(" + ".join(subjects), content)


_MARK = b"\x1f\n"
"""A line that separates any two lines while merging, since git refuses changes of adjacent lines."""


def merge(base: bytes | None, ours: bytes, theirs: bytes | None) -> bytes | None:
    """Return two changes of a base together; None where they conflict or a text is missing."""
    if base is None or theirs is None:
        return None
    marked = (b"".join(line + _MARK for line in text.splitlines(keepends=True)) for text in (base, ours, theirs))
    merged = git.merge_file(*marked)
    return None if merged is None else merged.replace(_MARK, b"")


def half_ideas(context: EditContext) -> list[EditIdea]:
    """Return ideas that make half of a change that crashed or surprised, or more of a gain, the latest first."""
    known = enumerate(anomalies(context.memory)[: SETTINGS.anomalies_tried])
    return [EditIdea("", one.category, _NEXT**place, _half_way(context, one)) for place, one in known]


def _half_way(context: EditContext, known: Configuration) -> Iterator[Draft]:
    """Yield drafts with half of a number's move, or, after a gain, with a move half as far again."""
    has_won = known.gain and known.gain.mean > 0
    share, why = (1.5, "further than") if has_won else (0.5, "half as far as")
    for number in context.numbers:
        before, arrow, after = known.delta.get(number.constant, "").partition(ARROW)
        old, new = (number.parse(text, context.source.values) for text in (before, after))
        if not arrow or old is None or new is None or old == new or min(old, new) < 0:
            continue
        value = number.space.between(old, new, share)
        if number.format(value) not in (number.written, number.format(new)):
            yield context.moved(number, value, f"{why} {known.commit[:7]}")


def _ideas(name: str | None, context: EditContext) -> list[EditIdea]:
    """Return an emitter's ideas: those made for it, else all of its kind; without one the agent may do anything."""
    if name in _SPECIAL:
        return _SPECIAL[name](context)
    ideas = [*number_ideas(context, SETTINGS.wide_reach), *choice_ideas(context)]
    emitter = EMITTERS.get(name, FREE_CHOICE) if name else FREE_CHOICE
    return [idea for idea in ideas if emitter.covers(idea.category)]


_SPECIAL: Mapping[str | None, Callable[[EditContext], list[EditIdea]]] = {
    "local_tuner": lambda context: number_ideas(context, SETTINGS.local_reach),
    "simplifier": off_ideas,
    "contrarian": reversal_ideas,
    "recombinator": merge_ideas,
    "anomaly_chaser": half_ideas,
}
"""The functions that return the ideas of emitters which do more than change anything of their kind."""
