"""Runs a command on this machine, hands on its output live, and ends its whole process tree when it must be."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from research.core.contract import ENV_PROFILE, ENV_RUN_DIR, ENV_SEED, RUNNER_EXITS
from research.core.errors import ConfigurationError, UsageError
from research.core.files import FileLock
from research.core.paths import machine_home
from research.core.settings import SETTINGS
from research.runs import gpu, requirements
from research.runs.backend import Backend, CommandResult, DeviceBusy, EndKind, Launch, StopRequest
from research.runs.preflight import COMMAND

_GUARD = Path(__file__).with_name("guard.py")
_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Device files of GPU drivers: NVIDIA's, that of Windows' Linux, and AMD's, which torch serves as CUDA too."""
_POLL_S = 0.1  # how long a stop request may go unnoticed; a person does not see it
_CHUNK = 65_536


def usable_cores() -> list[int]:
    """List the processor cores that this process may use; a second hardware thread of a core comes after the first."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))

    def thread_of_core(number: int) -> int:
        path = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        try:
            siblings = re.findall(r"\d+", path.read_text())
        except OSError:
            return 0
        return siblings.index(str(number)) if str(number) in siblings else 1

    return sorted(allowed, key=lambda number: (thread_of_core(number), number))


class LocalBackend(Backend):
    """The backend "local", this machine: a run gets the first GPU of CUDA_VISIBLE_DEVICES, or else a processor core."""

    name = "local"

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._core: int | None = None  # the processor core that this run is pinned to

    @cached_property
    def _gpu(self) -> gpu.Gpu | None:
        return gpu.choose_gpu(gpu.list_gpus(), self._environment)

    @property
    def _profile(self) -> str:
        return self._environment.get(ENV_PROFILE) or gpu.profile_of(self._gpu)

    @property
    def _shares_cores(self) -> bool:
        """Return whether each run takes one processor core; the official profile without a GPU takes the machine."""
        return self._gpu is None and self._profile == "pocket"

    def check(self, launch: Launch) -> None:
        """Check for uv and train.py's data; anything else that is missing shows when the command is started."""
        if launch.command[0] == "uv":
            requirements.check_uv(self._environment)
        if launch.command == COMMAND:
            requirements.check_data(machine_home(self._environment), self._profile)

    def device(self) -> str:
        return self._gpu.uuid if self._gpu else ""

    def knows_price(self, gpu: str) -> bool:
        return False  # nobody says what an hour of this machine costs

    def usual_timeout_s(self) -> float:
        is_small = self._gpu is not None and self._gpu.is_small() and self._profile == "official"
        return 60 * (SETTINGS.small_gpu_timeout_minutes if is_small else SETTINGS.default_timeout_minutes)

    def contention(self) -> str:
        return gpu.contention(self._gpu)

    def reserve(self, run: str, root: Path) -> tuple[FileLock, ...]:
        """Take the lock of the GPU, or of a free core; all checkouts of this machine share these locks."""
        cores: list[int | None] = [*usable_cores()] if self._shares_cores else [None]
        holders = []
        for core in cores:
            lock = self._lock(f"core-{core}" if core is not None else self.device() or "machine")
            if lock.acquire():
                lock.note(f"{run} of {root}")
                self._core = core
                return (lock,)
            holders.append(lock.read_note() or "another run")
        raise DeviceBusy(", ".join(holders))

    def _lock(self, device: str) -> FileLock:
        # The folder may be shared by several machines over a network file system.
        host = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
        name = re.sub(r"[^\w-]", "_", device)
        return FileLock(machine_home(self._environment) / "locks" / f"{name}-{host}.lock")

    def places(self, workers: int | None) -> list[Mapping[str, str]]:
        """Return a GPU for every worker; nothing for runs that take a free core themselves, and for a single worker."""
        if self._shares_cores:
            cores = len(usable_cores())
            if workers is not None and workers > cores:
                what = f"--workers {workers} needs {workers} processor cores; this process may use {cores}."
                raise UsageError(what, f"Give --workers {cores}, or --backend modal.")
            return [{}] * (workers or min(cores, SETTINGS.default_core_workers))
        if workers is None or workers == 1:
            return [{}]
        devices = gpu.visible_gpus(gpu.list_gpus(), self._environment)
        if len(devices) < workers:
            what = f"--workers {workers} needs {workers} GPUs; there are {len(devices)}."
            raise UsageError(what, "Give fewer workers, or --backend modal.")
        kinds = list(dict.fromkeys(device.name for device in devices[:workers]))
        if len(kinds) > 1:
            what = f"Runs on different cards can't be compared, and --workers {workers} takes {' and '.join(kinds)}."
            alike = [device.uuid or device.index for device in devices if device.name == kinds[0]]
            visible = f"export CUDA_VISIBLE_DEVICES={','.join(alike)}"
            raise UsageError(what, f"Give --workers {len(alike)} at most, and type before: {visible}")
        return [{"CUDA_VISIBLE_DEVICES": device.uuid or device.index} for device in devices[:workers]]

    def provide(self, root: Path, say: Callable[[str], None]) -> None:
        """Make the official profile's data; the pocket profile makes its own on first use."""
        home = machine_home(self._environment)
        requirements.check_home(home)
        if self._profile == "official" and not self._has_device():
            what = f"{ENV_PROFILE}=official needs a CUDA device, and there is none here."
            raise ConfigurationError(
                what, f"Type: unset {ENV_PROFILE}, and the pocket profile, which needs no GPU, is used."
            )
        try:
            requirements.check_data(home, self._profile)
            return
        except ConfigurationError as missing:
            say(f"{missing.what} Getting it: uv run prepare.py")
        try:
            subprocess.run(["uv", "run", "prepare.py"], cwd=root, env=self._environment, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            what = f"The data could not be made (uv run prepare.py: {getattr(error, 'returncode', error)})."
            raise ConfigurationError(what, "Type: uv run prepare.py, and read what it says.") from None
        requirements.check_data(home, self._profile)

    def _has_device(self) -> bool:
        """Check for a GPU; where nvidia-smi is missing, a driver's device file is one."""
        hidden = self._environment.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")
        return self._gpu is not None or (not hidden and any(os.path.exists(place) for place in _DRIVERS))

    def run(
        self, launch: Launch, emit: Callable[[bytes], None], say: Callable[[str], None], stop: StopRequest
    ) -> CommandResult:
        return run_process(launch, launch.command, self._environment, emit, stop, self._gpu, self._core)


def run_process(
    launch: Launch,
    command: tuple[str, ...],
    environment: Mapping[str, str],
    emit: Callable[[bytes], None],
    stop: StopRequest,
    device: gpu.Gpu | None = None,
    core: int | None = None,
) -> CommandResult:
    """Run a command on this machine, with its whole process tree under a guard, and return its end.

    It is pinned to a processor core, if one is given; a GPU, if one is given, is watched for throttling meanwhile.

    Raises:
        ConfigurationError: if the command can't be started.
    """
    began = time.monotonic()
    child = _Child(launch, command, environment, core)
    watch = gpu.ThrottleWatch(device)
    try:
        kind, number = _attend(child, emit, stop, began, launch.timeout_s)
    finally:
        child.close()
        facts = watch.finish()
    if problem := child.reports.get("failed"):
        what = f"{command[0]} can't be started: {os.strerror(problem)}."
        raise ConfigurationError(what, "Install it (uv: https://docs.astral.sh/uv) or mend PATH.")
    why = ""
    if kind == "timeout":
        exit_code, why = RUNNER_EXITS["timeout"], f"ended by the time limit of {launch.timeout_s / 60:g} min"
    elif kind == "interrupted":
        exit_code, why = 128 + number, f"ended by {signal.Signals(number).name}"
    elif child.code is None:
        kind, why = "infrastructure", "the process that watches the command was killed"
        exit_code = RUNNER_EXITS[kind]
    else:
        exit_code = child.code
    phases = {"run": round(time.monotonic() - began, 3)}
    return CommandResult(kind, exit_code, child.code, why, phases, device.name if device else None, facts=facts)


class _Child:
    """A command that runs under a guard: its output, the socket to the guard, and the guard's reports."""

    def __init__(
        self, launch: Launch, command: tuple[str, ...], environment: Mapping[str, str], core: int | None
    ) -> None:
        self.reports: dict[str, int] = {}
        self._unread = b""
        self.channel, theirs = socket.socketpair()
        locks = ",".join(map(str, launch.fds))
        pinned = "" if core is None else str(core)
        own = {ENV_RUN_DIR: str(launch.run_dir), ENV_SEED: str(launch.seed)}
        with theirs, contextlib.ExitStack() as unless_started:
            unless_started.callback(self.channel.close)
            self.guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD), locks, pinned, *command],
                cwd=launch.root,
                env={**environment, **own, "PYTHONUNBUFFERED": "1"},  # without it, lines would arrive by the block
                bufsize=0,
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=launch.fds,
                start_new_session=True,
            )
            unless_started.pop_all()
        assert self.guard.stdout is not None
        self.output = self.guard.stdout

    @property
    def code(self) -> int | None:
        """Return the command's exit code, None before its end."""
        return self.reports.get("exit")

    def read_reports(self) -> bool:
        """Read the guard's reports; False when it has ended."""
        try:
            data = self.channel.recv(_CHUNK)
        except OSError:
            data = b""
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            word, _, number = line.decode().partition(" ")
            self.reports[word] = int(number)
        return bool(data)

    def send(self, number: int) -> None:
        """Pass a signal on to the command's group."""
        with contextlib.suppress(OSError):
            self.channel.send(bytes([number]))

    def end(self) -> None:
        """Order the end of the whole tree."""
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_WR)

    def end_group(self) -> None:
        """End the command's group where the guard did not live to do it."""
        if self.code is None and (group := self.reports.get("started")):
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)

    def close(self) -> None:
        """End what is left, and close everything."""
        self.end()
        self.guard.wait()
        self.channel.close()
        self.output.close()


