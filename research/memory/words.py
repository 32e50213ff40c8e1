"""The summary as rows of words: the same for the verb, for the page and for an agent that begins a session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from research.memory.digest import Digest, Standing, phase_of
from research.memory.view import Conjecture
from research.records import Plan
from research.runs.log import clean
from research.settings import SETTINGS

Row = tuple[str, str]
"""A name, "" to go on with the one before, and what there is to say."""

SUMMARY_FACT = "summary:"
"""With a branch's name behind it, the store's fact that holds its summary as text."""


def _one_line(one: Standing | None, none: str) -> str:
    if one is None:
        return none
    value = one.estimate
    spread = f"[{value.low:.6f}, {value.high:.6f}] n={value.n}"
    return f"{value.mean:.6f} {spread} @ {one.commit[:7]}"


def _of_plan(plan: Plan) -> str:
    who = plan.emitter or "the agent is free"
    what = f" on {plan.category}" if plan.category else ""
    start = f" from {plan.parent[:7]}" if plan.parent else ""
    head = (
        f"replicate {plan.parent[:7] if plan.parent else 'the tip'}" if plan.kind == "replicate" else who + what + start
    )
    return f"{head}: {plan.reason}"


def _of_conjecture(one: Conjecture) -> str:
    return f"{clean(one.text)} ({one.mean:+.6f} [{one.low:+.6f}, {one.high:+.6f}], n={one.n})"


def rows(digest: Digest, plan: Plan | None, warnings: Sequence[str]) -> Iterator[Row]:
    """What the lab knows of a branch, in the order in which one asks."""
    d, phase = digest, phase_shown(digest, plan)
    yield "Baseline", _one_line(d.baseline, "no baseline yet")
    yield "Best", _one_line(d.best, "no best yet")
    if d.best:
        yield "", clean(d.best.subject)
    if d.best and d.baseline and d.best.commit != d.baseline.commit:
        yield "Gain", f"{d.baseline.estimate.mean - d.best.estimate.mean:+.6f} bpb over the baseline"
    yield "Runs", f"{d.runs} recorded, {d.scored} scored; {d.kept} configurations kept; {d.inputs.stall} since the last"
    of = "1 replicate" if d.noise_n == 1 else f"{d.noise_n} replicates"
    yield "Noise", f"sd {d.noise_sd:.6f} bpb of one run, from {of}"
    yield "Phase", phase
    yield "Plan", _of_plan(plan) if plan else "none pending"
    yield from _section("Conjectures", [_of_conjecture(one) for one in d.conjectures])
    elites = d.niches[: SETTINGS.elites_shown]
    yield from _section("Elites", [f"{e.mean:.6f} n={e.n} @ {e.commit[:7]} {e.niche}" for e in elites])
    yield from _section("No-fly", [f"{p.count}x {clean(p.signature)}" for p in d.no_fly])
    yield from _section("Warnings", [clean(text) for text in warnings])
    yield "Memory", "results/discovery/ holds all of it; never commit it"


def _section(name: str, lines: list[str]) -> Iterator[Row]:
    yield from ((name if place == 0 else "", line) for place, line in enumerate(lines))


def as_text(rows: Iterable[Row]) -> str:
    """Rows as plain lines: names in a column of their own."""
    return "\n".join(f"{name + ':' if name else '':<13}{text}".rstrip() for name, text in rows)


def phase_shown(digest: Digest, plan: Plan | None) -> str:
    """The phase of the pending plan, else the one that the runs are in."""
    return (plan.details.get("phase") if plan else "") or phase_of(digest.inputs)
