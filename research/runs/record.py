"""Makes a run's record: what its commit says and changed, how its command ended, and what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from research.code import diff
from research.core import contract, git
from research.core.contract import RUNNER_EXITS
from research.core.errors import ResearchError
from research.core.records import MACHINE_KINDS, Failure, Outcome, Run
from research.core.settings import SETTINGS
from research.runs.backend import CommandResult
from research.runs.failure import advice_on, classify
from research.runs.log import LogText, Summary, read_log, read_summary
from research.runs.preflight import TARGET, Candidate
from research.runs.score import Score, disagreements, read_score

_OUR_SIGNALS = (129, 130, 143)  # HUP, INT, TERM: somebody ended it; a candidate does not do that to itself


def with_commit(run: Run, candidate: Candidate) -> Run:
    """Adds parent, subject, emitter, harness and size of the change to a run; an emitter that it has stays."""
    return replace(
        run,
        commit=candidate.commit.hash,
        parent=candidate.commit.parent,
        subject=candidate.commit.subject,
        emitter=candidate.emitter or run.emitter,
        harness=candidate.harness,
        additions=candidate.additions,
        deletions=candidate.deletions,
    )


def with_change(run: Run, root: Path, text: bytes) -> Run:
    """Adds category, delta and statement counts to a run; leaves it where there is nothing to compare with.

    Args:
        run: The run, with its parent.
        root: A work tree of the repository that holds the parent.
        text: The train.py that runs.
    """
    try:
        before = git.blob(root, run.parent, TARGET) if run.parent else None
        found = diff.between(before, text) if before is not None else None
    except (ResearchError, SyntaxError):  # a parent that nobody can read says nothing
        return run
    if found is None:
        return run
    entries = list(found.delta.items())[: SETTINGS.delta_entries]  # of a rewrite the size matters, not its parts
    return replace(
        run,
        category=found.category,
        delta={name: change for name, change in entries if len(change) <= SETTINGS.delta_chars},
        statements_added=found.statements_added,
        statements_removed=found.statements_removed,
    )


def finished(run: Run, ended: CommandResult, folder: Path, now_utc: str) -> Run:
    """Makes the finish record of a run that was launched.

    Args:
        run: Its start record.
        ended: How the command ended.
        folder: The run's folder.
        now_utc: When.
    """
    try:
        log = read_log(folder / contract.RUN_LOG) or LogText(())
    except OSError:
        log = LogText(())
    summary, score = read_summary(log), read_score(folder)
    outcome, exit_code, why = _outcome(ended, score)
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
        device=ended.device or (score and score.device) or None,
        contract=score.contract if score else None,
        failure=failure,
        why=run.why or why,
        cost_usd=ended.cost_usd,
        phases_s=dict(ended.phases_s),
        facts={**run.facts, **(score.facts if score else {}), **ended.facts},
    )
    return scored(record, score, summary, ended.phases_s.get("run")) if outcome == "scored" and score else record


def _outcome(ended: CommandResult, score: Score | None) -> tuple[Outcome, int, str]:
    """Decides what a command's end means for a run of train.py.

    Returns:
        Outcome, the runner's exit code, and one sentence ("" for an ordinary end).
    """
    if ended.kind != "finished":
        return ended.kind, ended.exit_code, ended.why
    code = ended.exit_code
    if code == 0 and score is None:
        return "crash", 0, "it ended without a score.json"
    if code == 0 and score:
        return ("scored", 0, "") if score.status == contract.SCORED else ("crash", 0, "a probe failed")
    if code == contract.EXIT_NO_DATA:
        return "configuration", RUNNER_EXITS["configuration"], "data or tokenizer are missing; the log says which"
    if code in _OUR_SIGNALS:
        return "interrupted", code, f"the command was ended by signal {code - 128}"
    if code == RUNNER_EXITS["timeout"]:
        return "timeout", code, "the command ended itself at a time limit"
    return "crash", code, ""


def _failure(
    outcome: Outcome, ended: CommandResult, score: Score | None, log: LogText, summary: Summary
) -> Failure | None:
    """Finds why a run failed, None for one that did not, or that was ended."""
    if outcome == "timeout":
        return classify(log, summary, ended.child_exit or 0, timed_out=True)
    if outcome != "crash":
        return None
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
