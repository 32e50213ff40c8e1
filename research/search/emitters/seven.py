"""The seven emitters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from research.core.records import Plan
from research.core.settings import SETTINGS
from research.search.emitters.base import Emitter, always
from research.search.emitters.pairs import Pair, mergeable
from research.search.emitters.text import changed, gain_said, said, told
from research.search.emitters.trend import Lean, fashion, leans
from research.verdict.models import Known, Memory

# local_tuner ----------------------------------------------------------------------------------------------------


def _gains(plan: Plan, memory: Memory) -> Iterator[str]:
    best = sorted(
        (trend for trend in memory.constant_trends.values() if trend.n and trend.mean > 0),
        key=lambda trend: (-trend.mean, trend.name),
    )
    for trend in best[:3]:
        yield f"Moving {trend.name} {trend.direction} changed val_bpb by {-trend.mean:+.4f} on average (n={trend.n})."


# optimizer_hacker -----------------------------------------------------------------------------------------------


def _schedules(plan: Plan, memory: Memory) -> Iterator[str]:
    trend = memory.trend.get("optimizer")
    if trend is not None and trend.n:
        yield (
            f"Optimizer changes so far: mean change in val_bpb {-trend.mean:+.4f} "
            f"[{-trend.high:+.4f}, {-trend.low:+.4f}], n={trend.n}, {trend.kept} kept, {trend.crashed} crashed."
        )


# architecture_mutator -------------------------------------------------------------------------------------------


def _niches(plan: Plan, memory: Memory) -> Iterator[str]:
    elites = [e for e in memory.archive.elites if e.category not in ("optimizer", "", "baseline")]
    for elite in elites[:3]:
        yield f"Best of niche {elite.niche}: {elite.mean:.6f} (n={elite.n}) at {elite.id}."[:160]


# simplifier -----------------------------------------------------------------------------------------------------


def _growth(plan: Plan, memory: Memory) -> Iterator[str]:
    added = sum(k.statements_added - k.statements_removed for k in memory.known.values() if k.decision == "keep")
    yield f"Kept changes have added {added} statements net; a change that is no worse and shorter may be kept."


# contrarian -----------------------------------------------------------------------------------------------------


def _needs_lean(memory: Memory) -> str | None:
    if always(memory):
        return always(memory)
    return None if leans(memory) or fashion(memory) else "no trend to oppose yet"


def _lean_said(lean: Lean) -> str:
    other = "down" if lean.way == "up" else "up"
    known = (
        f"{other} was tried {lean.opposite.n} times, mean change in val_bpb {-lean.opposite.mean:+.4f}"
        if lean.opposite
        else f"{other} was never tried"
    )
    return f"Lately {lean.name} went {lean.way} ({lean.moves} times net, last {changed(lean.latest)}); {known}."


def _trend(plan: Plan, memory: Memory) -> Iterator[str]:
    yield from (_lean_said(lean) for lean in leans(memory)[:3])
    if kind := fashion(memory):
        yield f"Most of the latest changes were {kind} changes."


def _oppose(memory: Memory) -> Mapping[str, str]:
    found = leans(memory)
    return {"oppose": found[0].name, "way": found[0].way} if found else {}


# recombinator ---------------------------------------------------------------------------------------------------


def _pair(plan: Plan, memory: Memory) -> Pair | None:
    """The pair that was planned, else the most promising one."""
    wanted = (plan.details.get("first"), plan.details.get("second"))
    pairs = list(mergeable(memory))
    planned = [pair for pair in pairs if (pair.first.commit, pair.second.commit) == wanted]
    return next(iter([*planned, *pairs]), None)


def _needs_pair(memory: Memory) -> str | None:
    if always(memory):
        return always(memory)
    if len(memory.near_misses) < 2:
        return f"it needs two near misses, there are {len(memory.near_misses)}"
    return None if next(mergeable(memory), None) else "no two near misses touch different things"


def _both(plan: Plan, memory: Memory) -> Iterator[str]:
    pair = _pair(plan, memory)
    if pair is not None:
        yield "Combine these two near misses (git show COMMIT gives each diff):"
        for known in (pair.first, pair.second):
            yield f"- {known.commit[:12]} {changed(known)}: {said(known.estimate)}, {gain_said(known.gain)}"


def _pair_details(memory: Memory) -> Mapping[str, str]:
    pair = next(mergeable(memory), None)
    return {"first": pair.first.commit, "second": pair.second.commit} if pair else {}


# anomaly_chaser -------------------------------------------------------------------------------------------------


def anomalies(memory: Memory) -> tuple[Known, ...]:
    """What asks for a closer look and had few, the latest first: surprises, then what failed lately."""
    failed = [known for known in memory.recent if known.failure and known not in memory.anomalies]
    looks = " ".join(known.subject for known in memory.known.values() if known.emitter == "anomaly_chaser")
    found = (*reversed(memory.anomalies), *reversed(failed))
    return tuple(known for known in found if looks.count(known.commit[:7]) < SETTINGS.looks_an_anomaly)


def _needs_anomaly(memory: Memory) -> str | None:
    return always(memory) or (None if anomalies(memory) else "nothing surprised so far")


def _anomaly(plan: Plan, memory: Memory) -> Iterator[str]:
    wanted = plan.details.get("anomaly")
    found = anomalies(memory)
    chosen = next((known for known in found if known.commit == wanted), found[0] if found else None)
    if chosen is not None:
        off = f", {chosen.surprise:+.1f} sd from its neighbours" if chosen.surprise else ""
        yield f"Anomaly: {told(chosen)}{off} (git show {chosen.commit[:12]})."


def _anomaly_details(memory: Memory) -> Mapping[str, str]:
    found = anomalies(memory)
    return {"anomaly": found[0].commit} if found else {}


_SEVEN = (
    Emitter(
        "local_tuner",
        "exploit what works nearby",
        "one small {category} step near the parent, in a direction that gained before.",
        "likely improve",
        facts=_gains,
    ),
    Emitter(
        "optimizer_hacker",
        "change optimizer, schedule or update",
        "one change of rates, schedule or update rule ({category}) that converges further within the budget.",
        "improve",
        facts=_schedules,
    ),
    Emitter(
        "architecture_mutator",
        "change the model's structure",
        "one structural {category} change that could open a new niche; mind memory and step time.",
        "risky",
        facts=_niches,
    ),
    Emitter(
        "simplifier",
        "take away what is not needed",
        "remove, merge or switch off one part ({category}); fewer statements at the same score is the aim.",
        "flat",
        facts=_growth,
    ),
    Emitter(
        "contrarian",
        "go against the latest trend",
        "one deliberate move opposite to the trend above ({category}); is this a false basin?",
        "uncertain",
        ready=_needs_lean,
        facts=_trend,
        details=_oppose,
    ),
    Emitter(
        "recombinator",
        "combine two near misses",
        "carry both diffs above onto the parent as one change, nothing else.",
        "improve",
        ready=_needs_pair,
        facts=_both,
        details=_pair_details,
    ),
    Emitter(
        "anomaly_chaser",
        "examine a surprising win, loss or crash",
        "find out which half of that change was behind it: redo a part of it, or half the way.",
        "uncertain",
        ready=_needs_anomaly,
        facts=_anomaly,
        details=_anomaly_details,
    ),
)

EMITTERS: Mapping[str, Emitter] = {emitter.name: emitter for emitter in _SEVEN}
"""The seven by name."""
