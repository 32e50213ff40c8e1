"""What the branch stood on after every run: the fold of the verdicts, read off the one rule in verdict/lineage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from research.core.records import Estimate, Judged, Run, Verdict
from research.report.data import Step
from research.report.text import title_of
from research.verdict import lineage


def steps_of(history: Sequence[Judged], verdicts: Sequence[Verdict], numbers: Mapping[str, int]) -> list[Step]:
    """The frontier's corners.

    Args:
        history: The runs, in order.
        verdicts: Every verdict on them, oldest first.
        numbers: Run to its number.
    """
    runs = {item.run.run: item.run for item in history}
    began = lineage.baseline(history)
    began_at = began.commit if began else ""
    past: dict[str, list[tuple[int, Verdict]]] = {}
    ever_kept: set[str] = set()
    standing: Run | None = None
    steps: list[Step] = []
    for order, verdict in enumerate(verdicts, 1):
        run = runs.get(verdict.run)
        if run is None:
            continue
        past.setdefault(verdict.run, []).append((order, verdict))
        if verdict.decision == "keep" or run.commit in ever_kept:
            ever_kept.add(run.commit)
            standing = lineage.incumbent([_as_of(runs[name], told) for name, told in past.items()])
        if standing is not None and (verdict.decision == "keep" or lineage.is_same(run, standing) or steps):
            title = title_of(standing.subject, standing.commit == began_at) or standing.commit[:7]
            _extend(steps, numbers[verdict.run], standing, title, _estimate(standing, verdict, run, past))
    return steps


def _as_of(run: Run, told: Sequence[tuple[int, Verdict]]) -> Judged:
    """A run with the verdicts that had fallen by then."""
    order, verdict = told[-1]
    return Judged(run, verdict, order, tuple((place, v.decision) for place, v in told[:-1]))


def _estimate(
    standing: Run, verdict: Verdict, run: Run, past: Mapping[str, Sequence[tuple[int, Verdict]]]
) -> Estimate | None:
    """What was known of what stands: the verdict's own words if it speaks of it, else the last that did."""
    if verdict.estimate and lineage.is_same(run, standing):
        return verdict.estimate
    told = past.get(standing.run, ())
    if told and told[-1][1].estimate:
        return told[-1][1].estimate
    return Estimate(standing.val_bpb, standing.val_bpb, standing.val_bpb, 1) if standing.val_bpb is not None else None


def _extend(steps: list[Step], number: int, standing: Run, title: str, estimate: Estimate | None) -> None:
    last = steps[-1] if steps else None
    if last is not None and last.commit == standing.commit:
        # What is known of the same configuration moves only with a new run of it.
        if estimate is None or estimate.n <= last.estimate.n:
            return
    elif estimate is None:
        return
    fresh = last is None or last.commit != standing.commit
    steps.append(Step(number, standing.commit, title, estimate, fresh))
