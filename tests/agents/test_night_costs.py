"""What an agent costs a night, and how a night waits for a service that refuses."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Timer
from typing import Literal

import pytest

from research.agents.clients.base import Usage, usage_in
from research.agents.night.editors import BuiltinEditor, NoCandidate, ProposedCommit
from research.agents.night.loop import Night
from research.agents.night.setup import require_price
from research.agents.night.state import NightLimits, from_json
from research.core.errors import UsageError
from research.core.files import FileLock
from research.core.records import Plan
from research.lab.lab import Lab
from research.runs.backend import Backend, DeviceBusy, StopRequest
from research.runs.backends import make_backend
from research.runs.scripted import ScriptedBackend
from research.verdict.models import Memory
from tests.agents.test_night_at_once import Impatient
from tests.support.nightkit import NIGHT, NightKit, make_night_kit


class Paid:
    """The built-in agent, as if it had a price, by a service that refuses some orders."""

    name = "paid"

    def __init__(self, lab: Lab, refusals: dict[int, datetime | None], usd: float) -> None:
        self.editor, self.lab, self.refusals = BuiltinEditor(lab), lab, refusals
        self.usage, self.asked = Usage(100, usd), list[datetime]()
        self.kind: Literal["idea", "service"] = "service"

    def edit(self, plan: Plan, memory: Memory, seed: int, stop: StopRequest) -> ProposedCommit:
        """See Editor."""
        self.asked.append(self.lab.clock())
        if len(self.asked) in self.refusals:
            raise NoCandidate("paid: it is at its limit", self.kind, self.refusals[len(self.asked)], self.usage)
        return replace(self.editor.edit(plan, memory, seed, stop), usage=self.usage)


class Taken(ScriptedBackend):
    """A backend whose device another run has at the first tries."""

    tries = 0

    def reserve(self, run: str, root: Path) -> tuple[FileLock, ...]:
        """See Backend."""
        Taken.tries += 1
        if Taken.tries <= 7:
            raise DeviceBusy("20260101-000000-abcdef0-1234 of /elsewhere")
        return super().reserve(run, root)


def night(
    kit: NightKit,
    limits: NightLimits,
    refusals: dict[int, datetime | None],
    usd: float,
    backend: Callable[[str, Mapping[str, str]], Backend] = make_backend,
    is_new: bool = False,
) -> tuple[Night, Paid, list[str]]:
    """A night after its first run, or a new one in which no idea comes, with a clock that is 400 times as fast."""
    kit.research(*NIGHT, "--max-runs", "1")
    begin, told = datetime.now(timezone.utc), list[str]()

    def clock() -> datetime:
        return begin + (datetime.now(timezone.utc) - begin) * 400

    lab = kit.lab(clock=clock, make_backend=backend)
    state = replace(kit.state(), limits=limits, finished_utc=None, stop_reason=None)
    editor = Paid(lab, refusals, usd)
    if is_new:
        state, editor.kind = replace(state, night="night-of-no-idea", runs=0, usd=0.0), "idea"
    made = kit.loop(lab, state, told.append, editor, awake=lambda: clock().timestamp())
    made.run()
    return made, editor, told


def test_a_limit_is_waited_out_to_its_end_or_twice_as_long_each_time(tmp_path: Path):
    until = datetime.now(timezone.utc) + timedelta(minutes=10)
    refusals: dict[int, datetime | None] = {1: until, 2: None, 3: None}
    made, editor, told = night(make_night_kit(tmp_path), NightLimits(max_runs=2), refusals, 0.01)
    first, second, third, fourth = editor.asked
    assert second >= until > first
    assert (third - second).total_seconds() >= 60  # the second wait of unknown length
    assert (fourth - third).total_seconds() >= 120
    assert made.state.stop_reason == "2 runs were made (--max-runs)"
    said = [line for line in told if "The night asks again at" in line]
    assert len(said) == 3
    assert f"at {until.astimezone():%H:%M}" in said[0]
    assert made.state.agent_usage == Usage(400, pytest.approx(0.04))


def test_a_candidate_waits_for_a_device_that_another_run_has_and_is_not_paid_for_twice(tmp_path: Path):
    kit = make_night_kit(tmp_path)
    made, editor, told = night(kit, NightLimits(max_runs=2), {}, 0.01, lambda _, given: Taken(dict(given)))
    assert Taken.tries == 8
    assert len(editor.asked) == 1
    assert made.state.stop_reason == "2 runs were made (--max-runs)"
    assert made.state.agent_usage == Usage(100, pytest.approx(0.01))
    assert len([line for line in told if line.startswith("waiting: The device is taken by")]) == 1
    assert not [line for line in told if line.startswith("failed")]


def test_what_the_agent_costs_is_kept_with_the_run_and_ends_the_night(tmp_path: Path):
    kit = make_night_kit(tmp_path)
    made, _, _ = night(kit, NightLimits(max_usd=0.7), {}, 0.3)
    paid = [used for run in kit.runs() if (used := usage_in(run.facts)).tokens]
    assert paid == [Usage(100, 0.3)] * len(paid)
    assert made.state.usd == pytest.approx(0.3 * len(paid))
    assert made.state.usd <= 0.7
    assert "--max-usd" in str(made.state.stop_reason)
    assert from_json(made.state.to_json()) == made.state


def test_dollars_limit_nothing_where_nothing_has_a_price(tmp_path: Path):
    kit = make_night_kit(tmp_path)
    backend = make_backend("local", kit.environment)
    limits = NightLimits(max_usd=5.0)
    with pytest.raises(UsageError, match="needs a price"):
        require_price(limits, backend, "", "builtin")
    assert "counts nothing" in require_price(limits, backend, "", "codex")
    assert require_price(limits, backend, "", "claude") == ""
    assert require_price(replace(limits, usd_per_hour=2.0), backend, "", "codex") == ""


def test_a_night_whose_agent_came_to_no_candidate_at_all_is_an_error(tmp_path: Path):
    made, _, told = night(
        make_night_kit(tmp_path), NightLimits(max_runs=2), dict.fromkeys(range(1, 40)), 0.0, is_new=True
    )
    assert (made.state.runs, made.problem is not None) == (0, True)
    assert "candidates in a row came to no run" in str(made.problem)
    assert "uv run research doctor" in str(made.problem)
    assert made.state.finished_utc is not None
    assert any("no candidate: paid: it is at its limit" in line for line in told)


def test_a_git_that_fails_while_a_candidate_is_made_ends_no_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Such as for want of space: the night waits and asks again."""
    kit, git = make_night_kit(tmp_path), tmp_path / "bin" / "git"
    git.parent.mkdir()
    full = f'case "$*" in *commit-tree*) mkdir {tmp_path}/full 2> /dev/null && echo "no space" >&2 && exit 1 ;; esac'
    git.write_text(f'#!/bin/sh\n{full}\nexec {shutil.which("git")} "$@"\n')
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{git.parent}:{os.environ['PATH']}")
    made, _, told = night(kit, NightLimits(max_runs=2), {}, 0.01)
    assert made.state.stop_reason == "2 runs were made (--max-runs)"
    assert [line for line in told if line.startswith("failed (git commit-tree failed: no space")]


