"""The live view: what a growing log says, and pictures that fit a terminal, with a run in flight and without."""

from __future__ import annotations

import fcntl
import io
import json
import re
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from research.agents.night.command import night_command
from research.agents.night.state import FACT, NightLimits, NightState
from research.core.clock import system_clock, utc
from research.core.files import FileLock, is_held
from research.core.paths import LabPaths
from research.core.records import Decision, Plan, Run, Verdict
from research.lab.lab import Lab
from research.report.answer import answer
from research.report.data import RunRow, page_data
from research.report.progress import Curve, loss_at, progress_of, read_curve, read_progress
from research.report.screen import frame, plot
from research.report.watch import Live, LiveView, budget_left
from research.report.write import read_data
from research.store import folders
from research.store.open import open_store, read_store
from tests.support.fabricate import BEGIN, BRANCH, make_lab, make_places
from tests.support.labkit import Kit

HEAD = "official profile on NVIDIA H100, seed 42\n8 layers of 512, 50.3 M parameters, 300 s of training\n"
NOW = BEGIN + timedelta(hours=9)


def step(number: int, percent: float, loss: float) -> str:
    """A line of train.py's progress."""
    return f"step {number:5d} {percent:5.1f} %  loss {loss:7.4f}  {1_200_000:11,.0f} tok/s  {120:4.0f} s left\n"


@pytest.mark.parametrize(
    ("text", "phase", "fraction"),
    [
        ("", "starting", 0.0),
        ("Traceback: step 3 was nice\n", "starting", 0.0),
        (HEAD, "compiling", 0.0),
        (HEAD + step(3, 0.0, 9.1), "compiling", 0.0),
        (HEAD + step(3, 0.0, 9.1) + step(90, 42.0, 3.5), "training", 0.42),
        (HEAD + step(90, 42.0, 3.5) + "step    91  43.", "training", 0.42),
        (HEAD.replace("official", "pocket"), "starting", 0.0),
        ("step 00012 (40.0%) | loss: 3.512345 | lrm: 1.00 | tok/sec: 1,234 | mfu: 3\n", "training", 0.4),
        (HEAD + step(90, 100.0, 3.5), "scoring", 1.0),
        (HEAD + step(90, 100.0, 3.5) + "---\nval_bpb: 0.9\n", "ending", 1.0),
        (step(90, 10.0, 3.5).replace("\n", "\r") + step(91, 11.0, 3.4), "training", 0.11),
    ],
)
def test_phases(text: str, phase: str, fraction: float):
    found = progress_of(text)
    assert (found.phase, found.fraction) == (phase, fraction)


def test_progress_of_a_log():
    found = progress_of(HEAD + step(3, 0.0, 9.1) + step(90, 42.0, 3.5))
    assert (found.step, found.loss, found.speed) == (90, 3.5, 1_200_000)
    assert found.curve == ((0.0, 9.1), (0.42, 3.5))


def test_a_missing_log_is_a_start(tmp_path: Path):
    assert read_progress(tmp_path / "none").phase == "starting"


def test_the_curve_of_a_finished_run(tmp_path: Path):
    points = [[0.1, 5.0], [0.2, 4.0], ["x", 1], [0.3], [0.4, float("nan")], [7, 1.0]]
    (tmp_path / "score.json").write_text(json.dumps({"reported": {"loss_curve": points}}))
    curve = read_curve(tmp_path)
    assert curve == ((0.1, 5.0), (0.2, 4.0))
    assert loss_at(curve, 0.15) == pytest.approx(4.5)
    assert loss_at(curve, 0.9) is None
    assert read_curve(tmp_path / "none") == ()


def test_a_plot_falls_from_left_to_right():
    lines, low, high = plot([((0.1, 5.0), (0.5, 3.0), (1.0, 2.0))], 20, 4)
    assert [len(line) for line in lines] == [20] * 4
    tops = [next(row for row in range(4) if lines[row][x][1] == 0) for x in range(3, 19)]
    assert tops == sorted(tops)
    assert (low, high) == (2.0, 5.0)
    assert all(letter == "\u2800" for line in plot([(), ()], 5, 2)[0] for letter, _ in line)


def test_two_curves_are_told_apart_without_colours():
    curve = ((0.1, 5.0), (0.5, 3.0), (1.0, 2.0))

    def dots(curves: list[Curve]) -> int:
        return sum(bin(ord(letter) - 0x2800).count("1") for line in plot(curves, 40, 8)[0] for letter, _ in line)

    assert dots([curve, ()]) * 3 < dots([(), curve])


