"""How a night begins and what it says then and at its end: what keeps it from beginning is a clear error."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from research.agents.night.notify import notifier, require_command
from research.agents.night.state import NightLimits
from tests.support.nightkit import NIGHT, NightKit, make_night_kit


@pytest.fixture
def kit(tmp_path: Path) -> NightKit:
    return make_night_kit(tmp_path)


def out_of(kit: NightKit, *words: str) -> list[str]:
    """The lines of a night that comes to its end."""
    done = kit.printed(*NIGHT, *words)
    assert done.code == 0, done.out + done.err
    return done.out.splitlines()


# What keeps it from beginning -----------------------------------------------------------------------------------


def test_an_unknown_backend_is_refused_before_anything_is_begun(kit: NightKit):
    told = kit.research("night", "--backend", "foo", "--max-runs", "1", code=2)
    assert "There is no backend 'foo'" in told["error"]["what"]
    assert kit.git("branch", "--show-current") == "main"


def test_a_backend_that_lacks_something_is_an_error(kit: NightKit):
    kit.environment.pop("AUTORESEARCH_SCRIPT")
    told = kit.research(*NIGHT, "--max-runs", "1", code=1)
    assert "no script" in told["error"]["what"]
    for name in [name for name in kit.environment if name.startswith("MODAL_")]:
        del kit.environment[name]
    kit.environment["MODAL_CONFIG_PATH"] = str(kit.root / "none.toml")
    told = kit.research("night", "--backend", "modal", "--max-runs", "1", code=1)
    assert "no Modal token" in told["error"]["what"]
    assert kit.git("branch", "--show-current") == "main"


def test_a_limit_in_dollars_without_a_price_is_refused_before_anything_is_begun(kit: NightKit):
    refused = kit.research("night", "--backend", "local", "--max-usd", "5", code=2)["error"]
    assert refused["what"] == "--max-usd needs a price, and the backend local names none."
    assert refused["next"] == "Type: uv run research night --max-usd 5 --usd-per-hour 2.5"
    refused = kit.research(*NIGHT, "--max-usd", "5", code=2)["error"]
    assert refused["next"] == "Type: uv run research night --max-usd 5 --usd-per-hour 2.5 --backend scripted"
    assert kit.git("branch", "--show-current") == "main"
    assert kit.research(*NIGHT, "--max-usd", "5", "--usd-per-hour", "2.5", "--max-runs", "1")["runs"] == 1


@pytest.mark.parametrize("option", ["--hours", "--max-usd", "--timeout", "--max-runs"])
def test_a_limit_of_nothing_is_no_limit(kit: NightKit, option: str):
    assert option in kit.research(*NIGHT, option, "0", code=2)["error"]["what"]


def test_a_night_without_a_run_for_want_of_data_is_an_error_and_takes_no_interrupted_one_away(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise", "no_data", "noise"])
    kit.research(*NIGHT, "--max-runs", "1")
    (kit.root / "train.py").write_text((kit.root / "train.py").read_text() + "\nEXTRA = 1\n")
    kit.git("-c", "user.name=Test", "-c", "user.email=test@example.org", "commit", "-qam", "exp: by a person")
    kit.state(night="cut", limits=NightLimits(2), finished_utc=None, stop_reason=None)
    told = kit.research(*NIGHT, "--max-runs", "2", code=1)
    assert told["error"]["what"].startswith("The night made no run: ")
    told = kit.research(*NIGHT, "--max-runs", "2")
    assert (told["night"], told["runs"]) == ("cut", 2)


def test_what_to_type_before_the_first_commit_works_where_git_knows_no_author(kit: NightKit):
    shutil.rmtree(kit.root / ".git")
    kit.environment.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1", EMAIL="")
    kit.git("init", "-q")
    kit.git("config", "user.useConfigOnly", "true")
    step = kit.research(*NIGHT, "--max-runs", "1", code=1)["error"]["next"]
    subprocess.run(["sh", "-c", step.removeprefix("Type: ")], cwd=kit.root, env=kit.environment, check=True)
    assert kit.research(*NIGHT, "--max-runs", "1")["runs"] == 1


# What it says ---------------------------------------------------------------------------------------------------


def test_it_says_that_uncommitted_edits_are_not_measured(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise", {"kind": "win", "by": -0.012}])
    kit.git("switch", "-q", "-c", "autoresearch/try")
    tip, train = kit.git("rev-parse", "HEAD"), kit.root / "train.py"
    assert not any("ncommitted edits" in line for line in out_of(kit, "--max-runs", "1"))
    train.write_text(train.read_text() + "\n# mine\n")
    (kit.root / "prepare.py").write_text("# mine\n")
    lines = out_of(kit, "--max-runs", "1")
    assert next(line for line in lines if "follows when it can" in line).endswith("type: uv run research settle")
    said = f"the night measures HEAD {tip[:7]}; commit them to have them measured."
    assert f"Uncommitted edits of prepare.py, train.py: {said}" in lines[:2]
    assert train.read_text().endswith("# mine\n")


def test_it_says_that_the_first_run_is_going_on(kit: NightKit):
    lines = out_of(kit, "--max-runs", "3")
    assert lines[1] == "running: baseline; every run gets its line when it ends"
    assert sum(line.startswith("running") for line in lines) == 1


def test_it_names_what_it_measures_again(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise", {"kind": "score", "val_bpb": 0.9}, "noise"])
    out_of(kit, "--max-runs", "2")
    again = out_of(kit, "--max-runs", "1")[1]
    assert re.fullmatch(r"running: baseline [0-9a-f]{7}, once more; every run gets its line when it ends", again)


def test_its_end_says_what_was_found(tmp_path: Path):
    heard = tmp_path / "heard"
    kit = make_night_kit(tmp_path, ["noise", "noise", *[{"kind": "win", "by": -0.012}] * 2])
    tell = f'[ "$AUTORESEARCH_EVENT" != end ] || cat >> {heard}'
    assert "beats the baseline yet" in out_of(kit, "--max-runs", "2", "--notify", tell)[-2]
    end = out_of(kit, "--max-runs", "2", "--notify", tell)[-2]
    assert end.startswith("Ended: 2 runs were made (--max-runs). 2 runs, ")
    best = end[end.index("Best on the branch: ") :]
    assert re.fullmatch(r".+; val_bpb [\d.]+ \(n=\d\), -0\.\d+ \[.+\] against the baseline, (not )?confirmed\.", best)
    assert [line.split("Runs: 2. ")[1] for line in heard.read_text().splitlines()] == [
        "Nothing on the branch beats the baseline yet.",
        best,
    ]


def test_a_notify_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch):
    def hang(words: list[str], **how: float) -> None:
        raise subprocess.TimeoutExpired(words, how["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    said: list[str] = []
    notifier("sleep 100", said.append)("end", "The night ended.")
    assert said == ["--notify was ended after 30 s; the night waits no longer for it"]


@pytest.mark.parametrize(
    ("line", "why"), [("no-such-command-here -s night", "there is no command"), ("echo 'oh", "the shell can't read")]
)
def test_a_notify_that_could_never_run_is_refused(kit: NightKit, line: str, why: str):
    told = kit.research(*NIGHT, "--max-runs", "1", "--notify", line, code=2)
    assert why in told["error"]["what"]
    assert kit.git("branch", "--show-current") == "main"


@pytest.mark.parametrize(
    "line",
    [
        "cat >> ~/night.txt",
        "A=1 B='x y' tell me",
        "A=1 cat",
        '[ "$AUTORESEARCH_EVENT" = kept ] || cat',
        "if true; then cat; fi",
        "tell() { cat; }; tell",
        "(cat; date) > /dev/null",
        "/bin/cat",
        "cat|cat",
        ": nothing",
    ],
)
def test_any_other_line_of_shell_is_taken(line: str):
    require_command(line)
