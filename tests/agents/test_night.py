"""Whole nights with the scripted backend: from nothing to a report, cut off at any moment, taken up again."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from research.agents.night.editors import BuiltinEditor, ProposedCommit
from research.agents.night.jobs import Job
from research.agents.night.loop import RunningJob
from research.agents.night.state import FACT, from_json
from research.core.records import Plan
from research.core.settings import SETTINGS
from research.lab.plan import next_plan
from research.runs.backend import StopRequest
from research.runs.signals import Signals
from research.store.open import read_store
from research.verdict.models import Memory
from tests.support.labkit import alive, wait_for
from tests.support.nightkit import NIGHT, SURFACE, NightKit, make_night_kit

RUNS = int(os.environ.get("AUTORESEARCH_TEST_RUNS", "20"))


@pytest.fixture
def kit(tmp_path: Path) -> NightKit:
    return make_night_kit(tmp_path)


def finished_runs(kit: NightKit) -> list[tuple[str, str, int]]:
    """Fingerprint, outcome and seed of every finished run."""
    return [(run.fingerprint, str(run.outcome), run.seed) for run in kit.runs() if run.outcome]


def twice(runs: Sequence[tuple[str, str, int]]) -> list[tuple[str, int]]:
    """Code and seed of what was run again on the same seed."""
    return [pair for pair, count in Counter((code, seed) for code, _, seed in runs).items() if count > 1]


def test_a_night_from_nothing(kit: NightKit):
    """No branch, no identity in git, no results: five runs, a ledger, a report, and a clean tree on a new branch."""
    told = kit.research(*NIGHT, "--max-runs", "5")
    assert told["runs"] == 5
    assert "--max-runs" in told["stop_reason"]
    assert Path(told["report"]).is_file()
    rows = (kit.root / "results.tsv").read_text().splitlines()
    assert len(rows) == 6
    assert rows[1].split("\t")[3] == "keep"
    assert kit.git("branch", "--show-current") == told["branch"]
    assert told["branch"].startswith("autoresearch/")
    assert kit.git("status", "--porcelain") == ""
    assert not list((kit.root / "worktrees").glob("*"))
    runs = finished_runs(kit)
    assert len({code for code, _, _ in runs[:4]}) == 4, "three ideas are tried before anything is measured twice"
    assert {seed for _, _, seed in runs[:4]} == {42}, "an idea runs on the seed that the baseline has"
    assert kit.research("summary")["best"]["n"] >= 1


def test_the_branch_stands_on_what_is_kept(tmp_path: Path):
    """Every third run is a clear gain, whatever is proposed: what a night proposes follows from its commits' names and
    thus from the clock, and on a made-up response to train.py's constants a night now and then found nothing."""
    kit = make_night_kit(tmp_path, ["noise", "noise", *["loss", {"kind": "win", "by": -0.012}, "loss"] * 6])
    told = kit.research(*NIGHT, "--max-runs", "16", "--seed", "3")
    with read_store(kit.paths) as store:
        judged = store.judged(told["branch"])
        kept = [item.run.commit for item in judged if item.verdict and item.verdict.decision == "keep"]
    assert told["kept"] >= 3
    assert len(twice(finished_runs(kit))) == 1, "one seed is run twice once, so that repeats and seeds are told apart"
    assert kit.git("rev-parse", "HEAD") in kept
    best = kit.research("summary")["best"]
    baseline = kit.research("summary")["baseline"]
    assert best["mean"] < baseline["mean"]


def test_a_gain_far_beyond_any_is_measured_again_and_the_best_so_far_gets_that_seed_first(tmp_path: Path):
    scores = [1.0, 0.9, 1.01, 0.91, *[1.5] * 4]
    kit = make_night_kit(tmp_path, [{"kind": "score", "val_bpb": score} for score in scores])
    told = kit.research(*NIGHT, "--max-runs", "8")
    runs = finished_runs(kit)
    base, change = runs[0][0], runs[1][0]
    assert [(code, seed) for code, _, seed in runs[:4]] == [(base, 42), (change, 42), (base, 43), (change, 43)]
    assert [seed for _, _, seed in runs[4:]] == [42, 43, 42, 43], "the seeds of the best so far take turns"
    assert told["kept"] == 1
    best = kit.research("summary")["best"]
    assert best["n"] == 2
    assert best["mean"] < 0.95


def test_interrupted_again_and_again_the_baseline_is_not_blamed(tmp_path: Path):
    """Ctrl-C in every baseline so far is no reason to give it up, and no crash on the morning page."""
    kit = make_night_kit(tmp_path, [*[{"kind": "noise", "steps": 200, "step_s": 0.3}] * 4, *["noise"] * 4])
    for number in range(1, 5):
        night = kit.start(*NIGHT, "--max-runs", "6")
        wait_for(lambda: len(list(kit.root.glob("results/runs/*/run.log"))) == number, 60)  # noqa: B023
        night.send_signal(signal.SIGINT)
        assert night.wait(30) == 0
    told = kit.research(*NIGHT, "--max-runs", "6")
    assert "--max-runs" in told["stop_reason"]
    assert "crashed" not in Path(told["report"]).read_text().split("<table")[0]
    assert Counter(outcome for _, outcome, _ in finished_runs(kit)) == {"interrupted": 4, "scored": 2}


