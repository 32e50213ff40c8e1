"""Runs one night for the verb, from its preparation to its last plan."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import BinaryIO

from research.agents.clients import CLIENTS
from research.agents.clients.driver import ClientEditor
from research.agents.night import limits, setup
from research.agents.night.editors import BuiltinEditor
from research.agents.night.loop import Night
from research.agents.night.notify import notifier, require_command
from research.agents.night.progress import opening
from research.agents.night.state import FACT, LOCK, NightLimits, NightState, from_json
from research.core import git
from research.core.clock import stamp, utc
from research.core.errors import ResearchError
from research.core.files import append_line, held
from research.core.paths import LabPaths
from research.core.settings import SETTINGS
from research.core.text import count_of
from research.lab.lab import Lab
from research.lab.launch import Request
from research.lab.plan import plan_ahead
from research.lab.worktrees import remove_worker_trees
from research.runs import requirements
from research.store.db import Store


def run_night(
    paths: LabPaths,
    request: Request,
    most: NightLimits,
    agent: str,
    policy: str,
    seed: int,
    workers: int | None,
    notify: str | None,
    say: Callable[[str], None],
    show: Callable[[Store], None],
) -> Night:
    """Run a night to its end and return it; continue an interrupted one that was started in the same way.

    Args:
        paths: The checkout.
        request: Backend, GPU, time limit and racing of every run.
        most: The limits of the night.
        agent: Name of the editor.
        policy: Name of the policy that plans.
        seed: Seed of the plans.
        workers: Number of runs side by side, None for the backend's usual.
        notify: The shell command of --notify.
        say: Takes a line for people.
        show: Writes the morning page.

    Raises:
        ResearchError: if the night can't begin; nothing was changed then.
    """
    with ExitStack() as opened:
        lab = _quiet_lab(paths, policy, opened.enter_context(open(os.devnull, "wb")))
        # Every launch would refuse what these refuse, and its reason would be in a log alone.
        if notify:
            require_command(notify)
        requirements.check_environment(lab.environment)
        backend = lab.make_backend(request.backend, lab.environment)
        warning = setup.require_price(most, backend, request.gpu, agent)
        slots = [{**lab.environment, **own} for own in backend.places(workers)]
        editor = BuiltinEditor(lab) if agent == BuiltinEditor.name else ClientEditor(CLIENTS[agent], lab)
        setup.require_branch(paths.root)
        _keep_others_out(paths, opened)
        backend.provide(paths.root, say)
        backend.check(request.launch(backend, "", paths.runs, paths.root, None))

        now, timeout_s = lab.clock(), request.timeout_s or SETTINGS.default_timeout_minutes * 60
        wanted = NightState(
            f"night-{stamp(now)}-{lab.token(2)}", "", agent, backend.name, seed, len(slots), utc(now), most,
            gpu=request.gpu, timeout_s=timeout_s, policy=policy, race=request.race,
        )  # fmt: skip
        begun, instead = _begin(lab, wanted, say)
        say(opening(begun, lab.clock(), instead))
        for line in filter(None, (warning, setup.uncommitted(paths.root))):
            say(line)
        night = Night(lab, begun, editor, slots, request, say, notifier(notify, say), show)
        try:
            branch = night.run().branch
        finally:
            remove_worker_trees(paths.root)
        _leave(lab, night, branch, say)
    return night


def _quiet_lab(paths: LabPaths, policy: str, nowhere: BinaryIO) -> Lab:
    """Return a lab that writes its own lines to night.log, and what its runs print into the given stream."""
    from research.verdict.judge import judge, judge_greedily  # loads numpy

    note = partial(append_line, paths.discovery / "night.log")  # what matters is said in one line per run
    return Lab(paths, stream=nowhere, say=note, judge=judge_greedily if policy == "greedy" else judge)


def _keep_others_out(paths: LabPaths, opened: ExitStack) -> None:
    """Hold the checkout's lock; a second night would resume the running one and remove its work trees."""
    try:  # a view that asks whether a night goes on has the lock for a moment
        opened.enter_context(held(paths.discovery / LOCK, SETTINGS.poll_s, f"{os.getpid()} {platform.node()}"))
    except TimeoutError:
        step = "Watch it: uv run research watch. End it: uv run research night --stop"
        raise ResearchError("A night is going on in this checkout.", step) from None


def _leave(lab: Lab, night: Night, branch: str, say: Callable[[str], None]) -> None:
    """Name the night's branch where another is checked out, and plan ahead, so that the morning shows what is next.

    Raises:
        ResearchError: if a problem ended the night before anything could be shown.
    """
    if (here := git.head(lab.paths.root).branch) != branch:
        say(f"{here or 'No branch'} is checked out here now; the night's is {branch}: git switch {branch}")
    with lab.open() as store:
        plan_ahead(lab, store, branch)
        if night.problem and not store.judged(branch):
            raise night.problem


def _begin(lab: Lab, wanted: NightState, say: Callable[[str], None]) -> tuple[NightState, str]:
    """Return the state of the interrupted night, or of a new one, on its branch, and the reason for the first line."""
    now, root, instead = lab.clock(), lab.paths.root, ""
    with lab.open(say) as store:
        before, runs = from_json(store.fact(FACT)), store.runs()
    if before and before.finished_utc is None:
        gone = None if git.branch_tip(root, before.branch) else f"was on {before.branch}, which is gone"
        if why := gone or limits.why_new(before, wanted, runs, now):
            instead = f"{before.night}, interrupted after {count_of(before.runs, 'run')}, {why}"
        else:
            wanted, instead = limits.resumed(before, wanted, runs, now), before.stop_reason or ""
    return replace(wanted, branch=setup.take_branch(root, wanted.branch, now)), instead
