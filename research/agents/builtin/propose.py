"""The built-in agent's one act: an idea of the planned kind, carried out on the planned parent, never made before."""

from __future__ import annotations

import ast
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from research.agents.builtin.combining import combinations, halved
from research.agents.builtin.constraints import broken_by
from research.agents.builtin.context import Bench, Draft, Idea, ReadSource, profile_of
from research.agents.builtin.numbers import number_ideas, switched_off
from research.agents.builtin.removals import removal_ideas
from research.agents.builtin.reversal import reversals
from research.agents.builtin.shapes import model_ideas, schedule_ideas, word_ideas
from research.agents.builtin.text import Text
from research.code.fingerprint import fingerprint
from research.core.commit_message import FREE
from research.core.records import Plan
from research.core.settings import SETTINGS
from research.verdict.models import Memory


class NothingToPropose(Exception):
    """No idea of the planned kind is left that is new and can run; says why."""


@dataclass(frozen=True)
class Proposal:
    """One experiment, ready to be committed.

    Attributes:
        text: The whole train.py.
        subject: The commit's subject.
        parent: The commit that it changes.
        note: One sentence for people: what was chosen and why.
    """

    text: bytes
    subject: str
    parent: str
    note: str


def propose(plan: Plan, memory: Memory, read_source: ReadSource, seed: int, profile: str | None = None) -> Proposal:
    """Makes the planned experiment.

    Args:
        plan: What was planned, an experiment.
        memory: What the lab knows; a train.py that does the same as an earlier one is never proposed.
        read_source: Gives the train.py of a commit.
        seed: Same plan, memory and seed, same proposal.
        profile: Name of the profile that runs, by default the contract's.

    Raises:
        NothingToPropose: if no idea is left, with the reason.
    """
    if plan.kind != "experiment":
        raise NothingToPropose(f"a {plan.kind} is run, not proposed")
    parent = plan.parent or (memory.incumbent.commit if memory.incumbent else "")
    source = read_source(parent) if parent else None
    if source is None:
        raise NothingToPropose(f"there is no train.py at {parent[:7] or 'the parent'}")
    try:
        text = Text(source)
    except SyntaxError as error:
        raise NothingToPropose(f"the train.py of {parent[:7]} does not parse: {error.msg}") from None
    bench = Bench(plan, memory, read_source, parent, text, profile or profile_of(memory))
    rng = random.Random(f"{seed}/{plan.plan}/{plan.emitter}/{parent}")
    refused: Counter[str] = Counter()
    own = fingerprint(source)
    for idea, draft in _drafts(_ideas(bench), plan, rng):
        problem = _problem(bench, draft, own)
        if problem is None:
            note = f"{idea.name} ({idea.category}), one of {plan.emitter or 'the free'} agent's ideas"
            return Proposal(draft.content, subject(draft.what, plan.emitter), parent, note)
        refused[problem] += 1
    why = ", ".join(f"{count} {problem}" for problem, count in refused.most_common(3)) or "it has no idea here"
    raise NothingToPropose(f"{plan.emitter or 'the free agent'} has nothing new for {parent[:7]}: {why}")


def subject(what: str, emitter: str | None) -> str:
    """A commit's subject in one line."""
    tag = f" [emitter={emitter or FREE}]"
    room = SETTINGS.subject_chars - len("exp: ") - len(tag)
    what = " ".join(what.split())
    return f"exp: {what if len(what) <= room else what[: room - 3] + '...'}{tag}"


def _tuner(bench: Bench) -> list[Idea]:
    return number_ideas(bench, SETTINGS.local_reach, local=True)


def _optimizer(bench: Bench) -> list[Idea]:
    kinds = ("optimizer", "batch", "regularization")
    numbers = [idea for idea in number_ideas(bench, SETTINGS.wide_reach) if idea.category in kinds]
    return [*numbers, *schedule_ideas(bench)]


def _architecture(bench: Bench) -> list[Idea]:
    kinds = ("architecture", "attention", "normalization")
    numbers = [idea for idea in number_ideas(bench, SETTINGS.wide_reach) if idea.category in kinds]
    return [*numbers, *word_ideas(bench), *model_ideas(bench)]


def _simplifier(bench: Bench) -> list[Idea]:
    return [*removal_ideas(bench), *switched_off(bench)]


def _anything(bench: Bench) -> list[Idea]:
    return [*_optimizer(bench), *_architecture(bench)]


_MAKERS: Mapping[str | None, Callable[[Bench], list[Idea]]] = {
    "local_tuner": _tuner,
    "optimizer_hacker": _optimizer,
    "architecture_mutator": _architecture,
    "simplifier": _simplifier,
    "contrarian": reversals,
    "recombinator": combinations,
    "anomaly_chaser": halved,
    None: _anything,
}


def _ideas(bench: Bench) -> list[Idea]:
    return _MAKERS.get(bench.plan.emitter, _anything)(bench)


def _drafts(ideas: list[Idea], plan: Plan, rng: random.Random) -> Iterator[tuple[Idea, Draft]]:
    """Every way of every idea: ideas in an order drawn by their worth, those of the planned kind oftener."""
    wanted = set((plan.category or "").split("+")) - {""}

    def key(idea: Idea) -> float:
        worth = idea.worth * (SETTINGS.category_favour if idea.category in wanted else 1.0)
        return -math.log(1 - rng.random()) / max(worth, 1e-9)

    for idea in sorted(ideas, key=key):
        for draft in idea.drafts(rng):
            yield idea, draft


def _problem(bench: Bench, draft: Draft, own: str) -> str | None:
    """Why a draft is not to be run, None if it is."""
    try:
        mark = fingerprint(draft.content)
        tree = ast.parse(draft.content)
    except (SyntaxError, ValueError):
        return "would not parse"
    if mark == own:
        return "would change nothing"
    if mark in bench.memory.fingerprints:
        return "measured already"
    broken = broken_by(bench.text.tree, tree, bench.profile)
    return f"refused: {broken[0]}" if broken else None
