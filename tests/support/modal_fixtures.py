"""Fixtures of the Modal tests: the one stand-in, fresh for every test, and a repository with data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.labkit import Kit, make_kit
from support.modal_kit import Place, shared_standin
from support.modal_standin import StandIn


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The stand-in without faults, sandboxes or files; the client is pointed at it."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("the stand-in finds a sandbox's processes in /proc")
    shared = shared_standin()
    for name, value in shared.env.items():
        monkeypatch.setenv(name, value)
    shared.reset()
    yield shared
    shared.reset()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A repository with one commit to come, a data folder and a run folder."""
    return Place(tmp_path)


@pytest.fixture
def lab(tmp_path: Path, standin: StandIn) -> Kit:
    """A repository whose runner finds the stand-in, and pocket data."""
    kit = make_kit(tmp_path)
    kit.environment |= standin.env
    for name in ("data/shard_06542.parquet", "tokenizer/tokenizer.json"):
        path = Path(kit.environment["AUTORESEARCH_HOME"]) / "pocket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return kit
