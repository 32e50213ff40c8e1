"""Imports runs that were made by hand: finished folders that train.py left, and bare logs on request."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from research.core import contract, git
from research.core.clock import as_utc, parse_utc, run_name, seconds_between, utc
from research.core.errors import ResearchError
from research.core.files import sha256_of
from research.core.records import Run
from research.runs import preflight
from research.runs.backend import CommandResult
from research.runs.backends import DEFAULT_BACKEND
from research.runs.failure import NO_SUMMARY, classify
from research.runs.log import read_log, read_summary
from research.runs.record import finished, with_change, with_commit
from research.runs.score import read_score


def finished_folders(runs: Path, known: frozenset[str]) -> list[Path]:
    """List the folders made by hand that hold a whole score.json and are not known yet, oldest first."""
    found = sorted(path for path in runs.glob(f"{contract.HAND_PREFIX}*") if path.name not in known)
    return [path for path in found if path.is_dir() and read_score(path) is not None]


def run_of_folder(folder: Path, root: Path, now_utc: str) -> Run:
    """Return the record of the run in a finished folder, by its score.json and, where one was kept, its log.

    Raises:
        ResearchError: if the folder holds no whole score.json.
    """
    score = read_score(folder)
    if score is None:
        raise ResearchError(f"{folder} holds no whole score.json.", "Only a run that finished can be recorded.")
    started_utc = as_utc(score.started_utc)
    stamp = _stamp(started_utc) or _stamp(folder.name[len(contract.HAND_PREFIX) :]) or _stamp(now_utc)
    commit = (git.resolve(root, score.commit) if score.commit else None) or ""
    run = Run(
        run=_name(stamp, commit, folder.name),
        folder=folder.name,
        origin="hand",
        branch=_branch(root, commit),
        commit=commit,
        started_utc=started_utc or now_utc,
        seed=score.seed if score.seed is not None else contract.DEFAULT_SEED,
        backend=DEFAULT_BACKEND,
        train_sha256=score.train_sha256,
    )
    # It is imported by the next command, perhaps a day after it ended.
    took_s = min(score.wall_s or 0.0, seconds_between(run.started_utc, now_utc))
    ended_utc = utc(parse_utc(run.started_utc) + timedelta(seconds=took_s))
    code = contract.EXIT_SCORED if score.status == contract.SCORED else contract.EXIT_PROBE_FAILED
    return finished(_with_source(run, root), CommandResult("finished", code, code), folder, ended_utc)


def _name(at: str, commit: str, identity: str) -> str:
    """Return a name for a run that is the same whenever it is imported, by something that identifies it."""
    return run_name(at, commit, hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest())


def _stamp(text: str) -> str:
    """Return the time in a text as names have it, "" where the text holds none."""
    digits = re.sub(r"\D", "", text[:24])
    return f"{digits[:8]}-{digits[8:14]}" if len(digits) >= 14 else ""


def _branch(root: Path, commit: str) -> str:
    """Return the current branch if the commit is its tip or an ancestor of it, else ""."""
    where = git.head(root)
    return where.branch if commit and where.commit and git.is_ancestor(root, commit, where.commit) else ""


def _with_source(run: Run, root: Path) -> Run:
    """Return a run with what its commit says of it, uncounted where another train.py ran than the commit's."""
    if not run.commit:
        return replace(run, counted=False, why="the commit that ran is unknown")
    try:
        candidate = preflight.examine(root, run.commit)
    except preflight.Refused as refusal:
        return replace(run, counted=False, why=refusal.what)
    run = with_commit(run, candidate)
    if run.train_sha256 != candidate.train_sha256:
        return replace(run, counted=False, why="the train.py that ran is not the commit's")
    return with_change(replace(run, fingerprint=candidate.fingerprint), root, candidate.text)


def run_of_log(path: Path, root: Path, now_utc: str) -> Run:
    """Return the record of a run of which only a log is left; it is marked as unverified.

    Raises:
        ResearchError: if there is no such log, it is empty, or it shows no end.
        Refused: if the repository's HEAD has no readable train.py.
    """
    log = read_log(path)
    if log is None:
        raise ResearchError(f"There is no run log at {path}.", "Give the path of a run's log or folder.")
    digest, summary = sha256_of(path), read_summary(log)
    failure = classify(log, summary)
    if not log.lines or (failure is not None and failure.signature == NO_SUMMARY):
        what = f"{path} shows neither a score nor how a run failed."
        raise ResearchError(what, "Give a finished run's log; uv run research parse-run shows what is in it.")
    candidate = preflight.examine(root, "HEAD")
    metrics = summary.metrics if failure is None else None
    run = Run(
        run=_name(_stamp(now_utc), candidate.commit.hash, digest),
        folder="",
        origin="log",
        branch=candidate.branch,
        commit=candidate.commit.hash,
        started_utc=now_utc,
        finished_utc=now_utc,
        seed=contract.DEFAULT_SEED,
        contract=summary.words.get("contract"),
        outcome="scored" if metrics else "crash",
        metrics=metrics,
        val_bpb=metrics.val_bpb if metrics else None,
        peak_vram_mb=metrics.peak_vram_mb if metrics else None,
        failure=failure,
        suspect=("unverified: a bare log without a run folder",),
        facts={"log_sha256": digest},
    )
    return with_commit(run, candidate)  # without a fingerprint: what really ran is unknown
