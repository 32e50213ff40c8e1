"""The morning page: true to the store, safe against text of others, complete for a lab of any size."""

from __future__ import annotations

import json
import re
import subprocess
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from research.agents.clients.base import Usage
from research.agents.night.state import FACT, LOCK, NightLimits, NightState
from research.core.files import FileLock
from research.core.paths import LabPaths
from research.core.records import Idea, Judged, Metrics, Outcome, Plan, Run, Verdict
from research.report.answer import answer, suggestions
from research.report.branches import NoRuns, choose_branch
from research.report.data import PageData, emitter_totals, page_data
from research.report.page import render
from research.report.usage import agent_usage, cost_of, work_of
from research.report.write import bounded, page_path, read_data, write_page
from research.store.folders import ALIVE
from research.store.imports import import_path
from research.store.open import open_store, read_store
from research.store.reads import IdeaStatus
from research.verdict.models import Conjecture
from tests.support.fabricate import BRANCH, data_of, make_lab, make_places
from tests.support.histories import name, run
from tests.support.labkit import Kit

NOW = "2026-03-02T06:00:00Z"
VOID = {"meta", "input", "br", "link", "img", "hr"}


class Shape(HTMLParser):
    """Whether elements close in order; and the text of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        loading = [(name, value) for name, value in attributes if name in ("src", "href", "action", "srcset", "data")]
        self.loads += [f"{tag} {name}" for name, value in loading if not (value or "").startswith("#")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        """The text that is read."""
        return " ".join(" ".join(self.words).split())


def shape_of(page: str) -> Shape:
    """A page, read to its end."""
    shape = Shape()
    shape.feed(page)
    assert shape.open == []
    return shape


def test_it_says_what_a_person_wants_to_know(sixty: PageData):
    shape = shape_of(render(sixty))
    assert shape.loads == []
    for words in (
        "lower than the baseline", "60 runs", "of it training", "Every run, and the best so far",
        "What was kept, in order", "What each constant did", "What to try next", "Close, and not kept",
        "Where the ideas came from", "Crashes", "The best of every kind of change", "On the audit text",
        "git checkout main && git merge", "research night --hours",
    ):  # fmt: skip
        assert words in shape.text, words
    assert "Two runs of one seed scatter by 0." in shape.text
    assert "believ" not in shape.text
    lower = -100 * sixty.gain.mean / sixty.baseline.known.estimate.mean
    assert f"{lower:.2f} % lower than the baseline" in shape.text


def test_the_numbers_are_the_stores(sixty: PageData):
    assert [row.number for row in sixty.rows] == list(range(1, 61))
    assert cost_of(sixty.launches, sixty.night)[0] == pytest.approx(60 * 0.31)
    assert 0.5 < (work_of(sixty.launches)[1] or 0) < 1
    assert sum(line.count for line in sixty.memory.no_fly) == sixty.count("crash")
    assert {c.known.decision for c in sixty.kept} == {"keep"}
    assert any(c.beats_baseline for c in sixty.kept)
    assert all(
        c.against_baseline and c.against_baseline.high < 0 and len(c.rows) > 1 for c in sixty.kept if c.beats_baseline
    )
    assert {c.known.decision for c in sixty.close} == {"discard"}
    assert {c.number for c in sixty.kept}.isdisjoint(c.number for c in sixty.close)
    assert len(suggestions(sixty)) <= 3
    kept = sum(c.known.change.mean for c in sixty.kept if c.known.change)
    assert sum(line.earned_bpb for line in emitter_totals(sixty.changes)) == pytest.approx(-kept)


def test_runs_of_a_free_agent_are_called_free(sixty: PageData):
    baseline = sixty.baseline
    assert {row.emitter for row in sixty.rows if row.first == baseline.number} == {""}
    assert all(row.emitter for row in sixty.rows if row.first != baseline.number)
    assert "free" in {line.name for line in emitter_totals(sixty.changes)}


def test_a_run_names_its_parent(sixty: PageData):
    runs = json.loads(re.search(r'id="data">(.*?)</script>', render(sixty), re.DOTALL)[1])["runs"]
    for row, facts in zip(sixty.rows, runs, strict=True):
        assert (row.parent is None) == (not row.run.parent)
        assert facts[:2] == [row.first, row.parent]
        if row.parent is not None:
            assert sixty.rows[row.parent - 1].run.commit == row.run.parent


def test_a_machine_whose_speed_varies_is_told():
    fast, slow = Metrics(1.0, 300, 330, 1, 1, 400.0, 9, 9, 8), Metrics(1.0, 300, 330, 1, 1, 300.0, 9, 9, 8)
    runs = [
        run(0, val_bpb=0.99, metrics=fast),
        run(1, val_bpb=0.99, metrics=slow, commit=name(0), fingerprint=run(0).fingerprint),
    ]
    told = page_data([Judged(one) for one in runs], runs[0].branch, NOW).warnings
    assert told == (
        "This machine's speed varied: the same code trained 33 % faster in run #1 than in run #2. A part of"
        " every difference may come from that.",
    )


def test_what_others_wrote_stays_text(sixty: PageData):
    nasty = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \"'\u2028"
    rows = tuple(
        replace(row, title=nasty, run=replace(row.run, why=nasty, commit=nasty), verdict=None, emitter=nasty)
        for row in sixty.rows
    )
    candidates = tuple(replace(one, known=replace(one.known, emitter=nasty), title=nasty) for one in sixty.candidates)
    memory = replace(sixty.memory, branch=nasty, conjectures=(Conjecture(nasty, 1, 0.0, 0.0, 0.0),))
    steps = [(n, one, value) for one, (n, _, value) in zip(candidates, sixty.steps, strict=False)]
    bad = replace(
        sixty, memory=memory, rows=rows, candidates=candidates, changes=candidates, close=candidates,
        best=candidates[-1], steps=steps, notes=(nasty,), warnings=(nasty,), diffs={nasty: nasty},
    )  # fmt: skip
    page = render(bad)
    shape = shape_of(page)
    assert shape.loads == []
    assert page.count("<script") == 2
    assert "<img" not in page


def test_the_page_may_load_nothing(sixty: PageData):
    page = render(sixty)
    assert "default-src &#39;none&#39;" in page
    assert not re.search(r"https?://", page)


def test_differences_are_there(sixty: PageData):
    data = json.loads(re.search(r'id="data">(.*?)</script>', render(sixty), re.DOTALL)[1])
    experiments = [row for row in sixty.rows if row.emitter]
    assert experiments
    for row in experiments:
        lines = data["diffs"][row.run.commit[:12]].split("\n")
        assert lines[0].startswith("@@ ")
        assert sum(line.startswith("+") for line in lines) == 1
    assert [run[3] for run in data["runs"]] == [row.run.run for row in sixty.rows]


def test_a_difference_is_bounded():
    lines = ["@@ -1,0 +1,100 @@", *(f"+line {n}" for n in range(100))]
    assert bounded(lines) == "\n".join(lines)
    long = bounded(lines, limit=200)
    assert len(long) < 300
    assert long.endswith("more lines @@")
    assert bounded(["+" + "x" * 10_000]) == "+" + "x" * 499


def test_differences_are_those_of_kept_changes_near_misses_and_the_latest_runs(tmp_path: Path):
    data = data_of(tmp_path / "lab", 200)
    notable = {one.commit for one in data.memory.near_misses} | {one.known.commit for one in data.kept}
    latest = {row.run.commit for row in data.rows[-100:]}
    assert set(data.diffs) == (notable | latest) - {data.baseline.known.commit}


def test_a_lab_without_runs_says_what_to_do(tmp_path: Path):
    text = shape_of(render(data_of(tmp_path / "lab", 0))).text
    assert "No runs yet" in text
    assert "uv run research night --max-runs 5" in text


def test_during_the_first_run_the_page_says_how_to_watch_it(tmp_path: Path):
    paths = make_lab(tmp_path / "lab", 0)
    (paths.runs / "flying").mkdir(parents=True)
    with read_store(paths) as store:
        store.start_run(Run("flying", "flying", "runner", "main", "a" * 40, NOW))

        def text() -> str:
            return shape_of(render(read_data(store, paths, NOW))).text

        lock = FileLock(paths.runs / "flying" / ALIVE)
        assert lock.acquire()
        during = text()
        lock.release()
        assert "The first run is not over yet" in during
        assert "uv run research watch" in during
        assert "uv run research night --max-runs 5" in text()  # once its runner is gone


@pytest.mark.parametrize("is_on", [True, False])
def test_a_night_that_goes_on_and_one_that_was_cut_off(tmp_path: Path, is_on: bool):
    paths = make_lab(tmp_path / "lab", 20)
    night = NightState("n", BRANCH, "builtin", "local", 7, 1, "2026-03-02T04:00:00Z", NightLimits(80), 20)
    lock = FileLock(paths.discovery / LOCK)
    assert not is_on or lock.acquire()
    with read_store(paths) as store:
        store.set_fact(FACT, night.to_json())
        data = read_data(store, paths, NOW)
        page = render(data)
    lock.release()
    assert data.ends_utc == ("2026-03-02T12:00:00Z" if is_on else "")  # 20 runs in two hours, 60 to go
    text = shape_of(page).text
    assert ("Still going on: 20 of 80 runs, ends about" in text) == is_on
    assert ("data-live" in page) == is_on
    assert ("Cut off after 20 of 80 runs" in text) != is_on
    assert ("uv run research watch" if is_on else "uv run research night --max-runs 80 --seed 7") in text


def test_runs_of_another_contract_are_told_with_the_switch_that_shows_them():
    old = [run(number, val_bpb=0.9, contract="old-1") for number in range(2)]
    new = run(2, val_bpb=0.99, contract="new-2")
    verdicts = [Verdict(one.run, "keep", "evidence", "", NOW, baseline=True) for one in (*old, new)]
    judged = [
        Judged(one, verdict, order) for order, (one, verdict) in enumerate(zip((*old, new), verdicts, strict=True), 1)
    ]
    data = page_data(judged, new.branch, NOW)
    assert [row.run.run for row in data.rows] == [new.run]
    assert "2 runs of another contract are not shown" in data.warnings[0]
    assert "uv run research report --contract old-1" in data.warnings[0]
    assert len(page_data(judged, new.branch, NOW, contract="old-1").rows) == 2


def test_the_loss_of_the_baseline_and_of_kept_changes(sixty: PageData):
    assert [one.kind for one in sixty.curves].count("baseline") == 1
    assert [one.kind for one in sixty.curves].count("best") == 1
    assert all(len(one.points) == 100 for one in sixty.curves)
    assert "How the loss fell" in render(sixty)


def test_a_baseline_that_was_measured_once_is_advised_another_seed(tmp_path: Path):
    (suggestion,) = suggestions(data_of(tmp_path / "lab", 1))
    assert suggestion.why == "It was measured once; another seed tells how much of its score was luck."


def test_the_first_advice_on_what_is_undecided_is_the_pending_replicate_with_its_seed():
    base, one = run(0, val_bpb=0.99), run(1, name(0), 0.9895)
    first = Verdict(base.run, "keep", "evidence", "", NOW, baseline=True)
    items = [Judged(base, first, 1), Judged(one, Verdict(one.run, "replicate", "evidence", "", NOW), 2)]
    assert answer(page_data(items, base.branch, NOW)).command == f"uv run research replicate {name(1)[:12]}"
    plan = Plan("p", NOW, None, None, name(0), "replicate", "why", details={"run_seed": "47"})
    wanted = f"uv run research replicate {name(0)[:12]} --seed 47"
    data = page_data(items, base.branch, NOW, plan=plan)
    assert [answer(data).command, suggestions(data)[0].command] == [wanted, wanted]


def test_what_was_taken_in_is_told(tmp_path: Path):
    paths = make_places(tmp_path / "lab")
    (tmp_path / "old.tsv").write_text("commit\tval_bpb\tmemory_gb\tstatus\tdescription\naaaaaaa\t0.9\t1.0\tkeep\tb\n")
    with open_store(paths, NOW, lambda _: None) as store:
        import_path(store, tmp_path / "old.tsv", NOW)
        text = shape_of(render(read_data(store, paths, NOW))).text
    assert "No runs yet" in text
    assert "1 row imported from elsewhere" in text


def test_an_imported_experiment_is_no_launch_of_its_branch(kit: Kit, tmp_path: Path):
    """An older control plane's folder names the branch: its scores were called launches that say nothing."""
    kit.measure()
    branch = kit.git("branch", "--show-current")
    record = {"experiment_id": "e1", "branch": branch, "metrics": {"val_bpb": 0.9}}
    line = json.dumps({"event": "experiment_recorded", "record": record})
    (tmp_path / "events.jsonl").write_text(f"{line}\n")
    assert kit.research("import", str(tmp_path)).code == 0
    with read_store(LabPaths(kit.root)) as store:
        notes = read_data(store, LabPaths(kit.root), NOW, branch).notes
    assert [note for note in notes if "Launches" in note] == []


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_small_labs(tmp_path: Path, count: int):
    assert "baseline" in shape_of(render(data_of(tmp_path / "lab", count))).text


