"""What the tests of the Modal backend share: one stand-in, small repositories, stop requests, a recorder of output."""

from __future__ import annotations

import atexit
import functools
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support.modal_standin import StandIn

from research.runs.backend import CommandResult, Launch
from research.runs.modal.backend import ModalBackend
from research.runs.modal.settings import Limits

FAST = Limits(
    tick_s=0.02,
    poll_s=0.1,
    back_off_s=0.05,
    back_off_max_s=0.2,
    call_s=20.0,
    build_s=20.0,
    upload_s=20.0,
    first_bytes_s=3.0,
    start_s=8.0,
    kill_after_s=0.5,
    grace_s=1.0,
    guard_s=2.0,
    drain_s=2.0,
    reopen_s=0.1,
    abandon_s=3.0,
)
"""Limits for a service that is milliseconds away."""

RUN = "20261123-101112-0123abc-4d5e"
PROJECT = '[project]\nname = "x"\nversion = "0"\nrequires-python = ">=3.10"\ndependencies = ["modal"]\n'

SCORE = 'import json, os\njson.dump({"ok": 1}, open(os.environ["AUTORESEARCH_RUN_DIR"] + "/score.json", "w"))\n'
GOOD = (
    "import time\n"
    "for i in range(8):\n    print('line', i); time.sleep(0.04)\n"
    + SCORE
    + "print('---'); print('val_bpb: 1.000000')\n"
)
"""A train.py that prints ten lines in a third of a second and leaves a score."""
GOOD_LINES = 10
SLOW = "import time\nfor i in range(3):\n    print('line', i)\ntime.sleep(60)\n"
"""One that prints three lines and then sleeps."""


@functools.cache
def shared_standin() -> StandIn:
    """The process's one stand-in: the client keeps its first connection for good."""
    standin = StandIn()
    standin.__enter__()
    atexit.register(standin.__exit__)
    return standin


@dataclass
class Stop:
    """A stop request that a test makes, with this signal's number."""

    number: int | None = None
    when: Callable[[], bool] | None = None  # the condition from which on it is made

    def requested(self) -> int | None:
        due = self.when is None or self.when()
        return self.number if due else None


@dataclass
class Heard:
    """Return what a run said."""

    output: bytes = b""
    said: list[str] = field(default_factory=list)  # the backend's own lines

    def emit(self, data: bytes) -> None:
        self.output += data

    def say(self, line: str) -> None:
        self.said.append(line)

    @property
    def text(self) -> str:
        return self.output.decode()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


class Place:
    """A repository with one commit, a data folder and a run folder, below a temporary one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "repo"
        self.home = folder / "home"
        self.run_dir = folder / "run"
        self.root.mkdir()
        self.git("init", "-q", "-b", "main")
        self.put("pyproject.toml", PROJECT)
        for name, text in (
            ("data/shard_00000.parquet", "training"),
            ("data/shard_06541.parquet", "audit"),
            ("data/shard_06542.parquet", "validation"),
            ("tokenizer/tokenizer.json", "{}"),
        ):
            path = self.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def git(self, *args: str) -> str:
        command = ["git", "-C", str(self.root), "-c", "user.name=t", "-c", "user.email=t@example.org", *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def put(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def commit(self, train: str) -> str:
        """Commits this train.py with everything else; returns the hash."""
        self.put("train.py", train)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "exp: x")
        return self.git("rev-parse", "HEAD")

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {"AUTORESEARCH_HOME": str(self.home), "HF_HOME": str(self.folder / "hf")} | dict(more or {})

    def launch(
        self,
        commit: str | None,
        command: tuple[str, ...] = ("uv", "run", "train.py"),
        timeout_s: float = 20.0,
        queue_s: float | None = None,
        gpu: str = "H100",
        run: str = RUN,
    ) -> Launch:
        return Launch(run, self.run_dir, self.root, commit, command, 42, gpu, timeout_s, queue_s)

    def play(
        self,
        train: str,
        *,
        stop: Stop | None = None,
        heard: Heard | None = None,
        env: Mapping[str, str] | None = None,
        limits: Limits = FAST,
        command: tuple[str, ...] = ("uv", "run", "train.py"),
        timeout_s: float = 20.0,
        queue_s: float | None = None,
        gpu: str = "H100",
        recorded: bool = True,
    ) -> tuple[CommandResult, Heard]:
        """Commits a train.py and runs it on the stand-in."""
        commit = self.commit(train)
        heard = heard or Heard()
        launch = self.launch(commit if recorded else None, command, timeout_s, queue_s, gpu)
        backend = ModalBackend(self.env(env), limits)
        return backend.run(launch, heard.emit, heard.say, stop or Stop()), heard


def orphan_script(place: Place, commit: str) -> str:
    """Python text that launches a slow run and prints "ready" once its first line is there."""
    return (
        "import os, sys, time\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]!r}\n"
        "from pathlib import Path\n"
        "from support.modal_kit import FAST, Heard, Stop\n"
        "from research.runs.backend import Launch\n"
        "from research.runs.modal.backend import ModalBackend\n"
        f"launch = Launch({RUN!r}, Path({str(place.run_dir)!r}), Path({str(place.root)!r}), {commit!r},\n"
        "    ('uv', 'run', 'train.py'), 42, 'H100', 50.0, None)\n"
        "def emit(data):\n    print('ready', flush=True)\n"
        f"ModalBackend({place.env()!r} | dict(os.environ), FAST).run(launch, emit, print, Stop())\n"
    )
