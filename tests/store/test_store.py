"""The memory: migrated, never lost, rebuilt when damaged; the ledger round trip; imports and exports."""

from __future__ import annotations

import json
import random
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.labkit import Kit, kit

from research.core.errors import ResearchError
from research.core.paths import LabPaths
from research.core.records import Estimate, Failure, Metrics, Plan, Run, Verdict
from research.store import ledger, reads
from research.store.connect import StoreBusy, StoreDamaged, connect, schema_version
from research.store.db import Store
from research.store.exports import export_lines, import_lines
from research.store.imports import Imported, import_path
from research.store.ledger_file import import_ledger_lines, sync_ledger
from research.store.open import open_store, read_store
from research.store.rows import from_plain, to_plain
from research.store.schema import MIGRATIONS

__all__ = ["kit"]

NOW = "2026-01-02T03:04:05Z"
METRICS = Metrics(0.99, 300.0, 310.0, 2048.0, 1.0, 10.0, 100, 5.0, 8)


def a_run(number: int, **more: object) -> Run:
    """A run that has started."""
    name = f"20260102-030405-{number:07x}-0000"
    values = {"folder": name, "origin": "runner", "branch": "autoresearch/x", "commit": f"{number:040x}"}
    return Run(run=name, started_utc=NOW, subject=f"exp: {number}", **{**values, **more})  # type: ignore[arg-type]


def ended(run: Run, val_bpb: float | None = 0.99) -> Run:
    """The same run, finished."""
    outcome = "scored" if val_bpb is not None else "crash"
    return replace(run, outcome=outcome, finished_utc=NOW, val_bpb=val_bpb, peak_vram_mb=1536.0)  # type: ignore[arg-type]


def keep(run: Run) -> Verdict:
    """A verdict that keeps."""
    estimate, difference = Estimate(0.99, 0.98, 1.0, 1), Estimate(-0.01, -0.02, 0.0, 2)
    return Verdict(run.run, "keep", "greedy", "why", NOW, True, "", 0.9, estimate, difference, {"fit": 1.0})


def test_records_come_back_as_they_went(tmp_path: Path):
    run = replace(
        ended(a_run(1)),
        metrics=METRICS,
        failure=Failure("oom", "oom", "text\nwith é"),
        suspect=("a", "b"),
        facts={"k": "v"},
        phases_s={"run": 1.5},
        counted=False,
    )
    with Store(tmp_path / "m.db") as store:
        store.add_run(run)
        store.add_verdict(keep(run))
        plan = Plan("p1", NOW, "contrarian", "a+b", None, "experiment", "because", details={"x": "y"})
        store.add_plan(plan)
        assert store.run(run.run) == run
        assert store.verdict(run.run) == keep(run)
        assert store.pending_plan() == plan
        store.close_plan("p1", NOW, run.run)
        assert store.pending_plan() is None
        store.add_event(NOW, "kind", None, {"a": [1, None]})
        assert store.events("kind")[0].data == {"a": [1, None]}
    for record in (run, keep(run), plan):
        assert from_plain(type(record), json.loads(json.dumps(to_plain(record)))) == record


def test_a_run_is_started_once_and_finished_once(tmp_path: Path):
    with Store(tmp_path / "m.db") as store:
        store.start_run(a_run(1))
        with pytest.raises(sqlite3.IntegrityError):
            store.start_run(a_run(1))
        assert store.finish_run(ended(a_run(1)))
        assert not store.finish_run(ended(a_run(1), None))
        assert not store.finish_run(ended(a_run(2)))
        assert not store.add_run(ended(a_run(1)))
        assert len(store.ledger_lines()) == 1


def test_an_older_file_upgrades_itself_and_keeps_its_rows(tmp_path: Path):
    for version in range(1, len(MIGRATIONS)):
        path = tmp_path / f"v{version}.db"
        db = connect(path, MIGRATIONS[:version])
        db.execute("INSERT INTO facts (name, value) VALUES ('a', 'b')")
        db.close()
        with Store(path) as store:
            assert store.fact("a") == "b"
            assert store.ledger_lines() == []


def test_a_failed_migration_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "m.db"
    Store(path).close()

    with pytest.raises(StoreBusy, match="syntax error"):
        connect(path, [*MIGRATIONS, "CREATE TABLE half (x); nonsense"])
    db = connect(path)
    assert schema_version(db) == len(MIGRATIONS)
    assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone()[0] == 0
    db.close()


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path):
    path = tmp_path / "results" / "discovery" / "memory.db"
    path.parent.mkdir(parents=True)
    db = connect(path, [*MIGRATIONS, ""])
    db.close()
    before = path.read_bytes()
    with pytest.raises(ResearchError, match="newer version"):
        open_store(LabPaths(tmp_path), NOW, print)
    assert path.read_bytes() == before


def test_reading_makes_no_files(tmp_path: Path):
    with read_store(LabPaths(tmp_path)) as store:
        assert store.runs() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["garbage", "truncated", "middle", "empty", "foreign"])
