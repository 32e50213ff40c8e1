"""The summary as rows of words: the same for the verb, for the page and for an agent that begins a session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from research.memory.current import (
    BEST,
    MEMORY,
    NO_BASELINE,
    NO_BEST,
    NO_PLAN,
    PHASE,
    PLAN,
    WARNINGS,
    Row,
    plan_line,
    section,
)
from research.memory.digest import Digest, Standing, phase_of
from research.memory.view import Conjecture
from research.records import Plan
from research.runs.log import clean
from research.settings import SETTINGS


def _one_line(one: Standing | None, none: str) -> str:
    if one is None:
        return none
    value = one.estimate
    spread = f"[{value.low:.6f}, {value.high:.6f}] n={value.n}"
    return f"{value.mean:.6f} {spread} @ {one.commit[:7]}"


def _of_conjecture(one: Conjecture) -> str:
    return f"{clean(one.text)} ({one.mean:+.6f} [{one.low:+.6f}, {one.high:+.6f}], n={one.n})"


def rows(digest: Digest, plan: Plan | None, warnings: Sequence[str]) -> Iterator[Row]:
    """What the lab knows of a branch, in the order in which one asks."""
    d, phase = digest, phase_shown(digest, plan)
    yield "Baseline", _one_line(d.baseline, NO_BASELINE)
    yield BEST, _one_line(d.best, NO_BEST)
    if d.best:
        yield "", clean(d.best.subject)
    if d.best and d.baseline and d.best.commit != d.baseline.commit:
        yield "Gain", f"{d.baseline.estimate.mean - d.best.estimate.mean:+.6f} bpb over the baseline"
    yield "Runs", f"{d.runs} recorded, {d.scored} scored; {d.kept} configurations kept; {d.inputs.stall} since the last"
    of = "1 replicate" if d.noise_n == 1 else f"{d.noise_n} replicates"
    yield "Noise", f"sd {d.noise_sd:.6f} bpb of one run, from {of}"
    yield PHASE, phase
    yield PLAN, plan_shown(plan) or NO_PLAN
    yield from section("Conjectures", [_of_conjecture(one) for one in d.conjectures])
    elites = d.niches[: SETTINGS.elites_shown]
    yield from section("Elites", [f"{e.mean:.6f} n={e.n} @ {e.commit[:7]} {e.niche}" for e in elites])
    yield from section("No-fly", [f"{p.count}x {clean(p.signature)}" for p in d.no_fly])
    yield from section(WARNINGS, [clean(text) for text in warnings])
    yield MEMORY, "results/discovery/ holds all of it; never commit it"


def phase_shown(digest: Digest, plan: Plan | None) -> str:
    """The phase of the pending plan, else the one that the runs are in."""
    return (plan.details.get("phase") if plan else "") or phase_of(digest.inputs)


def plan_shown(plan: Plan | None) -> str:
    """The pending plan in one line, "" without one."""
    return plan_line(plan.emitter, plan.category, plan.parent, plan.kind, plan.reason) if plan else ""
