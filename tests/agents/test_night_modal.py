"""A night of two workers at Modal: the real client against the stand-in, one sandbox a candidate."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.labkit import CHECKOUT, PLAIN, Kit, make_kit
from support.modal_standin import StandIn
from support.purenight import PureNight

from research.agents.builtin import NothingToPropose
from research.core.records import Plan
from research.search.emitters import EMITTERS

pytest_plugins = ("support.modal_fixtures",)


@pytest.fixture
def lab(tmp_path: Path, standin: StandIn) -> Kit:
    """A repository whose runs find the stand-in, and pocket data."""
    kit = make_kit(tmp_path, PLAIN)
    kit.environment |= {**standin.env, "PYTHONPATH": str(CHECKOUT)}
    for name in ("data/shard_06542.parquet", "tokenizer/tokenizer.json"):
        path = Path(kit.environment["AUTORESEARCH_HOME"]) / "pocket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return kit


def test_two_sandboxes_at_once_and_each_run_once(lab: Kit, standin: StandIn) -> None:
    words = ("night", "--backend", "modal", "--workers", "2", "--max-runs", "5", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "research", *words], cwd=lab.root, env=lab.environment, capture_output=True, text=True,
        timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["runs"] == 5, told
    rows = lab.ledger()
    assert len(rows) == 5
    assert rows[0][3] == "keep"
    assert len(standin.containers) == 5
    assert len({container.name for container in standin.containers}) == 5
    assert lab.git("status", "--porcelain") == ""


def test_every_candidate_of_such_a_night_scores() -> None:
    # What the agent may do to the text decides how many sandboxes a night makes and how long they live: only numbers.
    night = PureNight(base=PLAIN.format(val=0.99).lstrip().encode())
    for _ in range(2):
        night.run(night.first, "base", "", None)
    made = 0
    for number in range(20 * (len(EMITTERS) + 1)):
        emitter = (None, *EMITTERS)[number % (len(EMITTERS) + 1)]
        plan = Plan(f"plan{number}", "", emitter, None, night.first, "experiment", "A test.")
        try:
            text = night.propose(plan).text
        except NothingToPropose:
            continue
        made += 1
        assert _without_numbers(text) == _without_numbers(night.base), text.decode()
    assert made >= 40


def _without_numbers(train: bytes) -> str:
    return re.sub(r"^([A-Z_]+) = [-+*.\de]+$", r"\1", train.decode(), flags=re.MULTILINE)
