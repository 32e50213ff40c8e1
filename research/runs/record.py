"""From how a command ended, and what it left in its folder, to the finished record of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from research.core import contract
from research.core.contract import RUNNER_EXITS
from research.core.records import MACHINE_KINDS, Failure, Outcome, Run
from research.runs.backend import CommandResult
from research.runs.failure import advice_on, classify
from research.runs.log import LogText, Summary, read_log, read_summary
from research.runs.score import Score, disagreements, read_score

_OUR_SIGNALS = (129, 130, 143)  # HUP, INT, TERM: somebody ended it; a candidate does not do that to itself


def outcome_of(ended: CommandResult, score: Score | None) -> tuple[Outcome, int, str]:
    """Decides what a command's end means for a run of train.py.

    Returns:
        Outcome, the runner's exit code, and one sentence ("" for an ordinary end).
    """
    if ended.kind != "finished":
        return ended.kind, ended.exit_code, ended.why
    code = ended.exit_code
    if code == 0:
        if score is None:
            return "crash", 0, "it ended without a score.json"
        return ("scored", 0, "") if score.status == contract.SCORED else ("crash", 0, "a probe failed")
    if code == contract.EXIT_NO_DATA:
        return "configuration", RUNNER_EXITS["configuration"], "data or tokenizer are missing; the log says which"
    if code in _OUR_SIGNALS:
        return "interrupted", code, f"the command was ended by signal {code - 128}"
    if code == RUNNER_EXITS["timeout"]:
        return "timeout", code, "the command ended itself at a time limit"
    return "crash", code, ""


def finished(run: Run, ended: CommandResult, folder: Path, now_utc: str, expected_contract: str | None = None) -> Run:
    """Makes the finish record of a run that was launched.

    Args:
        run: Its start record.
        ended: How the command ended.
        folder: The run's folder.
        now_utc: When.
        expected_contract: The contract as known before launch, for runs that did not come to a score.
    """
    try:
        log = read_log(folder / contract.RUN_LOG) or LogText(())
    except OSError:
        log = LogText(())
    summary, score = read_summary(log), read_score(folder)
    outcome, exit_code, why = outcome_of(ended, score)
    failure = None
    if outcome in ("crash", "timeout"):
        failure = _failure(outcome, ended, score, log, summary)
    if failure is not None and failure.machine:
        outcome = MACHINE_KINDS[failure.kind]
        exit_code, why = RUNNER_EXITS[outcome], f"the machine failed ({failure.text}). {advice_on(failure)}"
    record = replace(
        run,
        finished_utc=now_utc,
        outcome=outcome,
        exit_code=exit_code,
        child_exit=ended.child_exit,
        device=ended.device or (score.device if score else None),
        contract=score.contract if score else expected_contract,
        failure=failure,
        why=run.why or why,
        cost_usd=ended.cost_usd,
        phases_s=dict(ended.phases_s),
        facts={**run.facts, **(score.facts if score else {}), **ended.facts},
    )
    return scored(record, score, summary, ended.phases_s.get("run")) if outcome == "scored" and score else record


def _failure(
    outcome: Outcome, ended: CommandResult, score: Score | None, log: LogText, summary: Summary
) -> Failure | None:
    if outcome == "timeout":
        return classify(log, summary, ended.child_exit or 0, timed_out=True)
    if ended.exit_code == 0 and score is not None:
        return Failure("probe", "probe", "a probe of the score failed")
    if ended.exit_code == 0:
        return Failure("unknown", "no score", "it ended without a score.json")
    return classify(log, summary, ended.exit_code)


def scored(run: Run, score: Score, summary: Summary | None, run_s: float | None = None) -> Run:
    """Adds to a run what was measured, and every reason not to trust it.

    Args:
        run: The run.
        score: Its score.
        summary: What its log says, None without a log.
        run_s: Seconds that the command took by the runner's clock, None where no runner looked.
    """
    metrics = summary.metrics if summary else None
    printed_mb = metrics.peak_vram_mb if metrics else None
    return replace(
        run,
        metrics=metrics,
        val_bpb=score.val_bpb,
        val_bpb_exact=score.val_bpb_exact,
        audit_bpb=score.audit_bpb,
        audit_bpb_exact=score.audit_bpb_exact,
        peak_vram_mb=score.peak_vram_mb if score.peak_vram_mb is not None else printed_mb,
        suspect=disagreements(score, summary, run.seed, run.train_sha256, run_s),
    )


def interrupted(run: Run, now_utc: str) -> Run:
    """Makes the finish record of a run whose runner is gone."""
    return replace(run, finished_utc=now_utc, outcome="interrupted", why="its runner was gone before it ended")
