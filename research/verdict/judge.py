"""Judges a run by the posterior of every comparable run.

The first score of a branch under a contract is its baseline. After that a run is evidence about its configuration, and
the verdict is about the configuration: research.verdict.rule weighs it against the incumbent. Runs whose score can't
be trusted are discarded and are no evidence. research.verdict.consequences derives the verdicts on other runs.
"""

from __future__ import annotations

from dataclasses import replace

from research.core.records import PERSON, Estimate, Run, Verdict
from research.core.settings import SETTINGS
from research.core.text import chance, clean
from research.verdict import lineage
from research.verdict.comparison import Comparison
from research.verdict.rule import Judgement, weigh
from research.verdict.throughput import unexplained

RULE = "evidence"
GREEDY = "greedy"


def judge(case: Comparison, now_utc: str) -> Verdict:
    """Return the verdict on a finished run."""
    verdict = _uncounted(case, Verdict(case.run.run, "discard", RULE, "", now_utc))
    if verdict.why:
        return verdict
    verdict = replace(verdict, estimate=case.belief.value(case.key))
    if (told := lineage.persons_verdict(case.siblings)) is not None:
        return replace(verdict, decision=told.decision, why=f"a person decided to {told.decision} this configuration")
    if case.incumbent is None:
        is_first = lineage.baseline(case.past) is None  # else a person took away what was kept
        what = "the baseline" if is_first else "nothing else is kept"
        return replace(verdict, decision="keep", why=f"{what}: {case.belief.mean(case.key):.6f}", baseline=is_first)
    if case.is_tip:
        return _measured_again(case, verdict)
    if any(case.keys.of(kept) == case.key for kept in case.kept):
        return _unless_person_kept_tip(case, _kept_earlier(case, verdict, case.incumbent))
    verdict = _candidate(case, verdict, case.keys.of(case.incumbent))
    return _unless_person_kept_tip(case, _unless_rejected_within(case, verdict))


def judge_greedily(case: Comparison, now_utc: str) -> Verdict:
    """Return the verdict of the plain rule: a val_bpb lower than the best so far is kept, by the means of runs."""
    verdict = _uncounted(case, Verdict(case.run.run, "discard", GREEDY, "", now_utc))
    if verdict.why:
        return verdict
    mine = [score.val_bpb for score in case.belief.scores(case.key)]
    mean = sum(mine) / len(mine)
    verdict = replace(verdict, decision="keep", estimate=Estimate(mean, min(mine), max(mine), len(mine)))
    if case.incumbent is None:
        return replace(verdict, why=f"baseline: {mean:.6f}", baseline=lineage.baseline(case.past) is None)
    if case.is_tip:
        return replace(verdict, why=f"replicate {len(mine)} of the best so far, mean {mean:.6f}")
    theirs = [score.val_bpb for score in case.belief.scores(case.keys.of(case.incumbent))]
    best = sum(theirs) / len(theirs)
    how = "lower" if mean < best else "not lower"
    why = f"{mean:.6f} (n={len(mine)}) is {how} than {best:.6f} (n={len(theirs)})"
    return replace(verdict, decision="keep" if mean < best else "discard", why=why)


def _uncounted(case: Comparison, verdict: Verdict) -> Verdict:
    """Return the verdict with the commit to go back to, and with a reason only where no score of the run counts."""
    run, verdict = case.run, replace(verdict, incumbent=case.tip.commit if case.tip else "")
    if run.outcome == "stopped":
        return replace(verdict, why=run.why or "stopped")
    if run.outcome != "scored" or run.val_bpb is None:
        what = run.failure.in_words if run.failure else run.outcome or "no end"
        stays = case.is_tip and not lineage.is_about_candidate(run)
        and_now = "; the best so far was measured before and stays" if stays else ""
        return replace(verdict, why=f"no score ({what}){and_now}")
    if not lineage.is_evidence(run):
        return replace(verdict, why=f"not counted: {clean(run.suspect[0]) if run.suspect else 'measured elsewhere'}")
    return verdict


