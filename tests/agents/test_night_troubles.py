"""What a night meets: a sick machine, people at work in its checkout, clocks that jump, closed terminals, damage."""

from __future__ import annotations

import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from research.agents.night.state import NightLimits, NightState
from research.core.clock import parse_utc, utc
from research.core.records import Run
from research.lab.launch import NIGHT_FACT
from tests.support.codexkit import answer, context_of
from tests.support.labkit import wait_for
from tests.support.nightkit import NIGHT, NightKit, make_night_kit

WIN = {"kind": "win", "by": -0.012}
IDENTITY = ("-c", "user.name=Test", "-c", "user.email=test@example.org")


def played(*scores: float) -> list[dict[str, Any]]:
    """Plays with these scores."""
    return [{"kind": "score", "val_bpb": score} for score in scores]


def rows(kit: NightKit) -> list[list[str]]:
    """The rows of the ledger."""
    return [line.split("\t") for line in (kit.root / "results.tsv").read_text().splitlines()[1:]]


# The branch ----------------------------------------------------------------------------------------------------


def test_the_branch_follows_in_a_checkout_that_was_copied_and_touched(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise", "noise", WIN, "loss"])
    kit.git("switch", "-q", "-c", "autoresearch/try")
    copy = kit.root.with_name("copy")
    shutil.copytree(kit.root, copy, symlinks=True)
    os.utime(copy / "train.py", (1, 1))
    copied = NightKit(copy, kit.environment)
    told = copied.research(*NIGHT, "--max-runs", "4")
    kept = [run.commit for run in copied.runs() if run.val_bpb and run.val_bpb < 0.995]
    assert (told["kept"], copied.git("rev-parse", "HEAD")) == (1, kept[0])
    assert copied.git("status", "--porcelain") == ""


def test_a_night_on_the_runs_of_another_clone_names_the_command_that_fetches_their_commits(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise", {"kind": "score", "val_bpb": 0.9}, "noise", "noise"])
    kit.research(*NIGHT, "--max-runs", "2")
    assert kit.research("export", "--out", str(tmp_path / "memory.jsonl"))["rows"] > 2
    assert "from its export" in kit.research("import", str(kit.paths.memory), code=1)["error"]["what"]
    assert "from its export" in kit.research("import", str(kit.paths.discovery), code=1)["error"]["what"]
    kit.git("clone", "-q", "--no-local", "--branch", "main", ".", "../clone")
    clone = NightKit(kit.root.with_name("clone"), kit.environment)
    said = clone.printed("import", "../memory.jsonl").out
    clone.git("switch", "-q", "-c", kit.runs()[0].branch)
    ended = clone.printed(*NIGHT, "--max-runs", "2")  # the baseline's second seed, then the first change again
    assert (ended.code, "Fetch it from" in said, said.splitlines()[-1] in ended.err) == (1, True, True)
    fetch = shlex.split(said.split(": git ")[1])
    clone.git(*(str(kit.root) if word == "PATH" else word for word in fetch))
    clone.research(*NIGHT, "--max-runs", "1")
    assert clone.runs()[-1].commit == kit.runs()[1].commit


def test_a_reset_below_a_kept_commit_is_said_and_respected(tmp_path: Path):
    kit = make_night_kit(tmp_path, played(1.0, 1.0, 0.988, 1.1, *[1.1] * 4))
    told = kit.research(*NIGHT, "--max-runs", "4")
    branch, best = told["branch"], kit.git("rev-parse", "HEAD")
    base = kit.git("rev-parse", "main")
    assert best != base
    kit.git("reset", "-q", "--keep", base)
    said = kit.printed(*NIGHT, "--max-runs", "2").out
    assert f"You moved {branch} to {base[:7]}, below {best[:7]}" in said
    assert kit.git("rev-parse", "HEAD") == base, "the night puts nothing back"
    command = said.split("To take it back: uv run research ")[1].splitlines()[0]
    words = command.replace("'it is better'", "better").split()
    assert kit.research(*words)["tip"] == best
    assert "You moved" not in kit.printed(*NIGHT, "--max-runs", "1").out
    assert kit.git("rev-parse", "HEAD") == best


def test_a_reset_below_the_baseline_drops_nothing_and_keeps_no_night_from_its_runs(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise"] * 9)
    older = kit.git("rev-parse", "HEAD")
    kit.git("switch", "-q", "-c", "autoresearch/try")
    (kit.root / "notes.txt").write_text("mine\n")
    kit.git("add", "notes.txt")
    kit.git(*IDENTITY, "commit", "-qm", "docs: notes")
    base = kit.git("rev-parse", "HEAD")
    kit.research(*NIGHT, "--max-runs", "2")
    kit.git("reset", "-q", "--keep", older)
    done = kit.printed(*NIGHT, "--max-runs", "2")
    assert done.code == 0, done.err
    assert f"was moved to {older[:7]}, which is older than its baseline {base[:7]}" in done.out
    assert kit.git("rev-parse", "HEAD") == base
    assert kit.state().runs == 2


def test_a_baseline_that_is_refused_ends_a_night_at_once(tmp_path: Path):
    kit = make_night_kit(tmp_path)
    kit.git("switch", "-q", "-c", "autoresearch/try")
    train = kit.root / "train.py"
    train.write_text("import no_such_module\n" + train.read_text())
    kit.git(*IDENTITY, "commit", "-qam", "exp: import what is not there [emitter=free]")
    done = kit.printed(*NIGHT, "--max-runs", "5")
    assert done.code == 1
    assert "Refused (baseline): train.py line 1 imports no_such_module, which is not installed." in done.err
    assert "Use what is there" in done.err
    assert "candidates in a row" not in done.out
    assert not kit.runs()


def test_a_baseline_that_crashes_ends_a_night_at_once_and_mended_it_runs(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["error", *["noise"] * 2])
    kit.git("switch", "-q", "-c", "autoresearch/try")
    done = kit.printed(*NIGHT, "--max-runs", "2")
    assert done.code == 1
    (crashed,) = kit.runs()
    assert "The baseline does not come to a score: " in done.err
    assert f"tail -n 30 results/runs/{crashed.folder}/run.log" in done.err
    assert "See why the last run crashed" in (kit.root / "results/report.html").read_text()
    assert (kit.root / "results/runs" / crashed.folder / "run.log").exists()
    train = kit.root / "train.py"
    train.write_text(train.read_text() + "\n# mended\nMENDED = True\n")
    kit.git(*IDENTITY, "commit", "-qam", "mend train.py")
    done = kit.printed(*NIGHT, "--max-runs", "2")
    assert done.code == 0, done.err
    assert [run.outcome for run in kit.runs()] == ["crash", "scored", "scored"]


def test_head_detached_meanwhile(tmp_path: Path):
    kit = make_night_kit(tmp_path, [*["noise"] * 2, {"kind": "win", "by": -0.012, "step_s": 0.3, "steps": 3}, "loss"])
    night = kit.start(*NIGHT, "--max-runs", "4")
    wait_for(lambda: len(list(kit.root.glob("results/runs/*/run.log"))) >= 3, 60)
    kit.git("checkout", "-q", "--detach")
    assert night.wait(60) == 0
    branch = kit.state().branch
    best = next(run.commit for run in kit.runs() if run.val_bpb and run.val_bpb < 0.995)
    assert kit.git("rev-parse", branch) == best, "the branch followed"
    assert f"the night's is {branch}: git switch {branch}" in (kit.root / "night.out").read_text()


def test_a_submodule_that_moved_gets_the_advice_that_mends_it(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise"])
    inner = tmp_path / "inner"
    inner.mkdir()
    for words in (("init", "-q"), *[(*IDENTITY, "commit", "-q", "--allow-empty", "-m", name) for name in "ab"]):
        subprocess.run(["git", *words], cwd=inner, check=True, env=kit.environment)
    kit.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "inner")
    kit.git(*IDENTITY, "commit", "-qm", "docs: a submodule")
    kit.git("-C", "inner", "checkout", "-q", "HEAD^")
    step = kit.research(*NIGHT, "--max-runs", "1", code=1)["error"]["next"]
    command = step.split("type: ")[1].split(". Then")[0]
    assert command == "git submodule update --init inner"
    kit.git(*command.split()[1:])
    assert kit.research(*NIGHT, "--max-runs", "1")["runs"] == 1


# Clocks, limits and terminals ----------------------------------------------------------------------------------


def test_two_nights_in_one_second(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise"] * 5)
    first, second = (kit.research(*NIGHT, "--max-runs", "2") for _ in range(2))
    assert (first["runs"], second["runs"]) == (2, 2)
    assert first["night"] != second["night"]
    assert [run.facts[NIGHT_FACT] for run in kit.runs()] == [first["night"]] * 2 + [second["night"]] * 2


@pytest.mark.parametrize("jump", [timedelta(hours=9), timedelta(hours=-3)])
def test_a_clock_that_jumps_changes_no_hours_of_a_night(tmp_path: Path, jump: timedelta):
    kit = make_night_kit(tmp_path, ["noise", {"kind": "noise", "steps": 3, "step_s": 0.3}, "noise"])
    kit.git("switch", "-q", "-c", "autoresearch/try")
    offset, said = [timedelta()], list[str]()

    def jump_in_the_second_run() -> None:
        wait_for(lambda: len(list(kit.paths.runs.glob("*/run.log"))) == 2, 30)
        offset[0] = jump

    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc) + offset[0]  # noqa: E731
    state = NightState("n", "autoresearch/try", "builtin", "scripted", 0, 1, utc(clock()), NightLimits(3, 8.0))
    threading.Thread(target=jump_in_the_second_run).start()
    ended = kit.loop(kit.lab(clock=clock), state, said.append).run()
    assert (ended.runs, "--max-runs" in str(ended.stop_reason)) == (3, True)
    assert ended.paused_s == pytest.approx(jump.total_seconds(), abs=5)
    assert any("the clock" in line and "--hours counts only the time awake" in line for line in said)


def test_a_closed_terminal_ends_a_night_cleanly_and_that_is_said(tmp_path: Path):
    kit = make_night_kit(tmp_path, [*["noise"] * 2, {"kind": "noise", "steps": 99, "step_s": 0.3}, "noise"])
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(kit.root)
        os.execve(kit.command()[0], kit.command(*NIGHT, "--max-runs", "9"), kit.environment)
    wait_for(lambda: len(list(kit.root.glob("results/runs/*/run.log"))) >= 3, 60)
    os.close(terminal)
    wait_for(lambda: os.waitpid(pid, os.WNOHANG) != (0, 0), 30)
    state = kit.state()
    assert state.stop_reason == "interrupted: the terminal was closed (nohup or tmux keeps a night alive)"
    assert [run.outcome for run in kit.runs()] == ["scored", "scored", "interrupted"]
    assert "the terminal was closed" in kit.printed(*NIGHT, "--max-runs", "4").out.splitlines()[0]


def test_until_a_time_of_day_on_this_clock(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise"] * 3)
    for wrong in ("25:00", "7", "soon"):
        refused = kit.research(*NIGHT, "--until", wrong, code=2)["error"]["what"]
        assert "is no time of day; 07:00 is one." in refused
    assert kit.git("branch", "--show-current") == "main"
    soon = datetime.now() + timedelta(minutes=5)
    out = kit.printed(*NIGHT, "--until", f"{soon:%H:%M}", "--max-runs", "1").out
    assert f"until 1 run, {soon:%H:%M}" in out
    until = kit.state().limits.until_utc
    assert abs(parse_utc(until) - soon.astimezone()) < timedelta(minutes=1)
    earlier = datetime.now() - timedelta(minutes=5)
    kit.research(*NIGHT, "--until", f"{earlier:%H:%M}", "--max-runs", "1")
    assert parse_utc(str(kit.state().limits.until_utc)) - datetime.now(timezone.utc) > timedelta(hours=22)


@pytest.mark.parametrize(
    ("name", "value"),
    [("AUTORESEARCH_TIME_BUDGET", "six"), ("AUTORESEARCH_PROFILE", "none"), ("AUTORESEARCH_SEED", "x")],
)
def test_nothing_is_changed_before_everything_is_checked(tmp_path: Path, name: str, value: str):
    kit = make_night_kit(tmp_path)
    kit.environment[name] = value
    assert value in kit.research(*NIGHT, "--max-runs", "1", code=1)["error"]["what"]
    assert kit.git("branch", "--show-current") == "main"
    assert not (kit.root / "results").exists()


def test_a_repository_around_a_copy_without_git_is_left_alone(tmp_path: Path):
    kit = make_night_kit(tmp_path)
    kit.git("rm", "-q", "--cached", "train.py")
    kit.git(*IDENTITY, "commit", "-qm", "another repository")
    assert "has no train.py" in kit.research(*NIGHT, "--max-runs", "1", code=1)["error"]["what"]
    assert kit.git("branch", "--show-current") == "main"
    assert not (kit.root / "worktrees").exists()


# A sick machine ------------------------------------------------------------------------------------------------


def test_a_sick_machine_ends_the_night_and_the_crashes_leave_memory(tmp_path: Path):
    heard = tmp_path / "heard"
    kit = make_night_kit(tmp_path, ["noise", *["error"] * 4, "noise"])
    tell = f'[ "$AUTORESEARCH_EVENT" != end ] || cat >> {heard}'
    done = kit.printed(*NIGHT, "--max-runs", "20", "--notify", tell)
    assert done.code == 1
    assert "the machine, not the candidates: 3 different edits, and then the best so far" in done.err
    assert "uv run research doctor" in done.err
    assert "the machine, not the candidates" in heard.read_text()
    assert [row[3] for row in rows(kit)] == ["keep"]
    assert kit.research("summary")["no_fly"] == []
    runs = kit.runs()
    assert [run.outcome for run in runs] == ["scored", *["infrastructure"] * 4]
    assert runs[4].commit == runs[0].commit
    assert len({run.fingerprint for run in runs}) == 4
    assert (kit.root / "results" / "report.html").is_file()
    (kit.root / "results" / "discovery" / "memory.db").unlink()
    kit.research("record")  # rebuilds it from the folders; runs of one second come in any order
    assert Counter(run.outcome for run in kit.runs()) == {"scored": 1, "infrastructure": 4}


def test_three_crashes_alike_are_the_candidates_while_the_best_so_far_runs(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise", *["error"] * 3, *["noise"] * 2])
    assert kit.research(*NIGHT, "--max-runs", "6")["runs"] == 6
    assert [row[3] for row in rows(kit)].count("crash") == 3
    runs = kit.runs()
    assert (runs[4].commit, runs[4].outcome, runs[4].seed) == (runs[0].commit, "scored", 43)


def test_a_run_that_fails_for_want_of_disk_is_no_crash(tmp_path: Path):
    kit = make_night_kit(
        tmp_path, ["noise", {"kind": "error", "says": "OSError: [Errno 28] No space left on device"}, "noise"]
    )
    kit.research(*NIGHT, "--max-runs", "1")
    environment = kit.environment | {"PYTHONHASHSEED": "0"}
    night = subprocess.Popen(
        kit.command(*NIGHT, "--max-runs", "1"), cwd=kit.root, env=environment, stdout=subprocess.PIPE, text=True
    )
    said = next(line for line in night.stdout if line.startswith("failed"))
    night.send_signal(signal.SIGINT)
    assert night.wait(30) == 0
    night.stdout.close()
    assert "the machine failed (OSError: [Errno 28] No space left on device). Free disk space" in said
    assert [row[3] for row in rows(kit)] == ["keep"]
    assert [run.outcome for run in kit.runs()] == ["scored", "infrastructure"]


# Damage under way ----------------------------------------------------------------------------------------------


def damaged(kit: NightKit, damage: Callable[[], object], runs: int) -> str:
    """Starts a night, does some damage in its third run, and returns what it said when it is over."""
    night = kit.start(*NIGHT, "--max-runs", str(runs))
    wait_for(lambda: len(list(kit.root.glob("results/runs/*/run.log"))) >= 3, 60)
    damage()
    assert night.wait(120) == 0, (kit.root / "night.out").read_text()
    return (kit.root / "night.out").read_text()


SLOW = {"kind": "noise", "steps": 4, "step_s": 0.3}


def test_results_removed_under_a_night_lift_no_limit(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise", "noise", SLOW, *["noise"] * 40])
    said = damaged(kit, lambda: (kit.root / "results").rename(tmp_path / "gone"), 6)
    assert "was removed or replaced. The night goes on" in said
    state = kit.state()
    assert state.runs == 6
    assert json.loads((kit.root / "script.json.played").read_text())["played"] <= 7, "one run lost its folder"


def garble(kit: NightKit, names: str = "memory.db*") -> None:
    """Writes nonsense over the memory."""
    for path in kit.paths.memory.parent.glob(names):
        with path.open("r+b") as file:  # a shorter one would end whoever has it mapped
            file.write(b"garbage" * max(4096, path.stat().st_size // 7))


@pytest.mark.parametrize("names", ["memory.db*", "memory.db", "memory.db-wal"])
def test_a_memory_garbled_under_a_night_is_rebuilt_and_the_night_is_the_same(tmp_path: Path, names: str):
    kit = make_night_kit(tmp_path, ["noise", "noise", SLOW, *["noise"] * 40])
    said = damaged(kit, lambda: garble(kit, names), 6)
    assert "The night goes on" in said
    assert "Traceback" not in said
    state = kit.state()
    assert state.runs == 6
    assert len(kit.runs()) == 6
    assert {run.facts[NIGHT_FACT] for run in kit.runs()} == {state.night}


def test_a_memory_rebuilt_between_two_commands_still_knows_the_night(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise", "noise", {"kind": "noise", "steps": 99, "step_s": 0.3}, *["noise"] * 9])
    night = kit.start(*NIGHT, "--max-runs", "5")
    logs = kit.root / "results" / "runs"
    wait_for(lambda: sum(log.stat().st_size > 0 for log in logs.glob("*/run.log")) >= 3, 60)  # the third has printed
    os.killpg(night.pid, signal.SIGKILL)
    night.wait()
    garble(kit)
    out = kit.printed(*NIGHT, "--max-runs", "5").out
    assert "the memory is rebuilt from results/runs and results.tsv" in out
    assert "resumed after 3 runs, 2 runs left" in out
    assert kit.state().runs == len(kit.runs()) == 5


# What the last run is for --------------------------------------------------------------------------------------


def test_the_last_run_goes_to_a_second_seed_of_the_best_so_far(tmp_path: Path):
    kit = make_night_kit(tmp_path, played(1.0, 0.999, 0.999, 0.985, 1.1, 0.985))
    kit.research(*NIGHT, "--max-runs", "6")
    runs = kit.runs()
    best = min(runs[:5], key=lambda run: run.val_bpb or 9.0)
    assert (runs[-1].commit, runs[-1].seed) == (best.commit, 43)


def test_under_a_new_contract_the_tip_is_measured_first(tmp_path: Path):
    kit = make_night_kit(tmp_path, [*["noise"] * 2, WIN, "loss"])
    kit.research(*NIGHT, "--max-runs", "4")
    tip = kit.git("rev-parse", "HEAD")
    new = [{"kind": "score", "val_bpb": 2.0, "contract": "custom6-0123456789ab"}] * 2
    (kit.root / "script.json").write_text(json.dumps(new))
    (kit.root / "script.json.played").unlink()
    kit.environment["AUTORESEARCH_TIME_BUDGET"] = "6"
    uv = tmp_path / "bin" / "uv"  # that makes no environment here, to ask prepare.py for the contract
    uv.parent.mkdir()
    uv.write_text("#!/bin/sh\nexit 1\n")
    uv.chmod(0o755)
    kit.environment["PATH"] = f"{uv.parent}{os.pathsep}{kit.environment['PATH']}"
    out = kit.printed(*NIGHT, "--max-runs", "2").out
    assert "the branch's tip, first under a contract that is new here" in out
    fifth, sixth = kit.runs()[4:]
    assert (fifth.commit, fifth.seed) == (tip, 42)
    assert sixth.commit != tip
    summary = kit.research("summary")
    assert (summary["baseline"]["commit"], summary["not_shown"]) == (tip, {"scripted-000000000000": 4})
    switch = "uv run research summary --contract scripted-000000000000"
    hidden = "4 runs of another contract are not shown, since scores can be compared within one only. To see them:"
    for verb in ("summary", "archive", "noise"):
        assert f"{hidden} {switch}" in kit.printed(verb).out
    for verb in ("archive", "noise", "watch"):
        assert kit.research(verb)["not_shown"] == summary["not_shown"]
    assert "4 of another contract not shown" in kit.printed("watch", "--once").out
    assert f"{hidden} {switch}" in context_of(answer(kit, "SessionStart", source="startup"))
    assert kit.research(*switch.split()[3:])["runs"] == 4


def test_runs_that_came_to_no_result_are_not_called_hidden(tmp_path: Path):
    kit = make_night_kit(tmp_path)
    kit.git("switch", "-q", "-c", "autoresearch/try")
    with kit.lab().open() as store:
        now = utc(datetime.now(timezone.utc))
        cut = Run("r1", "", "runner", "autoresearch/try", "a" * 40, now, contract="pocket-0123456789ab")
        store.start_run(cut)
        store.finish_run(replace(cut, outcome="interrupted"))
    assert kit.research("summary")["not_shown"] == {}
