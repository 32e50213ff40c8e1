"""Shows the branch's summary at SessionStart, also after a compaction or /clear.

The summary was stored with the last verdict; the plan, HEAD and runs in progress are looked up now.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from research.agents import autonomy
from research.agents.hooks.entry import HookCall
from research.agents.hooks.reviews import open_current_memory, unseen_review
from research.agents.next_step import head_warnings, open_runs, profile_here
from research.core import git
from research.core.commands import commit_command
from research.core.commit_message import FREE
from research.core.contract import BRANCHES
from research.core.settings import SETTINGS
from research.store import reads, recent
from research.store.db import Store
from research.verdict.digest import read_digest
from research.verdict.summary import NO_BEST, as_text, hidden_runs, in_one_line, phase_shown, rows

_PROTOCOL = (
    "Protocol: program.md. `uv run research summary` says all of this and more. The memory in results/ and results.tsv "
    "is the runner's: read it through the verbs, never write or commit it."
)


def answer(call: HookCall) -> dict[str, Any] | None:
    """Answer SessionStart."""
    branch = call.head.branch
    with open_current_memory(call) as store:
        if call.is_unreadable(store):
            return None
        source, on = call.text("source") or "startup", "on" if autonomy.load(store).enabled else "off"
        where = f"Autoresearch, session {source}. Branch: {branch or '(detached)'}. Autonomy: {on}."
        review = unseen_review(store, branch) if branch.startswith(BRANCHES) else ""
        return call.context(where, _summary(call, store), review, _PROTOCOL)


def _summary(call: HookCall, store: Store) -> str:
    """Return the summary's rows with the plan that is pending now and warnings about HEAD and runs in progress."""
    branch, commit, root = call.head.branch, call.head.commit, call.paths.root
    plan, digest = reads.plan_of(store, branch), read_digest(store, branch, profile_here(call.environment))
    planned = plan.emitter if plan else None
    alive, _ = open_runs(call.paths, store)
    warnings = [f"Run {run.run} is in progress: start nothing else. {call.client.rejoining}" for run in alive]
    if commit and not recent.is_measured(store, commit) and all(run.commit != commit for run in alive):
        warnings += head_warnings(root, store, branch, commit, planned)
    if git.author(root):
        warnings.append(f"Git knows no author here; commit with: {commit_command(root, planned or FREE)}")
    shown = replace(plan, reason=plan.reason[: SETTINGS.reason_chars]) if plan else None
    hidden = hidden_runs(reads.other_contracts(store, branch, digest.contract), "summary")
    return as_text([*(("Hidden", line) for line in hidden), *rows(digest, shown, [*warnings, *digest.warnings])])


def best_and_phase(store: Store, branch: str) -> str:
    """Return the best configuration and the phase, in one line."""
    digest = read_digest(store, branch)
    return f"Best: {in_one_line(digest.best, NO_BEST)}. Phase: {phase_shown(digest, reads.plan_of(store, branch))}."
