"""The summary as rows of words: the same for the verb, for the page and for an agent that begins a session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from research.core.records import Plan
from research.core.settings import SETTINGS
from research.runs.log import clean
from research.verdict.models import HABIT, Conjecture
from research.verdict.summary_cache import Digest, Standing, phase_of
from research.verdict.summary_rows import (
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

BELIEVED = "Believed: shrunk towards what most changes do; last-review shows the plain mean, as measured."
"""What the values of elites are, which no run has shown as they are."""


def _one_line(one: Standing | None, none: str, mark: str = "") -> str:
    if one is None:
        return none
    value = one.estimate
    spread = f"[{value.low:.6f}, {value.high:.6f}]{mark} n={value.n}"
    return f"{value.mean:.6f} {spread} @ {one.commit[:7]}"


def _of_conjecture(one: Conjecture) -> str:
    if one.text.startswith(HABIT):
        return f"{clean(one.text)} (share of crashes {one.mean:.2f} [{one.low:.2f}, {one.high:.2f}], n={one.n})"
    change = f"{-one.mean:+.6f} [{-one.high:+.6f}, {-one.low:+.6f}]"
    return f"{clean(one.text)} (change in val_bpb {change}, - is better, n={one.n})"


def rows(digest: Digest, plan: Plan | None, warnings: Sequence[str]) -> Iterator[Row]:
    """What the lab knows of a branch, in the order in which one asks."""
    d, phase = digest, phase_shown(digest, plan)
    yield "Baseline", _one_line(d.baseline, NO_BASELINE)
    moved = bool(d.best and d.baseline and d.best.commit != d.baseline.commit)
    yield BEST, _one_line(d.best, NO_BEST, " believed" if moved else "")
    if d.best:
        yield "", clean(d.best.subject)
    if moved and d.change:
        by = f"{d.change.mean:+.6f} [{d.change.low:+.6f}, {d.change.high:+.6f}]"
        yield "Change", f"{by} against the baseline, as verdicts believe; - is better"
    kept = max(0, d.kept - (d.baseline is not None))  # the baseline is where changes begin, and none itself
    changes = "1 change" if kept == 1 else f"{kept} changes"
    yield (
        "Runs",
        f"{d.runs} recorded, {d.scored} scored; {changes} kept; {d.inputs.stall} configurations since the last",
    )
    of = "1 replicate" if d.noise_n == 1 else f"{d.noise_n} replicates"
    yield "Noise", f"sd {d.noise_sd:.6f} bpb of one run, from {of}"
    yield PHASE, phase
    yield PLAN, plan_shown(plan) or NO_PLAN
    yield from section("Conjectures", [_of_conjecture(one) for one in d.conjectures])
    elites = d.niches[: SETTINGS.elites_shown]
    told = [f"{e.mean:.6f} believed n={e.n} @ {e.commit[:7]} {e.niche}" for e in elites]
    yield from section("Elites", [*told, BELIEVED] if told else [])
    yield from section("No-fly", [f"{p.count}x {clean(p.signature)}" for p in d.no_fly])
    yield from section(WARNINGS, [clean(text) for text in warnings])
    yield MEMORY, "results/discovery/ holds all of it; never commit it"


def phase_shown(digest: Digest, plan: Plan | None) -> str:
    """The phase of the pending plan, else the one that the runs are in."""
    return (plan.details.get("phase") if plan else "") or phase_of(digest.inputs)


def plan_shown(plan: Plan | None) -> str:
    """The pending plan in one line, "" without one."""
    return plan_line(plan.emitter, plan.category, plan.parent, plan.kind, plan.reason) if plan else ""
