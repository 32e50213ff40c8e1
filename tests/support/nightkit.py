"""A repository with the real train.py, and a made-up response to its constants: whole nights in seconds."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from research.agents.night.editors import BuiltinEditor, Editor
from research.agents.night.loop import Night
from research.agents.night.state import FACT, NightState, from_json
from research.core.paths import LabPaths
from research.core.records import Run
from research.lab.lab import Lab
from research.lab.launch import Request
from research.store.open import read_store
from tests.support import inprocess
from tests.support.templates import ALONE, commit_all, template

NIGHT = ("night", "--backend", "scripted")

CHECKOUT = Path(__file__).resolve().parents[2]

SURFACE = {
    "least": 1.9,
    "sd": 0.001,
    "pulls": {
        "MATRIX_LR": {"best": 0.02, "weight": 0.01},
        "EMBEDDING_LR": {"best": 0.5, "weight": 0.008},
        "WARMDOWN": {"best": 0.5, "weight": 0.02},
        "TOTAL_BATCH_SIZE": {"best": 4096, "weight": 0.01},
        "ROPE_BASE": {"best": 30000, "weight": 0.003},
        "DEPTH": {"best": 5, "weight": 0.05},
        "INIT_SCALE": {"best": 1.0, "weight": 0.02},
    },
    "crash_above": {"WIDTH": 200},
}


@dataclass(frozen=True)
class NightKit:
    """One repository and the environment of its commands."""

    root: Path
    environment: dict[str, str]

    @property
    def paths(self) -> LabPaths:
        """Its paths."""
        return LabPaths(self.root)

    def runs(self) -> list[Run]:
        """Every run on record."""
        with read_store(self.paths) as store:
            return store.runs()

    def state(self, **changes: Any) -> NightState:
        """The latest night on record, changed where asked."""
        with read_store(self.paths) as store:
            state = from_json(store.fact(FACT))
            assert state is not None
            if changes:
                state = replace(state, **changes)
                store.set_fact(FACT, state.to_json())
        return state

    def lab(self, kind: type[Lab] = Lab, **how: Any) -> Lab:
        """The lab, whose runs print nowhere."""
        return kind(self.paths, environment=self.environment, stream=io.BytesIO(), say=lambda _: None, **how)

    def loop(
        self,
        lab: Lab,
        state: NightState,
        say: Callable[[str], None] = print,
        editor: Editor | None = None,
        workers: int = 1,
        **how: Any,
    ) -> Night:
        """A night inside this process."""
        backend = lab.make_backend("scripted", self.environment)
        places = [{**self.environment, **own} for own in backend.places(workers)]
        return Night(lab, state, editor or BuiltinEditor(lab), places, Request((), backend="scripted"), say, **how)

    def git(self, *args: str) -> str:
        """Runs git there."""
        done = subprocess.run(["git", *args], cwd=self.root, capture_output=True, text=True, env=self.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def command(self, *words: str) -> list[str]:
        """A research command line."""
        return [sys.executable, "-m", "research", *words]

    def research(self, *words: str, code: int = 0) -> Any:
        """Runs a verb with --json, without a process of its own, and returns its object."""
        done = self.printed(*words, "--json")
        assert done.code == code, done.out + done.err
        return json.loads(done.out)

    def printed(self, *words: str) -> inprocess.Printed:
        """Runs a verb, without a process of its own, and returns what it printed."""
        return inprocess.research(self.root, self.environment, *words)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Starts a verb in a process group of its own."""
        with open(self.root / "night.out", "ab") as out:
            return subprocess.Popen(
                self.command(*words), cwd=self.root, env=self.environment, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip


def make_night_kit(folder: Path, script: Any = None) -> NightKit:
    """A fresh repository on main.

    Args:
        folder: An empty folder.
        script: What the scripted backend plays; by default SURFACE.
    """
    root, home = folder / "repo", folder / "home"
    home.mkdir()
    shutil.copytree(template(_commit_base, ""), root, symlinks=True)
    (root / "script.json").write_text(json.dumps({"surface": SURFACE} if script is None else script))
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "AUTORESEARCH_"))},
        "HOME": str(home),
        "AUTORESEARCH_HOME": str(home / "cache"),
        "AUTORESEARCH_SCRIPT": str(root / "script.json"),
        "PYTHONPATH": str(CHECKOUT),
        **ALONE,
    }
    return NightKit(root, environment)


def _commit_base(root: Path, _: str) -> None:
    """Make a repository of this checkout's benchmark, with one commit on main."""
    for name in ("train.py", "prepare.py", "pyproject.toml", ".gitignore"):
        shutil.copyfile(CHECKOUT / name, root / name)
    (root / ".gitignore").write_text((root / ".gitignore").read_text() + "\nscript.json*\nnight.out\n")
    commit_all(root, "base")