def test_a_damaged_file_is_set_aside_and_rebuilt(kit: Kit, damage: str):
    kit.measure()
    for number, val in enumerate((0.98, 1.01, 0.97)):
        kit.commit(f"exp: {number} [emitter=local_tuner]", val=val)
        kit.measure()
    kit.json("settle")
    with (kit.root / "results.tsv").open("ab") as file:
        file.write(b"abcdef0\t0.950000\t1.0\tdiscard\tby \xff hand\n")
    kit.json("record")
    before_rows = (kit.root / "results.tsv").read_bytes()
    path = kit.root / "results" / "discovery" / "memory.db"
    with Store(path) as store:
        before = [(run, store.verdict(run.run)) for run in store.runs() if run.origin == "runner"]
    content = path.read_bytes()
    if damage == "garbage":
        path.write_bytes(random.Random(1).randbytes(len(content)))
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "middle":
        path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 8192) + content[-4096:])
    elif damage == "empty":
        path.write_bytes(b"")
        with pytest.raises(StoreDamaged, match="is empty"):
            read_store(LabPaths(kit.root))
        assert path.read_bytes() == b""  # looking at it makes no new memory of it
    else:
        path.write_bytes(b"")
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE other (x)")
        db.execute("PRAGMA user_version = 2")
        db.commit()
        db.close()
    result = kit.research("record", "--json")
    assert result.code == 0, result.err
    with Store(path) as store:
        after = [(run, store.verdict(run.run)) for run in store.runs() if run.origin == "runner"]
    assert sorted(after, key=lambda item: item[0].run) == sorted(before, key=lambda item: item[0].run)
    assert (kit.root / "results.tsv").read_bytes() == before_rows
    if damage != "empty":
        assert list(path.parent.glob("memory.db.damaged-*"))
        assert "damaged" in result.err or "lacks" in result.err


def test_a_deleted_memory_comes_back_from_the_folders(kit: Kit):
    kit.measure()
    (kit.root / "results" / "discovery" / "memory.db").unlink()
    (kit.root / "results.tsv").unlink()
    assert kit.measure().end["outcome"] == "repeat"
    assert len(kit.ledger()) == 1
    assert kit.ledger()[0][3] == "keep"


# The ledger -------------------------------------------------------------------------------------------------------

LINES = st.lists(
    st.binary(min_size=1, max_size=60).filter(
        lambda line: b"\n" not in line and bool(line.strip()) and not line.lower().lstrip().startswith(b"commit")
        and not line.startswith(b"\xef\xbb\xbf")
    ),
    max_size=12,
)  # fmt: skip


@given(LINES, st.booleans())
def test_any_ledger_comes_back_byte_for_byte(lines: list[bytes], header: bool):
    content = b"".join(line + b"\n" for line in ([ledger.HEADER, *lines] if header else lines))
    found = ledger.split(content)
    assert list(found) == lines
    assert ledger.split(ledger.render(found)) == found
    for line in found:
        ledger.parse_row(line)


@settings(max_examples=40)
@given(LINES, LINES)
def test_foreign_lines_are_taken_in_once_and_never_lost(first: list[bytes], second: list[bytes]):
    with Store(None) as store:
        import_all = [first, first + second, first, second]
        for lines in import_all:
            import_ledger_lines(store, lines, NOW)
        kept = store.ledger_lines()
        for line in {*first, *second}:
            assert kept.count(line) == max((first + second).count(line), first.count(line))
        assert len(store.runs()) == len(kept)


@given(st.text(), st.floats(0.000001, 9.0), st.booleans())
def test_our_own_rows_have_five_fields(subject: str, val_bpb: float, kept: bool):
    run = replace(ended(a_run(3), val_bpb), subject=subject)
    line = ledger.render_row(run, kept)
    row = ledger.parse_row(line)
    assert line.count(b"\t") == 4
    assert len(line.decode().splitlines()) == 1
    assert row.values["commit"] == run.commit[:7]
    assert row.values["status"] == ("keep" if kept else "discard")


def test_rows_look_as_agreed():
    assert ledger.render_row(ended(a_run(10)), False) == b"0000000\t0.990000\t1.5\tdiscard\texp: 10"
    assert ledger.render_row(ended(a_run(10), None), True) == b"0000000\t0.000000\t0.0\tcrash\texp: 10"
    for outcome in ("refused", "repeat", "interrupted", "infrastructure", "capacity", "configuration"):
        assert not ledger.has_row(replace(ended(a_run(1)), outcome=outcome))  # type: ignore[arg-type]
    assert not ledger.has_row(replace(ended(a_run(1)), counted=False))


def test_what_nobody_let_end_is_not_judged(tmp_path: Path):
    """Ctrl-C, a lost GPU and a missing token say nothing about a candidate; no reader of the history meets them."""
    ends = ("scored", "crash", "timeout", "interrupted", "infrastructure", "capacity", "configuration")
    with Store(tmp_path / "m.db") as store:
        for number, outcome in enumerate(ends):
            store.add_run(replace(ended(a_run(number)), outcome=outcome))  # type: ignore[arg-type]
        store.add_run(replace(ended(a_run(20)), counted=False))
        assert [item.run.outcome for item in store.judged()] == ["scored", "crash", "timeout"]
        assert [item.run.outcome for item in reads.history(store)] == ["scored", "crash", "timeout"]


