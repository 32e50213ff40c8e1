"""Puts the digest of a branch into words, for summary and for what an agent reads when a session starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from research.core.commit_message import EXPERIMENT, idea_of
from research.core.records import REPLICATE, Estimate, Plan
from research.core.settings import SETTINGS
from research.core.text import clean, count_of, quoted
from research.verdict.models import HABIT, Configuration, Conjecture, Digest

NO_BEST = "no best yet"
SummaryRow = tuple[str, str]
"""A row's name, "" where it continues the row before, and its text."""
ESTIMATED = "Not the measured scores: each is corrected for luck, see docs/how-it-decides.md"
"""The note below the elites on their values."""


def conjectures_shown(digest: Digest) -> tuple[Conjecture, ...]:
    """Return the first conjectures, always with a withdrawn one where there is one."""
    withdrawn = [one for one in digest.conjectures if one.withdrawn]
    supported = [one for one in digest.conjectures if not one.withdrawn]
    return (*supported[: SETTINGS.conjectures_shown - bool(withdrawn)], *withdrawn)[: SETTINGS.conjectures_shown]


def rows(digest: Digest, plan: Plan | None, warnings: Sequence[str]) -> Iterator[SummaryRow]:
    """Yield the rows of a branch's summary, the most asked for first."""
    d = digest
    yield "Baseline", in_one_line(d.baseline, "no baseline yet")
    yield "Best", in_one_line(d.best, NO_BEST)
    if d.best:
        name = quoted(d.best.subject) if d.best.subject.startswith(EXPERIMENT) else "the baseline"
        yield "", name + (" (kept by a person)" if d.best.by_person else "")
    if d.incumbent and d.incumbent.by_person and d.incumbent != d.best:
        yield "", f"the branch is on {d.incumbent.commit[:7]}: {quoted(d.incumbent.subject)} (kept by a person)"
    if d.change:
        yield "Change", f"{d.change.in_words('+')} against the baseline; below zero is better"
    since = f"{count_of(d.stall, 'change')} tried since {'the last one kept' if d.kept else 'the baseline'}"
    yield "Runs", f"{d.runs} with a result, {d.scored} scored; {count_of(d.kept, 'change')} kept; {since}"
    parts = (d.noise.repeat, d.noise.seed, d.noise.interaction)
    sds = [f"{one.sd:.5f} of {what}" for one, what in zip(parts, ("repeats", "seeds", "change x seed"), strict=True)]
    yield "Noise", f"sd {', '.join(sds)}{'' if any(one.n for one in parts) else ' (assumed)'}"
    yield "Phase", phase_shown(digest, plan)
    yield "Plan", plan_line(plan) if plan else "none pending"
    yield from _section("Conjectures", [_of_conjecture(one) for one in conjectures_shown(d)])
    lines = [
        f"{one.mean:.6f} n={one.n} @ {one.commit[:7]} {one.niche}{_idea(one.description)}"
        for one in d.elites[: SETTINGS.elites_shown]
    ]
    yield from _section("Elites", [*lines, ESTIMATED] if lines else [])
    near = reversed(d.near_misses[-SETTINGS.near_misses_shown :])
    yield from _section("Near misses", [in_one_line(one, "") + _idea(one.subject) for one in near])
    yield from _section(
        "No-fly", [f"{one.count}x {quoted(one.signature)}" for one in d.no_fly[: SETTINGS.no_fly_shown]]
    )
    yield from _section("Warnings", [clean(text) for text in warnings[: SETTINGS.warnings_shown]])
    yield "Memory", "results/discovery/ holds all of it; never commit it"


def in_one_line(one: Configuration | None, none: str) -> str:
    """Return a value with its interval, the runs behind it and its commit."""
    value = one.estimate if one else None
    return f"{value.in_words()} n={value.n} @ {one.commit[:7]}" if one and value else none


def _idea(subject: str) -> str:
    """Return what a subject says of its change, quoted, "" for the baseline, which nobody proposed."""
    return f" {quoted(idea_of(subject), SETTINGS.summary_idea_chars)}" if subject.startswith(EXPERIMENT) else ""


def phase_shown(digest: Digest, plan: Plan | None) -> str:
    """Return the phase of the pending plan, else the one that the runs are in."""
    return (plan.details.get("phase") if plan else "") or digest.phase


def hidden_runs(counts: Iterable[tuple[str | None, int]], verb: str) -> Iterator[str]:
    """Yield a sentence on the runs of each other contract, which a verb does not show, and how to see them."""
    for contract, count in counts:
        are = f"{count_of(count, 'run')} of another contract {'is' if count == 1 else 'are'} not shown"
        switch = f"uv run research {verb} --contract {contract}"
        yield f"{are}, since scores can be compared within one only. To see them: {switch}"


def as_text(rows: Iterable[SummaryRow]) -> str:
    """Return rows as plain lines: names in a column of their own."""
    return "\n".join(f"{name + ':' if name else '':<13}{text}".rstrip() for name, text in rows)


def _section(name: str, lines: Sequence[str]) -> list[SummaryRow]:
    return [(name if place == 0 else "", line) for place, line in enumerate(lines)]


def _of_conjecture(one: Conjecture) -> str:
    if one.text.startswith(HABIT):
        return f"{clean(one.text)} (share of crashes {one.mean:.2f} [{one.low:.2f}, {one.high:.2f}], n={one.n})"
    change = Estimate(-one.mean, -one.high, -one.low, one.n).in_words("+")
    return f"{clean(one.text)} (change in val_bpb {change}, below zero is better, n={one.n})"


def plan_line(plan: Plan) -> str:
    """Return a plan in one line."""
    if plan.kind == REPLICATE:
        return f"{f'replicate {plan.parent[:7]}' if plan.parent else 'the baseline'}: {plan.reason}"
    what = f" on {plan.category}" if plan.category else ""
    start = f" from {plan.parent[:7]}" if plan.parent else ""
    predicted = f", predicted {plan.details['predicted']}" if "predicted" in plan.details else ""
    return f"{plan.emitter or 'the agent is free'}{what}{start}{predicted}: {plan.reason}"
