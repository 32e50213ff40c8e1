"""Runs made by hand: their folders are taken in once, by the next command, whatever it is."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from threading import Barrier

import pytest
from support.labkit import CONTRACT, Kit, kit

from research.core.contract import PUBLIC_KEYS
from research.core.files import write_json
from research.core.paths import LabPaths
from research.lab.import_run import import_run
from research.lab.lab import Lab

__all__ = ["kit"]


def by_hand(kit: Kit, name: str = "hand-20260102-030405-77", **more: object) -> Path:
    """What train.py leaves when nobody but a person started it."""
    folder = kit.root / "results" / "runs" / name
    folder.mkdir(parents=True)
    text = (kit.root / "train.py").read_bytes()
    (folder / "train.py").write_bytes(text)
    score = {
        "schema": "autoresearch.score/1", "status": "scored", "val_bpb": 0.95, "val_bpb_exact": 0.95,
        "audit_bpb": 0.96, "audit_bpb_exact": 0.96, "contract": CONTRACT, "seed": 42, "commit": kit.head(),
        "train_py_sha256": hashlib.sha256(text).hexdigest(), "started_utc": "2026-01-02T03:04:05Z",
        "device": {"class": "cpu x86_64"}, "peak_vram_mb": 1024.0,
    }  # fmt: skip
    write_json(folder / "score.json", {**score, **more})
    return folder


def test_a_finished_folder_is_taken_in_once(kit: Kit):
    by_hand(kit)
    recorded = kit.json("record")["recorded"]
    assert len(recorded) == 1
    assert recorded[0].startswith(f"20260102-030405-{kit.head()[:7]}-")
    assert kit.json("record")["recorded"] == []
    assert kit.ledger() == [[kit.head()[:7], "0.950000", "1.0", "keep", "base"]]
    assert kit.git("rev-parse", f"refs/research/runs/{recorded[0]}") == kit.head()


@pytest.mark.parametrize("verb", ["summary", "archive", "next", "noise", "last-review", "export", "settle", "idea"])
def test_every_verb_takes_it_in(kit: Kit, verb: str):
    by_hand(kit)
    kit.json(verb)
    assert len(kit.ledger()) == 1


def test_the_next_run_takes_it_in_and_is_its_repeat(kit: Kit):
    folder = by_hand(kit)
    (folder / "run.log").write_text("a log\n")
    result = kit.measure()
    assert result.end["outcome"] == "repeat"
    assert result.out == "a log\n"
    assert len(kit.ledger()) == 1


def test_it_ended_when_its_score_was_written_and_not_when_it_was_taken_in(kit: Kit):
    """The page called the time between the two hours of work."""
    by_hand(kit, started_utc="2026-01-02T03:04:05Z", clock={"wall_s": 90.4})
    by_hand(kit, "hand-1", started_utc="soon", seed=43)
    by_hand(kit, "hand-2", started_utc="2026-01-02 03:04:05", seed=44, clock={"wall_s": 1e300})
    lines = [json.loads(line) for line in kit.research("export").out.splitlines()]
    runs = {line["seed"]: line for line in lines if line.get("type") == "run"}
    assert (runs[42]["started_utc"], runs[42]["finished_utc"]) == ("2026-01-02T03:04:05Z", "2026-01-02T03:05:35Z")
    assert runs[43]["started_utc"] == runs[43]["finished_utc"]
    assert runs[44]["started_utc"] == "2026-01-02T03:04:05Z"
    assert kit.research("report").code == 0


def test_without_a_log_its_summary_is_handed_out(kit: Kit):
    nine = dict.fromkeys(PUBLIC_KEYS, "8") | {"val_bpb": "0.950000", "training_seconds": "30.1"}
    by_hand(kit, reported={"summary": nine})
    assert kit.json("summary")["best"] is not None
    result = kit.measure()
    assert result.end["outcome"] == "repeat"
    assert result.out.splitlines()[:3] == ["---", "val_bpb:          0.950000", "training_seconds: 30.1"]
    assert len(kit.ledger()) == 1


def test_what_its_summary_says_against_it_is_heard(kit: Kit):
    nine = dict.fromkeys(PUBLIC_KEYS, "8") | {"val_bpb": "0.950000", "training_seconds": "99.0"}
    by_hand(kit, reported={"summary": nine}, fingerprint={"time_budget_s": 30})
    assert kit.json("summary")["best"] is None
    assert "it trained for 99 s of a budget of 30 s" in kit.research("export").out


def test_values_that_no_column_holds_stop_no_verb(kit: Kit):
    """Whatever lies in a folder is read by every command: a number of 400 digits ended all of them."""
    times = ({"started_utc": "0001-01-01T00:00:00+14:00"}, {"started_utc": "0001-01-01T00:00:00Z"})
    for number, odd in enumerate(({"peak_vram_mb": 10**400}, {"seed": 10**20}, {"device": {"name": "\ud800"}}, *times)):
        folder = by_hand(kit, f"hand-{number}")
        score = json.loads((folder / "score.json").read_text())
        (folder / "score.json").write_text(json.dumps({**score, **odd}))
    assert kit.research("summary").code == 0
    assert len(kit.ledger()) == 5


def test_unfinished_torn_and_foreign_folders_are_left_alone(kit: Kit):
    by_hand(kit, "hand-1-1", schema="other/1")
    (by_hand(kit, "hand-1-2") / "score.json").write_text('{"schema": "autoresearch.score/1", "status"')
    (by_hand(kit, "hand-1-3") / "score.json").unlink()
    by_hand(kit, "hand-1-4", val_bpb=float("nan"))
    by_hand(kit, "hand-1-5", val_bpb=0.0)
    by_hand(kit, "other-1-6")
    assert kit.json("record")["recorded"] == []
    assert kit.ledger() == []


def test_a_failed_probe_is_a_crash(kit: Kit):
    by_hand(kit, status="probe_failed", val_bpb=None)
    kit.json("record")
    assert kit.ledger()[0][1:4] == ["0.000000", "0.0", "crash"]


def test_what_the_commit_does_not_hold_is_not_counted(kit: Kit):
    by_hand(kit, "hand-1-1", train_py_sha256="0" * 64)
    by_hand(kit, "hand-1-2", commit=None)
    by_hand(kit, "hand-1-3", commit="f" * 40)
    recorded = kit.json("record")["recorded"]
    assert len(recorded) == 3
    assert kit.ledger() == []


def test_a_bare_log_is_unverified(kit: Kit):
    kit.measure()
    kit.commit("exp: by hand [emitter=local_tuner]", val=0.5)
    done = subprocess.run(["uv", "run", "train.py"], cwd=kit.root, capture_output=True,
                          env={**kit.environment, "AUTORESEARCH_RUN_DIR": "", "AUTORESEARCH_SEED": "42"})  # fmt: skip
    log = kit.root / "run.log"
    log.write_bytes(done.stdout)
    recorded = kit.json("record", "run.log")["recorded"]
    assert len(recorded) == 1
    assert kit.ledger()[1][1:4] == ["nan", "2.0", "discard"], "what nobody checked is no score to be the lowest"
    os.utime(log, (1, 1))
    assert kit.json("record", "run.log")["recorded"] == []
    assert len(kit.ledger()) == 2


def test_the_log_of_a_recorded_run_is_no_second_run(kit: Kit):
    with (kit.root / "run.log").open("wb") as log:
        kit.start(stdout=log, stderr=subprocess.STDOUT).wait(60)
    assert kit.json("record", "run.log")["recorded"] == []
    assert len(kit.ledger()) == 1


def test_the_log_of_a_run_by_hand_that_left_a_folder_is_no_second_run(kit: Kit):
    nine = dict.fromkeys(PUBLIC_KEYS, "8") | {"val_bpb": "0.950000", "training_seconds": "30.1"}
    by_hand(kit, reported={"summary": nine})
    lines = [f"{name}: {value}" for name, value in {**nine, "contract": CONTRACT}.items()]
    (kit.root / "my.log").write_text("\n".join(["---", *lines, ""]))
    assert len(kit.json("record", "my.log")["recorded"]) == 1
    assert len(kit.ledger()) == 1


def test_a_folder_from_elsewhere(kit: Kit, tmp_path: Path):
    folder = by_hand(kit)
    folder.rename(tmp_path / "brought")
    assert len(kit.json("record", str(tmp_path / "brought"))["recorded"]) == 1
    assert kit.json("record", str(tmp_path / "brought"))["recorded"] == []
    assert "audit" not in json.dumps(kit.json("export"))


def test_a_folder_whose_copy_was_cut_off_is_taken_in_the_next_time(kit: Kit, tmp_path: Path):
    """The log can't be read: the copy ends as it does where it is killed, or where the disk is full."""
    folder = by_hand(kit).rename(tmp_path / "brought")
    (folder / "run.log").symlink_to("/proc/self/mem")  # its beginning can't be read
    assert kit.research("record", str(folder)).code == 1
    (folder / "run.log").unlink()
    assert len(kit.json("record", str(folder))["recorded"]) == 1
    assert [place.name for place in kit.folders()] == ["hand-brought"]


