"""The script that measures forecasts draws changes that apply, and finds again the error that runs were made with."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from research.core.paths import LabPaths
from research.core.records import Run
from research.runs.racing import RACE, Look, Prediction, Race
from research.store.db import Store

ROOT = Path(__file__).resolve().parents[2]


def script(*words: object) -> str:
    command = [sys.executable, ROOT / "scripts" / "measure_forecast.py", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def made_run(out: Path, name: str, what: str, lift: float, val_bpb: float) -> str:
    """Leaves the log of a run, and returns its line of runs.jsonl."""
    log(out / f"{name}-30s-42", lift)
    return json.dumps({"arm": name, "what": what, "seed": 42, "budget_s": "30", "val_bpb": val_bpb, "suspect": []})


def log(folder: Path, lift: float) -> None:
    """Leaves the log of a run whose losses begin higher than usual."""
    folder.mkdir(parents=True)
    losses = [5 - n / 50 + lift * (1 - n / 100) for n in range(100)]
    lines = [f"step {n:5d} {n:5.1f} %  loss {loss:7.4f}  1,000 tok/s  1 s left" for n, loss in enumerate(losses, 1)]
    (folder / "run.log").write_text("\n".join(lines) + "\n")


def test_changes_are_drawn_that_stand_in_train_py_once(tmp_path: Path):
    script("draw", tmp_path / "changes.json", "--changes", 4)
    changes = json.loads((tmp_path / "changes.json").read_text())
    assert len({change["what"] for change in changes}) == 4
    text = (ROOT / "train.py").read_text()
    assert all(text.count(before) == 1 for change in changes for before, _ in change["lines"])


def test_the_table_tells_the_error_and_the_figure_has_a_mark_for_each_run(tmp_path: Path):
    rng = random.Random(0)
    lines = [made_run(tmp_path, "baseline", "baseline", 0.0, 2.0)]
    for number in range(60):
        lift = rng.gauss(0, 0.1)
        score = 2.0 + 0.4 * lift + rng.gauss(0, 0.01)
        lines.append(made_run(tmp_path, f"c{number}", "MATRIX_LR 1 -> 2", lift, score))
    (tmp_path / "runs.jsonl").write_text("\n".join(lines) + "\n")
    told = script("table", tmp_path, "--figure", tmp_path / "figure.svg")
    half = next(row for row in told.splitlines() if row.startswith("| 50% |")).split("|")
    assert half[2].strip() == "60"
    assert abs(float(half[3]) - 0.4 / 0.53) < 0.1  # the gap has shrunk to 53 % in the middle of the last 6 %
    assert 0.008 < float(half[5]) < 0.013
    assert (tmp_path / "figure.svg").read_text().count('<circle class="rates"') == 180


def test_the_runs_that_a_night_compared_are_told_of_and_can_be_saved(tmp_path: Path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    paths = LabPaths(tmp_path)
    paths.discovery.mkdir(parents=True)
    facts = {RACE: Race("one", "", (Look(0.5, 0.1, Prediction(0.04, 0.01, 0.3)),)).to_fact()}
    runs = [
        Run("one", "one", "runner", "", "1" * 40, "", outcome="scored", val_bpb=2.0, subject="start"),
        Run("two", "two", "runner", "", "2" * 40, "", outcome="scored", val_bpb=2.03, facts=facts,
            subject="exp: WIDTH 2 -> 3 [emitter=free]"),
    ]  # fmt: skip
    gone = replace(runs[1], run="three", folder="three")  # its folder was removed
    with Store(paths.memory) as store:
        for run, lift in zip(runs, (0.0, 0.1), strict=True):
            log(paths.runs / run.folder, lift)
            store.add_run(run)
        store.add_run(gone)
    told = script("table", tmp_path, "--save", tmp_path / "pairs.jsonl")
    assert "| size | 1 | 0 |" in told
    saved = json.loads((tmp_path / "pairs.jsonl").read_text())
    assert (saved["what"], saved["difference"]) == ("WIDTH 2 -> 3", 0.03)
    assert script("table", tmp_path / "pairs.jsonl") == told
