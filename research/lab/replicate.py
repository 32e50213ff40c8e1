"""Runs a commit again, with another seed; one that is not HEAD runs in a work tree of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from research.core import git
from research.core.contract import DEFAULT_SEED, PROTECTED
from research.core.errors import ResearchError
from research.core.records import Judged, Run
from research.lab.lab import Lab
from research.lab.launch import LaunchResult, Request, launch
from research.lab.worktrees import checked_out, environment_beside
from research.runs import preflight
from research.runs.preflight import COMMAND
from research.runs.repeat import next_seed
from research.verdict import lineage
from research.verdict.evidence import Keys, belief_of
from research.verdict.seeds import Place, replicate_seed


def replicate(lab: Lab, rev: str | None, request: Request, seed: int | None = None) -> LaunchResult:
    """Measure a configuration once more, on the branch where it was run before.

    The checkout's own work tree is left alone unless the commit is its HEAD.

    Args:
        rev: The commit, by default HEAD.
        request: Backend and limits; command and seed are set here.
        seed: The seed, which may be one that the commit ran with already; by default the one that the belief asks for.

    Raises:
        ResearchError: if there is no such commit, or it has no readable train.py.
    """
    root = lab.paths.root
    head = git.head(root)
    commit = git.resolve(root, rev or "HEAD")
    if commit is None:
        raise ResearchError(f"There is no commit {rev or 'HEAD'}.", "git log --oneline lists them.")
    candidate = preflight.examine(root, commit)
    while True:
        with lab.open() as store:
            runs = store.runs_of(candidate.fingerprint)
            going = [run for run in store.open_runs() if run.fingerprint == candidate.fingerprint]
            place = Place(lab.make_backend(request.backend, lab.environment).device())
            chosen = _seed(store.judged(), [*runs, *going], place) if seed is None else seed
        lab.say(f"replicate of {commit[:7]} with seed {chosen}")
        wanted = replace(request, command=COMMAND, seed=chosen, again=seed is not None)
        if commit == head.commit and not git.differing(root, (preflight.TARGET, *PROTECTED)):
            end = launch(lab, wanted)
        else:
            before = (run.branch for run in reversed(runs) if run.commit == commit and run.counted)
            with checked_out(root, commit) as work:
                environment, branch = environment_beside(root, lab.environment), next(before, head.branch)
                end = launch(replace(lab, work_tree=work, branch=branch, environment=environment), wanted)
        if not end.repeats:  # else somebody else has just measured with that seed, or does
            return end


def _seed(history: Sequence[Judged], runs: Sequence[Run], place: Place) -> int:
    """Return the seed for another run of the configuration that these runs measured, first one that the best has."""
    latest = next((run for run in reversed(runs) if run.contract is not None), None)
    used = {run.seed for run in runs}
    if latest is None:
        return next_seed(used, DEFAULT_SEED)
    comparable = [item.run for item in history if item.run.contract == latest.contract]
    keys = Keys(comparable)
    tip = lineage.incumbent(lineage.of_contract(history, latest.branch, latest.contract))
    return replicate_seed(belief_of(comparable, keys), keys.of(latest), keys.of(tip) if tip else None, used, place)
