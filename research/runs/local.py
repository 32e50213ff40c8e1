"""Runs a command on this machine: its output live, its whole process tree ended when it must be."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from research.core.contract import ENV_RUN_DIR, ENV_SEED
from research.core.errors import ConfigurationError
from research.core.settings import SETTINGS
from research.runs import gpu
from research.runs.backend import CommandResult, EndKind, Launch, StopRequest

_GUARD = Path(__file__).with_name("guard.py")
_POLL_S = 0.1  # how long a stop request may go unnoticed; a person does not see it
_CHUNK = 65_536


@dataclass
class _Child:
    """A guarded command: its pipes, and what the guard has said of it."""

    guard: subprocess.Popen[bytes]
    output: int
    status: int
    control: int
    code: int | None = None
    failed: int | None = None
    group: int | None = None
    heard: bytes = field(default=b"")

    def listen(self) -> bool:
        """Takes in what the guard says; False when it has ended."""
        data = os.read(self.status, _CHUNK)
        self.heard += data
        *lines, self.heard = self.heard.split(b"\n")
        for line in lines:
            word, _, number = line.partition(b" ")
            if word == b"exit" and self.code is None:
                self.code = int(number)
            elif word == b"failed":
                self.failed = int(number)
            elif word == b"started":
                self.group = int(number)
        return bool(data)

    def send(self, number: int) -> None:
        """Passes a signal on to the command's group."""
        with contextlib.suppress(OSError):
            os.write(self.control, bytes([number]))

    def end(self) -> None:
        """Orders the end of the whole tree."""
        if self.control >= 0:
            os.close(self.control)
            self.control = -1

    def end_group(self) -> None:
        """Ends the command's group where the guard did not live to do it."""
        if self.code is None and self.group is not None:
            with contextlib.suppress(OSError):
                os.killpg(self.group, signal.SIGKILL)

    def close(self) -> None:
        """Ends what is left, and closes the pipes."""
        self.end()
        self.guard.wait()
        os.close(self.output)
        os.close(self.status)


class LocalBackend:
    """This machine.

    Args:
        environment: Variables of the command, besides the run's own; by default this process's.
    """

    name = "local"

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(os.environ if environment is None else environment)
        self.keep_fds: Sequence[int] = ()  # locks: the guard holds them until the tree's last process is gone
        self.watch: Callable[[], gpu.Watch] = lambda: gpu.watch(self._environment)

    def check(self, launch: Launch) -> None:
        """Nothing can be missing here that the start itself does not tell."""

    def command(self, launch: Launch) -> tuple[str, ...]:
        """What is started for a launch."""
        return launch.command

    def run(
        self, launch: Launch, emit: Callable[[bytes], None], say: Callable[[str], None], stop: StopRequest
    ) -> CommandResult:
        """Runs the command to its end; see research.runs.backend.

        Raises:
            ConfigurationError: if the command can't be started.
        """
        began = time.monotonic()
        child = self._start(launch)
        watch = self.watch()
        try:
            kind, number = _attend(child, launch, emit, stop, began + launch.timeout_s)
        finally:
            child.close()
            observed = watch.finish()
        if child.failed is not None:
            raise ConfigurationError(
                f"{launch.command[0]} can't be started: {os.strerror(child.failed)}.",
                "Install it (uv: https://docs.astral.sh/uv) or mend PATH.",
            )
        phases = {"run": round(time.monotonic() - began, 3)}
        device, facts = observed.device, observed.facts
        if kind == "timeout":
            why = f"ended by the time limit of {launch.timeout_s / 60:g} min"
            return CommandResult("timeout", 124, child.code, why, phases, device, facts=facts)
        if kind == "interrupted":
            why = f"ended by {signal.Signals(number).name}"
            return CommandResult("interrupted", 128 + number, child.code, why, phases, device, facts=facts)
        if child.code is None:
            why = "the process that watches the command was killed"
            return CommandResult("infrastructure", 75, None, why, phases, device, facts=facts)
        return CommandResult("finished", child.code, child.code, "", phases, device, facts=facts)

    def _start(self, launch: Launch) -> _Child:
        environment = self._environment | {
            ENV_RUN_DIR: str(launch.run_dir),
            ENV_SEED: str(launch.seed),
            "PYTHONUNBUFFERED": "1",  # without it, lines would arrive by the block
        }
        control_read, control = os.pipe()
        status, status_write = os.pipe()
        output, output_write = os.pipe()
        theirs = (control_read, status_write)
        locks = ",".join(str(fd) for fd in self.keep_fds)
        arguments = [sys.executable, "-I", "-S", str(_GUARD), str(control_read), str(status_write), locks]
        try:
            guard = subprocess.Popen(
                [*arguments, *self.command(launch)],
                cwd=launch.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output_write,
                stderr=output_write,
                pass_fds=(*theirs, *self.keep_fds),
                start_new_session=True,
            )
        except BaseException:
            for fd in (control, status, output):
                os.close(fd)
            raise
        finally:
            for fd in (*theirs, output_write):
                os.close(fd)
        return _Child(guard, output, status, control)


def _attend(
    child: _Child, launch: Launch, emit: Callable[[bytes], None], stop: StopRequest, deadline: float
) -> tuple[EndKind, int]:
    """Hands the output on until the tree is gone; returns how it ended and the signal that asked for it."""
    kind: EndKind = "finished"
    number = 0
    kill_at = give_up_at = float("inf")
    with selectors.DefaultSelector() as ready:
        ready.register(child.output, selectors.EVENT_READ)
        ready.register(child.status, selectors.EVENT_READ)
        while ready.get_map() and child.failed is None:
            for key, _ in ready.select(_POLL_S):
                if key.fd == child.status:
                    if not child.listen():
                        ready.unregister(child.status)
                elif data := os.read(child.output, _CHUNK):
                    emit(data)
                else:
                    ready.unregister(child.output)
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
            elif kind == "finished" and now >= deadline:
                kind, kill_at = "timeout", now + (SETTINGS.kill_grace_s if launch.timeout_s > 0 else 0.0)
                child.send(signal.SIGTERM)
            elif now >= kill_at:
                child.end()
    return kind, number
