"""What a launch on Modal ships, asks for and shows, seen through the real client and the stand-in."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from support.modal_kit import FAST, GOOD, RUN, SCORE, SLOW, Heard, Stop

from research.runs.modal import reap
from research.runs.modal.backend import ModalBackend

pytest_plugins = ("support.modal_fixtures",)

PRINT_ENV = "import os\nfor k in sorted(os.environ): print(k + '=' + os.environ[k])\n" + SCORE


def environment_of(heard: Heard) -> dict[str, str]:
    return dict(line.split("=", 1) for line in heard.lines if "=" in line)


# Output ---------------------------------------------------------------------------------------------------------


def test_output_is_live(standin, place, tmp_path) -> None:
    """The command waits for a file that is only made once its first line has arrived here."""
    flag = tmp_path / "seen"
    train = (
        "import os, time\nprint('first')\n"
        f"for _ in range(400):\n    if os.path.exists({str(flag)!r}): break\n    time.sleep(0.02)\n"
        f"else: raise SystemExit(9)\nprint('second')\n" + SCORE
    )
    heard = Heard()

    class Touching(Heard):
        def emit(self, data: bytes) -> None:
            flag.touch()
            super().emit(data)

    heard = Touching()
    ended, _ = place.play(train, heard=heard)
    assert ended.exit_code == 0, ended
    assert heard.lines == ["first", "second"]


def test_stdout_and_stderr_keep_their_order(standin, place) -> None:
    train = "import sys\nfor i in range(50):\n    print(i, file=sys.stderr if i % 3 else sys.stdout)\n" + SCORE
    ended, heard = place.play(train)
    assert ended.exit_code == 0
    assert heard.lines == [str(i) for i in range(50)]


def test_output_is_the_commands_own_to_the_byte(standin, place) -> None:
    text = "é\n\n  x\tpart::autoresearch:0: end 0 1 none\nno newline at the end"
    ended, heard = place.play(f"import sys; sys.stdout.write({text!r})\n" + SCORE)
    assert ended.exit_code == 0
    assert heard.text == text


def test_a_broken_pipe_ends_the_sandbox(standin, place) -> None:
    class Closed(Heard):
        def emit(self, data: bytes) -> None:
            raise BrokenPipeError

    ended, _ = place.play(SLOW, heard=Closed())
    assert (ended.kind, ended.exit_code) == ("interrupted", 128 + signal.SIGPIPE)
    assert standin.containers[0].status == "TERMINATED"


def test_an_error_of_the_runners_own_ends_the_sandbox(standin, place) -> None:
    class Full(Heard):
        def emit(self, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        place.play(SLOW, heard=Full())
    assert standin.containers[0].status == "TERMINATED"


# What is shipped ------------------------------------------------------------------------------------------------


def test_only_the_commits_files_are_shipped(standin, place) -> None:
    """Neither secrets nor results nor a log that somebody is writing; the lock file is added."""
    commit = place.commit("import os\nfor d, _, f in os.walk('.'):\n    print(d, sorted(f))\n" + SCORE)
    for name in (".env", ".netrc", "worktrees/a/train.py", "queue/x", "results/runs/r/run.log"):
        place.put(name, "secret")
    future = time.time() + 1000
    os.utime(place.put("run_a.log", "growing"), (future, future))
    place.put("train.py", "raise SystemExit('edited after the commit')")
    place.put("uv.lock", "version = 1\n")
    heard = Heard()
    ended = ModalBackend(place.env(), FAST).run(place.launch(commit), heard.emit, heard.say, Stop())
    assert ended.exit_code == 0, heard.text
    assert heard.lines == [". ['pyproject.toml', 'train.py', 'uv.lock']"]
    assert ended.facts["shipped"] == f"commit {commit}"


def test_a_command_without_a_commit_gets_the_tracked_files_as_they_lie(standin, place) -> None:
    place.commit("print('old')")
    place.put("train.py", "print('edited')")
    place.put(".env", "secret")
    heard = Heard()
    launch = place.launch(None, ("python", "train.py"))
    ended = ModalBackend(place.env(), FAST).run(launch, heard.emit, heard.say, Stop())
    assert (ended.kind, ended.exit_code, heard.lines) == ("finished", 0, ["edited"])
    assert ended.facts["shipped"].startswith("work tree ")
    assert standin.containers[0].name == f"worktree-{RUN}-1"


def test_the_sandbox_is_asked_for_with_everything_that_matters(standin, place) -> None:
    ended, _ = place.play(GOOD, gpu="H100", timeout_s=33.0)
    wanted = standin.service.definitions[standin.containers[0].id]
    assert wanted.resources.gpu_config.gpu_type == "H100!"
    assert (wanted.resources.milli_cpu, wanted.resources.memory_mb) == (8000, 32768)
    assert wanted.timeout_secs == FAST.sandbox_s(33.0)
    assert wanted.workdir == "/app"
    mount = wanted.volume_mounts[0]
    assert (mount.mount_path, mount.read_only) == ("/root/.cache/autoresearch", True)
    assert mount.sub_path.strip("/") == ended.facts["data"]
    container = standin.containers[0]
    commit = place.git("rev-parse", "HEAD")
    assert container.name == f"{commit[:8]}-{RUN}-1"
    assert container.tags["run"] == RUN
    assert container.tags["commit"] == commit
    assert container.tags["host"] == reap.tag_text(socket.gethostname())


def test_the_command_finds_its_environment(standin, place) -> None:
    """The image's own Python comes first, as no login shell resets the path."""
    ended, heard = place.play(PRINT_ENV, env={"AUTORESEARCH_TIME_BUDGET": "7", "SECRET_KEY": "x"})
    env = environment_of(heard)
    assert ended.exit_code == 0
    assert env["AUTORESEARCH_SEED"] == "42"
    assert env["AUTORESEARCH_TIME_BUDGET"] == "7"
    assert env["PYTHONUNBUFFERED"] == "1"
    assert env["UV_NO_SYNC"] == env["UV_FROZEN"] == "1"
    assert "SECRET_KEY" not in env
    assert "/.uv/.venv/bin" in env["PATH"]
    assert Path(env["AUTORESEARCH_RUN_DIR"]) != place.run_dir
    ended, heard = place.play("import sys; print(sys.prefix)\n" + SCORE, command=("python", "train.py"))
    assert heard.lines == [sys.prefix] or heard.lines[0].endswith("/.uv/.venv"), heard.text


