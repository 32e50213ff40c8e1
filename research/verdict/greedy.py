"""The plain rule: the first scored run is the baseline, a lower val_bpb is kept, anything else is discarded."""

from __future__ import annotations

from research.core.records import Estimate, Verdict
from research.verdict import lineage
from research.verdict.comparison import Comparison

RULE = "greedy"


def judge(case: Comparison, now_utc: str) -> Verdict:
    """Judge a finished run.

    A configuration that was measured more than once counts by its mean.

    Args:
        case: The run among those that it can be compared with.
        now_utc: When the verdict falls.
    """
    run, past, tip = case.run, case.past, case.tip
    back_to = tip.commit if tip else ""

    def verdict(decision: str, why: str, is_baseline: bool = False, estimate: Estimate | None = None) -> Verdict:
        kept = decision == "keep"
        return Verdict(run.run, "keep" if kept else "discard", RULE, why, now_utc, is_baseline, back_to, None, estimate)

    if run.outcome != "scored" or run.val_bpb is None:
        return verdict("discard", f"no score ({run.failure.signature if run.failure else run.outcome})")
    values = lineage.scores(past, run)
    if run.suspect:
        return verdict("discard", f"not counted: {run.suspect[0]}")
    mean = sum(values) / len(values)
    estimate = Estimate(mean, min(values), max(values), len(values))
    if tip is None:
        return verdict("keep", f"baseline: {mean:.6f}", lineage.baseline(past) is None, estimate)
    others = list(lineage.scores(past, tip))
    if lineage.is_same(run, tip):
        return verdict("keep", f"replicate {len(values)} of the best so far, mean {mean:.6f}", False, estimate)
    best = sum(others) / len(others)
    sign = "lower" if mean < best else "not lower"
    why = f"{mean:.6f} (n={len(values)}) is {sign} than {best:.6f} (n={len(others)})"
    return verdict("keep" if mean < best else "discard", why, False, estimate)