def test_a_thousand_runs_in_seconds_and_megabytes(tmp_path: Path):
    paths = make_lab(tmp_path / "lab", 1000)
    begun = time.monotonic()
    with read_store(paths) as store:
        data = read_data(store, paths, NOW)
    path = write_page(data, page_path(paths))
    assert time.monotonic() - begun < 20  # it takes a second; machines differ
    assert path.stat().st_size < 1_000_000
    shape_of(path.read_text())


def test_pauses_are_not_working_time():
    def run(begun: str, ended: str) -> Run:
        return Run(begun, "", "runner", "b", "c", f"2026-01-01T{begun}:00Z", finished_utc=f"2026-01-01T{ended}:00Z")

    assert work_of([]) == (0, None)
    assert work_of([run("01:00", "01:05"), run("01:10", "01:15")])[0] == 15 / 60
    assert work_of([run("01:00", "01:05"), run("09:00", "09:05")])[0] == pytest.approx(10 / 60)
    assert work_of([run("01:00", "01:10"), run("01:05", "01:12")])[0] == 12 / 60  # two at once


def test_a_stopped_run_trained_for_a_share_of_its_budget():
    whole = Run(
        "r1", "", "runner", "b", "c", "2026-01-01T01:00:00Z", finished_utc="2026-01-01T01:02:00Z",
        metrics=Metrics(0.9, 60.0, 80.0, 1.0, 0.0, 90.0, 700, 87.0, 7),
    )  # fmt: skip
    stopped = replace(
        whole, run="r2", metrics=None, outcome="stopped", facts={"stopped_at": "0.5"},
        started_utc="2026-01-01T01:02:00Z", finished_utc="2026-01-01T01:03:00Z",
    )  # fmt: skip
    assert work_of([whole, stopped])[1] == pytest.approx((60 + 30) / 180)


