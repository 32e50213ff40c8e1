"""Adds to a run's record what its commit says, and what it changed in train.py against its parent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from research.code import diff
from research.core import git
from research.core.errors import ResearchError
from research.core.records import Run
from research.core.settings import SETTINGS
from research.runs.preflight import TARGET, Candidate


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
    if not run.parent:
        return run
    try:
        before = git.blob(root, run.parent, TARGET)
        if before is None:
            return run
        found = diff.between(before, text)
    except (ResearchError, SyntaxError):  # a parent that nobody can read says nothing
        return run
    return replace(
        run,
        category=found.category,
        delta=_bounded(found.delta()),
        statements_added=found.statements_added,
        statements_removed=found.statements_removed,
    )


def _bounded(delta: dict[str, str]) -> dict[str, str]:
    """Keeps the first of the changes: of a rewrite the size matters, not its parts."""
    entries = list(delta.items())[: SETTINGS.delta_entries]
    return {name: text for name, text in entries if len(text) <= SETTINGS.delta_chars}
