"""A night of two workers at Modal: the real client against the stand-in, one sandbox a candidate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.labkit import CHECKOUT, Kit, make_kit
from support.modal_standin import StandIn

pytest_plugins = ("support.modal_fixtures",)


@pytest.fixture
def lab(tmp_path: Path, standin: StandIn) -> Kit:
    """A repository whose runs find the stand-in, and pocket data."""
    kit = make_kit(tmp_path)
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
