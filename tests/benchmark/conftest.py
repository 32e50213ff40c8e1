"""prepare.py chooses its profile when it is imported: here always the pocket one, in a home of the tests' own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

before = os.environ.get("AUTORESEARCH_PROFILE")
os.environ["AUTORESEARCH_PROFILE"] = "pocket"
import prepare  # noqa: E402

if before is None:
    del os.environ["AUTORESEARCH_PROFILE"]
else:
    os.environ["AUTORESEARCH_PROFILE"] = before


@pytest.fixture(scope="session")
def pocket_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where the pocket profile is ready."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTORESEARCH_HOME", str(home))
        prepare.make_ready(prepare.PROFILE)
    return home


@pytest.fixture
def at_home(pocket_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lets a test use that home and gives it a run folder of its own, which is returned."""
    run = tmp_path / "run"
    monkeypatch.setenv("AUTORESEARCH_HOME", str(pocket_home))
    monkeypatch.setenv("AUTORESEARCH_RUN_DIR", str(run))
    prepare._folder.clear()
    return run