def test_the_mark_is_out_of_the_commands_sight(standin, place) -> None:
    """Neither its environment nor any command line of its ancestors nor an open file shows it."""
    train = (
        "import os, glob\n"
        "def read(p):\n    try: return open(p, 'rb').read().decode('utf-8', 'replace')\n    except OSError: return ''\n"
        "pid, seen = os.getpid(), ''\n"
        "for _ in range(3):\n"
        "    seen += read(f'/proc/{pid}/environ') + read(f'/proc/{pid}/cmdline')\n"
        "    pid = int(read(f'/proc/{pid}/stat').rpartition(')')[2].split()[1])\n"
        "print('seen' if '::autoresearch:' in seen else 'unseen', sorted(os.listdir('/proc/self/fd'))[:3])\n" + SCORE
    )
    ended, heard = place.play(train)
    assert ended.exit_code == 0
    assert heard.lines == ["unseen ['0', '1', '2']"]


# Scores ---------------------------------------------------------------------------------------------------------


def test_the_score_comes_back(standin, place) -> None:
    place.play("import os\nopen(os.environ['AUTORESEARCH_RUN_DIR'] + '/score.json', 'w').write('{\"x\": 1}' * 5000)")
    assert (place.run_dir / "score.json").read_text() == '{"x": 1}' * 5000


def test_a_failed_probe_brings_its_score_back_too(standin, place) -> None:
    ended, heard = place.play(SCORE + "raise SystemExit(4)")
    assert (ended.kind, ended.exit_code, ended.child_exit, heard.text) == ("finished", 4, 4, "")
    assert (place.run_dir / "score.json").read_text() == '{"ok": 1}'


def test_a_score_too_large_for_a_log_is_no_score(standin, place) -> None:
    big = "open(os.environ['AUTORESEARCH_RUN_DIR'] + '/score.json', 'w').write('x' * (9 << 20))"
    ended, _ = place.play("import os\n" + big)
    assert (ended.kind, ended.exit_code) == ("infrastructure", 75)
    assert ended.facts["score"] == "damaged"


def test_a_command_that_is_not_recorded_needs_no_score(standin, place) -> None:
    ended, _ = place.play("print(1)", recorded=False)
    assert (ended.kind, ended.exit_code) == ("finished", 0)


def test_leftovers_of_the_command_are_ended(standin, place) -> None:
    train = "import subprocess\nsubprocess.Popen(['sh', '-c', 'sleep 0.5; echo late; sleep 30'])\nprint('a')\n" + SCORE
    ended, heard = place.play(train)
    assert (ended.exit_code, heard.lines) == (0, ["a"])
