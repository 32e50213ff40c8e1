"""Launchers that are killed or stopped, and launches that cannot be."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.modal_faults import FOREVER
from support.modal_kit import FAST, GOOD, GOOD_LINES, RUN, SLOW, Heard, Place, Stop, orphan_script
from support.modal_standin import StandIn

from research.core.errors import ConfigurationError
from research.runs.modal.backend import ModalBackend
from research.runs.modal.reap import reap

pytest_plugins = ("support.modal_fixtures",)

REPOSITORY = Path(__file__).parents[2]


# Orphans and stopping -------------------------------------------------------------------------------------------


def start_orphan(standin: StandIn, place: Place) -> subprocess.Popen[str]:
    text = orphan_script(place, place.commit(SLOW))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", text], **pipes, text=True, env=os.environ | standin.env)
    assert child.stdout is not None
    while "ready" not in (line := child.stdout.readline()):
        assert line, "the launcher died"
    return child


def test_the_sandbox_of_a_killed_launcher_is_reaped(standin, place) -> None:
    child = start_orphan(standin, place)
    (orphan,) = standin.containers
    try:
        assert reap(place.env()) == []  # its launcher lives
    finally:
        child.kill()
        child.communicate()
    assert orphan.status is None
    ended, heard = place.play(GOOD)  # the next launch looks for orphans first
    assert ended.exit_code == 0
    assert orphan.status == "TERMINATED"
    assert any(RUN in line and "orphan" in line for line in heard.said)
    assert reap(place.env()) == []


def test_a_sandbox_whose_end_was_not_confirmed_is_reaped_while_its_launcher_lives_on(standin, place) -> None:
    standin.faults.terminate_fails = FOREVER
    heard = Heard()
    ended, _ = place.play(SLOW, heard=heard, stop=Stop(signal.SIGTERM, lambda: len(heard.lines) >= 3))
    assert (ended.kind, standin.containers[0].status) == ("interrupted", None)
    assert any("--reap" in line for line in heard.said)
    standin.faults.terminate_fails = 0
    assert reap(place.env()) == [RUN]
    assert standin.containers[0].status == "TERMINATED"
    assert list((place.home / "locks").iterdir()) == []


def test_ctrl_c_ends_the_sandbox_even_where_nobody_catches_the_signal(standin, place) -> None:
    child = start_orphan(standin, place)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode == -signal.SIGINT
    assert [c.status for c in standin.containers] == ["TERMINATED"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_queueing_ends_what_was_asked_for(standin, place, number) -> None:
    standin.faults.gpu_late_s = 30.0
    stop = Stop(int(number), lambda: bool(standin.containers))
    ended, _ = place.play(GOOD, stop=stop)
    assert (ended.kind, ended.exit_code) == ("interrupted", 128 + number)
    assert [c.status for c in standin.containers] == ["TERMINATED"]


def test_a_stop_before_anything_was_asked_for(standin, place) -> None:
    ended, _ = place.play(GOOD, stop=Stop(signal.SIGHUP))
    assert (ended.kind, ended.exit_code, standin.containers) == ("interrupted", 129, [])


def test_three_first_runs_at_once_do_not_disturb_each_other(standin, place) -> None:
    commit = place.commit(GOOD)
    ends: list[tuple[str, int, int]] = []

    def work(number: int) -> None:
        heard = Heard()
        launch = dataclasses.replace(place.launch(commit, run=f"{RUN}{number}"), run_dir=place.folder / f"run{number}")
        ended = ModalBackend(place.env(), FAST).run(launch, heard.emit, heard.say, Stop())
        ends.append((ended.kind, ended.exit_code, len(heard.lines)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [("finished", 0, GOOD_LINES)] * 3
    assert len({c.name for c in standin.containers}) == 3


# Configuration --------------------------------------------------------------------------------------------------


def run_python(text: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    paths = {"PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "tests")))}
    return subprocess.run([sys.executable, "-c", text], env=env | paths, capture_output=True, text=True, check=False)


LAUNCH = """
import os
from pathlib import Path
from research.core.errors import ConfigurationError
from research.runs.backend import Launch
from research.runs.modal.backend import ModalBackend
launch = Launch('r', Path('.'), Path('.'), None, ('true',), 42, 'H100', 60.0)
try:
    ModalBackend(os.environ).check(launch)
except ConfigurationError as error:
    print(error)
"""


def test_without_modal_the_module_loads_and_the_backend_says_what_to_install(tmp_path) -> None:
    text = "import sys\nsys.modules['modal'] = None\n" + LAUNCH
    done = run_python(text, {"HOME": str(tmp_path), "PATH": os.environ["PATH"]})
    assert done.stderr == ""
    assert done.stdout.startswith("The modal package cannot be imported")
    assert "uv sync" in done.stdout


def test_importing_the_backend_does_not_import_modal(tmp_path) -> None:
    text = "import sys, research.runs.modal.backend, research.runs.modal.reap\nprint('modal' in sys.modules)"
    assert run_python(text, {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}).stdout == "False\n"


def test_without_a_token_one_line_says_what_to_type(tmp_path) -> None:
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "MODAL_CONFIG_PATH": str(tmp_path / "none.toml")}
    done = run_python(LAUNCH, env)
    assert done.stderr == ""
    assert done.stdout.startswith("There is no Modal token. Type: uv run modal setup")
    assert done.stdout.count("\n") == 1


def test_a_refused_token_is_configuration(standin, place) -> None:
    standin.faults.refuse_token = True
    ended, _ = place.play(GOOD)
    assert (ended.kind, ended.exit_code) == ("configuration", 78)
    assert "Token ID is malformed" in ended.why


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"env": {"AUTORESEARCH_HOME": "/nonexistent/home"}}, "uv run prepare.py --profile official"),
        ({"env": {"AUTORESEARCH_PROFILE": "pocket"}}, "--profile pocket"),
        ({"gpu": "none at all"}, "--gpu H100"),
        ({"gpu": ""}, "--gpu H100"),
        ({"timeout_s": 86400.0}, "--timeout"),
        ({"env": {"AUTORESEARCH_MODAL_USD_PER_HOUR": "cheap"}}, "AUTORESEARCH_MODAL_USD_PER_HOUR"),
    ],
)
def test_what_cannot_be_launched_is_told_before_the_network(standin, place, change, word) -> None:
    options = {**change}
    env = place.env(options.pop("env", None))
    with pytest.raises(ConfigurationError) as caught:
        ModalBackend(env, FAST).check(place.launch(place.commit(GOOD), **options))
    assert word in str(caught.value)
    assert standin.counts.of("AppGetOrCreate") == 0


def test_nothing_is_left_on_stderr_after_a_stopped_run(standin, place) -> None:
    """No traceback of the client's closing connections is the last word in a log."""
    text = orphan_script(place, place.commit(SLOW)).replace(
        "def emit(data):\n    print('ready', flush=True)\n",
        "heard = []\ndef emit(data):\n    heard.append(data)\n",
    )
    text = text.replace("print, Stop())", "lambda line: None, Stop(15, lambda: bool(heard)))")
    child = subprocess.run(
        [sys.executable, "-c", text], env=os.environ | standin.env, capture_output=True, text=True, check=False
    )
    assert (child.returncode, child.stdout, child.stderr) == (0, "", "")