def picture(places: LabPaths, width: int = 80, height: int = 24) -> list[str]:
    """What a terminal of this size shows."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    Live(Lab(places, clock=lambda: NOW, environment={}), console).print_once()
    out = console.file
    return [line.rstrip() for line in out.getvalue().splitlines()]


def fly(places: LabPaths, log: str, seconds: float = 100) -> FileLock:
    """A run in flight, as long as the lock is held."""
    begun = utc(NOW - timedelta(seconds=seconds))
    subject = "exp: widen the short window to half the context and see what comes of that [emitter=architect]"
    run = Run("flying", "flying", "runner", BRANCH, "a" * 40, begun, subject=subject, emitter="architect", seed=42)
    folder = places.runs / "flying"
    folder.mkdir()
    (folder / "run.log").write_text(log)
    lock = FileLock(folder / folders.ALIVE)
    assert lock.acquire()
    with read_store(places) as store:
        store.start_run(run)
        night = NightState("n", BRANCH, "builtin", "local", 1, 1, utc(BEGIN), NightLimits(40, 10.0, 20.0), 12, 3.5)
        store.set_fact(FACT, night.to_json())
    return lock


def test_a_run_in_flight_on_a_small_terminal(tmp_path: Path):
    places = make_lab(tmp_path / "lab", 60)
    lock = fly(places, HEAD + "".join(step(n, n / 2, 3 + 6 / n) for n in range(1, 84)))
    lines = picture(places)
    lock.release()
    assert any(line.startswith("latest verdicts  #60 compared on seed") for line in lines)
    assert len(lines) <= 24
    assert all(len(line) <= 80 for line in lines)
    text = "\n".join(lines)
    for words in ("60 runs", "best", "widen the short window", "training, 1:40 of about 5:35", " 42 %", "#60",
                  "lower than the baseline", "since "):  # fmt: skip
        assert words in text, words
    assert re.search(r"12 of 40 runs, 9.0 of 10 h, \$3.50 of \$20.00, ends about \d\d:00", text)
    assert re.search(r"^ +\d\.\d\d [\u2800-\u28ff]", text, re.MULTILINE)
    assert "the best so far at this moment" in text
    assert any("\u2800" < char <= "\u28ff" for char in text)


def test_a_run_in_flight_is_held_against_the_same_rows_of_the_best(tmp_path: Path):
    """Rows differ by far more than programs, so at one moment the two may stand the other way round."""
    places = make_lab(tmp_path / "lab", 10)
    with read_store(places) as store:
        best = read_data(store, places, utc(NOW)).best
    rows = [0.5 * (n % 7) for n in range(100)]
    for row in best.rows:
        log = "".join(step(n, n, 6 - n / 50 + rows[n - 1]) for n in range(1, 101))
        (places.runs / row.run.folder / "run.log").write_text(log)
    lock = fly(places, HEAD + "".join(step(n, n, 6.25 - n / 50 + rows[n - 1]) for n in range(1, 61)))
    text = "\n".join(picture(places, width=120))
    lock.release()
    assert "0.2500 above the best so far on the same rows" in text


def test_what_a_run_in_flight_carries_out_is_not_next(tmp_path: Path):
    places = make_lab(tmp_path / "lab", 10)
    assert any(line.startswith("next") for line in picture(places))
    with read_store(places) as store:
        plan = store.pending_plan()
        store.start_run(Run("flying", "flying", "runner", BRANCH, "a" * 40, utc(NOW), plan=plan.plan))
    assert not any(line.startswith("next") for line in picture(places))


def judged(number: int, title: str, decision: Decision, val_bpb: float, p_better: float | None) -> RunRow:
    """A row of a judged run."""
    run = Run(str(number), "", "runner", BRANCH, "a" * 40, utc(BEGIN), val_bpb=val_bpb)
    verdict = Verdict(run.run, decision, "evidence", "", utc(BEGIN), baseline=p_better is None, p_better=p_better)
    return RunRow(number, run, verdict, title, "", "keep", number)


def test_only_titles_are_cut():
    long = "a title that goes on and on until it is wider than any terminal that somebody looks at it with, and on"
    rows = (judged(1, "short", "keep", 0.98, None), judged(12, long, "investigate", 2.76757, 0.27))
    view = LiveView("2026-03-02T06:00:00Z", replace(page_data([], BRANCH, utc(BEGIN)), rows=rows))
    console = Console(file=io.StringIO(), width=80)
    console.print(frame(view, 80))
    lines = console.file.getvalue().splitlines()
    assert "#12 too good: look 2.76757 P 0.27 a title that goes on" in "\n".join(lines)
    assert " #1 baseline       0.98000        short" in [line.rstrip() for line in lines]
    assert all(len(line) <= 80 for line in lines)


def test_the_baseline_is_called_so(kit: Kit):
    """The subject of the commit that a branch began with is not what is being tried."""
    kit.git("commit", "-q", "--amend", "-m", "Mend the fence")
    kit.measure()
    shown = kit.research("watch", "--once").out
    assert "#1 baseline 0.9" in shown
    assert "Mend the fence" not in shown


def test_watch_and_the_page_say_the_same(tmp_path: Path):
    """Both are made of the same values."""
    places = make_lab(tmp_path / "lab", 60)
    told = Live(Lab(places, clock=lambda: NOW, environment={})).look().as_dict()
    with read_store(places) as store:
        data = read_data(store, places, utc(NOW))
    assert answer(data).head in "\n".join(picture(places))
    assert (told["runs"], told["kept"], told["crashed"]) == (60, len(data.kept), data.count("crash"))
    assert (told["best_title"], told["gain"]["mean"]) == (data.best.title, data.gain.mean)


def test_a_discarded_baseline_is_not_one_kept_less(kit: Kit):
    """The run was measured, whatever a person decided about it later."""
    kit.measure()
    (folder,) = kit.folders()
    assert kit.research("decide", folder.name, "discard", "--why", "the disk was full").code == 0
    told = kit.json("watch")
    assert (told["runs"], told["kept"]) == (1, 0)
    assert "No score yet" in kit.research("watch", "--once").out


def test_a_night_that_has_made_no_run_yet(kit: Kit):
    """There is no folder of runs, whose disk could be asked for room: watch ended with an error."""
    paths = LabPaths(kit.root)
    night = NightState("n", kit.git("branch", "--show-current"), "builtin", "local", 7, 1, utc(BEGIN), NightLimits(5))
    with open_store(paths, utc(BEGIN), print) as store:
        store.set_fact(FACT, night.to_json())
    lock = FileLock(paths.discovery / ".night.lock")
    assert lock.acquire()
    done = kit.research("watch", "--once")
    assert (done.code, done.err) == (0, "")
    assert "night 0 of 5 runs" in done.out
    lock.release()


def test_a_run_without_a_runner_is_not_shown_as_going_on(tmp_path: Path):
    places = make_lab(tmp_path / "lab", 10)
    fly(places, HEAD).release()
    text = "\n".join(picture(places))
    assert "No run is going on." in text
    assert "uv run research record" in text


def test_two_that_look_at_a_lock_do_not_see_each_other(tmp_path: Path):
    path = tmp_path / "lock"
    assert not is_held(path)
    path.touch()
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not is_held(path)
    lock = FileLock(path)
    assert lock.acquire()
    assert is_held(path)
    lock.release()
    assert not is_held(path)


@pytest.mark.parametrize(
    ("reason", "words"), [(None, "cut off, no reason recorded"), ("interrupted by signal 2", "interrupted by signal 2")]
)
def test_a_night_that_was_cut_off_is_called_so(tmp_path: Path, reason: str | None, words: str):
    places = make_lab(tmp_path / "lab", 10)
    night = NightState(
        "n", BRANCH, "codex", "local", 7, 2, utc(BEGIN), NightLimits(20, 0.5), 4, stop_reason=reason, policy="greedy"
    )
    with read_store(places) as store:
        store.set_fact(FACT, night.to_json())
    lines = picture(places)
    assert f"night {words}, after 4 of 20 runs" in lines
    assert "ends about" not in " ".join(lines)
    assert night_command(night) in " ".join(lines)
    assert "--seed 7 --workers 2" in " ".join(lines)
    lock = FileLock(places.discovery / ".night.lock")
    assert lock.acquire()
    on = "\n".join(picture(places))
    assert "night 4 of 20 runs, 9.0 of 0.5 h" in on
    assert "The next experiment is being chosen." in on
    lock.release()
    assert f"night {words}, after 4 of 20 runs" in picture(places)


def test_another_branch_is_shown_by_its_name_and_why(tmp_path: Path):
    places = make_lab(tmp_path / "lab", 10)
    subprocess.run(["git", "checkout", "-q", "--orphan", "fresh"], cwd=places.root, check=True)
    assert f"shown {BRANCH}, since fresh has no runs yet" in picture(places)
    lock = fly(places, HEAD)
    assert f"shown {BRANCH}, where a run is going on; fresh is checked out" in picture(places)
    lock.release()


def test_a_branch_whose_first_run_is_going_on_is_shown_without_runs(tmp_path: Path):
    """So that no new night has the results of the one before at its head."""
    places = make_lab(tmp_path / "lab", 10)
    subprocess.run(["git", "checkout", "-q", "--orphan", "fresh"], cwd=places.root, check=True)
    with read_store(places) as store:
        store.set_fact(FACT, NightState("n", "fresh", "builtin", "local", 0, 1, utc(BEGIN), NightLimits(20)).to_json())
        assert read_data(store, places, utc(NOW)).memory.branch == "fresh"
    lines = picture(places)
    assert lines[0].startswith("fresh ")
    assert lines[lines.index("The night was cut off. To go on:") + 1] == "uv run research night --max-runs 20"
    with read_store(places) as store:
        store.set_fact(FACT, "null")
        store.start_run(Run("first", "first", "runner", "fresh", "a" * 40, utc(NOW)))
    assert picture(places)[0].startswith("fresh ")


def test_what_comes_next_is_wrapped_and_not_cut(tmp_path: Path):
    plan = Plan("p", utc(BEGIN), "architect", "attention", "a" * 40, "experiment", "because of this. " * 8 + "The end.")
    data = replace(page_data([], BRANCH, utc(BEGIN)), plan=plan)
    console = Console(file=io.StringIO(), width=80)
    console.print(frame(LiveView("2026-03-02T06:00:00Z", data), 80))
    assert "The end." in " ".join(console.file.getvalue().split())


def test_summary_and_next_say_that_a_night_is_going_on(kit: Kit):
    kit.measure()
    night = NightState("n", "b", "builtin", "local", 1, 1, utc(system_clock()), NightLimits(5), 1)
    with read_store(LabPaths(kit.root)) as store:
        store.set_fact(FACT, night.to_json())
    assert "Night:" not in kit.research("summary").out
    lock = FileLock(LabPaths(kit.root).discovery / ".night.lock")
    assert lock.acquire()
    assert "Night:       going on, 1 of 5 runs, 0.0 h, ends about " in kit.research("summary").out
    assert kit.research("next").out.startswith("A night is going on: 1 of 5 runs, 0.0 h, ends about ")
    lock.release()
    assert not kit.research("next").out.startswith("A night")


def test_summary_says_where_runs_are_if_there_are_none_on_this_branch(kit: Kit):
    kit.measure()
    assert kit.json("summary")["warnings"] == []
    assert "\n             the baseline\n" in kit.research("summary").out
    measured = kit.git("branch", "--show-current")
    kit.git("checkout", "-q", "-b", "other")
    words = f"No run was made on other; those of {measured} are shown by: uv run research watch --once"
    assert kit.json("summary")["warnings"] == [words]
    assert kit.research("watch", "--once").out.startswith(measured)


def test_a_lab_without_runs(tmp_path: Path):
    places = make_places(tmp_path / "lab")
    text = "\n".join(picture(places))
    assert "No run is going on." in text
    assert "uv run research night --max-runs 5" in text
    assert not (places.root / "results").exists()


def test_a_large_terminal_shows_more(tmp_path: Path):
    places = make_lab(tmp_path / "lab", 60)
    assert len(picture(places)) == 24 - 1  # a prompt follows
    high = picture(places, 200, 50)
    assert len(high) <= 50 - 1
    assert sum(line.startswith("#") for line in high) == 40
    assert "with n =" in "\n".join(high)  # a wide one has room for reasons


def test_what_is_left_of_a_night():
    night = NightState("n", BRANCH, "builtin", "local", 1, 1, utc(BEGIN), NightLimits(), 3)
    assert budget_left(night, BEGIN + timedelta(hours=2)) == ["3 runs", "2.0 h"]
    until = replace(night, limits=NightLimits(until_utc=utc(BEGIN + timedelta(hours=8))))
    said = budget_left(until, BEGIN + timedelta(hours=2))
    assert said[2].removeprefix("until ") == said[3].removeprefix("ends about ")
    ended = NightState("n", BRANCH, "builtin", "local", 1, 1, utc(BEGIN), NightLimits(5), 5)
    ended = replace(ended, stop_reason="5 runs made", finished_utc=utc(NOW))
    assert budget_left(ended, NOW) == ["ended: 5 runs made", "5 runs"]


def test_the_verb(kit: Kit):
    before = sorted(kit.root.rglob("*"))
    assert "No run is going on." in kit.research("watch", "--once").out
    assert sorted(kit.root.rglob("*")) == before
    kit.measure()
    shown = kit.research("watch")  # without a terminal: one picture
    assert shown.code == 0
    assert "#1 baseline" in shown.out
    kit.research("idea", "try rotary embeddings")
    assert kit.research("watch", "--once").out.count("try rotary embeddings") == 1
    told = kit.json("watch")
    assert told["schema"] == "autoresearch.watch/1"
    assert told["runs"] == 1
    assert "audit" not in json.dumps(told)
