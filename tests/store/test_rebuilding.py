"""A memory that is gone or emptied is made anew from the runs' folders, whatever its last process left beside it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from support.labkit import Kit, kit

from research.core.paths import LabPaths
from research.core.records import Run
from research.store.connect import StoreBusy, StoreDamaged, translated
from research.store.db import Store
from research.store.ledger import render
from research.store.open import open_store

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


@pytest.mark.parametrize("seed", ["42", "43"], ids=["same score", "another score"])
def test_a_row_without_a_folder_outlives_every_rebuild(kit: Kit, seed: str):
    """The folders are removed, the same commit is measured again, and then the memory is damaged."""
    kit.commit("base again", extra='VAL = float("0." + os.environ["AUTORESEARCH_SEED"])')
    kit.measure()
    shutil.rmtree(kit.root / "results")
    kit.measure("--seed", seed)
    rows = kit.ledger()
    assert [row[1] for row in rows] == ["0.420000", f"0.{seed}0000"]
    for harm in (lambda path: path.write_bytes(b"garbage" * 999), Path.unlink):
        harm(LabPaths(kit.root).memory)
        assert kit.research("record").code == 0
        assert kit.ledger() == rows
        assert len(kit.research("export", "--ledger").out.splitlines()) == 3


def test_equal_rows_of_the_ledger_keep_their_places(tmp_path: Path):
    lines = [f"{commit}\t0.990000\t1.0\tdiscard\tx".encode() for commit in ("aaaaaaa", "bbbbbbb", "aaaaaaa", "ccccccc")]
    (tmp_path / "results.tsv").write_bytes(render(lines))
    with open_store(LabPaths(tmp_path), NOW, print) as store:
        assert store.ledger_lines() == lines


def test_a_disk_error_is_damage_where_the_disk_takes_files(tmp_path: Path):
    error = sqlite3.OperationalError("disk I/O error")
    with pytest.raises(StoreDamaged, match="is damaged"), translated(tmp_path / "memory.db"):
        raise error
    with pytest.raises(StoreBusy, match="df -h"), translated(tmp_path / "gone" / "memory.db"):
        raise error


def test_shared_memory_emptied_under_an_open_memory_ends_nothing(tmp_path: Path):
    """The kernel would end the process that has it mapped, so another one tries it."""
    script = """if True:
        import os, sys
        from pathlib import Path
        from research.core.records import Run
        from research.store.db import Store
        memory = Path(sys.argv[1])
        one, other = Store(memory), Store(memory)
        for number in range(4):
            os.truncate(f"{memory}-shm", 0)
            (other if number % 2 else one).start_run(Run(f"r{number}", "", "import", "", "", "2026-01-02T03:04:05Z"))
            assert len(one.runs()) == len(other.runs()) == number + 1
        os.truncate(f"{memory}-shm", 0)
        one.close()
        other.close()
    """
    memory = tmp_path / "memory.db"
    subprocess.run([sys.executable, "-c", script, memory], check=True, cwd=Path(__file__).parents[2])
    with Store(memory) as store:
        assert len(store.runs()) == 4
