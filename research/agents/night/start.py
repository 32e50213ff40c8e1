"""Runs one night from its preparation to its last plan: the way in for the verb."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO

from research.agents.night import result, resume, setup
from research.agents.night.editors import Editor, editor_of
from research.agents.night.loop import CONFIGURATION, INTERRUPTED, Night
from research.agents.night.notify import Command, require_command, silent
from research.agents.night.state import FACT, LOCK, Limits, NightState, from_json, is_cut_off
from research.core import git
from research.core.clock import stamp, utc
from research.core.errors import ResearchError
from research.core.files import FileLock, append_line
from research.core.git import branch_tip
from research.core.paths import LabPaths
from research.core.settings import SETTINGS
from research.core.text import count_of
from research.lab.lab import Lab
from research.lab.launch import NIGHT_FACT, Request
from research.lab.plan import POLICY_FACT, SEED_FACT, plan_ahead
from research.lab.worktrees import remove_worker_trees
from research.runs import requirements
from research.runs.preflight import COMMAND
from research.store.db import Store


@dataclass(frozen=True)
class Options:
    """How a night is to be made; see the verb's --help."""

    agent: str
    policy: str
    limits: Limits
    workers: int | None
    backend: str
    gpu: str
    timeout_s: float | None
    notify: str | None
    seed: int
    race: bool = True


@dataclass(frozen=True)
class NightResult:
    """What a night came to.

    Attributes:
        state: Its last state.
        kept: How many changes it kept.
        found: Its best in a sentence.
        problem: Why it ended badly, None if it did not.
    """

    state: NightState
    kept: int
    found: str
    problem: ResearchError | None = None


def run_night(
    paths: LabPaths, options: Options, say: Callable[[str], None], show: Callable[[Store], None] = lambda _: None
) -> NightResult:
    """Runs experiments until a limit is reached; continues an interrupted night that was started in the same way.

    Args:
        paths: The checkout.
        options: How.
        say: Takes a line for people.
        show: Writes the morning page; called when the night begins and after every run.

    Raises:
        ResearchError: if the night can't begin; nothing was changed then.
    """
    with open(os.devnull, "wb") as nowhere:
        lab = _quiet_lab(paths, nowhere, options.policy)
        # Every launch would refuse what these refuse, and its reason would be in a log alone.
        if options.notify:
            require_command(options.notify)
        requirements.check_environment(lab.environment)
        request = Request(
            COMMAND, backend=options.backend, gpu=options.gpu, timeout_s=options.timeout_s, race=options.race
        )
        backend = lab.make_backend(options.backend, lab.environment)
        warning = setup.require_price(options.limits, backend, options.gpu, options.agent)
        slots = setup.slots(options.workers, backend, lab.environment)
        editor = editor_of(options.agent, lab)
        setup.require_branch(paths.root)
        with _alone(paths):
            setup.prepare_backend(backend, request.launch("", paths.runs, paths.root, None), say)
            wanted = _new_night(lab, options, len(slots))
            return _run(lab, options, wanted, editor, slots, request, say, show, warning)


def _run(
    lab: Lab,
    options: Options,
    wanted: NightState,
    editor: Editor,
    slots: Sequence[setup.Slot],
    request: Request,
    say: Callable[[str], None],
    show: Callable[[Store], None],
    warning: str | None,
) -> NightResult:
    """Runs a night that may begin."""
    root = lab.paths.root
    with lab.open(say) as store:
        before = store.fact(FACT)
        begun, instead = _begin(lab, store, wanted)
    say(resume.opening(begun, lab.clock(), instead))
    for line in filter(None, (warning, setup.uncommitted(root))):
        say(line)
    loop = Night(lab, begun, editor, slots, request, say, Command(options.notify) if options.notify else silent, show)
    try:
        state = loop.run()
    finally:
        remove_worker_trees(root)
    if (here := git.head(root).branch) != state.branch:
        say(f"{here or 'No branch'} is checked out here now; the night's is {state.branch}: git switch {state.branch}")
    with lab.open() as store:
        problem = loop.problem or _without_a_run(store, state, begun, before)
        plan_ahead(lab, store, state.branch)  # so that whoever looks in the morning sees what would come next
        history = store.judged(state.branch)
    if problem and not history:
        raise problem  # there is nothing to show
    return NightResult(state, result.kept_in(history, state.night), loop.found, problem)


