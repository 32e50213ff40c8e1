"""Reasons not to believe a score: what its own parts say against each other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from research.core.contract import SCORE_FILE
from research.core.records import Metrics, Run
from research.runs.log import parse_text, read_summary
from research.runs.score import OUTSIDE, disagreements, overlong, read_score
from tests.runs.test_log import BLOCK

SCORE = {
    "schema": "autoresearch.score/1",
    "status": "scored",
    "val_bpb": 0.9979,
    "contract": "official-0123456789ab",
    "fingerprint": {"time_budget_s": 300},
    "data": {"handed_tokens": 500e6, "held_out_tokens": 0},
}


def doubts(
    folder: Path,
    block: str = BLOCK,
    suspect: object = (),
    run_s: float | None = None,
    wall_s: float | None = None,
    **data: object,
) -> tuple[str, ...]:
    parts = {"data": {**SCORE["data"], **data}, "suspect": suspect, "clock": {"wall_s": wall_s}}  # type: ignore[dict-item]
    (folder / SCORE_FILE).write_text(json.dumps({**SCORE, **parts}))
    score = read_score(folder)
    assert score is not None
    return disagreements(score, read_summary(parse_text(block)), 42, "", run_s)


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


@pytest.mark.parametrize(("handed", "is_believed"), [(500e6, True), (740e6, True), (760e6, False)])
def test_text_that_went_somewhere_else(tmp_path: Path, handed: float, is_believed: bool):
    found = doubts(tmp_path, handed_tokens=handed)
    wanted = f"it says that it trained on 499,600,000 tokens; prepare.py handed out {handed:,.0f} of training text"
    assert found == (() if is_believed else (wanted,))


def test_batches_that_were_taken_before_the_budget_began(tmp_path: Path):
    step = 500e6 / 953
    assert doubts(tmp_path, tokens_before_budget=12 * step) == ()
    (found,) = doubts(tmp_path, tokens_before_budget=40 * step)
    assert found == "it took 4% of its text before its budget began, where 22 of 953 steps are explained"


def test_what_prepare_py_found(tmp_path: Path):
    assert doubts(tmp_path, suspect=["train.py changed time.time, which it is measured by"]) == (
        "train.py changed time.time, which it is measured by",
    )


def test_the_runners_clock_against_the_runs_own(tmp_path: Path):
    assert doubts(tmp_path, run_s=500.0, wall_s=400.0) == ()
    assert doubts(tmp_path, run_s=4300.0, wall_s=4000.0) == ()  # all is slow here
    (found,) = doubts(tmp_path, run_s=700.0, wall_s=400.0)
    assert found == "the run took 700 s by the runner's clock and 400 s by its own"


def scored(**seconds: object) -> Run:
    facts = {OUTSIDE: json.dumps(seconds)}
    return Run("run", "run", "runner", "", "", "", outcome="scored", val_bpb=0.99, facts=facts)


def test_large_steps_may_reach_over_both_ends_of_the_budget():
    run = scored(clock="processor", uncounted_steps=16.0)
    first = scored(clock="processor", uncounted_steps=0.5)
    assert [*overlong(run, first)]
    few_steps = Metrics(0.99, 30.0, 40.0, 0.0, 0.0, 0.1, 7, 1.0, 4)
    assert not [*overlong(replace(run, metrics=few_steps), first)]


@pytest.mark.parametrize(
    ("clock", "first_s", "mine_s", "is_believed"),
    [
        ("wall", 5.0, 179.0, True),  # a cold compilation, where the first run found everything compiled
        ("wall", 5.0, 181.0, False),
        ("wall", 100.0, 290.0, True),  # a slow machine
        ("wall", None, 500.0, True),  # the first run of a contract, on a machine that is slow
        ("wall", None, 600.0, False),
        ("processor", 60.0, 170.0, True),
        ("processor", 2.0, 9.0, True),
        ("processor", 2.0, 12.0, False),
        ("processor", None, 60.0, True),
    ],
)
def test_work_outside_the_budget(clock: str, first_s: float | None, mine_s: float, is_believed: bool):
    first = None if first_s is None else scored(clock=clock, after_last_batch=first_s)
    found = [*overlong(scored(clock=clock, after_last_batch=mine_s), first)]
    assert bool(found) is not is_believed
    for reason in found:
        assert reason.startswith(f"it spent {mine_s:.0f} s between its last training batch and the evaluation, where")


def test_validation_text_in_the_hands_of_train_py(tmp_path: Path):
    (found,) = doubts(tmp_path, held_out_tokens=65536)
    assert found == "train.py read 65,536 tokens of the validation text"
