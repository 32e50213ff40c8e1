"""The verb that works alone: a night of experiments, from nothing to a report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from research.agents.night import resume, setup
from research.agents.night.loop import CONFIGURATION, Night
from research.agents.night.notify import Command, require_command, silent
from research.agents.night.state import FACT, LOCK, Limits, NightState, from_json, is_cut_off
from research.cli.kit import JsonFlag, say_to_stderr, show
from research.core.clock import run_name, utc
from research.core.errors import ResearchError
from research.core.files import append_line, held
from research.core.git import branch_tip, find_root
from research.core.paths import LabPaths
from research.core.settings import SETTINGS
from research.lab.lab import Lab
from research.lab.launch import Request
from research.lab.plan import POLICY_FACT, SEED_FACT, plan_ahead
from research.lab.worktrees import remove_worker_trees
from research.report.write import read_data, write_page
from research.runs.backends import BACKENDS
from research.store.db import Store
from research.verdict.rules import ENV_JUDGE, judge_of


class Agent(str, Enum):
    """Who edits train.py."""

    builtin = "builtin"
    codex = "codex"


class Policy(str, Enum):
    """Who plans and judges."""

    discovery = "discovery"
    greedy = "greedy"


def register(app: typer.Typer) -> None:
    """Adds this module's verb to the front door."""
    app.command("night")(night)


