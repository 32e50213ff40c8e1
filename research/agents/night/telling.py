"""One line per run for the person who watches a night, and the sentences that --notify gets."""

from __future__ import annotations

from research.records import Estimate, Run, Verdict


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


def win(run: Run, verdict: Verdict) -> str:
    """The sentence about a kept change."""
    estimate = verdict.estimate
    value = f"{estimate.mean:.6f} (n={estimate.n})" if estimate else "unknown"
    return f"Kept: {_name(run)}; val_bpb {value}{_signed(verdict.difference)}"
