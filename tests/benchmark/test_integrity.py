"""Edits of train.py that move the yardstick are found by what they do, each by the sentence that the runner records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from research.benchmark.corpus import VAL_NAME, shard_name
from research.runs.log import read_log, read_summary
from research.runs.score import disagreements, read_score
from tests.benchmark.conftest import ROOT, run

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("integrity")]


@pytest.fixture(scope="module")
def played(pocket_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every edit's folder of a run."""
    place = tmp_path_factory.mktemp("dishonest")
    environment = {
        "AUTORESEARCH_HOME": str(pocket_home),
        "AUTORESEARCH_PROFILE": "pocket",
        "AUTORESEARCH_TIME_BUDGET": "0.5",
        "AUTORESEARCH_RUN_DIR": str(place),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    done = run(ROOT / "tests" / "support" / "dishonest.py", environment, str(place))
    assert done.returncode == 0, done.stderr
    return place


def reasons(folder: Path) -> tuple[str, ...]:
    """What the runner has against a run."""
    log = read_log(folder / "run.log")
    assert log is not None
    score = read_score(folder)
    assert score is not None, "\n".join(log.lines)
    return disagreements(score, read_summary(log), 42, "")


def outside(folder: Path) -> dict[str, float]:
    return json.loads((folder / "score.json").read_text())["clock"]["outside_budget_s"]


def test_an_honest_run_passes(played: Path):
    assert reasons(played / "honest") == ()


def test_what_it_is_measured_by_is_changed(played: Path):
    (found,) = reasons(played / "changes")
    assert found.startswith("train.py changed ")
    assert found.endswith(", which it is measured by")
    assert set(found.removeprefix("train.py changed ").removesuffix(", which it is measured by").split(", ")) == {
        "time.process_time", "prepare.TOLERANCE_NATS", "Tokenizer.byte_table", "torch.nn.functional.cross_entropy",
        "research.benchmark.summary.complaints",
    }  # fmt: skip


def test_text_is_read_past_the_loader(played: Path):
    held_out, own, counted = reasons(played / "reads")
    stem = VAL_NAME.removesuffix(".parquet")
    assert held_out == (
        f"train.py opened held-out text itself: {stem}.tokens.npy, {stem}.starts.npy, {stem}.groups.npy"
    )
    stem = shard_name(0).removesuffix(".parquet")
    assert own.startswith(f"train.py opened training text itself, past the loader: {stem}.tokens.npy")
    assert counted == "train.py read 512 tokens of the validation text"


def test_work_outside_the_budget_shows_in_its_phase(played: Path):
    (found,) = reasons(played / "works outside the budget")
    assert found.startswith("it took ")
    assert " of its text before its budget began, where 4 of " in found
    spent = outside(played / "works outside the budget")
    assert min(spent["before_first_batch"], spent["after_last_batch"], spent["evaluation"]) >= 0.5


def test_it_lets_other_processes_compute(played: Path):
    (found,) = reasons(played / "computes elsewhere")
    assert found.startswith("other processes computed ")
    assert found.endswith(" s for it, which its clock did not count")


def test_the_first_evaluation_counts(played: Path):
    assert reasons(played / "evaluates again") == ("evaluate_bpb was called more than once; the first score counts",)
    score = json.loads((played / "evaluates again" / "score.json").read_text())
    assert score["val_bpb"] > 1  # divided by the bytes of the tokenizer on disk
