"""Exactly once, whatever is killed and whenever: every launched run has one record, and no process outlives it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.labkit import CHECKOUT, Kit, alive, kit, wait_for

from research.core import git
from research.core.paths import LabPaths
from research.core.records import Run
from research.store.db import Store
from research.store.open import open_store

__all__ = ["kit"]


def runs_of(kit: Kit) -> list[Run]:
    """Every record, after the next look at the memory."""
    assert kit.json("record")["recorded"] == []
    with Store(kit.root / "results" / "discovery" / "memory.db") as store:
        return store.runs()


def is_consistent(kit: Kit) -> list[Run]:
    """Asserts what must hold after anything: records, folders and rows agree."""
    runs = runs_of(kit)
    assert all(run.outcome is not None for run in runs)
    assert len({run.run for run in runs}) == len(runs)
    earned = [run for run in runs if run.counted and run.outcome in ("scored", "crash", "timeout")]
    assert sorted(row[0] for row in kit.ledger()) == sorted(run.commit[:7] for run in earned)
    launched = {f.name for f in kit.folders() if (f / "run.log").exists()}
    assert launched <= {run.folder for run in runs}
    return runs


def test_a_ctrl_c_at_the_terminal_does_not_reach_git(kit: Kit):
    """It goes to the whole foreground group, and a git that it ended would be a failure of the night."""
    hook = kit.root / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!{sys.executable}\nimport os; open('{kit.root}/group', 'w').write(str(os.getpgrp()))\n")
    hook.chmod(0o755)
    git.add_worktree(kit.root, kit.root / "worktrees" / "one", "HEAD")
    assert int((kit.root / "group").read_text()) != os.getpgrp()


def test_sigkill_in_the_middle(kit: Kit):
    kit.commit("base", mode="sleep", extra=f"# {kit.root}")
    child = kit.start()
    assert child.stdout is not None
    child.stdout.readline()
    marker = str(kit.folders()[0])
    child.kill()
    child.communicate()
    wait_for(lambda: not any(_run_dir(pid) == marker for pid in _pids()))
    runs = is_consistent(kit)
    assert [run.outcome for run in runs] == ["interrupted"]
    assert kit.ledger() == []
    assert is_consistent(kit) == runs


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _run_dir(pid: int) -> str:
    try:
        for item in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if item.startswith(b"AUTORESEARCH_RUN_DIR="):
                return item.partition(b"=")[2].decode()
    except OSError:
        pass
    return ""


def test_sigkill_at_many_instants(kit: Kit):
    """From before the launch to after the end: instants over one and a half times what a run takes here and now, 24 of
    them, or more where they all fell on one side."""
    rng, began = random.Random(7), time.monotonic()
    kit.run()
    lasted = time.monotonic() - began
    outcomes: set[str] = set()
    for number in range(96):
        kit.commit(f"exp: {number} [emitter=local_tuner]", val=0.9 + number / 1000)
        child = kit.start(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.1, 1.5) * lasted)
        child.kill()
        child.wait()
        if number % 6 == 5:
            wait_for(lambda: not any(_run_dir(pid).startswith(str(kit.root)) for pid in _pids()))
            outcomes = {run.outcome for run in is_consistent(kit)}
            assert outcomes <= {"scored", "interrupted"}
            if number >= 23 and len(outcomes) == 2:
                break
    assert outcomes == {"scored", "interrupted"}


def test_the_whole_tree_ends_at_the_time_limit(kit: Kit):
    """A grandchild in a session of its own, deaf to TERM, is ended too."""
    marker = f"deaf-{os.getpid()}-{time.monotonic_ns()}"
    deaf = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"code = 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60) #{marker}'\n"
        "for _ in range(2):\n"
        "    subprocess.Popen([sys.executable, '-S', '-c', code], start_new_session=True)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    began = time.monotonic()
    result = kit.run("--timeout", "0.01", command=(sys.executable, "-S", "-c", deaf))
    assert result.code == 124
    assert "ready" in result.out
    assert alive(marker) == []
    assert time.monotonic() - began < 15


def test_what_a_finished_command_leaves_behind_is_ended(kit: Kit):
    marker = f"left-{os.getpid()}-{time.monotonic_ns()}"
    leave = (
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60) #{marker}'])\n"
    )
    assert kit.run(command=(sys.executable, "-S", "-c", leave)).code == 0
    assert alive(marker) == []


def test_the_guard_killed_is_an_infrastructure_failure(kit: Kit):
    kit.commit("base", mode="sleep")
    child = kit.start()
    assert child.stdout is not None
    child.stdout.readline()
    folder = str(kit.folders()[0])
    guards = [pid for pid in alive("guard.py") if _run_dir(pid) == folder]
    assert len(guards) == 1
    os.kill(guards[0], signal.SIGKILL)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 75
    assert json.loads(err.decode().splitlines()[-1][len("[run] end ") :])["outcome"] == "infrastructure"
    wait_for(lambda: not any(_run_dir(pid) == folder for pid in _pids()))
    assert kit.ledger() == []


def test_two_runners_at_once_record_one_run(kit: Kit):
    """On one core, which only one of them gets: with a core each they would both run."""
    core = {min(os.sched_getaffinity(0))}
    with ThreadPoolExecutor(2, initializer=os.sched_setaffinity, initargs=(0, core)) as pool:
        ends = [future.result().end["outcome"] for future in [pool.submit(kit.run) for _ in range(2)]]
    assert sorted(map(str, ends)) in (["refused", "scored"], ["repeat", "scored"])
    assert len(is_consistent(kit)) == 1


def test_many_labs_write_one_memory(kit: Kit):
    """Eight scripted runs at once: eight records, eight rows, one baseline."""
    script = kit.root.parent / "script.json"
    script.write_text(json.dumps(["win", "loss", "noise", "oom", "nan", "probe", "killed", "infrastructure"]))
    kit.environment["AUTORESEARCH_SCRIPT"] = str(script)
    with ThreadPoolExecutor(8) as pool:
        seeds = [str(seed) for seed in range(8)]
        results = list(pool.map(lambda seed: kit.run("--backend", "scripted", "--seed", seed), seeds))
    outcomes = sorted(str(result.end["outcome"]) for result in results)
    assert outcomes == ["crash"] * 4 + ["infrastructure"] + ["scored"] * 3
    runs = is_consistent(kit)
    assert len(runs) == 8
    assert len(kit.ledger()) == 7
    with Store(kit.root / "results" / "discovery" / "memory.db") as store:
        assert sum(1 for item in store.judged() if item.verdict and item.verdict.baseline) == 1


def test_ten_readers_never_wait_and_never_see_half_a_run(kit: Kit):
    kit.measure()
    path = kit.root / "results" / "discovery" / "memory.db"
    reader = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from research.store.db import Store\n"
        "store = Store(Path(sys.argv[2])); worst = 0; import time\n"
        "for _ in range(150):\n"
        "    t = time.monotonic(); runs = store.runs(); store.judged(); lines = store.ledger_lines()\n"
        "    assert len(lines) >= sum(r.outcome == 'scored' and r.counted for r in runs)\n"
        "    worst = max(worst, time.monotonic() - t); time.sleep(0.002)\n"
        "print(worst)\n"
    )
    command = [sys.executable, "-S", "-c", reader, str(CHECKOUT), str(path)]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(10)]
    for number in range(4):
        kit.commit(f"exp: {number} [emitter=local_tuner]", val=0.9 - number / 100)
        assert kit.run().code == 0
    for process in readers:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert float(out) < 5
    assert len(is_consistent(kit)) == 5


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("when", ["before", "while"])
def test_a_full_disk(kit: Kit, tmp_path: Path, when: str):
    place = kit.root / "results"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=72m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        filler = place / "filler"
        if when == "before":
            filler.write_bytes(b"x" * 30_000_000)
            result = kit.run()
            assert (result.code, result.end["outcome"]) == (78, "configuration")
            assert "free" in result.err
        else:
            fill = (
                f"import errno\n_f = open({str(filler)!r}, 'wb', buffering=0)\n_n = 1 << 16\n"
                "while _n:\n    try:\n        _f.write(b'x' * _n)\n    except OSError:\n        _n //= 2\n"
            )
            kit.commit("base", extra=fill)
            result = kit.run()
            assert result.end["outcome"] == "infrastructure", result.err
            assert result.code == 75
        filler.unlink()
        runs = is_consistent(kit)
        assert [run.outcome for run in runs] == ([] if when == "before" else ["infrastructure"])
        assert kit.ledger() == []
    finally:
        subprocess.run(["umount", str(place)], check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_launch_without_room_for_its_start_record_leaves_nothing_behind(kit: Kit):
    """A rebuilt memory would take its folder for a run that was interrupted."""
    kit.measure()
    place = kit.root / "results" / "runs"
    shutil.move(place, kit.root / "elsewhere")
    place.mkdir()
    # Nothing below is noticed before launch: it is the file system that has no more inodes, not the disk.
    options = ["mount", "-t", "tmpfs", "-o", "size=100m,nr_inodes=4", "tmpfs", str(place)]
    if subprocess.run(options, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        kit.commit("exp: lower [emitter=local_tuner]", val=0.5)
        done = kit.measure()
        assert (done.code, done.end["outcome"], done.end["recorded"]) == (75, "infrastructure", False)
        assert list(place.iterdir()) == []
    finally:
        subprocess.run(["umount", str(place)], check=False)


def test_an_unfinished_score_is_removed(kit: Kit):
    """A command that was killed while it wrote its score, or found the disk full, leaves a draft of it."""
    draft = 'pathlib.Path(os.environ["AUTORESEARCH_RUN_DIR"], f".score.json.{os.getpid()}.tmp").touch()'
    kit.commit("base", mode="kill", extra=draft)
    assert kit.measure().end["outcome"] == "crash"
    assert [path.name for path in kit.folders()[0].glob(".*")] == []


def test_a_finish_record_in_the_folder_outlives_the_runner(kit: Kit):
    """The store was not reached, but the folder says how the run ended: that holds, and not "interrupted"."""
    kit.measure()
    places = LabPaths(kit.root)
    with open_store(places, "2026-01-01T00:00:00Z", print) as store, store.write():
        store._db.execute("DELETE FROM verdicts")
        store._db.execute("DELETE FROM ledger")
        store._db.execute("UPDATE runs SET outcome = NULL, finished_utc = NULL")
    assert [run.outcome for run in is_consistent(kit)] == ["scored"]
    assert [row[3] for row in kit.ledger()] == ["keep"]
