"""What comes next, in words: the planner's plan, what waits for a replicate, near misses; and what the lab believes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from research.agents.night.command import one_run, replicate_command
from research.agents.night.state import NightState
from research.core.records import Plan
from research.core.settings import SETTINGS
from research.report.data import Bet, Candidate
from research.report.text import count_of, title_of
from research.verdict.models import Memory


def noise_in_words(memory: Memory) -> str:
    """How much one run scatters, and how that is known."""
    noise = memory.noise
    words = f"One run scatters by {noise.sd:.5f} bpb (95 %: {noise.low:.5f} to {noise.high:.5f})"
    if not noise.n:
        return f"{words}: a guess, since nothing was run twice yet."
    return f"{words}, from {count_of(noise.n, 'repeat')} of {count_of(noise.groups, 'configuration')}."


def phase_in_words(plan: Plan | None) -> str:
    """The phase of the search as the plan says it, "" when it does not."""
    return plan.details.get("phase", "") if plan else ""


def conjectures_in_words(memory: Memory) -> Iterable[str]:
    """What the evidence supports, then what it no longer does."""
    for item in memory.conjectures:
        mark = "Withdrawn: " if item.withdrawn and not item.text.startswith("Withdrawn") else ""
        yield mark + item.text


def plan_title(plan: Plan) -> str:
    """A plan in a few words."""
    if plan.kind == "replicate":
        return f"Run {(plan.parent or 'the tip')[:7]} again with another seed"
    what = f"something in {plan.category}" if plan.category else "whatever it likes"
    start = f", starting from {plan.parent[:7]}" if plan.parent else ""
    return f"{plan.emitter or 'The agent, left free,'} tries {what}{start}"


def bets(
    plan: Plan | None, memory: Memory, candidates: Sequence[Candidate], night: NightState | None = None
) -> list[Bet]:
    """The most promising next steps: the plan, then what is undecided, then near misses, the likeliest first.

    Args:
        plan: The pending plan.
        memory: What the lab knows.
        candidates: The configurations of the page.
        night: The latest night: commands make runs as it did.
    """
    found = [Bet(plan_title(plan), plan.reason, _command(plan, night))] if plan else []
    named = {plan.parent} if plan and plan.kind == "replicate" else set()
    for one in _likeliest(c for c in candidates if c.decision in ("replicate", "investigate")):
        if one.commit not in named:
            why = "Not decided yet: another seed tells." + _chance(one)
            found.append(Bet(f"Measure again: {one.title}", why, replicate_command(one.commit, night)))
            named.add(one.commit)
    best = memory.best.commit if memory.best else ""
    for one in candidates:
        if one.commit == best and one.decision == "keep" and len(one.runs) == 1 and best not in named:
            why = "It stands, on one run only: another seed confirms it or takes it back."
            found.append(Bet(f"Measure again: {one.title}", why, replicate_command(best, night)))
            named.add(best)
    near = {known.commit for known in memory.near_misses}
    for one in _likeliest(c for c in candidates if c.commit in near):
        if one.commit not in named and (one.p_better is None or one.p_better >= SETTINGS.bet_p):
            why = "A near miss: it may be as good as what stands, and combine with it." + _chance(one)
            found.append(Bet(f"Build on: {title_of(one.title)}", why, f"git show {one.commit[:12]}"))
            named.add(one.commit)
    return found[: SETTINGS.bets_shown]


def _command(plan: Plan, night: NightState | None) -> str:
    """What carries the plan out."""
    if plan.kind == "replicate" and plan.parent:
        return replicate_command(plan.parent, night)
    return one_run(night)


def _likeliest(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda c: -(c.p_better if c.p_better is not None else -1.0))


def _chance(candidate: Candidate) -> str:
    return f" P(better) = {candidate.p_better:.2f}." if candidate.p_better is not None else ""
