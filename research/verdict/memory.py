"""Makes a Memory out of judged runs, and of nothing else, so that a stored one can be thrown away and made again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from research.code.diff import ARROW
from research.core.records import PERSON, Decision, Estimate, Judged, Run
from research.core.settings import SETTINGS
from research.core.text import clean, count_of
from research.store import ledger
from research.verdict import lineage
from research.verdict.archive import elites_of, niche_of
from research.verdict.belief import Belief
from research.verdict.evidence import Keys, belief_of
from research.verdict.models import Configuration, FailurePattern, Memory, Trial
from research.verdict.phase import PhaseInputs, phase_of
from research.verdict.trends import by_topic, conjectures, trends


def recall(history: Sequence[Judged], branch: str, contract: str | None = None, belief: Belief | None = None) -> Memory:
    """Return the memory of a branch under a contract.

    Args:
        history: Judged runs in order of start, of the branch or of all branches. Runs of other branches under the
            contract are evidence about kinds of change and failures, but never parents.
        branch: Name of the branch.
        contract: Name of the contract, by default the one that the branch was kept in last.
        belief: The posterior of the contract's runs, where it is made already.
    """
    contract = contract if contract is not None else lineage.latest_contract(history, branch)
    items = [item for item in history if _is_comparable(item.run, branch, contract)]
    runs = [item.run for item in items]
    keys = Keys(runs)
    if belief is None:
        belief = belief_of([run for run in runs if run.contract == contract], keys)
    on_branch = [item for item in items if item.run.branch == branch]
    first_run, last_kept = lineage.baseline(on_branch), lineage.incumbent(on_branch)
    first = keys.of(first_run) if first_run else ""
    groups: dict[str, list[Judged]] = {}  # by configuration
    for item in items:
        groups.setdefault(keys.of(item.run), []).append(item)
    known = {key: _configuration(key, group, branch, belief, keys, key == first) for key, group in groups.items()}
    every = list(known.values())
    mine = [known[key] for key, group in groups.items() if any(item.run.branch == branch for item in group)]
    kept = [one for one in mine if one.decision == "keep" and one.estimate is not None]
    baseline = known.get(first)
    incumbent = known.get(keys.of(last_kept)) if last_kept else None
    best = known.get(str(belief.best(one.key for one in kept)))
    near = _near_misses(belief, mine, incumbent)
    no_fly, topics, inputs = _failures(every), by_topic(every), _phase_inputs(mine, near)
    surprising = [one for one in mine if one.surprise or one.decision == "investigate"]
    return Memory(
        branch=branch,
        contract=contract,
        belief=belief,
        noise=belief.variances.noise,
        baseline=baseline,
        incumbent=incumbent,
        best=best,
        change=against_baseline(belief, best, baseline),
        elites=elites_of(mine),
        near_misses=near,
        no_fly=no_fly,
        conjectures=conjectures(len(every), topics, no_fly, mine[len(mine) - inputs.stall :]),
        trends=trends(topics),
        anomalies=tuple(surprising[-SETTINGS.anomalies_kept :]),
        tried=_tried(every),
        warnings=(*_rejected_within(incumbent, known, belief), *_warnings(mine)),
        fingerprints=frozenset(item.run.fingerprint for item in history if item.run.fingerprint),
        known={one.key: one for one in mine},
        runs=len(on_branch),
        scored=sum(item.run.outcome == "scored" for item in on_branch),
        kept=sum(one is not baseline for one in kept),
        phase=phase_of(inputs),
        stall=inputs.stall,
    )


def _is_comparable(run: Run, branch: str, contract: str | None) -> bool:
    """Return whether a run is evidence under a contract; a crash, which has no contract, counts on its own branch."""
    return ledger.has_row(run) and (run.contract == contract or (run.contract is None and run.branch == branch))


def _configuration(
    key: str, group: Sequence[Judged], branch: str, belief: Belief, keys: Keys, is_baseline: bool
) -> Configuration:
    """Return one configuration by all its runs; the first run with a known change describes it."""
    runs = [item.run for item in group]
    here = [run for run in runs if run.branch == branch] or runs
    first = next((run for run in here if run.category), here[0])
    verdicts = [item.verdict for item in group if item.verdict is not None]
    decision = _decision(group)
    incumbents = (keys.of_commit(verdict.incumbent) for verdict in verdicts if verdict.incumbent)
    against = next((other for other in incumbents if other != key), "")
    parent, is_scored = belief.parent(key), key in belief
    effect = belief.difference(key, parent) if parent is not None else None
    change = belief.difference(key, against) if is_scored and against in belief else None
    surprise = belief.surprise(key) if is_scored else 0.0
    failure = next((run.failure for run in reversed(runs) if run.failure), None) if not is_scored else None
    trusted = [run for run in runs if not run.suspect] or runs
    sized = [run for run in trusted if run.metrics] or [run for run in trusted if run.peak_vram_mb is not None]
    return Configuration(
        key=key,
        commit=first.commit,
        parent=first.parent,
        subject=first.subject,
        emitter=first.emitter,
        category=first.category,
        delta=first.delta,
        statements_added=first.statements_added,
        statements_removed=first.statements_removed,
        estimate=belief.value(key) if is_scored else None,
        gain=Estimate(-effect.mean, -effect.high, -effect.low, effect.n) if effect else None,
        runs=tuple(run.run for run in runs),
        decision=decision,
        by_person=lineage.is_rejected(group) or (decision == "keep" and lineage.persons_verdict(group) is not None),
        device=first.device,
        niche=niche_of(first, sized[-1] if sized else first, is_baseline),
        failure=failure.signature if failure else "",
        failure_kind=failure.kind if failure else None,
        finished_utc=next((run.finished_utc for run in reversed(runs) if run.finished_utc), ""),
        surprise=surprise if abs(surprise) >= SETTINGS.anomaly_sd else 0.0,
        suspect=next((run.suspect[0] for run in runs if run.suspect), ""),
        change=change,
        p_better=belief.p_better(key, against) if change else None,
        seeds=tuple(sorted(belief.shared_seeds(key, against) if change else belief.seeds(key))),
    )


def _decision(group: Sequence[Judged]) -> Decision | None:
    """Return the decision that holds: the latest, except that a replicate's crash does not undo an earlier one."""
    verdicts = [(item.verdict, item.run) for item in sorted(group, key=lambda item: item.order) if item.verdict]
    counted = [
        verdict.decision
        for verdict, run in verdicts
        if verdict.decision == "keep" or verdict.rule == PERSON or lineage.is_about_candidate(run)
    ]
    if counted:
        return counted[-1]
    return verdicts[0][0].decision if verdicts else None


