"""Judges a run by the evidence: every comparable run before it, in one posterior.

The first score of a branch under a contract is its baseline. After that a run is evidence about its configuration, and
the verdict speaks of the configuration: research.verdict.rule weighs it against the incumbent. Runs whose score can't
be trusted are discarded and are no evidence. What a verdict means for other runs is said in
research.verdict.consequences.
"""

from __future__ import annotations

from dataclasses import replace

from research.core.records import PERSON, Decision, Estimate, Run, Verdict
from research.core.settings import SETTINGS
from research.core.text import chance, clean, quoted
from research.verdict import lineage
from research.verdict.comparison import Comparison
from research.verdict.rule import Judgement, weigh
from research.verdict.throughput import unexplained

RULE = "evidence"


def judge(case: Comparison, now_utc: str) -> Verdict:
    """Judge a finished run.

    Args:
        case: The run among those that it can be compared with.
        now_utc: When the verdict falls.
    """
    run = case.run
    back_to = case.tip.commit if case.tip else ""
    verdict = Verdict(run.run, "discard", RULE, "", now_utc, incumbent=back_to)
    if run.outcome != "scored" or run.val_bpb is None:
        return replace(verdict, why=_without_score(case))
    if not lineage.is_evidence(run):
        return replace(verdict, why=f"not counted: {_doubt(run)}")
    verdict = replace(verdict, estimate=case.belief.value(case.key))
    if (word := person_on(case)) is not None:
        return replace(verdict, decision=word, why=f"a person decided to {word} this configuration")
    if case.incumbent is None:
        return _first(case, verdict)
    if case.is_tip:
        return _measured_again(case, verdict)
    if any(case.keys.of(kept) == case.key for kept in case.kept):
        return _below_person(case, _older(case, verdict, case.incumbent))
    return _below_person(case, _candidate(case, verdict, case.incumbent))


def _below_person(case: Comparison, verdict: Verdict) -> Verdict:
    """Discard what a person knew when they kept the best so far: another run of it does not undo their decision."""
    if case.tip is None or verdict.decision == "discard":
        return verdict
    tip = case.keys.of(case.tip)
    ruled = [item for item in case.past if item.verdict and item.verdict.rule == PERSON]
    kept = max((item.order for item in ruled if case.keys.of(item.run) == tip), default=None)
    known = min((min([item.order, *(order for order, _ in item.earlier)]) for item in case.siblings), default=None)
    if kept is None or known is None or known > kept:
        return verdict
    why = f"a person kept {case.tip.commit[:7]} when this was known, and that holds ({verdict.why})"
    return replace(verdict, decision="discard", why=why)


def person_on(case: Comparison) -> Decision | None:
    """What a person decided last about an earlier run of the configuration, None if nobody did."""
    ruled = [item for item in case.siblings if item.verdict is not None and item.verdict.rule == PERSON]
    latest = max(ruled, key=lambda item: item.order, default=None)
    return latest.verdict.decision if latest and latest.verdict else None


def _without_score(case: Comparison) -> str:
    run = case.run
    if run.outcome == "stopped":
        return run.why
    what = f"{run.failure.kind}: {quoted(run.failure.signature)}" if run.failure else run.outcome or "no end"
    if case.is_tip and not lineage.is_about_candidate(run):
        return f"no score ({what}); the best so far was measured before and stays"
    return f"no score ({what})"


def _doubt(run: Run) -> str:
    return clean(run.suspect[0]) if run.suspect else "measured elsewhere"


def _first(case: Comparison, verdict: Verdict) -> Verdict:
    """Keep the first score that counts: the baseline, or what takes the place of one that a person took away."""
    began = lineage.baseline(case.past) is None
    mean = case.belief.mean(case.key)
    why = f"the baseline: {mean:.6f}" if began else f"nothing else is kept: {mean:.6f}"
    return replace(verdict, decision="keep", why=why, baseline=began)


def _measured_again(case: Comparison, verdict: Verdict) -> Verdict:
    """Another run of the incumbent: it stays unless the one kept before it now looks better."""
    mean, runs = case.belief.mean(case.key), case.belief.n(case.key)
    known = f"the best so far measured again: {mean:.6f} from {runs} runs"
    if case.before is None:
        return replace(verdict, decision="keep", why=known)
    weighed = _weigh(case, case.key, case.keys.of(case.before), _net(case.run))
    stays = weighed.p_better >= SETTINGS.incumbent_stays_p or (_net(case.run) < 0 and weighed.decision == "keep")
    against = f"against {case.before.commit[:7]}, kept before it, P(better) {chance(weighed.p_better)}"
    verdict = replace(verdict, p_better=weighed.p_better, difference=weighed.difference)
    if stays:
        return replace(verdict, decision="keep", why=f"{known}; {against}")
    why = f"{known}; {against}, so that one is the best so far again"
    return replace(verdict, incumbent=case.before.commit, why=why)


def _older(case: Comparison, verdict: Verdict, incumbent: Run) -> Verdict:
    """Another run of something that was kept earlier: the incumbent goes only if it no longer looks better."""
    weighed = _weigh(case, case.keys.of(incumbent), case.key, 0)
    gap = weighed.difference
    verdict = replace(
        verdict, p_better=1.0 - weighed.p_better, difference=Estimate(-gap.mean, -gap.high, -gap.low, gap.n)
    )
    better = chance(1.0 - weighed.p_better)
    words = f"kept earlier and measured again; P(better than the best so far {incumbent.commit[:7]}) {better}"
    if weighed.p_better >= SETTINGS.incumbent_stays_p:
        return replace(verdict, why=words)
    return replace(verdict, decision="keep", why=f"{words}, so it is the best so far again")


def _candidate(case: Comparison, verdict: Verdict, incumbent: Run) -> Verdict:
    """Anything else: the rule decides."""
    against = case.keys.of(incumbent)
    is_child = case.belief.parent(case.key) in (None, against)
    weighed = _weigh(case, case.key, against, _net(case.run) if is_child else 0)
    verdict = replace(verdict, p_better=weighed.p_better, difference=weighed.difference)
    if case.belief.n(case.key) == 1 and (speed := unexplained(case.run, case.parent_runs)):
        why = f"{speed}, which its change does not explain, so it is measured again first ({weighed.why})"
        return replace(verdict, decision="investigate", why=why)
    why = weighed.why
    if weighed.decision == "discard" and _beats_parent(case, against):
        why = f"a near miss: better than its parent {case.run.parent[:7]}, yet {weighed.why}"
    return replace(verdict, decision=weighed.decision, why=why)


def _beats_parent(case: Comparison, incumbent: str) -> bool:
    """Whether the configuration is better than the one that it was made from, which is not the incumbent."""
    parent = case.belief.parent(case.key)
    if parent is None or parent == incumbent:
        return False
    return parent in case.belief and case.belief.p_better(case.key, parent) >= SETTINGS.keep_p


def _weigh(case: Comparison, candidate: str, incumbent: str, statements_net: int) -> Judgement:
    return weigh(case.belief, candidate, incumbent, statements_net=statements_net, largest_gain=case.largest_gain)


def _net(run: Run) -> int:
    """Statements that a run's program has more than its parent's."""
    return run.statements_added - run.statements_removed