def _read_ready(ready: selectors.BaseSelector, child: _Child, emit: Callable[[bytes], None]) -> None:
    """Wait a moment for output and for the guard's reports, read what has come, and close what has ended."""
    for key, _ in ready.select(_POLL_S):
        if key.fileobj is child.channel:
            is_open = child.read_reports()
        elif is_open := bool(data := os.read(key.fd, _CHUNK)):
            emit(data)
        if not is_open:
            ready.unregister(key.fileobj)


def _attend(
    child: _Child, emit: Callable[[bytes], None], stop: StopRequest, began: float, timeout_s: float
) -> tuple[EndKind, int]:
    """Hand the output on until the process tree is gone; return the kind of end, and the signal that asked for it."""
    kind: EndKind = "finished"
    number = 0
    kill_at = give_up_at = float("inf")
    with selectors.DefaultSelector() as ready:
        ready.register(child.output, selectors.EVENT_READ)
        ready.register(child.channel, selectors.EVENT_READ)
        while ready.get_map() and "failed" not in child.reports:
            _read_ready(ready, child, emit)
            now = time.monotonic()
            asked = stop.requested()
            if child.guard.poll() is not None:
                # What holds the pipe now can't be ended any more, or belongs to nobody: do not wait for it long.
                child.end_group()
                give_up_at = min(give_up_at, now + SETTINGS.drain_s)
                if now >= give_up_at:
                    break
            elif child.code is not None:
                continue  # the guard is cleaning up
            elif kind == "finished" and asked:
                kind, number, kill_at = "interrupted", asked, now + SETTINGS.kill_grace_s
                child.send(asked)
            elif kind == "finished" and now >= began + timeout_s:
                kind, kill_at = "timeout", now + (SETTINGS.kill_grace_s if timeout_s > 0 else 0.0)
                child.send(signal.SIGTERM)
            elif now >= kill_at:
                child.end()
    return kind, number
