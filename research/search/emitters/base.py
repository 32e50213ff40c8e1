"""Defines what every emitter is: a name, a purpose, a precondition, and a brief made of facts from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from research.core.commit_message import FREE
from research.core.records import Plan
from research.core.settings import SETTINGS
from research.search.emitters.text import format_configuration, format_estimate, quoted
from research.verdict.models import Memory

Ready = Callable[[Memory], "str | None"]
Facts = Callable[[Plan, Memory], Iterable[str]]
Details = Callable[[Memory], Mapping[str, str]]


def needs_parent(memory: Memory) -> str | None:
    """Return why there is no parent to change, None if there is one: the precondition of most emitters."""
    return None if memory.incumbent is not None else "nothing was measured yet"


def no_details(memory: Memory) -> Mapping[str, str]:
    """Return the details of an emitter that picks nothing out of memory: none."""
    return {}


@dataclass(frozen=True)
class Emitter:
    """One kind of proposal.

    Attributes:
        name: Its name, as in a subject's [emitter=...] tag.
        purpose: What it is for, in a few words.
        order: The sentence that tells an agent what to do; {category} is what to change.
        predicted: The effect that is expected: improve, likely improve, flat, risky or uncertain.
        ready: Returns why it makes no sense now, None if it does.
        facts: Returns lines about what it works on, from memory.
        details: Returns what it picked out of memory, for the plan.
        categories: The kinds of change that it makes; none for any.
        words: Words of which one is in the name of what it changes (LR is in MATRIX_LR); none for any name.
    """

    name: str
    purpose: str
    order: str
    predicted: str
    ready: Ready = needs_parent
    facts: Facts = lambda plan, memory: ()
    details: Details = no_details
    categories: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def covers(self, name: str, category: str) -> bool:
        """Return whether a change of a constant or part of this name and category is of its kind."""
        named = not self.words or not set(self.words).isdisjoint(name.lower().split("_"))
        return named and (not self.categories or category in self.categories)

    def brief(self, plan: Plan, memory: Memory, more: Iterable[str] = ()) -> str:
        """Return what an agent is told: facts first, then the order; text of others is quoted and bounded.

        Args:
            plan: The plan.
            memory: What the lab knows.
            more: Lines to follow what the emitter picked, such as the diffs of it.
        """
        category = plan.category or "model"
        tag = f" [emitter={self.name or FREE}]"
        title = f"Emitter {self.name}: {self.purpose}." if self.name else f"Free choice: {self.purpose}."
        head = [f"{title} Predicted effect: {self.predicted}.", *_parent(plan, memory)]
        order = [
            f"Do: {self.order.format(category=category)}",
            f"One idea, train.py alone; subject of its commit: exp: WHAT{tag}, where WHAT says before -> after",
        ]
        middle = [*self.facts(plan, memory), *more, *_nearby(plan, memory), *_not_again(memory)]
        return _bounded(head, middle, order)


def _bounded(head: list[str], middle: list[str], order: list[str]) -> str:
    """Return the lines within the limit; what is cut is cut from the middle's end."""
    room = SETTINGS.brief_chars - sum(len(line) + 1 for line in (*head, *order))
    kept: list[str] = []
    for line in middle:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join([*head, *kept, *order])


def _parent(plan: Plan, memory: Memory) -> list[str]:
    known = memory.of(plan.parent) if plan.parent else memory.incumbent
    lines = []
    if known is not None:
        role = "the best so far" if known is memory.incumbent else f"not the best so far, chosen: {known.decision}"
        value = format_estimate(known.estimate)
        lines.append(f"Parent: {known.commit[:7]} ({role}), val_bpb {value}, {quoted(known.subject)}.")
    if memory.incumbent is not None and known is not memory.incumbent:
        best = memory.incumbent
        lines.append(f"Best so far: {best.commit[:7]}, val_bpb {format_estimate(best.estimate)}.")
    noise = memory.belief.variances
    scatter = f"Runs of one seed scatter by sd {noise.paired_sd:.4f} bpb; smaller gains need another seed."
    lines.append(f"Why: {plan.reason} {scatter}")
    return lines


def _nearby(plan: Plan, memory: Memory) -> list[str]:
    """Return the latest results of this kind of change, the newest first."""
    wanted = set((plan.category or "").split("+")) - {""}
    near = [known for known in reversed(memory.recent) if not wanted or known.category in wanted]
    near = [known for known in near if known.gain is not None or known.failure][: SETTINGS.brief_neighbours]
    return ["Tried nearby (newest first):", *(f"- {format_configuration(known)}" for known in near)] if near else []


def _not_again(memory: Memory) -> list[str]:
    lines = []
    if memory.no_fly:
        lines.append("Ways that failed; do not repeat:")
        lines += [f"- {quoted(pattern.signature)}, {pattern.count} times" for pattern in memory.no_fly[:3]]
    tried = [f"{name} {', '.join(values)}" for name, values in _values(memory).items()]
    if tried:
        lines.append("Values measured already: " + "; ".join(tried[:6]) + ".")
    return lines


def _values(memory: Memory) -> dict[str, list[str]]:
    """Return the values tried lately by constant, the most tried constants first."""
    busy = sorted(memory.tried.items(), key=lambda item: (-len(item[1]), item[0]))[:6]
    return {name: list(dict.fromkeys(_short(trial.after) for trial in trials[-6:])) for name, trials in busy}


def _short(text: str) -> str:
    return quoted(text)[1:-1][:40]
