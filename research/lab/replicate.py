"""Runs a commit again with the next unused seed; another commit than HEAD in a work tree of its own."""

from __future__ import annotations

from dataclasses import replace

from research.core import git
from research.core.contract import DEFAULT_SEED
from research.core.errors import ResearchError
from research.lab.lab import Lab
from research.lab.launch import LaunchResult, Request, launch
from research.lab.worktrees import checked_out, environment_beside
from research.runs import preflight, repeat
from research.runs.preflight import COMMAND


def replicate(lab: Lab, rev: str | None, request: Request) -> LaunchResult:
    """Measures a configuration once more.

    Args:
        lab: The lab; its work tree is left alone unless the commit is its HEAD.
        rev: The commit, by default HEAD.
        request: Backend and limits; command and seed are set here.

    Raises:
        ResearchError: if there is no such commit, or it has no readable train.py.
    """
    root = lab.paths.root
    commit = git.resolve(root, rev or "HEAD")
    if commit is None:
        raise ResearchError(f"There is no commit {rev or 'HEAD'}.", "git log --oneline lists them.")
    candidate = preflight.examine(root, commit)
    while True:
        with lab.open() as store:
            runs = store.runs_of(candidate.fingerprint)
            going = [run for run in store.open_runs() if run.fingerprint == candidate.fingerprint]
        branch = next((run.branch for run in reversed(runs) if run.commit == commit and run.counted), None)
        seed = repeat.next_seed((run.seed for run in [*runs, *going]), DEFAULT_SEED)
        lab.say(f"replicate of {commit[:7]} with seed {seed}")
        end = _measure(lab, commit, branch, replace(request, command=COMMAND, seed=seed))
        if not end.repeats:  # else somebody else has just measured with that seed, or does
            return end


def _measure(lab: Lab, commit: str, branch: str | None, request: Request) -> LaunchResult:
    """Runs a commit where it is checked out, or in a work tree of its own, on the branch where it was run before."""
    root = lab.paths.root
    if commit == git.head(root).commit and not git.differing(root, (preflight.TARGET, *preflight.FIXED)):
        return launch(lab, request)
    with checked_out(root, commit) as work:
        environment = environment_beside(root, lab.environment)
        where = git.head(root).branch if branch is None else branch
        return launch(lab.beside(work, where, environment, lab.plans), request)
