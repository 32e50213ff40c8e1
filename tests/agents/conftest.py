"""The repository of most of these tests; those of nights have another."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.codexkit import make_codex_kit
from tests.support.labkit import Kit


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    """A repository with the hooks."""
    return make_codex_kit(tmp_path)
