"""What others do in the checkout while a night works there: another night, a person's git or sqlite3."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from threading import Timer

import pytest

from research.agents.night.state import NightLimits, NightState
from research.lab.lab import Lab
from research.store.connect import StoreBusy
from research.store.db import Store
from research.store.open import read_store
from tests.support.labkit import wait_for
from tests.support.nightkit import NIGHT, NightKit, make_night_kit


def test_a_second_night_is_refused_while_one_goes_on(tmp_path: Path):
    """It would go on with the first one's state, in its work trees, and take them away when it ends."""
    kit = make_night_kit(tmp_path, script=[{"kind": "noise", "steps": 10, "step_s": 0.1}] * 4)
    first = kit.start(*NIGHT, "--max-runs", "3")
    wait_for(lambda: (kit.root / "worktrees" / "night-1").exists())
    told = kit.research(*NIGHT, "--max-runs", "1", code=1)
    assert "going on" in told["error"]["what"]
    assert (kit.root / "worktrees" / "night-1").exists()
    assert first.wait(timeout=120) == 0
    assert [run.outcome for run in kit.runs()] == ["scored"] * 3
    kit.research(*NIGHT, "--max-runs", "1")  # the first one has let go


def test_a_night_goes_on_while_a_persons_git_holds_the_index(tmp_path: Path):
    """What is kept can't be checked out, as during `git commit -a` with an editor open; the branch follows later."""
    wins = [{"kind": "win", "by": -0.05}] * 2
    kit = make_night_kit(tmp_path, script=["noise", "noise", *wins, "noise", "noise"])
    kit.git("switch", "-q", "-c", "autoresearch/try")
    base, lock = kit.git("rev-parse", "HEAD"), kit.root / ".git" / "index.lock"
    lock.touch()
    told = kit.research(*NIGHT, "--max-runs", "6")
    assert (told["runs"], "--max-runs" in told["stop_reason"]) == (6, True)
    assert told["kept"] > 0
    assert kit.git("rev-parse", "HEAD") == base
    assert "was not moved" in kit.research("settle", code=1)["error"]["what"]
    lock.unlink()
    while kit.research("settle")["run"]:
        pass
    assert kit.git("rev-parse", "HEAD") != base
    assert kit.git("status", "--porcelain") == ""


class Impatient(Lab):
    """Its own connection waits for others a moment only, where the usual one waits half a minute."""

    def open(self, say: Callable[[str], None] | None = None) -> Store:
        """See Lab."""
        store = super().open(say)
        store._db.execute("PRAGMA busy_timeout = 50")
        return store


def locked_night(kit: NightKit, speed: float, locked_s: float | None) -> tuple[NightState, list[str]]:
    """A night of four runs whose memory is locked after the second one, for good or for some seconds.

    The speed is that of its clock, so that a wait of 10 s takes less.
    """
    kit.research(*NIGHT, "--max-runs", "1")
    begin, told = datetime.now(timezone.utc), list[str]()

    def quick() -> datetime:
        return begin + (datetime.now(timezone.utc) - begin) * speed

    def tell(line: str) -> None:
        told.append(line)
        if not shells and re.match(r" +\d+  ", line):  # a run has ended; the memory is locked when the next is planned
            shell = sqlite3.connect(kit.paths.memory, check_same_thread=False, isolation_level=None)
            shell.execute("BEGIN IMMEDIATE")
            shells.append(shell)
            if locked_s is not None:
                Timer(locked_s, shell.close).start()

    shells: list[sqlite3.Connection] = []
    state = replace(kit.state(), limits=NightLimits(4), finished_utc=None, stop_reason=None)
    night = kit.loop(kit.lab(Impatient, clock=quick), state, tell, awake=lambda: quick().timestamp())
    try:
        return night.run(), told
    finally:
        for shell in shells:
            shell.close()


def test_a_night_goes_on_when_the_memory_was_locked_for_long(tmp_path: Path):
    kit = make_night_kit(tmp_path)
    ended, told = locked_night(kit, 20, 1.0)  # a wait of 10 s takes half a second
    assert any("could not be used: database is locked" in line and "next try in" in line for line in told), told
    assert (ended.runs, ended.stop_reason) == (4, "4 runs were made (--max-runs)")
    assert [run.outcome for run in kit.runs()] == ["scored"] * 4


def test_a_run_that_ended_is_told_once_where_the_memory_is_locked_before_it_is_settled(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise", "loss", "loss", "loss", "noise"])
    ended, told = locked_night(kit, 20, 1.0)
    assert (ended.runs, ended.stop_reason) == (4, "4 runs were made (--max-runs)")
    assert [line[:4] for line in told if re.match(r" +\d+  ", line)] == ["   2", "   3", "   4"]
    assert 0 < sum(line.startswith("failed") for line in told) < 6  # one in 10 s of its clock, not one in every pass


def test_a_memory_that_stays_locked_ends_a_night_which_goes_on_later(tmp_path: Path):
    kit = make_night_kit(tmp_path)
    with pytest.raises(StoreBusy, match="database is locked"):
        locked_night(kit, 1000, None)
    assert (kit.state().runs, kit.state().finished_utc) == (2, None)


def test_a_nights_lines_bear_the_numbers_of_the_page(tmp_path: Path):
    """Of two runs that go on at once, the second may end first."""
    first, slow, *others = ({"kind": "score", "val_bpb": 1.0 + 0.001 * at} for at in range(5))
    kit = make_night_kit(tmp_path, script=[first, {**slow, "steps": 20, "step_s": 0.1}, *others])
    told = kit.printed(*NIGHT, "--workers", "2", "--max-runs", "5")
    assert told.code == 0, told.err
    lines = re.findall(r"^ +(\d+)  \d\d:\d\d  (\d\.\d{6})  ", told.out + told.err, re.MULTILINE)
    with read_store(kit.paths) as store:
        rows = {f"{item.run.val_bpb:.6f}": number for number, item in enumerate(store.judged(), 1)}
    assert {score: int(number) for number, score in lines} == rows