def _near_misses(
    belief: Belief, mine: Iterable[Configuration], incumbent: Configuration | None
) -> tuple[Configuration, ...]:
    """Return the discarded configurations that may be as good as the incumbent, the latest ones."""
    if incumbent is None or incumbent.estimate is None:
        return ()
    found = [
        one
        for one in mine
        if one.estimate is not None
        and one.key != incumbent.key
        and one.decision == "discard"
        and not one.by_person
        and belief.p_better(one.key, incumbent.key) >= SETTINGS.near_miss_p
    ]
    return tuple(found[-SETTINGS.near_misses_kept :])


def _failures(known: Iterable[Configuration]) -> tuple[FailurePattern, ...]:
    """Return the ways to fail, the most frequent first."""
    found: dict[str, FailurePattern] = {}
    for one in known:
        if one.failure:
            count = found[one.failure].count + 1 if one.failure in found else 1
            found[one.failure] = FailurePattern(
                one.failure, one.failure_kind, count, one.category, one.commit, one.finished_utc
            )
    return tuple(sorted(found.values(), key=lambda pattern: (-pattern.count, pattern.signature)))


def _tried(known: Iterable[Configuration]) -> Mapping[str, tuple[Trial, ...]]:
    """Return the values that every constant was given."""
    found: dict[str, list[Trial]] = {}
    for one in known:
        for name, text in one.delta.items():
            before, arrow, after = text.partition(ARROW)
            if arrow:
                found.setdefault(name, []).append(Trial(before, after, len(one.delta) == 1, one))
    return {name: tuple(trials) for name, trials in found.items()}


def _phase_inputs(mine: Sequence[Configuration], near: Sequence[Configuration]) -> PhaseInputs:
    """Return the counts that decide the phase of the search."""
    kept = [place for place, one in enumerate(mine) if one.decision == "keep"]
    latest = mine[-SETTINGS.phase_window :]
    return PhaseInputs(
        configurations=len(mine),
        stall=len(mine) - 1 - kept[-1] if kept else len(mine),
        recent_crashes=sum(bool(one.failure) for one in latest),
        recent_keeps=sum(one.decision == "keep" and one.gain is not None for one in latest),
        near_misses=len(near),
    )


def _rejected_within(best: Configuration | None, known: Mapping[str, Configuration], belief: Belief) -> Iterator[str]:
    """Yield a sentence on each configuration that a person discarded and the best so far was made from."""
    for key in belief.ancestry(best.key) if best else ():
        if (one := known.get(str(key))) and one.by_person and one.decision == "discard":
            yield f"The best so far was made from {one.commit[:7]}, which a person discarded, and contains it."


def _warnings(mine: Sequence[Configuration]) -> Iterator[str]:
    """Yield sentences to be read before the next experiment; configurations are given oldest first."""
    latest = [one.emitter for one in mine if one.parent and one.emitter][-SETTINGS.collapse_window :]
    for name, count in Counter(latest).most_common(1):
        if count >= SETTINGS.collapse_count:
            yield f"Emitter collapse: {name} made {count} of the last {len(latest)} experiments."
    suspects = [one for one in mine if one.suspect and one.estimate is None and not one.failure]
    if suspects:
        shown = "; ".join(f"{one.commit[:7]}: {clean(one.suspect).rstrip('.')}" for one in suspects[-3:])
        are = "is" if len(suspects) == 1 else "are"
        yield f"{count_of(len(suspects), 'result')} {are} not counted ({shown})."
    waiting = [(one.commit[:7], one.estimate) for one in mine if one.decision == "investigate" and one.estimate]
    for name, value in waiting[-1:]:
        read = f"{name} reads {value.mean:.6f}, which is not kept before it is measured again"
        yield f"{read}: uv run research replicate {name}."
    last = mine[-SETTINGS.phase_window :]
    if len(last) == SETTINGS.phase_window and all(one.failure for one in last):
        yield f"None of the last {len(last)} experiments came to a score."


def against_baseline(belief: Belief, one: Configuration | None, base: Configuration | None) -> Estimate | None:
    """Return a configuration's val_bpb minus the baseline's; None for the baseline itself, or without both."""
    if one is None or base is None or one.key == base.key or one.estimate is None or base.estimate is None:
        return None
    return belief.difference(one.key, base.key)
