"""The front door: help, JSON and clear errors for every verb, from any folder of the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from research.cli.main import VERBS, run
from research.store.ledger import render
from tests.support.labkit import Kit


def test_the_verbs_are_there():
    assert {"decide", "export", "import", "parse-run", "record", "replicate", "settle"} <= VERBS.keys()


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_has_help_and_json(verb: str, capsys: pytest.CaptureFixture[str]):
    assert run([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert "--json" in text
    assert len(text.splitlines()) > 3
    assert " ".join(VERBS[verb][1].split()) in " ".join(text.split())


def test_the_help_of_all_verbs_imports_none_of_them():
    code = "import sys; from research.cli.main import run; run(['--help']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    verbs = {f"research.cli.{module}" for module, _ in VERBS.values()}
    assert not (verbs | {"sqlite3", "research.lab", "research.runs"}) & set(loaded)


@pytest.mark.parametrize("verb", ["summary", "archive", "next", "last-review", "parse-run", "noise", "autonomy"])
def test_a_reading_verb_imports_nothing_heavy(verb: str, kit: Kit):
    """What a verdict leaves on record is read without the posterior."""
    kit.measure()
    code = f"import sys; from research.cli.main import run; run(['{verb}']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=kit.root, env=kit.environment, capture_output=True)
    loaded = set(done.stdout.decode().split())
    assert "research.cli.kit" in loaded
    assert not loaded & {"numpy", "rich", "jinja2", "modal", "optuna", "torch", "pyarrow", "requests", "tiktoken"}


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("research, version ")


@pytest.mark.parametrize(
    "line",
    ["nonsense", "settle --nonsense", "decide", "decide x maybe", "night --hours nan", "autonomy on --hours inf"],
)
def test_wrong_usage_exits_2(line: str, capsys: pytest.CaptureFixture[str]):
    assert run(line.split()) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert len(seen.err.strip().splitlines()) == 1
    assert run([*line.split(), "--json"]) == 2
    assert set(json.loads(capsys.readouterr().out)["error"]) == {"what", "next"}


def test_a_file_name_of_any_bytes_is_no_obstacle_to_json(kit: Kit):
    command = [sys.executable.encode(), *b"-m research parse-run caf\xe9.log --json".split()]
    done = subprocess.run(command, cwd=kit.root, env=kit.environment, capture_output=True)
    assert done.returncode == 1
    assert "There is no log at" in json.loads(done.stdout)["error"]["what"]


def test_an_output_that_takes_ascii_only_is_no_obstacle(kit: Kit):
    kit.measure()
    environment = {**kit.environment, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "research", "watch", "--once"]
    done = subprocess.run(command, cwd=kit.root, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert b"1 run, " in done.stdout


def test_a_ctrl_c_after_the_end_prints_no_traceback():
    say = "import atexit, signal; atexit.register(lambda: print(repr(signal.getsignal(signal.SIGINT))))"
    command = [sys.executable, "-c", f"{say}; from research.cli.main import main; main()", "--version"]
    assert "SIG_IGN" in subprocess.run(command, capture_output=True, text=True).stdout


def test_no_verb_shows_them_all(capsys: pytest.CaptureFixture[str]):
    assert run([]) == 2
    assert "summary" in capsys.readouterr().out


def test_a_wrong_value_names_the_help_of_its_verb(capsys: pytest.CaptureFixture[str]):
    assert run(["decide", "x", "maybe", "--why", "y"]) == 2
    seen = capsys.readouterr().err
    assert "Type: uv run research decide --help" in seen
    assert "Value error" not in seen
    assert run(["decide", "x", "keep", "--why", " "]) == 2
    assert "reason" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "meant"), [("nihgt", "night"), ("summery", "summary"), ("last_review", "last-review")]
)
def test_a_mistyped_verb_is_asked_about(typed: str, meant: str, capsys: pytest.CaptureFixture[str]):
    assert run([typed]) == 2
    assert f"Did you mean '{meant}'?" in capsys.readouterr().err
    assert run([typed, "--json"]) == 2
    assert f"Did you mean '{meant}'?" in json.loads(capsys.readouterr().out)["error"]["what"]


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"]])
def test_an_unknown_verb_names_the_help_of_all(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(arguments) == 2
    assert capsys.readouterr().err.endswith("Type: uv run research --help\n")


def test_errors_are_one_object_or_one_line(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert run(["settle", "--json"]) == 1
    assert "git" in json.loads(capsys.readouterr().out)["error"]["what"]
    assert run(["settle"]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_parse_run_from_below(kit: Kit):
    kit.measure()
    log = kit.folders()[0] / "run.log"
    (kit.root / "run.log").write_bytes(log.read_bytes())
    below = kit.root / "docs"
    below.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "research", "parse-run", "--json"], cwd=below, env=kit.environment, capture_output=True
    )
    value = json.loads(done.stdout)
    assert next(iter(value)) == "schema"
    assert value["metrics"]["val_bpb"] == 0.99
    assert len(value["metrics"]) == 9
    assert value["failure"] is None
    assert value["tail"][-1] == "loss_check: pass"


def test_parse_run_without_a_log(kit: Kit):
    value = kit.json("parse-run")
    assert (value["metrics"], value["tail"], value["failure"]) == (None, [], None)
    assert kit.folders() == []
    assert not (kit.root / "results").exists()


def test_parse_run_of_a_launch_that_was_refused_says_why(kit: Kit):
    """Its log holds the runner's words alone; "unknown (no summary)" told nobody anything."""
    kit.write(val=0.5)
    (kit.root / "run.log").write_text(kit.measure().err)
    told = kit.research("parse-run").out
    assert "\nrefused: train.py differs from HEAD. Type: git commit" in told
    assert "or --allow-dirty runs it unscored.\n\nlast lines:" in told
    failure = kit.json("parse-run")["failure"]
    assert (failure["kind"], failure["machine"]) == ("refused", False)
    assert failure["text"].startswith("train.py differs from HEAD.")


