"""Plans the next experiment: replays the night through its policy, and turns the policy's order into a plan.

Pure: the same history, seed and time give the same plan. Whoever stores it is somebody else.
"""

from __future__ import annotations

import difflib
import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from research.core.commands import replicate_command
from research.core.records import EXPERIMENT, PERSON, REPLICATE, RUN_SEED, Decision, Judged, Plan, Run
from research.core.settings import SETTINGS
from research.search.emitters import EMITTERS, FREE
from research.search.emitters.text import quoted
from research.search.observation import Observation
from research.search.policy import make_policy
from research.verdict import lineage
from research.verdict.evidence import Keys
from research.verdict.memory import recall
from research.verdict.models import Memory

ReadSource = Callable[[str], "bytes | None"]
"""Gives the train.py of a commit, None where there is none."""

Results = Sequence[tuple[Observation, Decision]]
"""What was measured, in order of the verdicts, with what was decided about it."""


def plan_for(
    history: Sequence[Judged],
    branch: str,
    contract: str | None,
    seed: int,
    now_utc: str,
    in_flight: Sequence[Plan] = (),
    policy: str = "discovery",
) -> Plan:
    """Return the next plan of a branch under a contract.

    Args:
        history: Judged runs, of the branch or of all.
        branch: The branch.
        contract: The contract.
        seed: Another seed may give another plan.
        now_utc: When the plan is made.
        in_flight: Plans that are being carried out.
        policy: Name of the policy that plans.
    """
    return plan_with(recall(history, branch, contract), history, seed, now_utc, in_flight, policy)


def plan_with(
    memory: Memory,
    history: Sequence[Judged],
    seed: int,
    now_utc: str,
    in_flight: Sequence[Plan] = (),
    policy: str = "discovery",
) -> Plan:
    """Return the next plan, for whoever has recalled the history already; see plan_for."""
    mine = [
        item for item in history if item.run.branch == memory.branch and item.run.contract in (memory.contract, None)
    ]
    return next_plan(memory, results_of(mine), seed, now_utc, in_flight, policy)


# From records to what a policy sees -----------------------------------------------------------------------------


def results_of(history: Sequence[Judged]) -> list[tuple[Observation, Decision]]:
    """Return the judged runs as a policy sees them, the baseline first; ids are keys of configurations.

    What came before the baseline is left out, scores that do not count among it: nothing was decided by it.
    """
    decided = sorted((item for item in history if item.verdict), key=_first_order)
    keys = Keys(item.run for item in decided)
    found: list[tuple[Observation, Decision]] = []
    decisions: dict[str, Decision] = {}
    tip = ""
    for item in decided:
        run, verdict = item.run, item.verdict
        assert verdict is not None
        if not found and not lineage.is_evidence(run):
            continue
        key, known = keys.of(run), keys.of(run) in decisions
        parent = keys.of_commit(run.parent) if run.parent else ""
        parent = parent if parent in decisions else tip
        decision = verdict.decision
        if known and decision != "keep" and not lineage.is_about_candidate(run):
            decision = decisions[key]  # it came to no score: what was decided before holds
        decisions[key] = decision
        name, above = (run.run, None) if known else (key, parent or None)
        found.append((_measured(run, len(found), name, above, key if known else None), decision))
        tip = key if decision == "keep" else tip or key
    return found


def _first_order(item: Judged) -> int:
    return min([item.order, *(order for order, _ in item.earlier)])


def _measured(run: Run, index: int, name: str, parent: str | None, known: str | None) -> Observation:
    sized = run.statements_added or run.statements_removed or run.category
    scored = lineage.is_evidence(run)
    failure = run.failure.signature if run.failure else run.outcome or "no score"
    return Observation(
        index=index,
        id=name,
        parent_id=parent,
        emitter=run.emitter if run.emitter in (*EMITTERS, PERSON) else None,
        category=run.category or None,
        val_bpb=run.val_bpb if scored else None,
        crash=None if scored or run.outcome == "stopped" else failure,
        peak_gb=run.peak_vram_mb / 1024 if run.peak_vram_mb is not None else None,
        params_m=run.metrics.num_params_M if run.metrics else None,
        additions=run.statements_added if sized else run.additions,
        deletions=run.statements_removed if sized else run.deletions,
        delta=run.delta,
        replicate_of=known,
        gpu_s=run.metrics.total_seconds if run.metrics else sum(run.phases_s.values()),
        seed=run.seed,
        stopped_at=run.stopped_at,
    )


# The plan -------------------------------------------------------------------------------------------------------


