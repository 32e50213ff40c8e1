"""The runner from outside: real git, real processes, a stand-in train.py; runs that only have to be there are measured
without a process for the runner."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.labkit import AUDIT, CHECKOUT, CONTRACT, Kit, Result, kit, wait_for

from research.core.contract import ENV_TIME_BUDGET
from research.core.paths import LabPaths
from research.store.open import read_store

__all__ = ["kit"]

OLD_PYTHONS = [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.[6789].*/bin/python3"))]
NAME = re.compile(r"\d{8}-\d{6}-[0-9a-f]{7}-[0-9a-f]{4}")


def test_a_first_run_is_recorded_as_the_baseline(kit: Kit):
    result = kit.run()
    assert result.code == 0
    assert result.out.startswith("hello from ok\n---\nval_bpb: 0.990000\n")
    first = result.err.splitlines()[0]
    end = result.end
    assert first == f"[run] start {end['run']}"
    assert NAME.fullmatch(str(end["run"]))
    assert (end["outcome"], end["exit"], end["child_exit"], end["recorded"]) == ("scored", 0, 0, True)
    assert kit.ledger() == [[kit.head()[:7], "0.990000", "2.0", "keep", "base"]]
    folder = kit.root / "results" / "runs" / str(end["run"])
    assert (folder / "train.py").read_bytes() == (kit.root / "train.py").read_bytes()
    assert (folder / "run.log").read_text() == result.out
    assert (folder / "score.json").exists()
    assert kit.git("rev-parse", f"refs/research/runs/{end['run']}") == kit.head()
    assert kit.git("status", "--porcelain") == ""


def test_the_audit_score_stays_where_it_is(kit: Kit):
    result = kit.run()
    exported = kit.research("export")
    for text in (result.out, result.err, (kit.root / "results.tsv").read_text(), exported.out):
        assert AUDIT not in text


@pytest.mark.parametrize(
    ("mode", "outcome", "code", "child", "row"),
    [
        ("crash", "crash", 1, 1, True),
        ("late_crash", "crash", 1, 1, True),
        ("probe", "crash", 4, 4, True),
        ("diverged", "crash", 5, 5, True),
        ("fake", "crash", 0, 0, True),
        ("kill", "crash", 137, 137, True),
        ("no_data", "configuration", 78, 3, False),
    ],
)
def test_every_ending(kit: Kit, mode, outcome, code, child, row):
    kit.measure()
    kit.commit(f"exp: {mode} [emitter=contrarian]", mode=mode)
    result = kit.run()
    assert (result.end["outcome"], result.code, result.end["child_exit"]) == (outcome, code, child)
    rows = kit.ledger()[1:]
    assert rows == ([[kit.head()[:7], "0.000000", "0.0", "crash", f"exp: {mode} [emitter=contrarian]"]] if row else [])
    runs = [json.loads(line) for line in kit.research("export").out.splitlines() if '"type": "run"' in line]
    assert len(runs) == 2
    assert runs[1]["outcome"] == outcome


def test_a_printed_value_that_disagrees_is_suspect_and_never_kept(kit: Kit):
    kit.measure()
    kit.commit("exp: lie [emitter=contrarian]", mode="lie", val=0.9)
    result = kit.run()
    assert "suspect: the log says val_bpb 0.100000, score.json 0.900000" in result.err
    assert kit.ledger()[1][1:4] == ["0.900000", "2.0", "discard"]


def test_output_streams_while_the_command_runs(kit: Kit):
    kit.commit("base", mode="sleep")
    with (kit.root / "run.log").open("wb") as log:
        child = kit.start(stdout=log, stderr=subprocess.STDOUT)
        wait_for(lambda: b"step 3" in (kit.root / "run.log").read_bytes())
        assert child.poll() is None
        child.terminate()
        assert child.wait(20) == 143


@pytest.mark.parametrize(("number", "code"), [(1, 129), (2, 130), (15, 143)])
def test_a_signal_ends_the_run_and_is_no_crash(kit: Kit, number, code):
    kit.commit("base", mode="sleep")
    child = kit.start()
    assert child.stdout is not None
    seen = child.stdout.readline() + child.stdout.readline()
    child.send_signal(number)
    _, err = child.communicate(timeout=20)
    assert child.returncode == code
    end = json.loads(err.decode().splitlines()[-1][len("[run] end ") :])
    assert end["outcome"] == "interrupted"
    assert end["recorded"] is True
    assert kit.ledger() == []
    assert b"step" in seen
    assert b"step" in (kit.folders()[0] / "run.log").read_bytes()
    assert kit.measure("--timeout", "0.01").end["outcome"] == "timeout"


def test_the_time_limit_keeps_the_output_and_gives_a_row(kit: Kit):
    kit.commit("base", mode="sleep")
    result = kit.run("--timeout", "0.02")
    assert result.code == 124
    assert result.end["outcome"] == "timeout"
    assert "step 1" in result.out
    assert kit.ledger()[0][3] == "crash"


def test_repeats_launch_nothing(kit: Kit):
    first = kit.measure()
    again = kit.measure()
    assert again.end["outcome"] == "repeat"
    assert again.end["repeats"] == first.end["run"]
    assert again.out == first.out
    assert again.code == 0
    kit.commit("exp: a comment [emitter=simplifier]", extra="# only a comment")
    assert kit.measure().end["outcome"] == "repeat"
    kit.git("commit", "-q", "--allow-empty", "-m", "exp: the seed alone [emitter=local_tuner]")
    text = (kit.root / "train.py").read_text().replace("SEED = 42", "SEED = 43")
    (kit.root / "train.py").write_text(text)
    kit.git("commit", "-qam", "exp: seed [emitter=local_tuner]")
    assert kit.measure().end["outcome"] == "repeat"
    assert len(kit.folders()) == 1
    assert kit.measure("--seed", "43").end["outcome"] == "scored"
    assert kit.measure("--again").end["outcome"] == "scored"
    assert len(kit.ledger()) == 3


def test_a_repeated_crash_exits_as_it_did(kit: Kit):
    kit.measure()
    kit.commit("exp: crash [emitter=local_tuner]", mode="crash")
    assert kit.measure().code == 1
    again = kit.measure()
    assert (again.end["outcome"], again.code) == ("repeat", 1)
    assert "RuntimeError" in again.out


def test_a_repeat_whose_output_nobody_reads_exits_as_the_run_did(kit: Kit):
    kit.commit("base", mode="crash")
    assert kit.measure().code == 1
    nobody, output = os.pipe()
    os.close(nobody)
    done = subprocess.run(kit.command(), cwd=kit.root, env=kit.environment, stdout=output, stderr=subprocess.PIPE)
    os.close(output)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stderr.splitlines()[-1].split(b" end ")[1])["outcome"] == "repeat"


def test_a_timeout_may_be_tried_again(kit: Kit):
    kit.commit("base", mode="sleep")
    assert kit.measure("--timeout", "0.005").code == 124
    assert kit.measure("--timeout", "0.005").code == 124


def test_another_contract_is_no_repeat(kit: Kit):
    kit.measure()
    text = (kit.root / "prepare.py").read_text().replace(CONTRACT, "pocket-ba9876543210")
    (kit.root / "prepare.py").write_text(text)
    kit.git("checkout", "-qb", "autoresearch/other")
    kit.git("commit", "-qam", "bench: another contract")
    assert kit.measure().end["outcome"] == "scored"
    assert [row[3] for row in kit.ledger()] == ["keep", "keep"]


def test_under_a_new_contract_experiments_wait_for_the_best_so_far_even_if_it_crashes(kit: Kit):
    text = (kit.root / "prepare.py").read_text()
    short = f'CONTRACT = "custom3-0123456789ab" if "{ENV_TIME_BUDGET}" in __import__("os").environ else'
    (kit.root / "prepare.py").write_text(text.replace("CONTRACT =", short, 1))
    kit.commit("bench: a budget that can be set", extra="assert not prepare.CONTRACT.startswith('custom')")
    kit.measure()
    kit.commit("exp: without the assertion [emitter=free]")
    kit.environment[ENV_TIME_BUDGET] = "3"
    refused = kit.measure().end
    assert (refused["outcome"], "uv run research replicate" in str(refused["why"])) == ("refused", True)
    assert kit.research("replicate", "HEAD^", "--seed", "42").code == 1
    assert kit.measure().end["outcome"] == "scored"


def test_the_contract_is_asked_for_when_files_have_changed(kit: Kit):
    kit.measure()
    data = kit.home / "cache" / "pocket" / "data"
    data.mkdir(parents=True)
    (data / "x.parquet").write_text("new files, same contract")
    assert kit.measure().end["outcome"] == "repeat"


@pytest.mark.parametrize(
    ("command", "code", "out"),
    [
        (("sh", "-c", 'echo "$1"', "sh", "--help"), 0, "--help\n"),
        (("sh", "-c", "exit 7"), 7, ""),
        (("sh", "-c", "kill -9 $$"), 137, ""),
        (("no-such-program",), 78, ""),
    ],
)
def test_other_commands_run_unrecorded(kit: Kit, command, code, out):
    (kit.root / "train.py").write_text("dirty = (")
    result = kit.run(command=command)
    assert (result.code, result.out) == (code, out)
    assert result.end["recorded"] is False
    assert kit.folders() == []
    assert not (kit.root / "results.tsv").exists()


def test_a_time_limit_of_zero_lets_nothing_through(kit: Kit):
    result = kit.run("--timeout", "0", command=("sh", "-c", "sleep 2; echo survived"))
    assert result.code == 124
    assert "survived" not in result.out


@pytest.mark.parametrize("arguments", [[], ["--"], ["--timeout", "x", "--", "true"], ["--backend", "x", "--", "true"]])
def test_wrong_usage_exits_2(kit: Kit, arguments):
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / "scripts" / "run_experiment.py"), *arguments],
        cwd=kit.root, env=kit.environment, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == b""


def test_dirty_runs_are_unscored(kit: Kit):
    kit.measure()
    kit.write(val=0.5)
    result = kit.run("--allow-dirty")
    assert result.end["outcome"] == "scored"
    assert result.end["counted"] is False
    assert len(kit.ledger()) == 1
    kit.git("commit", "-qam", "exp: now committed [emitter=local_tuner]")
    assert kit.measure().end["outcome"] == "scored"
    assert len(kit.ledger()) == 2


def test_who_runs_what_is_not_recorded_is_told_before_it_starts(kit: Kit):
    result = kit.run(command=("sh", "-c", "echo it runs >&2"))
    assert "[run] what this measures will not be recorded: only uv run train.py is\n" in result.err.split("it runs")[0]
    assert "will not be" not in kit.run("--dry-run", command=("sh", "-c", "true")).err


def test_dry_run_and_smoke(kit: Kit):
    assert kit.run("--dry-run").code == 0
    assert kit.folders() == []
    assert kit.measure().out != ""
    known = kit.run("--dry-run")
    assert (known.code, known.end["outcome"], known.out) == (0, "repeat", "")
    kit.commit("exp: broken [emitter=local_tuner]", mode="crash")
    result = kit.run("--smoke")
    assert (result.code, result.end["outcome"]) == (3, "refused")
    assert "RuntimeError: shape" in result.err
    assert len(kit.folders()) == 1
    kit.commit("exp: sound [emitter=local_tuner]", val=0.8)
    assert kit.measure("--smoke").end["outcome"] == "scored"


def test_ctrl_c_while_the_smoke_run_goes_on_is_no_refusal(kit: Kit):
    kit.commit("base", extra="time.sleep(30)")
    child = kit.start("--smoke", start_new_session=True)
    assert child.stderr is not None
    while b"smoke:" not in child.stderr.readline():
        pass
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does it
    _, err = child.communicate(timeout=60)
    result = Result(child.returncode, "", err.decode())
    assert (result.code, result.end["outcome"]) == (130, "interrupted"), result.err
    assert "Mend train.py" not in result.err.splitlines()[-1]


def test_only_exp_commits_count_after_the_baseline(kit: Kit):
    kit.measure()
    kit.commit("tune: not an experiment", val=0.7)
    result = kit.run()
    assert result.end["counted"] is False
    assert "exp:" in result.err
    assert len(kit.ledger()) == 1


def test_a_missing_official_data_set_is_told_before_launch(kit: Kit):
    kit.environment["AUTORESEARCH_PROFILE"] = "official"
    result = kit.run()
    assert (result.code, result.end["outcome"]) == (78, "configuration")
    assert "uv run prepare.py" in result.err
    assert kit.folders() == []


def test_the_seed_reaches_the_command(kit: Kit):
    echo = ("sh", "-c", "echo $AUTORESEARCH_SEED; test -d $AUTORESEARCH_RUN_DIR")
    assert kit.run("--seed", "7", command=echo).out == "7\n"
    assert kit.run(command=echo).out == "42\n"
    kit.environment["AUTORESEARCH_SEED"] = "9"
    assert kit.run(command=echo).out == "9\n"


# A bare Python ---------------------------------------------------------------------------------------------------


def by_bare_python(kit: Kit, checkout: Path) -> Result:
    """Runs train.py by the runner of a checkout, from a folder below, with a Python that has no package."""
    (kit.root / "below").mkdir()
    command = [
        sys.executable,
        "-I",
        "-S",
        str(checkout / "scripts" / "run_experiment.py"),
        "--",
        "uv",
        "run",
        "train.py",
    ]
    done = subprocess.run(command, cwd=kit.root / "below", env=kit.environment, capture_output=True, text=True)
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of this project without a .venv."""
    place = tmp_path / "checkout"
    for part in ("research", "scripts"):
        shutil.copytree(CHECKOUT / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
    return place


def test_a_bare_python_records_and_the_next_command_judges(kit: Kit, checkout: Path):
    """Without numpy and without .venv nothing is lost: the run is on record, and every line says what comes next."""
    done = by_bare_python(kit, checkout)
    assert done.code == 0
    assert (done.end["outcome"], done.end["recorded"]) == ("scored", True)
    assert "is recorded, not judged yet (numpy is missing here): uv run research summary" in done.err
    with read_store(LabPaths(kit.root)) as store:
        (run,) = store.runs()
        assert store.verdict(run.run) is None
    baseline = kit.json("summary")["baseline"]
    assert isinstance(baseline, dict)
    assert baseline["mean"] == pytest.approx(0.99)
    with read_store(LabPaths(kit.root)) as store:
        verdict = store.verdict(run.run)
    assert verdict is not None
    assert (verdict.decision, verdict.baseline) == ("keep", True)
    assert kit.ledger()[0][3] == "keep"


def test_a_bare_python_gives_way_to_the_one_in_venv(kit: Kit, checkout: Path):
    own = checkout / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    own.chmod(0o755)
    done = by_bare_python(kit, checkout)
    assert done.end["outcome"] == "scored"
    assert "keep (evidence): the baseline" in done.err


@pytest.mark.parametrize("python", OLD_PYTHONS, ids=lambda path: path.split("/")[-3])
def test_an_old_python_gives_way_to_one_that_uv_has(kit: Kit, checkout: Path, python: str):
    command = [python, str(checkout / "scripts" / "run_experiment.py"), "--", "uv", "run", "train.py"]
    done = subprocess.run(command, cwd=kit.root, env=kit.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert kit.ledger()[0][:2] == [kit.head()[:7], "0.990000"]


@pytest.mark.parametrize("python", OLD_PYTHONS[:1])
def test_an_old_python_without_another_says_what_to_install(kit: Kit, checkout: Path, python: str):
    command = [python, "scripts/run_experiment.py", "--", "uv", "run", "train.py"]
    done = subprocess.run(command, cwd=checkout, env={**kit.environment, "PATH": ""}, capture_output=True, text=True)
    assert done.returncode == 78
    assert "3.10 is the oldest that works" in done.stderr
    assert "astral.sh/uv/install.sh" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_uv_is_told_before_launch(kit: Kit):
    kit.environment["PATH"] = os.pathsep.join(
        place for place in kit.environment["PATH"].split(os.pathsep) if not Path(place, "uv").exists()
    )
    done = kit.measure()
    assert (done.code, done.end["outcome"]) == (78, "configuration")
    assert "uv, which starts every run, is not installed. Type: curl" in done.err