def test_a_candidate_is_run_again_after_a_failure_of_the_machine_and_not_paid_for_twice(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise", "noise", "capacity", "noise", "noise"])
    made, editor, _ = night(kit, NightLimits(max_runs=3), {}, 0.01)
    assert len(editor.asked) == 2
    assert made.state.agent_usage == Usage(200, pytest.approx(0.02))
    _, _, failed, again = kit.runs()
    assert (failed.outcome, again.outcome, failed.commit == again.commit) == ("capacity", "scored", True)


def test_a_candidate_on_which_the_machine_fails_twice_is_left(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise", "noise", *["infrastructure"] * 2, "noise"])
    _, editor, _ = night(kit, NightLimits(max_runs=3), {}, 0.01)
    assert len(editor.asked) == 3
    assert len({run.commit for run in kit.runs()}) == 4


def test_a_candidate_that_came_while_the_memory_was_locked_is_not_paid_for_twice(tmp_path: Path):
    kit = make_night_kit(tmp_path)
    kit.research(*NIGHT, "--max-runs", "1")
    lab = kit.lab(Impatient)

    class Locked(Paid):
        """An editor during whose first edit a person's shell locks the memory."""

        def edit(self, plan: Plan, memory: Memory, seed: int, stop: StopRequest) -> ProposedCommit:
            """See Editor."""
            if not self.asked:
                shell = sqlite3.connect(kit.paths.memory, check_same_thread=False, isolation_level=None)
                shell.execute("BEGIN IMMEDIATE")
                Timer(0.5, shell.close).start()
            return super().edit(plan, memory, seed, stop)

    editor = Locked(lab, {}, 0.01)
    state = replace(kit.state(), limits=NightLimits(max_runs=2), finished_utc=None, stop_reason=None)
    ended = kit.loop(lab, state, editor=editor).run()
    assert (len(editor.asked), ended.runs, ended.agent_usage) == (1, 2, Usage(100, 0.01))


def test_an_agent_that_fails_again_and_again_ends_the_night_with_the_check_that_asks_it(tmp_path: Path):
    kit = make_night_kit(tmp_path)
    kit.research(*NIGHT, "--max-runs", "1")

    class Failing(BuiltinEditor):
        """An editor that is not logged in."""

        def edit(self, plan: Plan, memory: Memory, seed: int, stop: StopRequest) -> ProposedCommit:
            """See Editor."""
            raise NoCandidate("codex: it is not logged in", "editor")

    begun = time.monotonic()
    state = replace(kit.state(), limits=NightLimits(max_runs=9), finished_utc=None, stop_reason=None)
    lab = kit.lab()
    made = kit.loop(lab, state, editor=Failing(lab), awake=lambda: begun + (time.monotonic() - begun) * 2000)
    made.run()
    assert made.problem is not None
    assert "the agent failed: codex: it is not logged in" in made.problem.what
    assert made.problem.next == "See what is wrong: uv run research doctor --clients"