def test_interrupted_in_its_last_run_it_is_over_and_the_same_command_begins_another(tmp_path: Path):
    kit = make_night_kit(tmp_path, [{"kind": "noise", "steps": 200, "step_s": 0.3}, "noise"])
    night = kit.start(*NIGHT, "--max-runs", "1")
    wait_for(lambda: list(kit.root.glob("results/runs/*/run.log")), 60)
    night.send_signal(signal.SIGINT)
    assert night.wait(30) == 0
    (end,) = [line for line in (kit.root / "night.out").read_text().splitlines() if line.startswith("Ended:")]
    assert end.endswith("yet. The same command begins a new night, since its limits are used up.")
    assert kit.research(*NIGHT, "--max-runs", "1")["runs"] == 1
    assert Counter(outcome for _, outcome, _ in finished_runs(kit)) == {"interrupted": 1, "scored": 1}


def test_interrupted_while_an_agent_works_no_failure_is_told_of(kit: NightKit, tmp_path: Path):
    codex = tmp_path / "codex"
    codex.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nexec sleep 600\n")
    codex.chmod(0o755)
    kit.environment["AUTORESEARCH_CODEX"] = str(codex)
    night = kit.start(*NIGHT, "--agent", "codex", "--max-runs", "5")
    wait_for((tmp_path / "asked").exists, 60)
    night.send_signal(signal.SIGINT)
    assert night.wait(30) == 0
    assert "failed" not in (kit.root / "night.out").read_text()


def test_what_a_killed_night_left_of_its_agents_work_goes_with_the_next(kit: NightKit, tmp_path: Path):
    codex = tmp_path / "codex"
    codex.write_text(
        f"#!/bin/sh\necho $$ > {tmp_path}/asked.new && mv {tmp_path}/asked.new {tmp_path}/asked\nexec sleep 600\n"
    )
    codex.chmod(0o755)
    kit.environment["AUTORESEARCH_CODEX"] = str(codex)
    night = kit.start(*NIGHT, "--agent", "codex", "--max-runs", "5")
    wait_for((tmp_path / "asked").exists, 60)
    night.kill()
    night.wait(30)
    os.kill(int((tmp_path / "asked").read_text()), signal.SIGKILL)
    assert list((kit.root / "worktrees").glob("client-*"))
    kit.research(*NIGHT, "--max-runs", "2")
    assert not list((kit.root / "worktrees").iterdir())
    assert kit.git("worktree", "list").count("\n") == 0


