"""Reasons not to believe a score: what its own parts say against each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from research.core.contract import SCORE_FILE
from research.runs.log import parse_text, read_summary
from research.runs.score import disagreements, read_score
from tests.runs.test_log import BLOCK

SCORE = {
    "schema": "autoresearch.score/1",
    "status": "scored",
    "val_bpb": 0.9979,
    "contract": "official-0123456789ab",
    "fingerprint": {"time_budget_s": 300},
    "data": {"handed_tokens": 500e6, "held_out_tokens": 0},
}


def doubts(folder: Path, block: str = BLOCK, **data: object) -> tuple[str, ...]:
    (folder / SCORE_FILE).write_text(json.dumps({**SCORE, "data": {**SCORE["data"], **data}}))  # type: ignore[dict-item]
    score = read_score(folder)
    assert score is not None
    return disagreements(score, read_summary(parse_text(block)), 42, "")


@pytest.mark.parametrize(
    ("seconds", "steps", "is_believed"),
    [
        (300.1, 953, True),
        (140.0, 953, False),
        (330.0, 953, True),
        (345.0, 953, False),
        (600.0, 953, False),
        (420.0, 12, True),  # a machine that was busy: its steps took half a minute
    ],
)
def test_training_for_longer_than_the_budget(tmp_path: Path, seconds: float, steps: int, is_believed: bool):
    found = doubts(tmp_path, BLOCK.replace("300.1", str(seconds)).replace("953", str(steps)))
    assert found == (() if is_believed else (f"it trained for {seconds:g} s of a budget of 300 s",))


def test_text_that_prepare_py_did_not_hand_out(tmp_path: Path):
    assert doubts(tmp_path, handed_tokens=250e6) == ()  # every batch twice
    (found,) = doubts(tmp_path, handed_tokens=0)
    assert found == "it says that it trained on 499,600,000 tokens; prepare.py handed out 0 of training text"
    assert doubts(tmp_path, handed_tokens=None) == ()  # an older score.json does not say


def test_validation_text_in_the_hands_of_train_py(tmp_path: Path):
    (found,) = doubts(tmp_path, held_out_tokens=65536)
    assert found == "train.py read 65,536 tokens of the validation text"
