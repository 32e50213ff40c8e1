"""A memory that is gone or emptied is made anew from the runs' folders, whatever its last process left beside it."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from support.labkit import Kit, kit

from research.core.paths import LabPaths
from research.core.records import Run
from research.store.db import Store

__all__ = ["kit"]
NOW = "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["gone", "emptied"])
def test_the_log_of_a_memory_that_is_gone_is_not_played_into_the_new_one(kit: Kit, tmp_path: Path, harm):
    """A process that was killed leaves memory.db-wal behind, and then memory.db is moved away or emptied."""
    name = str(kit.measure().end["run"])
    memory = LabPaths(kit.root).memory
    log = memory.with_name(memory.name + "-wal")
    with Store(memory) as store:
        for number in range(60):
            store.start_run(Run(f"r{number}", "", "import", "", f"{number:040x}", NOW, subject="x" * 100))
        shutil.copyfile(log, tmp_path / "log")  # closing would fold it in, which a killed process does not do
    harm(memory)
    shutil.copyfile(tmp_path / "log", log)

    assert kit.json("record")["recorded"] == []
    with Store(memory) as store:
        assert [run.run for run in store.runs()] == [name]
    with sqlite3.connect(memory) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
