"""What a night needs before its first run: a branch to work on, data, and devices for its workers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from research.core import git
from research.core.contract import BRANCHES
from research.core.errors import ConfigurationError, ResearchError, UsageError
from research.core.paths import machine_home
from research.lab.lab import Lab
from research.lab.launch import Request
from research.runs import gpu, preflight
from research.runs.backend import Launch


def take_branch(root: Path, wanted: str | None, now: datetime) -> str:
    """The autoresearch/* branch that the checkout stands on; makes one, or goes back to the wanted one.

    Args:
        root: The checkout.
        wanted: The branch of a night that is taken up again, None without one.
        now: Names a new branch.

    Raises:
        ResearchError: if files would have to be given up for it, or there is no commit.
    """
    here = git.head(root)
    if here.commit is None:
        raise ResearchError("This repository has no commit yet.", "Type: git add -A && git commit -m base")
    if here.branch.startswith(BRANCHES) and wanted in (None, here.branch):
        return here.branch
    if doing := git.unfinished(root):
        raise ResearchError(f"A {doing} is in progress.", f"Finish it, or type: git {doing} --abort")
    if changed := git.changed_files(root):
        shown = ", ".join(changed[:5])
        raise ResearchError(
            f"The work tree is not clean ({shown}); a night needs a branch of its own.",
            "Commit or stash the changes (git stash), then start again.",
        )
    if wanted and git.branch_tip(root, wanted):
        git.switch(root, wanted)
        return wanted
    branch = new_name(root, now)
    git.switch_to_new_branch(root, branch)
    return branch


def new_name(root: Path, now: datetime) -> str:
    """A branch of today that does not exist yet: autoresearch/nov25, autoresearch/nov25-2, ..."""
    day = BRANCHES + f"{now:%b%d}".lower()
    name, number = day, 1
    while git.branch_tip(root, name):
        number += 1
        name = f"{day}-{number}"
    return name


def uncommitted(root: Path) -> str:
    """What a person is told whose edits of train.py no run will see, "" without any."""
    if not git.differing(root, (preflight.TARGET,)):
        return ""
    tip = (git.head(root).commit or "")[:7]
    return f"train.py has uncommitted edits: the night measures HEAD {tip}; commit them to have them measured."


def check_backend(lab: Lab, request: Request) -> None:
    """Looks for what would keep every run from its launch, before anything is begun.

    Raises:
        UsageError: if there is no such backend.
        ConfigurationError: if it lacks something: a package, a token, a script.
    """
    launch = Launch(
        run="",
        run_dir=lab.paths.runs,
        root=lab.paths.root,
        commit=None,
        command=preflight.COMMAND,
        seed=request.seed,
        gpu=request.gpu,
        timeout_s=request.timeout_s,
    )
    lab.make_backend(request.backend, lab.environment).check(launch)


def provide_data(root: Path, environment: Mapping[str, str], backend: str, say: Callable[[str], None]) -> None:
    """Makes the official profile's data where it is missing; the pocket profile makes its own on first use.

    Only runs at home need it here; a remote backend says itself what it lacks.

    Raises:
        ConfigurationError: if it can't be made.
    """
    if backend != "local":
        return
    has_gpu = gpu.chosen(gpu.gpus(), environment) is not None
    try:
        preflight.check_data(machine_home(environment), environment, has_gpu)
        return
    except ConfigurationError as missing:
        say(f"{missing.what} Getting it: uv run prepare.py")
    try:
        done = subprocess.run(["uv", "run", "prepare.py"], cwd=root, env=dict(environment), check=False)
        code: int | str = done.returncode
    except OSError as error:
        code = str(error.strerror or error)
    if code != 0:
        what = f"The data could not be made (uv run prepare.py: {code})."
        raise ConfigurationError(what, "Type: uv run prepare.py, and read what it says.")
    preflight.check_data(machine_home(environment), environment, has_gpu)


@dataclass(frozen=True)
class Slot:
    """A worker's place: its number from 1 and the variables that give it its device."""

    number: int
    environment: Mapping[str, str]


def slots(workers: int, backend: str, environment: Mapping[str, str]) -> tuple[Slot, ...]:
    """One place a worker; at home each gets a GPU of its own.

    Raises:
        UsageError: if there are fewer devices than workers.
    """
    if workers < 1:
        raise UsageError(f"--workers {workers} does nothing.", "Give 1 or more.")
    if backend != "local" or workers == 1:
        return tuple(Slot(number, environment) for number in range(1, workers + 1))
    devices = gpu.gpus()
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",") if name.strip()]
        devices = tuple(d for d in devices if any(d.index == n or d.uuid.startswith(n) for n in names))
    if len(devices) < workers:
        raise UsageError(
            f"--workers {workers} needs {workers} GPUs; there are {len(devices)}.",
            "Give fewer workers, or --backend modal.",
        )
    return tuple(
        Slot(number, {**environment, "CUDA_VISIBLE_DEVICES": device.uuid or device.index})
        for number, device in enumerate(devices[:workers], 1)
    )
