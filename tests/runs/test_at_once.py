"""Several labs on one memory, and labs that are killed: what one does at an odd instant of another's."""

from __future__ import annotations

import fcntl
import io
import os
import sys
from pathlib import Path

import pytest
from support.labkit import Kit, kit, wait_for

from research.core.paths import LabPaths
from research.core.records import Run
from research.lab.lab import Lab
from research.lab.launch import launch
from research.lab.runner import parse
from research.lab.worktrees import worker_tree
from research.runs.local import usable_cores
from research.store.connect import StoreBusy
from research.store.db import Store
from research.store.open import read_store

__all__ = ["kit"]


def test_a_run_that_ended_while_its_repeat_was_being_prepared_is_not_made_again(kit: Kit):
    """The second launch looks for a repeat while the first one runs, and takes the device when that has ended."""
    kit.commit("base", extra="time.sleep(3 if 'AUTORESEARCH_TIME_BUDGET' in os.environ else 2)")
    first = kit.start()
    wait_for(lambda: any((kit.root / "results" / "runs").glob("*")))
    second = kit.run("--smoke")
    out, _ = first.communicate(timeout=60)
    with read_store(LabPaths(kit.root)) as store:
        (run,) = store.runs()
    assert (second.end["outcome"], second.end["repeats"], second.code) == ("repeat", run.run, 0)
    assert second.out.encode() == out


class BusyAtTheEnd(Lab):
    """Another process writes for very long when a run has ended."""

    def examine(self, store: Store, run: Run) -> Run:
        raise StoreBusy("The memory is busy.", "Try again.")


def test_a_run_whose_record_can_not_be_completed_is_not_lost(kit: Kit):
    request, _ = parse(["--", "uv", "run", "train.py"], kit.environment)
    lab = BusyAtTheEnd(LabPaths(kit.root), environment=kit.environment, stream=io.BytesIO(), say=lambda _: None)
    assert request is not None
    assert launch(lab, request).outcome == "infrastructure"
    with Lab(LabPaths(kit.root), say=lambda _: None).open() as store:
        assert [run.outcome for run in store.runs()] == ["scored"]


@pytest.mark.parametrize("left", ["a lock", "half a tree"])
def test_what_a_killed_git_left_in_a_nights_work_tree_is_made_anew(kit: Kit, left: str):
    first, second = kit.commit("base"), kit.commit("exp: next")
    place = kit.root / "worktrees" / "night-1"
    if left == "a lock":
        worker_tree(kit.root, 1, first)
        (kit.root / ".git" / "worktrees" / "night-1" / "index.lock").touch()
    else:
        place.mkdir(parents=True)
        (place / "train.py").write_text("half of it")
    assert worker_tree(kit.root, 1, second) == place
    assert kit.git("-C", str(place), "rev-parse", "HEAD") == second
    assert kit.git("-C", str(place), "status", "--porcelain") == ""


PINNED = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text(str(*os.sched_getaffinity(0)))
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no processes")
def test_every_pocket_run_has_a_core_of_its_own_and_one_more_is_refused(kit: Kit, tmp_path: Path):
    kit.commit("base")
    cores = usable_cores()
    marks = [tmp_path / str(core) for core in cores]
    going = [kit.start(command=(sys.executable, "-c", PINNED, str(mark))) for mark in marks]
    try:
        wait_for(lambda: all(mark.exists() and mark.read_text() for mark in marks))
        assert sorted(int(mark.read_text()) for mark in marks) == sorted(cores)
        refused = kit.run("--seed", "1")
        assert (refused.code, refused.end["outcome"]) == (3, "refused")
        assert str(refused.end["why"]).startswith("The device is taken by ")
    finally:
        for child in going:
            child.terminate()
            child.communicate()
    locks = list((kit.home / "cache" / "locks").iterdir())
    assert len(locks) == len(cores)
    for lock in locks:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free again
    assert kit.run().code == 0