def test_parse_run_of_a_launch_that_lacked_data_blames_the_machine(kit: Kit):
    kit.environment["AUTORESEARCH_PROFILE"] = "official"
    (kit.root / "run.log").write_text(kit.measure().err)
    failure = kit.json("parse-run")["failure"]
    assert (failure["kind"], failure["machine"]) == ("configuration", True)
    assert failure["text"].endswith("Type: uv run prepare.py")


@pytest.mark.parametrize("line", ["[run] end {", "[run] end []", '[run] end {"outcome": "refused"}'])
def test_parse_run_of_a_torn_end_line(kit: Kit, line: str):
    (kit.root / "run.log").write_text(f"{line}\n")
    assert kit.json("parse-run")["failure"]["kind"] == "unknown"


def test_parse_run_of_a_path_without_a_log_is_an_error(kit: Kit):
    result = kit.research("parse-run", "/nope")
    assert (result.code, result.out) == (1, "")
    assert "There is no log at /nope. Type: uv run research parse-run" in result.err


def test_a_replicate_on_no_known_backend_is_a_wrong_call(kit: Kit):
    result = kit.research("replicate", "--backend", "nope", "--json")
    assert (result.code, list(json.loads(result.out))) == (2, ["error"])


def test_whatever_goes_wrong_json_is_one_object(kit: Kit):
    result = kit.research("settle", "no UTF-8: \udcff", "--json")
    assert (result.code, list(json.loads(result.out))) == (1, ["error"])


def test_a_seed_that_nothing_takes_is_a_wrong_call(kit: Kit):
    result = kit.research("replicate", "--seed", str(2**63), "--json")
    assert (result.code, list(json.loads(result.out))) == (2, ["error"])


def test_every_json_object_begins_with_its_schema(kit: Kit):
    kit.measure()
    ledger = kit.root.parent / "other.tsv"
    ledger.write_text("abcdef1\t0.9\t1.0\tkeep\tsomething\n")
    for verb in (["record"], ["settle"], ["export"], ["export", "--ledger"], ["import", str(ledger)], ["parse-run"]):
        assert next(iter(kit.json(*verb))) == "schema", verb


def test_the_ledger_is_rebuilt(kit: Kit):
    kit.measure()
    before = (kit.root / "results.tsv").read_bytes()
    (kit.root / "results.tsv").unlink()
    result = kit.research("export", "--ledger")
    assert result.out.encode() == before
    assert (kit.root / "results.tsv").read_bytes() == before


def test_a_ledger_in_another_encoding_is_printed_as_it_is(kit: Kit):
    (kit.root / "results.tsv").write_bytes(render([b"aaaaaaa\t0.9\t1.0\tkeep\tL\xe4tin"]))
    command = [sys.executable, "-m", "research", "export", "--ledger"]
    done = subprocess.run(command, cwd=kit.root, env=kit.environment, capture_output=True)
    assert done.stdout == (kit.root / "results.tsv").read_bytes()


def test_an_export_to_a_device_leaves_it_in_place(kit: Kit):
    pipe = kit.root.parent / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    kit.json("export", "--out", str(pipe))
    assert json.loads(os.read(reader, 1000))["schema"] == "autoresearch.export/1"
    assert pipe.is_fifo()
    os.close(reader)


def test_an_export_of_nothing_leaves_nothing(kit: Kit):
    assert kit.json("export")["records"] == []
    assert not (kit.root / "results").exists()


def test_a_ledger_without_commits_has_none_named(kit: Kit):
    ledger = kit.root.parent / "other.tsv"
    ledger.write_text("val_bpb\tmemory_gb\tstatus\tdescription\n0.99\t2\tkeep\tbase\n")
    assert kit.json("import", str(ledger))["count"] == 1
    (line,) = [each for each in kit.research("summary").out.splitlines() if each.startswith("Imported:")]
    assert line.endswith("the lowest kept one 0.990000")


def test_a_foreign_ledger_is_taken_in_once(kit: Kit):
    ledger = kit.root.parent / "other.tsv"
    ledger.write_bytes(b'aaaaaaa\t\t\tkeep\t"quote\nbbbbbbb\t0.9\t1\tkeep\tL\xe4tin\nccccccc\tnan\tx\tcrash\t\n')
    assert kit.json("import", str(ledger))["count"] == 3
    assert kit.json("import", str(ledger))["count"] == 0
    imported = kit.json("summary")["imported"]
    assert isinstance(imported, dict)
    assert (imported["rows"], imported["scored"], imported["commit"]) == (3, 1, "bbbbbbb")
    assert "3 rows from elsewhere" in kit.research("summary").out
    written = (kit.root / "results.tsv").read_bytes().splitlines()
    assert [line.split(b"\t")[4] for line in written[-3:]] == [b'"quote', b"L\xe4tin", b""]
    assert written[-2].startswith(b"bbbbbbb\t0.900000\t1.0\tkeep\t")
    kit.measure()
    assert (kit.root / "results.tsv").read_bytes().splitlines()[: len(written)] == written