@contextmanager
def _alone(paths: LabPaths) -> Iterator[None]:
    """Keeps a second night away, which would resume the running one and remove the work trees that its runs use.

    Raises:
        ResearchError: if a night is running in this checkout.
    """
    lock = FileLock(paths.discovery / LOCK)
    if not lock.acquire():
        step = "Watch it: uv run research watch. Or work in another clone of the repository."
        raise ResearchError("A night is going on in this checkout.", step)
    try:
        yield
    finally:
        lock.release()


def _quiet_lab(paths: LabPaths, nowhere: BinaryIO, policy: str) -> Lab:
    """Makes a lab whose messages go to a file, since a night says what matters in one line per run."""

    def note(line: str) -> None:
        append_line(paths.discovery / "night.log", line)

    from research.verdict.judge import judge, judge_greedily  # loads numpy

    return Lab(paths, stream=nowhere, say=note, judge=judge_greedily if policy == "greedy" else judge)


def _new_night(lab: Lab, options: Options, workers: int) -> NightState:
    """Returns the state of a night that begins now; its branch is chosen later."""
    now = lab.clock()
    return NightState(
        night=f"night-{stamp(now)}",
        branch="",
        agent=options.agent,
        backend=options.backend,
        seed=options.seed,
        workers=workers,
        started_utc=utc(now),
        limits=options.limits,
        gpu=options.gpu,
        timeout_s=options.timeout_s or SETTINGS.default_timeout_minutes * 60,
        policy=options.policy,
    )


def _begin(lab: Lab, store: Store, wanted: NightState) -> tuple[NightState, str]:
    """Resumes the night that was cut off or begins a new one, on its branch.

    Returns:
        The night, and the cut-off night that it does not resume with the reason, "" without one.
    """
    now, root, instead = lab.clock(), lab.paths.root, ""
    before = from_json(store.fact(FACT))
    if before and is_cut_off(before):
        gone = None if branch_tip(root, before.branch) else f"was on {before.branch}, which is gone"
        if why := gone or resume.why_new(before, wanted, store.runs(), now):
            instead = f"{before.night}, interrupted after {count_of(before.runs, 'run')}, {why}"
        else:
            wanted, instead = resume.resumed(before, wanted, store.runs(), now), before.stop_reason or ""
    if not wanted.resumed:
        wanted = replace(wanted, night=_unused_name(wanted.night, store, before))
    branch = setup.take_branch(root, wanted.branch or None, now)
    store.set_fact(SEED_FACT, str(wanted.seed))
    store.set_fact(POLICY_FACT, wanted.policy)
    return replace(wanted, branch=branch), instead


def _unused_name(name: str, store: Store, before: NightState | None) -> str:
    """Returns a name for a night that no other one has, such as one that began in the same second."""
    taken = {run.facts.get(NIGHT_FACT) for run in store.runs()} | {before.night if before else ""}
    number, fresh = 1, name
    while fresh in taken:
        number += 1
        fresh = f"{name}-{number}"
    return fresh


def _without_a_run(store: Store, state: NightState, begun: NightState, before: str | None) -> ResearchError | None:
    """Reports a night that made no run, unless somebody interrupted it or an interrupted one had made all of its runs.

    A night that was interrupted before it can be resumed still, if this one ended for want of something.
    """
    reason = state.stop_reason or ""
    if state.runs > begun.runs or reason.startswith(INTERRUPTED):
        return None
    kind, _, why = reason.partition(": ")
    if kind == CONFIGURATION:
        if before and (known := from_json(before)) and is_cut_off(known):
            store.set_fact(FACT, before)
        return ResearchError(f"The night made no run: {why}.", "When that is mended, type the same command again.")
    if begun.runs:
        return None
    return ResearchError(f"The night made no run: {reason}.", "See what is wrong: uv run research doctor")