def test_two_workers_are_two_devices_to_be_used():
    def run(begun: str, ended: str) -> Run:
        end = f"2026-01-01T{ended}:00Z"
        trained = {"training": 300.0}
        return Run(begun, "", "runner", "b", "c", f"2026-01-01T{begun}:00Z", finished_utc=end, phases_s=trained)

    alone = [run("01:00", "01:10"), run("01:10", "01:20")]
    assert work_of(alone)[1] == pytest.approx(0.5)
    assert work_of([*alone, run("09:00", "09:10"), run("09:00", "09:10")])[1] == pytest.approx(0.5)


def test_the_cost_says_where_it_comes_from():
    def run(usd: float | None, outcome: Outcome = "scored") -> Run:
        begun, ended = "2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"
        return Run("r", "", "runner", "b", "c", begun, finished_utc=ended, outcome=outcome, cost_usd=usd)

    night = NightState("n", "b", "builtin", "local", 1, 1, NOW, NightLimits(usd_per_hour=2.5))
    assert cost_of([run(None)], None) == (None, "no price given (--usd-per-hour)")
    assert cost_of([run(None), run(None, "infrastructure")], night) == (2.5, "at $2.5 an hour")
    assert cost_of([run(4.0), run(None)], night) == (6.5, "as the backend says and at $2.5 an hour")
    assert cost_of([run(4.0), run(None)], None) == (4.0, "as the backend says")
    paid = replace(run(None), facts=Usage(900, 0.25).as_facts())
    assert cost_of([run(4.0), paid], None) == (4.25, "as the backend says and for the agent, at list prices")
    spent = replace(night, started_utc="2026-01-01T03:00:00Z", agent_tokens=100, agent_usd=0.5)
    assert agent_usage([run(None), paid], spent) == Usage(1000, 0.75)  # the night's idea came to no run
    assert agent_usage([run(None), paid], replace(spent, started_utc=paid.started_utc)) == Usage(100, 0.5)
    assert agent_usage([], None) == Usage()