def test_infrastructure_failures_end_a_night_without_being_counted(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise", "noise", *["no_data"] * 3])
    told = kit.research(*NIGHT, "--max-runs", "9")
    assert told["runs"] == 2
    assert told["stop_reason"].startswith("configuration")


def test_a_baseline_that_runs_too_long_is_tried_again_before_the_night_ends(tmp_path: Path):
    kit = make_night_kit(tmp_path, [{"kind": "timeout", "limit_s": 0.2}] * 9)
    told = kit.research(*NIGHT, "--max-runs", "9", code=1)["error"]
    assert told["what"].startswith("The baseline does not come to a score: ")
    assert [run[1] for run in finished_runs(kit)] == ["timeout"] * SETTINGS.baseline_attempts


def test_notify_hears_what_is_kept_and_of_the_end(tmp_path: Path):
    heard = tmp_path / "heard"
    kit = make_night_kit(tmp_path, ["noise", "noise", {"kind": "win", "by": -0.012}])
    kit.research(*NIGHT, "--max-runs", "3", "--notify", f'echo "$AUTORESEARCH_EVENT $AUTORESEARCH_TEXT" >> {heard}')
    kept, end = heard.read_text().splitlines()
    assert kept.startswith("kept Kept, not confirmed (one run only): ")
    assert end.startswith("end The night ended")


def test_uncommitted_work_is_not_touched(kit: NightKit):
    (kit.root / "train.py").write_text("# mine\n")
    told = kit.research(*NIGHT, "--max-runs", "2", code=1)
    assert "not clean" in told["error"]["what"]
    assert (kit.root / "train.py").read_text() == "# mine\n"


def test_workers_share_one_tip_and_each_run_is_recorded_and_told_once(kit: NightKit):
    """Runs have the numbers in which they began, and their lines come as they end."""
    done = kit.printed(*NIGHT, "--max-runs", "14", "--workers", "3")
    assert done.code == 0, done.err
    numbers = [int(line.split()[0]) for line in done.out.splitlines() if re.match(r" +\d+  \d\d:\d\d  ", line)]
    assert sorted(numbers) == list(range(1, 15))
    runs = finished_runs(kit)
    assert len(runs) == 14
    assert len(twice(runs)) <= 1, "one seed is run twice on purpose"
    assert len({(code, seed) for code, _, seed in runs}) >= 13
    rows = (kit.root / "results.tsv").read_text().splitlines()
    assert len(rows) == 15
    assert kit.git("status", "--porcelain") == ""


def test_no_plan_is_given_to_two_workers(kit: NightKit):
    """A plan turns on what is known and on how many are busy; both may be as they were when a busy one got its own."""
    branch = kit.research(*NIGHT, "--max-runs", "2")["branch"]
    lab = kit.lab()
    night = kit.loop(lab, kit.state(), workers=2)
    with lab.open() as store:
        night._store = store
        other = Plan("other", lab.now_utc(), None, None, None, "experiment", "Somebody else's.")
        first = next_plan(lab, store, branch, (other,))
        base = kit.git("rev-parse", "HEAD")
        night._going.append(RunningJob(Job("idea", base, "", first), 0, "f", 42, Future()))
        job = night._planned(1)
        assert job.plan.plan != first.plan
        assert night._seed_of(Job("replicate", base, ""), "f", 1) == 43  # 42 was its own


def test_the_code_of_a_run_in_flight_is_known_to_who_proposes_and_is_not_run_twice(kit: NightKit):
    kit.research(*NIGHT, "--max-runs", "2")
    lab, known = kit.lab(), list[Memory]()
    builtin, night = BuiltinEditor(lab), kit.loop(lab, kit.state(), workers=2)

    class Stubborn(BuiltinEditor):
        """An editor that has no other candidate."""

        def edit(self, plan: Plan, memory: Memory, seed: int, stop: StopRequest) -> ProposedCommit:
            """See Editor."""
            known.append(memory)
            return ProposedCommit(job.commit, "")

    with lab.open() as store:
        night._store = store
        job = night._planned(0)
        code = night._code_of(job.commit)
        night._going.append(RunningJob(Job("idea", job.commit, job.what, job.plan), 0, code, 42, Future()))
        night.editor = Stubborn(lab)
        night._planned(1)
    assert code in known[0].fingerprints
    again = builtin.edit(job.plan, known[0], 0, Signals())
    assert night._code_of(again.commit) != code


def test_two_cards_of_another_speed_are_never_compared(tmp_path: Path):
    """A card that makes every run worse by more than any change does has no part in a verdict."""
    kit = make_night_kit(tmp_path, {"surface": {**SURFACE, "sd": 0.0001, "cards": [0.0, 0.05]}})
    kit.research(*NIGHT, "--max-runs", "16", "--workers", "2")
    with read_store(kit.paths) as store:
        judged = store.judged()
    runs = [item.run for item in judged if item.run.val_bpb is not None]
    cards = {run.facts["gpu_uuid"] for run in runs}
    assert cards == {"0", "1"}
    for item in judged:
        assert "measured on no seed" not in item.verdict.why, item.verdict.why
    for card in cards:
        assert len({run.fingerprint for run in runs if run.facts["gpu_uuid"] == card}) > 2


def test_more_workers_than_devices_are_refused(kit: NightKit):
    told = kit.research("night", "--backend", "local", "--workers", "999", "--max-runs", "2", code=2)
    assert "needs 999 processor cores; this process may use " in told["error"]["what"]


@pytest.mark.long
def test_killed_at_random_moments_nothing_is_lost_repeated_or_orphaned(kit: NightKit):
    """SIGKILL to the night alone, again and again; the guard ends what it leaves, the next start goes on.

    AUTORESEARCH_TEST_RUNS=200 makes it a long night.
    """
    chance, want = random.Random(int(os.environ.get("AUTORESEARCH_TEST_SEED", "0"))), RUNS
    kills = 0
    for _ in range(RUNS):
        night = kit.start(*NIGHT, "--max-runs", str(want))
        try:
            night.wait(chance.uniform(0.3, 4.0) if kills < RUNS // 5 else 900)
        except subprocess.TimeoutExpired:
            os.kill(night.pid, signal.SIGKILL)
            night.wait()
            kills += 1
            wait_for(lambda: not alive(str(kit.root / "results")), 20)
            with read_store(kit.paths) as store:
                recorded = from_json(store.fact(FACT))
            if recorded is None or not recorded.finished_utc:  # else the next start is a new night
                continue
        break
    assert kills > 0
    state = kit.state()
    assert state.runs == want
    assert state.finished_utc
    launched = [run for run in finished_runs(kit) if run[1] != "infrastructure"]
    assert len(launched) == want, "a run that was killed counts too"
    runs = [run for run in launched if run[1] != "interrupted"]
    assert len({(code, seed) for code, _, seed in runs}) >= len(runs) - 1, "one seed is run twice on purpose"
    rows = (kit.root / "results.tsv").read_text().splitlines()[1:]
    assert len(rows) == len(runs)
    with read_store(kit.paths) as store:
        assert not store.open_runs()
        assert len(store.plans()) == len({plan.plan for plan in store.plans()})
        assert all(store.verdict(run.run) for run in store.runs() if run.outcome in ("scored", "crash"))


def test_it_ends_when_its_hours_are_over(kit: NightKit):
    began = time.monotonic()
    told = kit.research(*NIGHT, "--hours", "0.0006")
    assert "--hours" in told["stop_reason"]
    assert time.monotonic() - began < 60
