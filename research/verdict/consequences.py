"""Decides what a verdict means for other runs: a configuration's runs agree, and of two winners one remains.

The ledger shows a line for every run and git follows the verdicts, so both are true only if what is decided about a
configuration is decided about each of its open runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from research.core.records import PERSON, Decision, Verdict
from research.verdict.audit import GAIN_IS_MISSING
from research.verdict.comparison import Comparison
from research.verdict.judge import RULE
from research.verdict.lineage import is_about_candidate, is_evidence

DECIDED_BY = "decided by its replicate {}"
"""How the reason of a verdict begins that another run of the configuration settled, with that run's name."""


def consequences(case: Comparison, verdict: Verdict) -> list[Verdict]:
    """Return the verdicts on other runs that follow from one, in the order in which they are to be written.

    Args:
        case: The run that was judged among those that it was compared with.
        verdict: Its verdict; only those of the rule "evidence" have consequences.
    """
    if verdict.rule != RULE or verdict.is_open:
        return []
    found = [*_of_its_own(case, verdict)]
    if verdict.decision == "keep":
        found += _of_its_rival(case, verdict)
    elif case.is_tip and is_about_candidate(case.run):
        found += _put_back(case, verdict)
    return found


def _of_its_own(case: Comparison, verdict: Verdict) -> Iterator[Verdict]:
    """Decide open runs of the configuration with it; a discarded incumbent's keeps are taken back."""
    if verdict.decision == "discard" and not is_evidence(case.run) and not _ends_it(case):
        return
    taken_back = verdict.decision == "discard" and case.is_tip and is_about_candidate(case.run)
    for item in case.siblings:
        known = item.verdict
        if known is None or known.rule == PERSON or not (known.is_open or (taken_back and known.decision == "keep")):
            continue
        yield replace(
            known,
            decision=verdict.decision,
            why=f"{DECIDED_BY.format(case.run.run)}: {verdict.why}",
            created_utc=verdict.created_utc,
            incumbent=verdict.incumbent,
            p_better=verdict.p_better if verdict.p_better is not None else known.p_better,
            estimate=verdict.estimate or known.estimate,
            difference=verdict.difference or known.difference,
            text=_later(known, verdict.decision, DECIDED_BY.format(case.run.run)),
            settled_utc=None,
        )


def _ends_it(case: Comparison) -> bool:
    """Return whether a replicate whose score does not count closes an open configuration: its own failure does.

    So does a gain that the audit text denies. Another suspect score says nothing; the configuration stays open for
    another replicate.
    """
    return case.run.outcome != "scored" or GAIN_IS_MISSING in case.run.suspect


def _of_its_rival(case: Comparison, verdict: Verdict) -> Iterator[Verdict]:
    """Make the incumbent a near miss if the run that takes its place was made from the same parent."""
    rival = case.tip
    if rival is None or case.is_tip or not rival.parent or not case.run.parent:
        return
    if case.keys.of_commit(rival.parent) != case.keys.of_commit(case.run.parent):
        return
    for item in case.past:
        known = item.verdict
        if known is None or known.rule == PERSON or known.baseline or known.decision != "keep":
            continue
        if case.keys.of(item.run) == case.keys.of(rival):
            yield replace(
                known,
                decision="discard",
                why=f"a near miss: {case.run.commit[:7]}, made from the same parent, is better",
                created_utc=verdict.created_utc,
                incumbent=case.run.commit,
                text=_later(known, "discard", f"a near miss, {case.run.commit[:7]} is better"),
                settled_utc=None,
            )


def _put_back(case: Comparison, verdict: Verdict) -> Iterator[Verdict]:
    """Keep the near miss again that had given way to a discarded incumbent, if it beats what would follow."""
    given_way = [
        item
        for item in case.past
        if item.verdict is not None
        and item.verdict.decision == "discard"
        and item.verdict.rule == RULE
        and item.verdict.incumbent == case.run.commit
        and item.earlier
        and item.earlier[-1][1] == "keep"
        and case.keys.of(item.run) in case.belief
    ]
    best = min(given_way, key=lambda item: case.belief.mean(case.keys.of(item.run)), default=None)
    if best is None or best.verdict is None:
        return
    key = case.keys.of(best.run)
    if case.before is not None and case.belief.mean(key) >= case.belief.mean(case.keys.of(case.before)):
        return
    yield replace(
        best.verdict,
        decision="keep",
        why=f"the best so far again: {case.run.commit[:7]}, which it had given way to, is not as good as it seemed",
        created_utc=verdict.created_utc,
        incumbent=case.before.commit if case.before else "",
        text=_later(best.verdict, "keep", f"the best so far again, {case.run.commit[:7]} is not"),
        settled_utc=None,
    )


def _later(known: Verdict, decision: Decision, why: str) -> str:
    """Return a review with what was decided since."""
    return f"{known.text.rstrip()}\nLater: {decision.upper()}, {why}.\n" if known.text else ""
