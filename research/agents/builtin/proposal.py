"""Makes the built-in agent's proposal: an idea of the planned kind on the planned parent, never made before."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from research.agents.builtin.constraints import new_violations
from research.agents.builtin.ideas import (
    EditContext,
    Idea,
    ReadSource,
    choice_ideas,
    half_ideas,
    merge_ideas,
    number_ideas,
    off_ideas,
    reversal_ideas,
)
from research.agents.builtin.source import Source, arm_in_force
from research.code.constants import assignments
from research.code.fingerprint import fingerprint
from research.core.commit_message import FREE
from research.core.records import EXPERIMENT, Plan
from research.core.settings import SETTINGS
from research.search.emitters import EMITTERS
from research.search.emitters import FREE as FREE_CHOICE
from research.verdict.models import Memory


class NothingToPropose(Exception):
    """No idea of the planned kind is left that is new and can run; the message has the reason."""


@dataclass(frozen=True)
class Proposal:
    """One experiment, ready to be committed: the whole train.py, the commit's subject, and the commit it changes."""

    text: bytes
    subject: str
    parent: str


def propose(plan: Plan, memory: Memory, read_source: ReadSource, seed: int, profile: str | None = None) -> Proposal:
    """Make the planned experiment.

    Args:
        plan: What was planned, an experiment.
        memory: What the lab knows; a train.py that does the same as an earlier one is never proposed.
        read_source: Returns the train.py of a commit.
        seed: Same plan, memory and seed, same proposal.
        profile: Name of the profile that runs, by default the contract's.

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

    def draw(idea: Idea) -> float:
        """Return a number that is lower the sooner an idea is drawn, by weight; of the planned category oftener."""
        weight = idea.weight * (SETTINGS.category_favour if idea.category in wanted else 1.0)
        return -math.log(1 - rng.random()) / max(weight, 1e-9)

    known = {fingerprint(content): "would change nothing"} | dict.fromkeys(memory.fingerprints, "measured already")
    for idea in sorted(_ideas(EditContext(plan, memory, read_source, source, rng)), key=draw):
        for draft in idea.drafts:
            problem = _problem(source, draft.content, known)
            if problem is None:
                return Proposal(draft.content, _subject(draft.what, plan.emitter), parent)
            refused[problem] += 1
    why = ", ".join(f"{count} {problem}" for problem, count in refused.most_common(3)) or "it has no idea here"
    raise NothingToPropose(f"{plan.emitter or 'the free agent'} has nothing new for {parent[:7]}: {why}")


def assign(plan: Plan, memory: Memory, read_source: ReadSource, name: str, value: str) -> Proposal:
    """Give a constant the value that a person asks for, whatever was planned otherwise.

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
    """Return why a train.py is not to be run, None if it is; what is known is named by fingerprint."""
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
    what = " ".join(what.split())
    return f"exp: {what if len(what) <= room else what[: room - 3] + '...'}{tag}"


def _ideas(context: EditContext) -> list[Idea]:
    """Return the planned emitter's ideas: those made for it, else all of its kind; a free agent may do anything."""
    name = context.plan.emitter
    if name in _SPECIAL:
        return _SPECIAL[name](context)
    ideas = [*number_ideas(context, SETTINGS.wide_reach), *choice_ideas(context)]
    emitter = EMITTERS.get(name, FREE_CHOICE) if name else FREE_CHOICE
    return [idea for idea in ideas if emitter.covers(idea.category)]


_SPECIAL: Mapping[str | None, Callable[[EditContext], list[Idea]]] = {
    "local_tuner": lambda context: number_ideas(context, SETTINGS.local_reach),
    "simplifier": off_ideas,
    "contrarian": reversal_ideas,
    "recombinator": merge_ideas,
    "anomaly_chaser": half_ideas,
}
"""How the emitters edit that do not simply change anything of their kind."""