def test_the_branch_that_is_shown(tmp_path: Path):
    with read_store(make_lab(tmp_path / "lab", 3)) as store:
        history = store.judged()
    assert choose_branch(history, (), "main") == "autoresearch/made-up"
    assert choose_branch(history, ("fresh",), "fresh") == "fresh"
    assert choose_branch([], (), "main") == "main"
    with pytest.raises(NoRuns):
        choose_branch(history, (), "main", "autoresearch/other")


def test_the_verb(kit: Kit):
    kit.measure()
    kit.commit("exp: lower it [emitter=local_tuner]", val=0.95)
    kit.measure()
    told = kit.json("report", "--figures", "figures")
    assert told["schema"] == "autoresearch.report/1"
    path = Path(str(told["path"]))
    assert path == kit.root / "results" / "report.html"
    text = shape_of(path.read_text()).text
    assert "lower it" in text
    assert sorted(p.name for p in (kit.root / "figures").iterdir()) == [
        "val_bpb_frontier.svg",
        "val_bpb_since_inception.svg",
    ]
    assert kit.research("report", "--branch", "nowhere").code == 1
    errors = [kit.research(verb, "--contract", "none").err for verb in ("report", "summary")]
    assert "Contracts there:" in errors[0]
    assert errors[0] == errors[1]