def test_nothing_there(kit: Kit):
    result = kit.research("record", "absent.log")
    assert result.code == 1
    assert "no run log" in result.err


def test_what_tells_of_no_run_is_none(kit: Kit):
    (kit.root / "empty.log").touch()
    for name in ("train.py", "progress.log", "empty.log"):
        if name == "progress.log":
            (kit.root / name).write_text("step 00010 loss 3.1\nstep 00020 loss 3.0\n")
        result = kit.research("record", name)
        assert result.code == 1
        assert "neither a score" in result.err
    assert kit.json("record")["recorded"] == []


def test_a_bare_log_that_two_take_in_at_once_is_one_run(kit: Kit):
    """A name holds the second in which it was given, so names do not tell that it is the same log."""
    log, barrier = kit.root / "run.log", Barrier(2)

    def one(second: int) -> list[str]:
        clock = datetime(2026, 1, 2, 3, 4, second, tzinfo=timezone.utc)
        lab = Lab(LabPaths(kit.root), environment=kit.environment, clock=lambda: clock, say=lambda _: None)
        with lab.open() as store:
            barrier.wait()
            return import_run(lab, store, log)

    with ThreadPoolExecutor(2) as pool:
        for number in range(10):
            log.write_text(f"run {number}\n---\nval_bpb: 0.990000\ntraining_seconds: 1.0\npeak_vram_mb: 1.0\n")
            first, second = pool.map(one, (2 * number, 2 * number + 1))
            assert len(first + second) == 1
