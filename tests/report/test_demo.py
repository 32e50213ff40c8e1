"""The recorded night: written from a lab without its machine, played again from its file alone, and its page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from research.agents.night.state import FACT, NightLimits, NightState
from research.core.errors import ResearchError
from research.core.paths import LabPaths
from research.report.page import render
from research.report.recording import DEMO, read_recording
from research.report.usage import tokens_per_second
from research.report.write import read_data
from research.runs.score import TOKENS_PER_S
from research.store.open import read_store
from scripts.record_demo import judged_again, lines_of, record
from tests.support.fabricate import BRANCH, make_lab
from tests.support.inprocess import research

NOW = "2026-03-02T06:00:00Z"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> LabPaths:
    """A lab of 20 runs, made by a night that has ended."""
    paths = make_lab(tmp_path_factory.mktemp("lab") / "lab", 20)
    night = NightState(
        "n", BRANCH, "builtin", "local", 7, 1, "2026-03-01T22:00:00Z", NightLimits(20), 20,
        stop_reason="20 runs were made", finished_utc=NOW,
    )  # fmt: skip
    with read_store(paths) as store:
        store.set_fact(FACT, night.to_json())
    return paths


def test_the_page_of_a_recording_is_that_of_the_lab(lab: LabPaths, tmp_path: Path):
    with read_store(lab) as store:
        (tmp_path / "night.jsonl").write_text(lines_of(record(store, lab, NOW)))
        there = read_data(store, lab, NOW)
    played = read_recording(tmp_path / "night.jsonl")
    data = played.data()
    assert data.gain == there.gain
    assert [(run, value) for run, _, value in data.steps] == [(run, value) for run, _, value in there.steps]
    assert [(one.known, one.audit) for one in data.candidates] == [(one.known, one.audit) for one in there.candidates]
    assert data.diffs == there.diffs
    assert [(one.number, one.kind) for one in data.curves] == [(one.number, one.kind) for one in there.curves]
    page = render(data)
    assert "Make one of your own" in page
    assert "research replicate" not in page
    assert "git merge" not in page


def test_it_is_played_run_by_run(lab: LabPaths, tmp_path: Path):
    with read_store(lab) as store:
        (tmp_path / "night.jsonl").write_text(lines_of(record(store, lab, NOW)))
    views = list(read_recording(tmp_path / "night.jsonl").play())
    assert len(views) == 3 * 20 + 1
    assert [len(view.data.rows) for view in views[::3]] == list(range(21))
    assert all(len(view.flights) == 1 for view in views[:-1])
    assert views[1].flights[0].progress.curve
    assert views[-1].flights == ()


def test_a_lab_without_a_night_has_none_to_record(tmp_path: Path):
    paths = make_lab(tmp_path / "lab", 3)
    with read_store(paths) as store, pytest.raises(ResearchError, match="no night"):
        record(store, paths, NOW)


def test_a_damaged_recording_says_how_to_get_it_back(tmp_path: Path):
    (tmp_path / "night.jsonl").write_text('{"schema": 1}\n{')
    with pytest.raises(ResearchError, match="can't be read"):
        read_recording(tmp_path / "night.jsonl")


def test_the_shipped_night_is_real_and_names_no_machine():
    recording = read_recording()
    assert recording.night.finished_utc
    assert len(recording.runs) >= 14
    assert recording.data().gain is not None
    assert len(recording.data().curves) > 1
    assert recording.data().diffs
    assert not re.search(r"/(home|root|tmp|work|Users)/", DEMO.read_text())


def test_the_shipped_night_says_what_the_rules_of_now_say():
    recording = read_recording()
    for told, again in zip(recording.verdicts, judged_again(recording).verdicts, strict=True):
        hint = "uv run scripts/record_demo.py"
        assert (told.run, told.decision) == (again.run, again.decision), hint
        assert told.p_better == pytest.approx(again.p_better, abs=1e-4), hint
        for one, two in ((told.estimate, again.estimate), (told.difference, again.difference)):
            assert (one and one.mean) == pytest.approx(two and two.mean, abs=1e-5), hint
    best = recording.data().best
    of_best = {row.run.run for row in best.rows}
    last = [verdict for verdict in recording.verdicts if verdict.run in of_best][-1]
    assert best.known.estimate.mean == pytest.approx(last.estimate.mean, abs=5e-4)  # runs since then moved it little
    assert recording.data().steps[-1][1].known == best.known


def test_the_speed_is_what_the_run_reported_and_never_made_of_a_rounded_figure():
    run = read_recording().runs[0]
    assert tokens_per_second(run) == float(run.facts[TOKENS_PER_S])
    unsaid = replace(run, facts={}, metrics=replace(run.metrics, total_tokens_M=0.1))
    assert tokens_per_second(unsaid) is None  # 0.1 million tokens may be 50,000 or 150,000
    long = replace(unsaid, metrics=replace(run.metrics, total_tokens_M=300.0, training_seconds=300.0))
    assert tokens_per_second(long) == pytest.approx(1e6)


def test_where_the_home_is_read_only_the_page_lies_elsewhere(tmp_path: Path):
    (tmp_path / "file").write_text("")
    told = research(tmp_path, {"AUTORESEARCH_HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}, "demo", "--json")
    assert told.code == 0, told.err
    assert Path(json.loads(told.out)["path"]).is_file()


def test_the_verb_needs_no_checkout_and_no_torch(tmp_path: Path):
    told = research(tmp_path, {"AUTORESEARCH_HOME": str(tmp_path / "home")}, "demo", "--json")
    assert told.code == 0, told.err
    found = json.loads(told.out)
    assert found["schema"] == "autoresearch.demo/1"
    assert "What was kept, in order" in Path(found["path"]).read_text()
    words = research(tmp_path, {"AUTORESEARCH_HOME": str(tmp_path / "home")}, "demo").out
    assert "This night was recorded on" in words
    script = (
        "import sys; sys.modules['torch'] = None; from research.report.recording import read_recording;"
        " from research.report.page import render; render(read_recording().data())"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=DEMO.parents[3]).returncode == 0