def night(
    agent: Annotated[Agent, typer.Option(help="Who edits train.py.")] = Agent.builtin,
    hours: Annotated[float | None, typer.Option(min=0, help="End after so many hours.")] = None,
    max_runs: Annotated[int | None, typer.Option(min=1, help="End after so many runs, baselines included.")] = None,
    max_usd: Annotated[float | None, typer.Option(min=0, help="End before a usual run would go beyond it.")] = None,
    usd_per_hour: Annotated[float, typer.Option(min=0, help="Price of an hour of running.")] = 0.0,
    workers: Annotated[int, typer.Option(min=1, help="Candidates evaluated at once.")] = 1,
    backend: Annotated[str, typer.Option(help=f"Where to run: {', '.join(BACKENDS)}.")] = "local",
    gpu: Annotated[str, typer.Option(help="GPU of a remote backend.")] = "H100",
    timeout: Annotated[
        float, typer.Option(min=0, help="Time limit of a run in minutes.")
    ] = SETTINGS.default_timeout_minutes,
    notify: Annotated[
        str | None,
        typer.Option(
            help="Shell command that gets a sentence on its stdin and, in $AUTORESEARCH_EVENT, what it is: win (a gain"
            " is confirmed: more than one run, the whole interval a gain), kept (a change is kept, not confirmed yet),"
            f" stuck ({SETTINGS.stuck_runs} runs without a keep), end."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of plans and of the built-in agent.")] = 0,
    policy: Annotated[Policy, typer.Option(help="Who plans and judges; greedy keeps whatever is lower.")] = (
        Policy.discovery
    ),
    as_json: JsonFlag = False,
) -> None:
    """Experiment alone until a limit is reached; Ctrl-C ends cleanly, the same command goes on."""
    root = find_root(Path.cwd())
    paths = LabPaths(root)
    tell = say_to_stderr if as_json else typer.echo
    limits = Limits(max_runs, hours, max_usd, usd_per_hour)
    if notify:
        require_command(notify)
    slots = setup.slots(workers, backend, os.environ)
    with _alone(paths), open(os.devnull, "wb") as nowhere:
        lab = _quiet_lab(paths, nowhere, policy)
        request = Request((), backend=backend, gpu=gpu, timeout_s=timeout * 60)
        setup.check_backend(lab, request)
        editor = _editor(agent, lab)
        now = lab.clock()
        wanted = NightState(
            "night-" + run_name(now, None, "")[:15], "", agent.value, backend, seed, workers, utc(now), limits,
            gpu=gpu, timeout_s=request.timeout_s, policy=policy.value,
        )  # fmt: skip
        with lab.open() as store:
            before = store.fact(FACT)
            begun, instead = _begin(lab, store, wanted)
        setup.provide_data(root, lab.environment, backend, tell)
        tell(resume.opening(begun, lab.clock(), instead))
        if unseen := setup.uncommitted(root):
            tell(unseen)
        loop = Night(lab, begun, editor, slots, request, tell, Command(notify) if notify else silent)
        try:
            state = loop.run()
        finally:
            remove_worker_trees(root)
        with lab.open() as store:
            _refuse_nothing(store, state, begun, before)
            plan_ahead(lab, store, state.branch)  # what whoever looks in the morning would do next
    report = _report(lab, state.branch)
    kept = _kept(lab, state)
    end = f"Ended: {state.stop_reason}. {resume.count(state.runs)}, {kept} kept. {loop.found}".rstrip()
    text = f"{end}\nThe morning page: {report}"
    data: dict[str, Any] = {"runs": state.runs, "kept": kept, "stop_reason": state.stop_reason, "report": str(report)}
    data |= {"branch": state.branch, "night": state.night, "usd": round(state.usd, 2), "found": loop.found}
    show("night", data, text, as_json)


@contextmanager
def _alone(paths: LabPaths) -> Iterator[None]:
    """Keeps a second night away: it would take the first one for cut off, and its work trees from under its runs.

    Raises:
        ResearchError: if a night is going on in this checkout.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(held(paths.discovery / LOCK, 0.0))
        except TimeoutError:
            what = "A night is going on in this checkout."
            raise ResearchError(what, "Watch it: research watch. Or work in another clone of the repository.") from None
        yield


def _quiet_lab(paths: LabPaths, nowhere: Any, policy: Policy) -> Lab:
    """A lab whose own words go to a file, since a night says what matters in one line per run."""

    def note(line: str) -> None:
        append_line(paths.discovery / "night.log", line)

    judge = judge_of({ENV_JUDGE: "greedy" if policy is Policy.greedy else "evidence"})
    return Lab(paths, stream=nowhere, say=note, judge=judge)


def _begin(lab: Lab, store: Store, wanted: NightState) -> tuple[NightState, str]:
    """The night that was cut off, or a new one, on its branch; and the one that was left for it, with the reason."""
    now, root, instead = lab.clock(), lab.paths.root, ""
    before = from_json(store.fact(FACT))
    if before and is_cut_off(before):
        gone = None if branch_tip(root, before.branch) else f"was on {before.branch}, which is gone"
        if why := gone or resume.why_new(before, wanted, store.runs(), now):
            instead = f"{before.night}, interrupted after {resume.count(before.runs)}, {why}"
        else:
            wanted = resume.taken_up(before, wanted, store.runs(), now)
    branch = setup.take_branch(root, wanted.branch or None, now)
    store.set_fact(SEED_FACT, str(wanted.seed))
    store.set_fact(POLICY_FACT, wanted.policy)
    return replace(wanted, branch=branch), instead


def _refuse_nothing(store: Store, state: NightState, begun: NightState, before: str | None) -> None:
    """A start that came to no run for want of something is none; an interrupted night can still be taken up.

    Raises:
        ResearchError: if this is one.
    """
    kind, _, why = (state.stop_reason or "").partition(": ")
    if kind != CONFIGURATION or state.runs > begun.runs:
        return
    if before and (known := from_json(before)) and is_cut_off(known):
        store.set_fact(FACT, before)
    raise ResearchError(f"The night made no run: {why}.", "When that is mended, type the same command again.")


def _editor(agent: Agent, lab: Lab) -> Any:
    if agent is not Agent.builtin:
        from research.agents.clients import CLIENTS
        from research.agents.clients.editor import ClientEditor

        return ClientEditor(CLIENTS[agent.value], lab)
    from research.agents.night.editors import BuiltinEditor

    return BuiltinEditor(lab)


def _report(lab: Lab, branch: str) -> Path:
    """Writes the morning page; returns where it is."""
    with lab.open_as_it_is() as store:
        data = read_data(store, lab.paths, lab.now_utc(), branch if store.judged(branch) else None)
    return write_page(data, lab.paths)


def _kept(lab: Lab, state: NightState) -> int:
    """Configurations that this night kept, the baseline left out."""
    with lab.open_as_it_is() as store:
        items = [item for item in store.judged(state.branch) if item.run.started_utc >= state.started_utc]
    baseline = {item.run.commit for item in items if item.verdict and item.verdict.baseline}
    kept = {item.run.commit for item in items if item.verdict and item.verdict.decision == "keep"}
    return len(kept - baseline)
