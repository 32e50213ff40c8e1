"""A small repository, and the data of a made-up lab of 60 runs, for the tests of this room."""

from __future__ import annotations

import pytest

from research.report.data import PageData
from tests.support.fabricate import data_of
from tests.support.labkit import kit

__all__ = ["kit"]


@pytest.fixture(scope="package")
def sixty(tmp_path_factory: pytest.TempPathFactory) -> PageData:
    """Return what the page says of a lab of 60 runs."""
    return data_of(tmp_path_factory.mktemp("sixty") / "lab", 60)
