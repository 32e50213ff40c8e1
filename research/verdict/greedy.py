"""The plain rule: the first scored run is the baseline, a lower val_bpb is kept, anything else is discarded."""

from __future__ import annotations

from collections.abc import Sequence

from research.core.records import Estimate, Judged, Run, Verdict
from research.verdict import lineage

RULE = "greedy"


def judge(run: Run, history: Sequence[Judged], now_utc: str) -> Verdict:
    """Judges a finished run.

    A configuration that was measured more than once counts by its mean.

    Args:
        run: The run.
        history: The finished runs of the lab, itself left out or not.
        now_utc: When the verdict falls.
    """
    past = [item for item in history if item.run.run != run.run]
    past = lineage.of_contract(past, run.branch, run.contract)
    standing = lineage.incumbent(past)
    back_to = standing.commit if standing else ""

    def verdict(decision: str, why: str, is_baseline: bool = False, estimate: Estimate | None = None) -> Verdict:
        kept = decision == "keep"
        return Verdict(run.run, "keep" if kept else "discard", RULE, why, now_utc, is_baseline, back_to, None, estimate)

    if run.outcome != "scored" or run.val_bpb is None:
        return verdict("discard", f"no score ({run.failure.signature if run.failure else run.outcome})")
    values = lineage.scores(past, run)
    if run.suspect:
        return verdict("discard", f"not believed: {run.suspect[0]}")
    mean = sum(values) / len(values)
    estimate = Estimate(mean, min(values), max(values), len(values))
    if standing is None:
        return verdict("keep", f"baseline: {mean:.6f}", lineage.baseline(past) is None, estimate)
    others = list(lineage.scores(past, standing))
    if lineage.is_same(run, standing):
        return verdict("keep", f"replicate {len(values)} of the incumbent, mean {mean:.6f}", False, estimate)
    best = sum(others) / len(others)
    sign = "lower" if mean < best else "not lower"
    why = f"{mean:.6f} (n={len(values)}) is {sign} than {best:.6f} (n={len(others)})"
    return verdict("keep" if mean < best else "discard", why, False, estimate)
