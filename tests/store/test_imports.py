"""Ledgers and older folders of others: what can be read is taken in once, what can't is told of and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from research.store.db import Store
from research.store.imports import Imported, NothingToImport, import_path
from research.store.reads import Foreign, foreign

NOW = "2026-01-02T03:04:05Z"
HEADER = b"commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"


def taken(path: Path, content: bytes, store: Store) -> Imported:
    path.write_bytes(content)
    return import_path(store, path, NOW)


def test_malformed_rows_are_told_of(tmp_path: Path):
    rows = [
        b"abc1234\t0.99\t44.0\tkeep\tbaseline",
        b'bcd2345\t0.98\t44.0\tdiscard\t"a quote swallows nothing',
        b"no tab at all",
        b"\t0.97\t44.0\tkeep\tno commit",
        b"what?\t0.97\t44.0\tkeep\tno commit either",
        b"cde3456\tnan\t44.0\tkeep\tno number",
        b"def4567\t0.96",
        b"ef05678\t0.000000\t0.0\tcrash\tfell over",
        b"f016789\t0.95\t44.0\tkeep\tcaf\xe9",
    ]
    with Store(None) as store:
        found = taken(tmp_path / "other.tsv", HEADER + b"\n".join(rows) + b"\n", store)
        assert [one.where for one in found.skipped] == ["row 4", "row 5", "row 6"]
        assert [one.where for one in found.doubtful] == ["row 7", "row 8", "row 10"]
        assert len(found.runs) == 6
        assert {run.val_bpb for run in store.runs()} == {0.99, 0.98, 0.96, 0.95, None}
        assert len(store.events("import_skipped")) == 3
        again = import_path(store, tmp_path / "other.tsv", NOW)
        assert (again.runs, again.known, len(again.skipped)) == ((), 6, 3)
        assert len(store.events("import_skipped")) == 3
        assert store.judged() == []


def test_a_first_row_that_crashed_is_no_baseline(tmp_path: Path):
    with Store(None) as store:
        taken(tmp_path / "other.tsv", HEADER + b"abc1234\t0.000000\t0.0\tcrash\tboom\n", store)
        (run,) = store.runs()
    assert (run.val_bpb, run.outcome, run.counted) == (None, "crash", False)


def test_a_ledger_without_a_run_is_one(tmp_path: Path):
    with Store(None) as store:
        assert taken(tmp_path / "other.tsv", HEADER, store) == Imported(())


def test_what_was_taken_in_is_told_in_a_line(tmp_path: Path):
    rows = [b"abc1234\t0.90\t44.0\tdiscard\tlucky", b"bcd2345\t0.98\t44.0\tkeep\tfine", b"cde3456\t\t\tcrash\tx"]
    with Store(None) as store:
        assert foreign(store) is None
        taken(tmp_path / "other.tsv", HEADER + b"\n".join(rows), store)
        assert foreign(store) == Foreign(3, 2, "bcd2345", 0.98)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("state.json", b"{}", "folder"),
        ("u.tsv", "commit\tval".encode("utf-16"), "UTF-8"),
        ("c.tsv", b"a,b\n", "tab"),
        ("g.tsv", b"epoch\tloss\n1\t0.5\n", "g.tsv is no ledger"),
        ("h.tsv", b"\xef\xbb\xbfname\tvalue\n1234567\t0.5\n", "h.tsv is no ledger"),
    ],
)
def test_what_is_no_ledger_is_refused_by_name(tmp_path: Path, name: str, content: bytes, word: str):
    with Store(None) as store, pytest.raises(NothingToImport) as caught:
        taken(tmp_path / name, content, store)
    assert word in caught.value.what


def experiment(name: str, value: object, **more: object) -> dict[str, object]:
    return {"experiment_id": name, "commit": "abc1234", "metrics": {"val_bpb": value}, "status": "ok", **more}


def old_folder(place: Path, lines: list[bytes], state: bytes | None) -> Path:
    place.mkdir()
    (place / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    if state is not None:
        (place / "state.json").write_bytes(state)
    return place


def event(record: object) -> bytes:
    return json.dumps({"type": "experiment_recorded", "record": record}).encode()


def test_an_older_folder_in_any_state(tmp_path: Path):
    lines = [
        event(experiment("a", 0.99, description="first")),
        event(experiment("b", 0, description="zero is no score")),
        b'{"type": "experiment_recorded", "record": {"experiment_id": "c", "metrics": {"val_bpb": NaN}}}',
        b'{"type": "experiment_recorded", "rec',
        b"\xff\xfe not text",
        b"[]",
        event(["not", "a", "record"]),
        event({"metrics": []}),
        b'{"type": "plan_selected", "plan_id": "x"}',
    ]
    state = {"recent_experiments": [experiment("a", 0.99), experiment("lost", 0.97), 3], "baseline_val_bpb": 0}
    folder = old_folder(tmp_path / "old", lines, json.dumps(state).encode())
    with Store(None) as store:
        found = import_path(store, folder, NOW)
        assert {run.val_bpb for run in store.runs()} == {0.99, 0.97, None}
        assert (len(found.runs), found.known) == (4, 1)
        assert [one.where for one in found.skipped] == [
            "events.jsonl line 4",
            "events.jsonl line 5",
            "events.jsonl line 6",
            "events.jsonl line 7",
            "events.jsonl line 8",
            "state.json",
        ]
        assert all(one.why for one in found.skipped)
        kept = len(store.events("import"))
        again = import_path(store, folder, NOW)
        assert (again.runs, again.known) == ((), 5)
        assert len(store.events("import")) == kept == 10
        assert all(not run.counted for run in store.runs())


@pytest.mark.parametrize("state", [b"[]", b"null", b"{", b'{"recent_experiments": {}}', b'{"archive": null}', b"\xff"])
def test_a_state_of_the_wrong_shape_breaks_nothing(tmp_path: Path, state: bytes):
    folder = old_folder(tmp_path / "old", [event(experiment("a", 0.99))], state)
    with Store(None) as store:
        assert len(import_path(store, folder, NOW).runs) == 1


def test_an_empty_folder_is_nothing(tmp_path: Path):
    with Store(None) as store, pytest.raises(NothingToImport):
        import_path(store, tmp_path, NOW)


def test_halves_of_characters_are_taken_in(tmp_path: Path):
    text = json.dumps(experiment("\ud800", 0.99, description="\ud800 x", status="ok\udfff")).encode()
    folder = old_folder(tmp_path / "old", [b'{"type": "experiment_recorded", "record": ' + text + b"}"], None)
    with Store(None) as store:
        assert len(import_path(store, folder, NOW).runs) == 1
        assert import_path(store, folder, NOW).known == 1
        assert store.runs()[0].subject == "? x"