def test_the_verb_in_a_lab_without_runs_makes_the_page_and_nothing_else(kit: Kit):
    assert kit.research("report").code == 0
    found = [p.relative_to(kit.root).as_posix() for p in (kit.root / "results").rglob("*")]
    assert found == ["results/report.html"]
    assert not (kit.root / "results.tsv").exists()


def test_the_page_lies_where_the_contract_says(tmp_path: Path):
    paths = make_places(tmp_path / "lab")
    assert page_path(paths) == tmp_path / "lab" / "results" / "report.html"
    done = subprocess.run(["git", "status", "--short"], cwd=paths.root, capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_an_idea_for_a_coding_agent_is_named_with_the_command_that_runs_it():
    item = Judged(run(0), Verdict(name(0), "keep", "evidence", "", NOW, baseline=True), 1)
    idea = IdeaStatus(Idea(1, "try a bigger batch", NOW), "needs_agent")
    night = NightState("n", BRANCH, "builtin", "local", 0, 2, NOW, NightLimits(1), 1, finished_utc=NOW)
    free = Plan("p", NOW, None, None, None, "experiment", "why")
    for plan in (None, replace(free, emitter="person", details={"idea": "1"}), free):
        first, *others = suggestions(page_data([item], BRANCH, NOW, plan=plan, night=night, ideas=[idea]))
        assert "try a bigger batch" in first.title
        assert first.command == "uv run research night --max-runs 1 --workers 2 --agent codex"
        assert not any("asked" in other.title for other in others)
