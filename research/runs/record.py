"""Makes a run's record from its commit, its change, the end of its command, and its score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from research.code import diff
from research.core import contract, git
from research.core.commit_message import emitter_of
from research.core.contract import RUNNER_EXITS
from research.core.errors import ResearchError
from research.core.records import MACHINE_KINDS, Failure, Outcome, Run
from research.core.settings import SETTINGS
from research.runs.backend import CommandResult
from research.runs.failure import advice_on, classify
from research.runs.log import LogText, Summary, parse_text, read_log, read_summary
from research.runs.preflight import TARGET, Candidate
from research.runs.score import ScoreFile, disagreements, read_score

LOG_PROBLEM = "log_problem"
"""Name of the fact that holds why not all of a run's output could be written."""
NO_SCORE = "it ended without the score.json that evaluate_bpb writes"
"""Reason of a run that ended as if it were scored, and is not."""
_OUR_SIGNALS = (129, 130, 143)  # HUP, INT, TERM: somebody ended it; a candidate does not do that to itself


def with_commit(run: Run, candidate: Candidate) -> Run:
    """Return a run with its commit's parent, subject, emitter, harness and size of change; an emitter it has stays."""
    return replace(
        run,
        commit=candidate.commit.hash,
        parent=candidate.commit.parent,
        subject=candidate.commit.subject,
        emitter=emitter_of(candidate.commit.subject) or run.emitter,
        harness=candidate.harness,
        additions=candidate.additions,
        deletions=candidate.deletions,
    )


def with_change(run: Run, root: Path, text: bytes) -> Run:
    """Return a run with category, delta and statement counts of its train.py's change, where the parent can be read."""
    try:
        before = git.blob(root, run.parent, TARGET) if run.parent else None
        found = diff.change_between(before, text) if before is not None else None
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
    """Return the finish record of a run, by the end of its command and the files in the run's folder."""
    score = read_score(folder)
    try:
        log = read_log(folder / contract.RUN_LOG)
    except OSError:
        log = None
    if log is None and run.origin == "hand":  # its output was not kept; what it reported of it is in score.json
        log = parse_text(score.printed) if score and score.printed else None
    elif log is None:
        log = LogText(())
    summary = read_summary(log) if log else None
    outcome, exit_code, why = _outcome(ended, score)
    failure = None
    if outcome in ("crash", "timeout"):
        failure = _failure(ended, score, log or LogText(()), outcome == "timeout")
    if failure is not None and failure.machine:
        outcome = MACHINE_KINDS[failure.kind]
        exit_code, why = RUNNER_EXITS[outcome], f"the machine failed ({failure.text}). {advice_on(failure)}"
    elif outcome == "crash" and (unwritten := _why_unwritten(ended, folder)):
        outcome, exit_code, failure, why = "infrastructure", RUNNER_EXITS["infrastructure"], None, unwritten
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
    return _scored(record, score, summary) if outcome == "scored" and score else record


def _outcome(ended: CommandResult, score: ScoreFile | None) -> tuple[Outcome, int, str]:
    """Return outcome, the runner's exit code and one sentence for a command's end, "" for a usual one."""
    if ended.kind != "finished":
        return ended.kind, ended.exit_code, ended.why
    code = ended.exit_code
    if code == 0 and score and score.status == contract.SCORED:
        return "scored", 0, ""
    if code == 0:
        return "crash", 0, "a probe failed" if score else NO_SCORE
    if code == contract.EXIT_NO_DATA:
        return "configuration", RUNNER_EXITS["configuration"], "data or tokenizer are missing; the log says which"
    if code in _OUR_SIGNALS:
        return "interrupted", code, f"the command was ended by signal {code - 128}"
    if code == RUNNER_EXITS["timeout"]:
        return "timeout", code, "the command ended itself at a time limit"
    return "crash", code, ""


def _failure(ended: CommandResult, score: ScoreFile | None, log: LogText, timed_out: bool) -> Failure | None:
    if ended.exit_code == 0 and score is not None:
        return Failure("probe", "probe", "a probe of the score failed")
    if ended.exit_code == 0:
        return Failure("unknown", NO_SCORE, NO_SCORE)
    code = (ended.child_exit or 0) if timed_out else ended.exit_code
    return classify(log, read_summary(log), code, timed_out)


def _why_unwritten(ended: CommandResult, folder: Path) -> str:
    """Return why a command could not write its files, which is no fault of a candidate; "" if it could."""
    if not folder.is_dir():
        return "its folder was removed while it ran"
    problem = ended.facts.get(LOG_PROBLEM)
    return f"its files could not be written: {problem}" if problem else ""


def _scored(run: Run, score: ScoreFile, summary: Summary | None) -> Run:
    """Return a run with what was measured, and every reason not to trust it."""
    suspect = disagreements(score, summary, run.seed, run.train_sha256, run.phases_s.get("run"))
    measured: dict[str, Any] = dict(score.measured)
    metrics = summary.metrics if summary else None
    if metrics and measured["peak_vram_mb"] is None:
        measured["peak_vram_mb"] = metrics.peak_vram_mb
    return replace(run, metrics=metrics, suspect=suspect, **measured)