def next_plan(
    memory: Memory,
    results: Results,
    seed: int,
    now_utc: str,
    in_flight: Sequence[Plan] = (),
    policy: str = "discovery",
) -> Plan:
    """Return the next plan; see plan_for."""
    if not results:
        reason = "Nothing was measured here yet: train.py runs as it is, and its first score is the baseline."
        return _named(Plan("", now_utc, None, None, None, REPLICATE, reason), results, seed, in_flight)
    searcher, order = _asked(results, memory, seed, len(in_flight), policy)
    emitter, category, target = order
    reason = str(getattr(searcher, "reason", "") or "")
    details = {"policy": policy, "seed": str(seed), "phase": str(getattr(searcher, "phase", "") or "")}
    if (asked := getattr(searcher, "next_seed", None)) is not None:
        details[RUN_SEED] = str(asked())
    shares: Mapping[str | None, float] = getattr(searcher, "shares", None) or {}
    if emitter == REPLICATE:
        commit = _commit(target, memory)
        busy = any(plan.kind == REPLICATE and plan.parent == commit for plan in in_flight)
        if not busy:
            why = reason or "Another run of it decides more than a new idea would."
            plan = Plan("", now_utc, None, None, commit, REPLICATE, why, details=details)
            return _named(plan, results, seed, in_flight)
        emitter, category, target = None, None, None
        reason = "The replicate that decides is running already; meanwhile the search goes on."
        emitter = _ready_one(memory, shares, random.Random(f"{seed}-{len(results)}-{len(in_flight)}"))
    if emitter is not None and (missing := _missing(emitter, memory)):
        other = _ready_one(memory, shares, random.Random(f"{seed}-{len(results)}"))
        reason = f"{reason} Not {emitter}: {missing}; {other or 'a free choice'} instead.".strip()
        emitter = other
    parent = _commit(target, memory) or (memory.incumbent.commit if memory.incumbent else None)
    chosen = EMITTERS[emitter] if emitter else FREE
    details |= {"predicted": chosen.predicted, **chosen.details(memory)}
    reason = reason or f"It is the turn of {emitter or 'a free choice'}."
    plan = Plan("", now_utc, emitter, category, parent, EXPERIMENT, reason, details=details)
    return _named(plan, results, seed, in_flight)


def _asked(
    results: Results, memory: Memory, seed: int, busy: int, policy: str
) -> tuple[Any, tuple[str | None, str | None, Any]]:
    """Return a policy that has seen everything, with its order; plans in flight make it draw anew."""
    searcher: Any = make_policy(policy, seed + busy * SETTINGS.in_flight_stride)
    measured = [result for result, _ in results]
    searcher.start(measured[0])
    note = getattr(searcher, "note", None)
    for result, decision in results[1:]:
        if note is not None:
            note(result, decision)
        else:
            searcher.tell(result)  # a policy that decides by itself
    if (use := getattr(searcher, "use", None)) is not None:
        use(memory.belief)
    return searcher, searcher.ask(measured)


def _missing(emitter: str, memory: Memory) -> str | None:
    """Return why an emitter can't work now, None if it can."""
    if emitter not in EMITTERS:
        return "there is no such emitter"
    return EMITTERS[emitter].ready(memory)


def _ready_one(memory: Memory, shares: Mapping[str | None, float], rng: random.Random) -> str | None:
    """Return an emitter that can work now, drawn by the policy's shares; None if none can."""
    ready = [name for name in EMITTERS if EMITTERS[name].ready(memory) is None]
    if not ready:
        return None
    weights = [max(float(shares.get(name, 0.0)), 0.0) for name in ready]
    return rng.choices(ready, weights if sum(weights) > 0 else None)[0]


def _commit(target: object, memory: Memory) -> str | None:
    """Return the commit of a policy's configuration, None for none."""
    known = memory.known.get(str(target)) if target else None
    return known.commit if known else None


def _named(plan: Plan, results: Results, seed: int, in_flight: Sequence[Plan]) -> Plan:
    """Return the plan with its name: the same history, seed and choice give the same one."""
    last = str(results[-1][0].id) if results else ""
    parts = (len(results), last, seed, len(in_flight), plan.kind, plan.emitter, plan.category, plan.parent)
    return replace(plan, plan=hashlib.sha256(repr(parts).encode()).hexdigest()[:12])


# What an agent would get ----------------------------------------------------------------------------------------


def prompt(plan: Plan, memory: Memory, read_source: ReadSource) -> str:
    """Return the text for an agent: facts from memory, then the order.

    Args:
        plan: The plan.
        memory: What the lab knows.
        read_source: Gives the train.py of a commit, for the diffs that the plan is about.
    """
    if plan.kind == REPLICATE:
        if not plan.parent:  # there is nothing yet that could be repeated
            return f"Baseline: {plan.reason}\nEdit nothing: train.py is measured as it is."
        seed = f"--seed {plan.run_seed}" if plan.run_seed is not None else ""
        return f"Replicate: {plan.reason}\nEdit nothing. Run: {replicate_command(plan.parent, seed)} > run.log 2>&1"
    about = [plan.details[key] for key in ("first", "second", "anomaly") if key in plan.details]
    more = [line for commit in about for line in _diff(memory, commit, read_source)]
    emitter = EMITTERS.get(plan.emitter, FREE) if plan.emitter else FREE
    return emitter.brief(plan, memory, more)


def _diff(memory: Memory, commit: str, read_source: ReadSource) -> Iterator[str]:
    """Yield the changed lines of a commit, as quoted data."""
    known = memory.of(commit)
    before = read_source(known.parent) if known and known.parent else None
    after = read_source(commit)
    if before is None or after is None:
        return
    old, new = (text.decode("utf-8", "replace").splitlines() for text in (before, after))
    changed = [line for line in difflib.unified_diff(old, new, n=0, lineterm="") if line[:1] in "+-"][2:]
    for line in changed[: SETTINGS.brief_diff_lines]:
        yield f"  {commit[:7]} {quoted(line)}"
    if len(changed) > SETTINGS.brief_diff_lines:
        yield f"  {commit[:7]} and {len(changed) - SETTINGS.brief_diff_lines} lines more"
