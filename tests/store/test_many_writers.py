"""Several writers of one memory at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from research.core.records import Plan
from research.store.db import Store
from research.store.imports import import_path

NOW = "2026-01-02T03:04:05Z"


def test_labs_that_make_the_same_plan_at_once_have_it_on_record_once(tmp_path: Path):
    path, labs = tmp_path / "m.db", 8
    Store(path).close()
    start = threading.Barrier(labs)
    plan = Plan("p1", NOW, "contrarian", None, None, "experiment", "because", details={"seen": "3"})

    def add(_: int) -> bool:
        with Store(path) as store:
            start.wait()
            return store.add_plan(plan)

    with ThreadPoolExecutor(labs) as pool:
        added = list(pool.map(add, range(labs)))
    assert sorted(added) == [False] * (labs - 1) + [True]
    with Store(path) as store:
        store.close_plan("p1", NOW, "r1")
        assert not store.add_plan(plan)
        assert [known.run for known in store.plans()] == ["r1"]


def test_imports_of_the_same_thing_at_once_keep_it_once(tmp_path: Path):
    old = tmp_path / "old"
    old.mkdir()
    (old / "events.jsonl").write_text("".join(f'{{"kind": "note", "n": {n}}}\n' for n in range(20)))
    ledger = tmp_path / "results.tsv"
    ledger.write_text("commit\tval_bpb\tmemory_gb\tstatus\tdescription\n" + "".join(f"no row {n}\n" for n in range(20)))
    path, labs = tmp_path / "m.db", 6
    Store(path).close()
    start = threading.Barrier(labs)

    def import_run(_: int) -> None:
        with Store(path) as store:
            start.wait()
            import_path(store, old, NOW)
            import_path(store, ledger, NOW)

    with ThreadPoolExecutor(labs) as pool:
        list(pool.map(import_run, range(labs)))
    with Store(path) as store:
        assert len(store.events("import")) == len(store.events("import_skipped")) == 20
