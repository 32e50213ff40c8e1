"""Derives verdicts on other runs from one: a configuration's runs agree, and of two winners one remains.

The ledger shows a line for every run and git follows the verdicts, so both are true only if what is decided about a
configuration is decided about each of its open runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from research.core.records import PERSON, Decision, Verdict
from research.verdict.audit import GAIN_IS_MISSING
from research.verdict.comparison import Comparison
from research.verdict.judge import RULE
from research.verdict.lineage import is_about_candidate, is_evidence

DECIDED_BY = "decided by its replicate {}"
"""Beginning of the reason of a verdict that another run of the configuration settled, with that run's name."""


def consequences(case: Comparison, verdict: Verdict) -> list[Verdict]:
    """Return the verdicts on other runs that follow from one, in the order in which they are to be written.

    Only verdicts of the rule "evidence" have consequences.
    """
    if verdict.rule != RULE or verdict.is_open:
        return []
    if verdict.decision == "keep":
        return [*_decide_siblings(case, verdict, False), *_discard_rival(case, verdict)]
    taken_back = case.is_tip and is_about_candidate(case.run)
    # A replicate whose score does not count closes an open configuration by its own failure, or where the audit text
    # denies the gain; another suspect score says nothing, and the configuration waits for another replicate.
    ends_it = is_evidence(case.run) or case.run.outcome != "scored" or GAIN_IS_MISSING in case.run.suspect
    found = [*_decide_siblings(case, verdict, taken_back)] if ends_it else []
    return [*found, *_restore_near_miss(case, verdict)] if taken_back else found


def _decide_siblings(case: Comparison, verdict: Verdict, taken_back: bool) -> Iterator[Verdict]:
    """Decide open runs of the configuration with it; a discarded incumbent's keeps are taken back."""
    for item in case.siblings:
        known = item.verdict
        if known is None or known.rule == PERSON or not (known.is_open or (taken_back and known.decision == "keep")):
            continue
        by = DECIDED_BY.format(case.run.run)
        numbers = {name: getattr(verdict, name) for name in ("p_better", "estimate", "difference")}
        numbers = {name: value for name, value in numbers.items() if value is not None}
        why = f"{by}: {verdict.why}"
        yield _overruled(known, verdict, verdict.decision, why, by, incumbent=verdict.incumbent, **numbers)


def _discard_rival(case: Comparison, verdict: Verdict) -> Iterator[Verdict]:
    """Discard the incumbent, as a near miss, if the run that takes its place was made from the same parent."""
    rival, commit = case.tip, case.run.commit
    if rival is None or case.is_tip or not rival.parent or not case.run.parent:
        return
    if case.keys.of_commit(rival.parent) != case.keys.of_commit(case.run.parent):
        return
    for item in case.past:
        known = item.verdict
        if known is None or known.rule == PERSON or known.baseline or known.decision != "keep":
            continue
        if case.keys.of(item.run) == case.keys.of(rival):
            why = f"a near miss: {commit[:7]}, made from the same parent, is better"
            later = f"a near miss, {commit[:7]} is better"
            yield _overruled(known, verdict, "discard", why, later, incumbent=commit)


def _restore_near_miss(case: Comparison, verdict: Verdict) -> Iterator[Verdict]:
    """Keep the near miss again that had given way to a discarded incumbent, if it beats what would follow."""
    commit, before = case.run.commit, case.before
    given_way = [
        (case.belief.mean(key), item.verdict)
        for item in case.past
        if item.verdict is not None
        and (item.verdict.decision, item.verdict.rule, item.verdict.incumbent) == ("discard", RULE, commit)
        and item.earlier
        and item.earlier[-1][1] == "keep"
        and (key := case.keys.of(item.run)) in case.belief
    ]
    mean, best = min(given_way, key=lambda entry: entry[0], default=(0.0, None))
    if best is None or (before is not None and mean >= case.belief.mean(case.keys.of(before))):
        return
    why = f"the best so far again: {commit[:7]}, which it had given way to, is not as good as it seemed"
    later = f"the best so far again, {commit[:7]} is not"
    yield _overruled(best, verdict, "keep", why, later, incumbent=before.commit if before else "")


def _overruled(known: Verdict, by: Verdict, decision: Decision, why: str, later: str, **more: Any) -> Verdict:
    """Return a verdict as another one changes it; its review gets a line about it."""
    text = f"{known.text.rstrip()}\nLater: {decision.upper()}, {later}.\n" if known.text else ""
    return replace(known, decision=decision, why=why, created_utc=by.created_utc, text=text, settled_utc=None, **more)
