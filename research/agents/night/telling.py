"""One line per run for the person who watches a night, and the sentences that --notify gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from research.records import Estimate, Judged, Run, Verdict
from research.verdict import lineage


def line_of(number: int, run: Run, verdict: Verdict | None) -> str:
    """A finished run in one line: number, time, what it was, score, verdict."""
    score = f"{run.val_bpb:.6f}" if run.val_bpb is not None else f"{run.outcome:>8}"
    what = _name(run)
    head = f"{number:4d}  {(run.finished_utc or '')[11:16]}  {score}"
    if verdict is None:
        return f"{head}  {'':11}  {what}"
    gain = _signed(verdict.difference)
    sure = f" P {verdict.p_better:.2f}" if verdict.p_better is not None else ""
    return f"{head}  {verdict.decision:<11}  {what}{gain}{sure}"


def _name(run: Run) -> str:
    """The change without prefix and tag; of what is none, that it is the baseline, whatever its commit says."""
    if not run.subject.startswith("exp:"):
        return f"baseline {run.commit[:7]}"
    return run.subject.removeprefix("exp:").split(" [emitter=")[0].strip()


def _signed(difference: Estimate | None) -> str:
    if difference is None:
        return ""
    return f"  {difference.mean:+.6f} [{difference.low:+.6f}, {difference.high:+.6f}]"


def news(run: Run, verdict: Verdict, history: Sequence[Judged]) -> Literal["win", "kept"] | None:
    """What a verdict is to somebody asleep: a gain now confirmed, a change now kept, or nothing new.

    Args:
        run: A finished run.
        verdict: Its verdict.
        history: The judged runs of the branch under its contract.
    """
    baseline = lineage.baseline(history)
    if verdict.decision != "keep" or baseline is None or lineage.is_same(run, baseline):
        return None
    others = [item.verdict for item in history if item.run.run != run.run and lineage.is_same(item.run, run)]
    told = [other for other in others if other and other.decision == "keep"]
    if verdict.is_confirmed:
        return None if any(other.is_confirmed for other in told) else "win"
    return None if told else "kept"


def good_news(run: Run, verdict: Verdict) -> str:
    """The sentence about a kept change; it says whether that is confirmed."""
    estimate = verdict.estimate
    value = f"{estimate.mean:.6f} (n={estimate.n})" if estimate else "unknown"
    why = "one run only" if estimate is None or estimate.n < 2 else "zero is within the interval"
    head = "Confirmed" if verdict.is_confirmed else f"Kept, not confirmed ({why})"
    return f"{head}: {_name(run)}; val_bpb {value}{_signed(verdict.difference)}"
