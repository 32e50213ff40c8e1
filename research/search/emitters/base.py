"""Defines an emitter: a name, a purpose, a precondition, and a brief made of facts from memory.

Results are formatted and other people's text is quoted in one bounded line each, so that neither can pose as an order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from research.core.commit_message import FREE
from research.core.records import Estimate, Plan
from research.core.settings import SETTINGS
from research.core.text import count_of
from research.core.text import quoted as as_data
from research.verdict.models import Configuration, Memory


@dataclass(frozen=True)
class Emitter:
    """One kind of proposal."""

    name: str  # as in a subject's [emitter=...] tag
    purpose: str  # in a few words
    order: str  # the sentence that tells an agent what to do; {category} stands for the kind of change
    predicted: str  # the effect that is expected: improve, likely improve, flat, risky or uncertain
    lacks: Callable[[Memory], str] = lambda memory: ""  # returns what it lacks besides a parent, "" for nothing
    facts: Callable[[Memory], Iterable[str]] = lambda memory: ()  # returns lines for its brief
    categories: tuple[str, ...] = ()  # the kinds of change that it makes; () for any

    def missing(self, memory: Memory) -> str:
        """Return the reason why it makes no sense now, "" if it does."""
        return self.lacks(memory) if memory.incumbent else "nothing was measured yet"

    def covers(self, category: str) -> bool:
        """Return whether a change of this category is of its kind."""
        return not self.categories or category in self.categories

    def brief(self, plan: Plan, memory: Memory) -> str:
        """Return the text for an agent: facts first, then the order; text of others is quoted and bounded."""
        title = f"Emitter {self.name}: {self.purpose}." if self.name else f"Free choice: {self.purpose}."
        tag = f" [emitter={self.name or FREE}]"
        phase = plan.details.get("phase") or memory.phase
        head = [f"{title} Predicted effect: {self.predicted}. Phase: {phase}.", *_parent(plan, memory)]
        order = [
            f"Do: {self.order.format(category=plan.category or 'model')}",
            f"One idea, train.py alone; subject of its commit: exp: WHAT{tag}, where WHAT says before -> after",
        ]
        room = SETTINGS.brief_chars - sum(len(line) + 1 for line in (*head, *order))
        for line in (*self.facts(memory), *_nearby(plan, memory), *_not_again(memory)):
            room -= len(line) + 1
            if room < 0:
                break
            head.append(line)
        return "\n".join([*head, *order])


def _parent(plan: Plan, memory: Memory) -> list[str]:
    """Return lines about the parent and the best so far, and why the plan was made."""
    best, lines = memory.incumbent, []
    known = memory.of(plan.parent) if plan.parent else best
    if known is not None:
        role = "the best so far" if known is best else f"not the best so far, chosen: {known.decision}"
        value = format_estimate(known.estimate)
        lines.append(f"Parent: {known.commit[:7]} ({role}), val_bpb {value}, {quoted(known.subject)}.")
    if best is not None and known is not best:
        lines.append(f"Best so far: {best.commit[:7]}, val_bpb {format_estimate(best.estimate)}.")
    sd = memory.noise.paired_sd
    lines.append(f"Why: {plan.reason} Runs of one seed scatter by sd {sd:.4f} bpb; smaller gains need another seed.")
    return lines


def _nearby(plan: Plan, memory: Memory) -> list[str]:
    """Return the latest results of this kind of change, the newest first."""
    wanted = set((plan.category or "").split("+")) - {""}
    near = [known for known in reversed(memory.recent) if not wanted or known.category in wanted]
    near = [known for known in near if known.gain is not None or known.failure][: SETTINGS.brief_neighbours]
    return ["Tried nearby (newest first):", *(f"- {format_configuration(known)}" for known in near)] if near else []


def _not_again(memory: Memory) -> list[str]:
    """Return the most frequent failures, and the values of the constants that were tried most."""
    lines = [f"- {quoted(pattern.signature)}, {count_of(pattern.count, 'time')}" for pattern in memory.no_fly[:3]]
    if lines:
        lines.insert(0, "Ways that failed; do not repeat:")
    tried = []
    for name, trials in sorted(memory.tried.items(), key=lambda item: (-len(item[1]), item[0]))[:6]:
        values = dict.fromkeys(quoted(trial.after)[1:-1][:40] for trial in trials[-6:])
        tried.append(f"{name} {', '.join(values)}")
    if tried:
        lines.append("Values measured already: " + "; ".join(tried) + ".")
    return lines


# Lines of a brief -----------------------------------------------------------------------------------------------------


def quoted(text: str) -> str:
    """Quote a subject or a failure, cut to a few words."""
    return as_data(text, SETTINGS.quote_subject_chars)


def format_estimate(estimate: Estimate | None) -> str:
    """Return a value with its interval: 0.981234 [0.9805, 0.9820], n=2."""
    if estimate is None:
        return "no score"
    return f"{estimate.mean:.6f} [{estimate.low:.4f}, {estimate.high:.4f}], n={estimate.n}"


def format_gain(gain: Estimate | None) -> str:
    """Return a gain as a change in val_bpb, in which below zero is better."""
    if gain is None:
        return "change in val_bpb unknown"
    return f"change in val_bpb {-gain.mean:+.4f} [{-gain.high:+.4f}, {-gain.low:+.4f}]"


def format_change(known: Configuration) -> str:
    """Return a configuration's change in quotation marks, by its syntax tree where that is known."""
    return quoted("; ".join(f"{name} {text}" for name, text in list(known.delta.items())[:3]) or known.subject)


def format_configuration(known: Configuration) -> str:
    """Return one configuration in one line: commit, change, result, decision."""
    scored = f"{format_estimate(known.estimate)}, {format_gain(known.gain)}"
    result = f"failed with {quoted(known.failure)}" if known.failure else scored
    return f"{known.commit[:7]} {format_change(known)}: {result}, {known.decision or 'undecided'}"