def test_what_others_write_into_the_file_is_kept(tmp_path: Path):
    path, lock = tmp_path / "results.tsv", tmp_path / "lock"
    with Store(tmp_path / "m.db") as store:
        store.add_run(ended(a_run(0xABCDEF123456789)))
        sync_ledger(store, path, lock, NOW)
        ours = path.read_bytes()
        path.write_bytes(ours + b'1111111\t\t\tkeep\t"open quote\n2222222\t0.9\t1\tkeep\tL\xe4tin\r\n')
        assert len(sync_ledger(store, path, lock, NOW)) == 2
        wanted = path.read_bytes()
        assert wanted == ours + b'1111111\t\t\tkeep\t"open quote\n2222222\t0.9\t1\tkeep\tL\xe4tin\r\n'
        assert sync_ledger(store, path, lock, NOW) == []
        path.write_bytes(ours)  # somebody deletes lines
        sync_ledger(store, path, lock, NOW)
        assert path.read_bytes() == wanted
        path.unlink()
        sync_ledger(store, path, lock, NOW)
        assert path.read_bytes() == wanted
        # An edit of our own line is no second run.
        path.write_bytes(wanted.replace(b"discard", b"keep"))
        assert sync_ledger(store, path, lock, NOW) == []
        assert path.read_bytes() == wanted
        assert len(store.events("ledger_edit")) == 1


# Imports and exports ----------------------------------------------------------------------------------------------


def test_an_export_comes_back(tmp_path: Path):
    with Store(tmp_path / "a.db") as one, Store(tmp_path / "b.db") as two:
        run = replace(ended(a_run(1)), audit_bpb=1.5, metrics=METRICS, subject="exp: \u2028 odd")
        one.add_run(run)
        one.add_verdict(keep(run))
        one.add_event(NOW, "x", None, {"a": 1})
        import_path(one, _file(tmp_path / "f.tsv", b"1234567\t0.9\t1\tkeep\t\xff\n"), NOW)
        text = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in export_lines(one))
        assert "audit" not in text
        path = _file(tmp_path / "export.jsonl", text.encode())
        assert len(import_path(two, path, NOW).runs) == 2
        assert import_path(two, path, NOW) == Imported((), known=2)
        assert two.run(run.run) == replace(run, audit_bpb=None)
        assert two.verdict(run.run) == keep(run)
        assert two.ledger_lines() == one.ledger_lines()
        assert len(two.events()) == len(one.events())


@pytest.mark.parametrize("broken", [{}, {"commit": None}, {"subject": ["a list"]}, {"additions": 10**30}])
def test_a_broken_export_changes_nothing(broken: dict[str, object]):
    """Whether a field is missing, or holds what its column can't."""
    whole = {"type": "run", **to_plain(a_run(1))}
    line = json.dumps({**whole, **broken} if broken else {"type": "run"})
    with Store(None) as store:
        with pytest.raises(ResearchError, match="Line 2"):
            import_lines(store, ['{"schema": "autoresearch.export/1"}', line])
        assert store.runs() == []


def test_an_export_that_an_editor_gave_a_mark_and_other_line_ends(tmp_path: Path):
    with Store(None) as one, Store(None) as two:
        one.add_run(a_run(1))
        text = "\r\n".join(json.dumps(line) for line in export_lines(one))
        path = _file(tmp_path / "export.jsonl", b"\xef\xbb\xbf" + text.encode())
        assert len(import_path(two, path, NOW).runs) == 1


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# Exactly once, as a machine ---------------------------------------------------------------------------------------


class Exactly(RuleBasedStateMachine):
    """Starts, finishes, kills and looks in any order: one record per run, a row where one is due."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(None)
        self.count = 0
        self.open: list[Run] = []
        self.rows = 0

    @rule()
    def start(self) -> None:
        self.count += 1
        run = a_run(self.count)
        self.store.start_run(run)
        self.open.append(run)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), outcome=st.sampled_from(["scored", "crash", "timeout", "interrupted", "infrastructure"]),
          twice=st.booleans())  # fmt: skip
    def finish(self, data: st.DataObject, outcome: str, twice: bool) -> None:
        run = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        done = replace(ended(run, 0.9 if outcome == "scored" else None), outcome=outcome)  # type: ignore[arg-type]
        assert self.store.finish_run(done)
        if twice:
            assert not self.store.finish_run(done)
            assert not self.store.add_run(done)
        self.rows += outcome in ledger.ROW_OUTCOMES
        if outcome in ledger.ROW_OUTCOMES:
            self.store.add_verdict(keep(run))

    @invariant()
    def is_exact(self) -> None:
        runs = self.store.runs()
        assert len(runs) == self.count
        assert len(self.store.open_runs()) == len(self.open)
        assert len(self.store.ledger_lines()) == self.rows

    def teardown(self) -> None:
        self.store.close()


TestExactly = Exactly.TestCase
TestExactly.settings = settings(max_examples=25, stateful_step_count=20)
