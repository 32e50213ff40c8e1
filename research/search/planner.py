"""Plans the next experiment: tells a policy the results of the night, and turns the policy's order into a plan.

The same history, seed and time give the same plan.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace

from research.core.commands import replicate_command
from research.core.records import EXPERIMENT, PERSON, REPLICATE, RUN_SEED, Decision, Judged, Plan, Run
from research.core.settings import SETTINGS
from research.search.emitters import EMITTERS, FREE
from research.search.observation import Observation
from research.search.policy import make_policy
from research.verdict import lineage
from research.verdict.evidence import Keys, machine_of
from research.verdict.models import Memory
from research.verdict.seeds import ANYWHERE, Place

# From records to what a policy sees -----------------------------------------------------------------------------------


def results_of(history: Sequence[Judged]) -> list[tuple[Observation, Decision]]:
    """Return the judged runs as a policy sees them, each with the decision about it.

    Ids are keys of configurations. The first run whose score counts is the baseline; runs before it are left out.
    """
    decided = [item for item in history if item.verdict]
    decided.sort(key=lambda item: item.first_order)
    keys = Keys(item.run for item in decided)
    found: list[tuple[Observation, Decision]] = []
    decisions: dict[str, Decision] = {}
    tip = ""
    for item in decided:
        run, verdict = item.run, item.verdict
        assert verdict is not None
        if not found and not lineage.is_evidence(run):
            continue
        key, decision = keys.of(run), verdict.decision
        is_repeat = key in decisions
        parent = keys.of_commit(run.parent) if run.parent else ""
        parent = parent if parent in decisions else tip
        if is_repeat and decision != "keep" and verdict.rule != PERSON and not lineage.is_about_candidate(run):
            decision = decisions[key]  # it came to no score: what was decided before holds
        decisions[key] = decision
        observed = _observed(run, len(found), key)
        if is_repeat:
            observed = replace(observed, id=run.run, replicate_of=key)
        elif parent:
            observed = replace(observed, parent_id=parent)
        found.append((observed, decision))
        tip = key if decision == "keep" else tip or key
    return found


def _observed(run: Run, index: int, key: str) -> Observation:
    sized = run.statements_added or run.statements_removed or run.category
    scored = lineage.is_evidence(run)
    failure = run.failure.signature if run.failure else run.outcome or "no score"
    return Observation(
        index=index,
        id=key,
        emitter=run.emitter if run.emitter in (*EMITTERS, PERSON) else None,
        category=run.category or None,
        val_bpb=run.val_bpb if scored else None,
        crash=None if scored or run.outcome == "stopped" else failure,
        peak_gb=run.peak_vram_mb / 1024 if run.peak_vram_mb is not None else None,
        params_m=run.metrics.num_params_M if run.metrics else None,
        additions=run.statements_added if sized else run.additions,
        deletions=run.statements_removed if sized else run.deletions,
        delta=run.delta,
        gpu_s=run.metrics.total_seconds if run.metrics else sum(run.phases_s.values()),
        seed=run.seed,
        stopped_at=run.stopped_at,
    )


# The plan -------------------------------------------------------------------------------------------------------------


def plan_with(
    memory: Memory,
    history: Sequence[Judged],
    seed: int,
    now_utc: str,
    in_flight: Sequence[Plan] = (),
    policy: str = "discovery",
    place: Place = ANYWHERE,
) -> Plan:
    """Return the next plan of a branch under a contract.

    Args:
        memory: The memory of the branch under the contract.
        history: Judged runs, of the branch or of all.
        seed: Another seed may give another plan.
        now_utc: When the plan is made.
        in_flight: Plans that are being carried out.
        policy: Name of the policy that plans.
        place: Where the run is to be made; by default where the latest one with a score was.
    """
    contracts = (memory.contract, None)
    mine = [item for item in history if item.run.branch == memory.branch and item.run.contract in contracts]
    if not place.machine:
        scored = (item.run for item in reversed(mine) if lineage.is_evidence(item.run))
        place = Place(next(map(machine_of, scored), ""))
    if results := results_of(mine):
        plan = _plan(memory, results, seed, now_utc, in_flight, policy, place)
    else:
        reason = "Nothing was measured here yet: train.py runs as it is, and its first score is the baseline."
        plan = Plan("", now_utc, None, None, None, REPLICATE, reason)
    last = str(results[-1][0].id) if results else ""
    parts = (len(results), last, seed, len(in_flight), plan.kind, plan.emitter, plan.category, plan.parent)
    return replace(plan, plan=hashlib.sha256(repr(parts).encode()).hexdigest()[:12])


def _plan(
    memory: Memory,
    results: Sequence[tuple[Observation, Decision]],
    seed: int,
    now_utc: str,
    in_flight: Sequence[Plan],
    policy: str,
    place: Place,
) -> Plan:
    """Return the plan, without its name, that a policy makes of a night that has begun."""
    # Plans in flight make the policy draw anew.
    searcher = make_policy(policy, seed + len(in_flight) * SETTINGS.in_flight_stride)
    searcher.start(results[0][0])
    for result, decision in results[1:]:
        searcher.note(result, decision)
    searcher.set_belief(memory.belief)
    searcher.set_place(place)
    emitter, category, target = searcher.ask([result for result, _ in results])
    reason = searcher.reason
    details = {"policy": policy, "seed": str(seed), "phase": searcher.phase, RUN_SEED: str(searcher.next_seed())}
    able = [name for name, one in EMITTERS.items() if not one.missing(memory)]
    other = random.Random(f"{seed}-{len(results)}-{len(in_flight)}").choice([*able, None])
    if emitter == REPLICATE:
        commit = _commit(target, memory)
        is_first_there = not memory.belief.seeds(target, place.machine)
        if is_first_there or not any(plan.kind == REPLICATE and plan.parent == commit for plan in in_flight):
            why = reason or "Another run of it decides more than a new idea would."
            return Plan("", now_utc, None, None, commit, REPLICATE, why, details=details)
        category, target = None, None
        reason = "The replicate that decides is running already; meanwhile the search goes on."
        emitter = other
    if emitter is not None and (missing := EMITTERS[emitter].missing(memory)):
        reason = f"{reason} Not {emitter}: {missing}; {other or 'a free choice'} instead.".strip()
        emitter = other
    parent = _commit(target, memory) or (memory.incumbent.commit if memory.incumbent else None)
    chosen = EMITTERS[emitter] if emitter else FREE
    details["predicted"] = chosen.predicted
    reason = reason or f"It is the turn of {emitter or 'a free choice'}."
    return Plan("", now_utc, emitter, category, parent, EXPERIMENT, reason, details=details)


def _commit(target: object, memory: Memory) -> str | None:
    """Return the commit of a policy's configuration, None for none."""
    known = memory.known.get(str(target)) if target else None
    return known.commit if known else None


# What an agent would get ----------------------------------------------------------------------------------------------


def prompt(plan: Plan, memory: Memory) -> str:
    """Return the text for an agent: facts from memory, then the order."""
    if plan.kind == REPLICATE:
        if not plan.parent:  # there is nothing yet that could be repeated
            return f"Baseline: {plan.reason}\nEdit nothing: train.py is measured as it is."
        seed = f"--seed {plan.run_seed}" if plan.run_seed is not None else ""
        return f"Replicate: {plan.reason}\nEdit nothing. Run: {replicate_command(plan.parent, seed)} > run.log 2>&1"
    emitter = EMITTERS.get(plan.emitter, FREE) if plan.emitter else FREE
    return emitter.brief(plan, memory)