def _unless_rejected_within(case: Comparison, verdict: Verdict) -> Verdict:
    """Turn a keep into a discard where it would bring back a change that a person rejected."""
    if case.tip is None or verdict.decision == "discard":
        return verdict
    stays = {*case.belief.ancestry(case.keys.of(case.tip))}
    for key in case.belief.ancestry(case.key):
        group = [item for item in case.past if case.keys.of(item.run) == key]
        if key not in stays and lineage.is_rejected(group):
            why = f"it contains {group[0].run.commit[:7]}, which a person discarded ({verdict.why})"
            return replace(verdict, decision="discard", why=why)
    return verdict


def _unless_person_kept_tip(case: Comparison, verdict: Verdict) -> Verdict:
    """Turn a keep into a discard where a person who kept the best so far knew this configuration already."""
    if case.tip is None or verdict.decision == "discard":
        return verdict
    tip = case.keys.of(case.tip)
    mine = [(item.order, item.verdict) for item in case.past if item.verdict and case.keys.of(item.run) == tip]
    kept = max((order for order, told in mine if (told.rule, told.decision) == (PERSON, "keep")), default=None)
    known = min((item.first_order for item in case.siblings), default=None)
    if kept is None or known is None or known > kept:
        return verdict
    why = f"a person kept {case.tip.commit[:7]} when this was known, and that holds ({verdict.why})"
    return replace(verdict, decision="discard", why=why)


def _measured_again(case: Comparison, verdict: Verdict) -> Verdict:
    """Return the verdict on another run of the incumbent: it stays unless the one kept before it looks better now."""
    mean, runs = case.belief.mean(case.key), case.belief.n(case.key)
    known = f"the best so far measured again: {mean:.6f} from {runs} runs"
    if case.before is None:
        return replace(verdict, decision="keep", why=known)
    net = _net(case.run)
    weighed = _weigh(case, case.key, case.keys.of(case.before), net)
    stays = weighed.p_better >= SETTINGS.incumbent_stays_p or (net < 0 and weighed.decision == "keep")
    why = f"{known}; against {case.before.commit[:7]}, kept before it, P(better) {chance(weighed.p_better)}"
    verdict = replace(verdict, p_better=weighed.p_better, difference=weighed.difference)
    if stays:
        return replace(verdict, decision="keep", why=why)
    return replace(verdict, incumbent=case.before.commit, why=f"{why}, so that one is the best so far again")


def _kept_earlier(case: Comparison, verdict: Verdict, incumbent: Run) -> Verdict:
    """Return the verdict on another run of what was kept earlier: kept if the incumbent no longer looks better."""
    against = case.keys.of(incumbent)
    p_better = case.belief.p_better(case.key, against)
    verdict = replace(verdict, p_better=p_better, difference=case.belief.difference(case.key, against))
    why = f"kept earlier and measured again; P(better than the best so far {incumbent.commit[:7]}) {chance(p_better)}"
    if 1.0 - p_better >= SETTINGS.incumbent_stays_p:
        return replace(verdict, why=why)
    return replace(verdict, decision="keep", why=f"{why}, so it is the best so far again")


def _candidate(case: Comparison, verdict: Verdict, against: str) -> Verdict:
    """Return the verdict of the rule, on any other configuration."""
    belief, parent = case.belief, case.belief.parent(case.key)
    weighed = _weigh(case, case.key, against, _net(case.run) if parent in (None, against) else 0)
    verdict = replace(verdict, p_better=weighed.p_better, difference=weighed.difference)
    if belief.n(case.key) == 1 and (speed := unexplained(case.run, case.parent_runs)):
        why = f"{speed}, which its change does not explain, so it is measured again first ({weighed.why})"
        return replace(verdict, decision="investigate", why=why)
    why = weighed.why
    has_other_parent = parent != against and parent in belief
    if weighed.decision == "discard" and has_other_parent and belief.p_better(case.key, parent) >= SETTINGS.keep_p:
        why = f"a near miss: better than its parent {case.run.parent[:7]}, yet {weighed.why}"
    return replace(verdict, decision=weighed.decision, why=why)


def _weigh(case: Comparison, candidate: str, incumbent: str, statements_net: int) -> Judgement:
    return weigh(case.belief, candidate, incumbent, statements_net=statements_net, largest_gain=case.largest_gain)


def _net(run: Run) -> int:
    """Return the number of statements that a run's program has more than its parent's."""
    return run.statements_added - run.statements_removed
