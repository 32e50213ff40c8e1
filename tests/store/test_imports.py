"""Ledgers and older folders of others: what can be read is taken in once, what can't is told of and kept."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from research.core.errors import ResearchError
from research.core.records import Failure, Metrics, Run
from research.store.db import Store
from research.store.imports import Imported, import_path
from research.store.reads import Foreign, foreign

NOW = "2026-01-02T03:04:05Z"
METRICS = Metrics(0.99, 300.0, 310.0, 2048.0, 1.0, 10.0, 100, 5.0, 8)
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
        assert [one.where for one in found.skipped] == ["row 4"]
        assert [one.where for one in found.doubtful] == ["row 5", "row 6", "row 7", "row 8", "row 10"]
        assert len(found.runs) == 8
        assert {run.val_bpb for run in store.runs()} == {0.99, 0.98, 0.97, 0.96, 0.95, None}
        assert len(store.events("import_skipped")) == 1
        again = import_path(store, tmp_path / "other.tsv", NOW)
        assert (again.runs, again.known, len(again.skipped)) == ((), 8, 1)
        assert len(store.events("import_skipped")) == 1
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
    rows = [b"abc1234\t0.90\t44.0\tdiscard\tlucky", b"bcd2345\t0.98\t44.0\tbest\tfine", b"cde3456\t\t\tcrash\tx"]
    with Store(None) as store:
        assert foreign(store) is None
        taken(tmp_path / "other.tsv", HEADER + b"\n".join(rows), store)
        assert foreign(store) == Foreign(3, 2, "bcd2345", 0.98)
        assert b"bcd2345\t0.980000\t44.0\tkeep\tfine" in store.ledger_lines()


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
    with Store(None) as store, pytest.raises(ResearchError) as caught:
        taken(tmp_path / name, content, store)
    assert word in caught.value.what


# Ledgers as they are met: found by their header, whatever the order, the quotes and the rest -------------------------

A, B, C = "a1b2c3d", "b2c3d4e", "c3d4e5f"


def read(tmp_path: Path, text: str, name: str = "other.tsv") -> tuple[Imported, list[Run]]:
    """Imports a text twice, and returns what that came to and the runs."""
    with Store(None) as store:
        found = taken(tmp_path / name, text.encode("utf-8", "surrogateescape"), store)
        runs = store.runs()
        again = import_path(store, tmp_path / name, NOW)
        assert (again.runs, again.known) == ((), len(runs)), "twice changes nothing"
        lines = [line.decode().split("\t") for line in store.ledger_lines()]
        assert all(len(line) == 5 for line in lines), "the ledger keeps its five columns"
        assert all(re.fullmatch(r"\d+\.\d{6}|nan", line[1]) for line in lines), "and its six decimals"
        assert store.judged() == []
    return found, runs


@pytest.mark.parametrize(
    ("header", "row", "commit"),
    [
        (
            "commit\tval_bpb\trobustness_gap\tworst_case_bpb\tworst_test\tmemory_gb\tstatus\tdescription",
            f"{A}\t0.9979\t0.01\t1.2\tcaps\t44.0\tkeep\tbaseline", A,
        ),
        (
            "commit\tval_bpb\tmemory_gb\tmfu\ttok_per_sec\tnum_steps\tnum_params_M\tbatch_size\tfinal_loss\tstatus"
            "\tdescription",
            f"{A}\t0.9979\t44.0\t40.1\t1.2e6\t950\t50.3\t128\t2.8\tkeep\tbaseline", A,
        ),
        (
            "commit\tkind\tthread\tval_bpb\tdelta_vs_best\tmemory_gb\tstatus\thypothesis",
            f"{A}\texp\tt1\t0.9979\t-0.001\t44.0\tkeep\tbaseline", A,
        ),
        ("val_bpb\tmemory_gb\tstatus\tdescription", "0.9979\t44.0\tkeep\tbaseline", ""),
        ("commit\tval_bpb\tmemory_gb\tstatus\tdescription", "013\t0.9979\t44.0\tkeep\tbaseline", ""),
        ("commit\tval_bpb\tmemory_gb\tstatus\tdescription", "\t0.9979\t44.0\tkeep\tbaseline", ""),
        ("commit\tval_bpb\tmemory_gb\tstatus\tdescription", "e2f3g4h\t0.9979\t44.0\tkeep\tbaseline", ""),
        ("commit\tval_bpb\tmemory_gb\tstatus\tdescription", "5.0E+12\t0.9979\t44.0\tkeep\tbaseline", ""),
        ("commit,val_bpb,memory_gb,status,description", f'{A},0.9979,44.0,keep,"\tbaseline"', A),
        ("description,status,commit,memory_gb,val_bpb", f"baseline,keep,{A},44.0,0.9979", A),
        ("\ufeffcommit\tval_bpb\tmemory_gb\tstatus\tdescription\r", f"{A}\t0.9979\t44.0\tkeep\tbaseline\r", A),
        ("commit;val_bpb;memory_gb;status;description", f'{A};0,9979;44,0;keep;"baseline"', A),
        ("Commit\tVal_BPB\tMemory GB\tStatus\tDescription", f"{A}\t0.9979\t44.0\tkeep\tbaseline", A),
    ],
)  # fmt: skip
def test_a_ledger_is_read_by_its_header(tmp_path: Path, header: str, row: str, commit: str):
    found, (run,) = read(tmp_path, f"{header}\n\n{row}\n")
    assert (run.commit, run.val_bpb, run.peak_vram_mb) == (commit, 0.9979, 44.0 * 1024)
    assert (run.subject.strip(), run.facts["status"]) == ("baseline", "keep")
    assert not found.skipped
    assert [one.where for one in found.doubtful] == ([] if commit or "commit" not in header else ["row 3"])


def test_quotes_lines_and_blanks_within_and_true_line_numbers(tmp_path: Path):
    text = (
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n\n"
        f'{A}\t0.99\t44.0\tkeep\t"a ""wide""\nmodel, over\nthree lines"\n\n'
        f'{B}\t0.98\t44.0\tkeep\t"a stray quote\n'
        f"{C}\tnan\t44.0\tkeep\tno number\n"
    )
    found, (wide, *rest) = read(tmp_path, text)
    assert sorted(run.subject for run in (wide, *rest)) == [
        '"a stray quote',
        'a "wide" model, over three lines',
        "no number",
    ]
    assert [one.where for one in found.doubtful] == ["row 8"]


def test_parents_times_statuses_and_the_other_columns_are_kept(tmp_path: Path):
    head = "exp_id timestamp specialist parent_exp baseline_exp domain hypothesis expected_delta status val_bpb commit"
    rows = [
        f"E1\t2026-03-01T22:00:00Z\topt\t\t\tlr\tfirst\t0\tkeep\t0.99\t{A}",
        "E2\t2026-03-01 23:00:00\topt\tE1\tE1\tlr\tsecond\t-0.01\tdiscard\t0.98\t",
        "E3\t\tarch\tE2\tE1\tdepth\ttoo large\t-0.01\tsize_blocked\t\t",
        "E4\t\tarch\tE1\tE1\tdepth\ttoo slow\t-0.01\teval_budget_overrun\t\t",
        "E5\t\tarch\tE1\tE1\tdepth\tfell over\t-0.01\tharness_abort\t\t",
    ]
    _, (one, two, three, four, five) = read(tmp_path, "\n".join([head.replace(" ", "\t"), *rows]))
    assert [run.parent for run in (one, two, three, four)] == ["", A, "E2", A]
    assert (one.started_utc, two.started_utc) == ("2026-03-01T22:00:00Z", "2026-03-01T23:00:00Z")
    assert [run.facts["status"] for run in (three, four, five)] == [
        "size_blocked",
        "eval_budget_overrun",
        "harness_abort",
    ]
    assert [run.val_bpb for run in (one, two, three, four, five)] == [0.99, 0.98, None, None, None]
    assert (two.facts["id"], two.facts["specialist"], two.facts["domain"]) == ("E2", "opt", "lr")


def test_the_name_of_a_column_may_be_no_utf8(tmp_path: Path):
    ledger = tmp_path / "results.tsv"
    ledger.write_bytes(
        f"commit\tval_bpb\tstatus\tdescription\tdur\xe9e\n{A}\t0.99\tkeep\tfirst\t5 min\n".encode("latin-1")
    )
    with Store(None) as store:
        import_path(store, ledger, NOW)
        (run,) = store.runs()
    assert run.facts["dur\ufffde"] == "5 min"


def test_so_may_that_of_a_second_table_s_metric(tmp_path: Path):
    table = HEADER + f"{A}\t0.99\t44.0\tkeep\tone\n".encode()
    with Store(None) as store:
        found = taken(tmp_path / "a.tsv", table + b"commit\tval_pr\xe9cision\n" + B.encode() + b"\t91.0\n", store)
    assert [one.why for one in found.skipped] == ["it belongs to a table of val_pr\ufffdcision, not of val_bpb"]


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("commit\tval_auc\tnum_features\tstatus\tdescription\nabc1234\t0.91\t12\tkeep\tx\n", "val_auc"),
        ("commit\tval_rmse\tstatus\tdescription\nabc1234\t0.91\tkeep\tx\n", "val_rmse"),
        ("commit\tval_loss\tmemory_gb\tstatus\tdescription\nabc1234\t2.91\t4\tkeep\tx\n", "val_loss"),
        ("commit,score,status,description\nabc1234,91.2%,keep,x\n", "score"),
        ("commit\tsharpe_ratio\tstatus\tdescription\nabc1234\t1.2\tkeep\tx\n", "sharpe_ratio"),
        ('{"type": "config", "metricName": "tokens_s"}\n{"run": 1, "commit": "abc1234", "metric": 3}\n', "tokens_s"),
        ('{"run": 1, "commit": "abc1234", "val_loss": 3.1, "status": "keep"}\n', "val_loss"),
    ],
)  # fmt: skip
def test_a_ledger_of_another_metric_is_refused_by_its_name(tmp_path: Path, text: str, metric: str):
    with Store(None) as store, pytest.raises(ResearchError) as caught:
        taken(tmp_path / "other.tsv", text.encode(), store)
    assert f"is a ledger of {metric}, not of val_bpb" in caught.value.what


def test_several_tables_one_under_another(tmp_path: Path):
    text = (
        f"commit\tval_bpb\tmemory_gb\tstatus\tdescription\n{A}\t0.99\t44.0\tkeep\tone\n"
        f"val_bpb\tstatus\tcommit\tdescription\n0.98\tkeep\t{B}\ttwo\n"
        f"commit\tval_acc\tstatus\tdescription\n{C}\t91.0\tkeep\tthree\n"
    )
    found, runs = read(tmp_path, text)
    assert {(run.commit, run.val_bpb) for run in runs} == {(A, 0.99), (B, 0.98)}
    assert [(one.where, one.why) for one in found.skipped] == [
        ("row 6", "it belongs to a table of val_acc, not of val_bpb")
    ]


def test_a_log_of_json_lines(tmp_path: Path):
    lines = [
        '{"type": "config", "name": "speed", "metricName": "val_bpb", "bestDirection": "lower"}',
        f'{{"run": 1, "commit": "{A}", "metric": 0.99, "metrics": {{"peak_vram_mb": 2048}}, "status": "keep"}}',
        f'{{"run": 2, "commit": "{B}", "metric": 0, "status": "crash", "description": "fell over"}}',
        '{"run": 3, "comm',
    ]
    found, (one, two) = read(tmp_path, "\n".join(lines), "log.jsonl")
    assert (one.commit, one.val_bpb, one.peak_vram_mb) == (A, 0.99, 2048.0)
    assert (two.outcome, two.val_bpb, two.subject) == ("crash", None, "fell over")
    assert [item.where for item in found.skipped] == ["row 1", "row 4"]


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
        event(experiment("a", 0.99, description="first", emitter="contrarian", metrics=METRICS.as_dict())),
        event(experiment("b", 0, description="zero is no score", crash_signature="RuntimeError: x")),
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
        first, zero, *_ = store.runs()
        assert (first.val_bpb, first.emitter, first.metrics) == (0.99, "contrarian", METRICS)
        assert zero.failure == Failure("unknown", "RuntimeError: x", "RuntimeError: x")
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


@pytest.mark.parametrize("name", ["", "absent"])
def test_an_empty_folder_is_nothing(tmp_path: Path, name: str):
    with Store(None) as store, pytest.raises(ResearchError):
        import_path(store, tmp_path / name, NOW)


def test_halves_of_characters_are_taken_in(tmp_path: Path):
    text = json.dumps(experiment("\ud800", 0.99, description="\ud800 x", status="ok\udfff")).encode()
    folder = old_folder(tmp_path / "old", [b'{"type": "experiment_recorded", "record": ' + text + b"}"], None)
    with Store(None) as store:
        assert len(import_path(store, folder, NOW).runs) == 1
        assert import_path(store, folder, NOW).known == 1
        assert store.runs()[0].subject == "? x"
