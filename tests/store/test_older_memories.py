"""Memories that earlier layouts left open today with everything in them, and every verb that reads reads them.

tests/data/memory-v2.db was made by the runner before changes were recorded: a baseline, keeps, a discard, a crash and
a replicate by the greedy rule. tests/data/memory-v3.db was left by the first night that planned: nine runs of the
scripted backend, their plans with briefs, their reviews.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from research.core.paths import LabPaths
from research.store import ledger
from research.store.connect import schema_version
from research.store.exports import export_lines, import_lines
from research.store.open import open_store, read_store
from research.store.rows import to_plain
from research.store.schema import MIGRATIONS
from tests.support.fabricate import make_places
from tests.support.inprocess import research

DATA = Path(__file__).resolve().parent.parent / "data"
FILES = sorted(DATA.glob("memory-v*.db"))
NOW = "2026-12-01T00:00:00Z"
HELD = {
    "memory-v2": {"runs": 6, "verdicts": 6, "plans": 2, "ledger": 6},
    "memory-v3": {"runs": 9, "verdicts": 9, "plans": 7, "ledger": 9},
}
TIPS = {"memory-v2": "d380c2a", "memory-v3": "37da9a7"}


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def old(request: pytest.FixtureRequest) -> Path:
    """A file of an older layout."""
    assert isinstance(request.param, Path)
    return request.param


@pytest.fixture
def places(old: Path, tmp_path: Path) -> LabPaths:
    """A checkout with that file as its memory."""
    paths = make_places(tmp_path / "lab")
    paths.discovery.mkdir(parents=True)
    shutil.copyfile(old, paths.memory)
    return paths


def rows(file: Path, table: str) -> list[dict[str, object]]:
    """What a table holds, read by nothing of ours."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(f"SELECT * FROM {table} ORDER BY 1")]


def plain(value: object) -> object:
    """A column's value as the record of today says it: what was stored as JSON is compared as JSON."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    return value


def test_there_is_a_file_of_every_layout_that_was_ever_used():
    """The first commit of the memory had two migrations already, so nobody has a file of layout 1."""
    assert [path.stem for path in FILES] == [f"memory-v{n}" for n in range(2, len(MIGRATIONS))]
    assert set(HELD) == {path.stem for path in FILES}
    for number, path in enumerate(FILES, 2):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as db:
            assert schema_version(db) == number
        assert {table: len(rows(path, table)) for table in HELD[path.stem]} == HELD[path.stem]


def test_every_row_of_an_older_memory_is_there(old: Path, places: LabPaths):
    told: list[str] = []
    with open_store(places, NOW, told.append) as store:
        records = {"runs": store.runs(), "verdicts": store.verdicts(), "plans": store.plans()}
        for table, found in records.items():
            before = rows(old, table)
            assert len(found) == len(before) > 0
            for record, row in zip(found, before, strict=True):
                now = to_plain(record)
                assert {name: now[name] for name in row.keys() & now} == {
                    name: bool(row[name]) if isinstance(now[name], bool) else plain(row[name])
                    for name in row.keys() & now
                }
                assert row.keys() - now <= {"seq"}
        assert store.ledger_lines() == [row["line"] for row in rows(old, "ledger")]
        assert {row["name"]: row["value"] for row in rows(old, "facts")}.items() <= {
            name: store.fact(str(name)) for name in (row["name"] for row in rows(old, "facts"))
        }.items()
        assert len(store.events()) == len(rows(old, "events"))
    assert told == []  # nothing was damaged, set aside or rebuilt
    with contextlib.closing(sqlite3.connect(places.memory)) as db:
        assert schema_version(db) == len(MIGRATIONS)


def test_an_older_memory_goes_through_an_export_whole(places: LabPaths, tmp_path: Path):
    other = make_places(tmp_path / "other")
    with open_store(places, NOW, print) as store, open_store(other, NOW, print) as copy:
        lines = [json.dumps(item) for item in export_lines(store)]
        assert len(import_lines(copy, lines)[0]) == len(store.runs())
        assert copy.verdicts() == store.verdicts()
        assert copy.plans() == store.plans()
        assert [json.dumps(item) for item in export_lines(copy)] == lines


@pytest.mark.parametrize("verb", ["summary", "archive", "noise", "last-review", "report", "export"])
def test_every_verb_that_reads_reads_an_older_memory(verb: str, old: Path, places: LabPaths):
    with read_store(places) as store:
        runs, branch = store.runs(), store.runs()[-1].branch
    places.ledger.write_bytes(ledger.render(tuple(row["line"] for row in rows(old, "ledger"))))  # type: ignore[misc]
    (places.root / ".git" / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
    done = research(places.root, os.environ, verb, "--json")
    assert done.code == 0, done.out + done.err
    if verb == "summary":
        best = json.loads(done.out)["best"]
        assert best["commit"].startswith(TIPS[old.stem])
        assert best["n"] >= 1
    elif verb == "report":
        page = places.root / "results" / "report.html"
        assert all(run.commit[:7] in page.read_text() for run in runs)
    elif verb == "export":
        assert all(run.run in done.out for run in runs)
