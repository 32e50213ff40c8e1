"""Defines a backend, a place to run train.py, so that the runner treats a laptop, a cloud and a script alike.

A backend launches one command, hands its output on as it is produced, and returns how it ended. It records nothing and
judges nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from research.core.check import Check
from research.core.contract import RUNNER_EXITS
from research.core.errors import ResearchError
from research.core.files import FileLock
from research.core.settings import SETTINGS

EndKind = Literal["finished", "timeout", "stopped", "interrupted", "infrastructure", "capacity", "configuration"]


@dataclass(frozen=True)
class Launch:
    """One command to run, for a named run."""

    run: str  # name of the run
    run_dir: Path  # absolute; score.json is there when run() returns, if the command made one
    root: Path  # the work tree that the command runs in, absolute
    commit: str | None  # full hash of what runs, None for a command that is not recorded
    command: tuple[str, ...]
    seed: int
    gpu: str  # as the user wrote it; "" where the backend has no choice
    timeout_s: float  # time limit, after which the whole process tree or sandbox is ended; its output is kept
    queue_timeout_s: float | None = None  # how long to wait for a GPU, None without a bound
    fds: tuple[int, ...] = ()  # descriptors of locks to hold until the command's last process on this machine is gone


@dataclass(frozen=True)
class CommandResult:
    """The end of a launched command.

    Its kind is "finished" when it was seen to end by itself, whatever its exit code, "timeout" when its time limit
    ended it, "stopped" when it was losing its race, and "interrupted" when a signal to the runner ended it. An
    interruption and the three kinds after it say nothing about the candidate.
    """

    kind: EndKind
    exit_code: int  # what the runner exits with (the contract's table)
    child_exit: int | None  # the command's own, 128+N for signal N; None where it was not seen
    why: str = ""  # one sentence for people; "" for an ordinary end
    phases_s: Mapping[str, float] = field(default_factory=dict)  # queue, build, upload, run, ..., as far as known
    device: str | None = None  # name of the device that the command really had
    cost_usd: float | None = None  # estimated, None where no price is known
    facts: Mapping[str, str] = field(default_factory=dict)  # anything else worth keeping with the run

    @classmethod
    def failed(cls, kind: EndKind, why: str) -> CommandResult:
        """Return the end of a command that did not run, for a reason that is not the candidate's."""
        return cls(kind, RUNNER_EXITS[kind], None, why)


DEVICE_TAKEN = "The device is taken"
"""Beginning of the reason of a launch that was refused since another run has the device."""


class DeviceBusy(ResearchError):
    """Another run has the device."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"{DEVICE_TAKEN} by {holder}.", "Wait for it to end, and start again.")


class StopRequest(Protocol):
    """A signal to the runner, seen from inside a backend."""

    def requested(self) -> int | None:
        """Return the number of the signal that asks the run to end, None while nobody asked."""


class Backend(ABC):
    """A place where a command can run, made with the environment variables that the command gets.

    A remote one needs check() and run(). The other methods are about devices and data of this machine, which a remote
    backend leaves alone.
    """

    name: ClassVar[str]
    """The value of --backend that means it."""

    @abstractmethod
    def __init__(self, environment: Mapping[str, str]) -> None: ...

    @abstractmethod
    def check(self, launch: Launch) -> None:
        """Check, without the network and before run(), that a launch is possible; raise ConfigurationError if not."""

    @abstractmethod
    def run(
        self, launch: Launch, emit: Callable[[bytes], None], say: Callable[[str], None], stop: StopRequest
    ) -> CommandResult:
        """Run the command to its end.

        Args:
            launch: What to run.
            emit: Takes the command's output, stdout and stderr merged, in order, as it is produced.
            say: Takes one line of the backend's own words for stderr.
            stop: Asks the run to end; the backend then ends the whole tree or sandbox and returns "interrupted".
        """

    def plan(self, launch: Launch) -> tuple[str, ...]:
        """Describe what a launch would do, line by line, for --dry-run."""
        return (f"{' '.join(launch.command)} in {launch.root}, at most {launch.timeout_s / 60:g} min",)

    def device(self) -> str:
        """Return a name of the device that runs get, "" where that is not known beforehand."""
        return ""

    def knows_price(self, gpu: str) -> bool:
        """Check whether results will hold the cost of a run on a GPU; if not, a limit in dollars needs a price."""
        return True

    def usual_timeout_s(self) -> float:
        """Return the time limit of a run for which none was asked."""
        return SETTINGS.default_timeout_minutes * 60

    def contention(self) -> str:
        """Return a sentence on who else uses the device now, "" if nobody does."""
        return ""

    def reserve(self, run: str, root: Path) -> tuple[FileLock, ...]:
        """Take the locks without which a named run of a work tree may not start; raise DeviceBusy if it can't."""
        return ()

    def places(self, workers: int | None) -> Sequence[Mapping[str, str]]:
        """Return the variables that give each of so many workers (None: the usual) a device of its own.

        Raises:
            UsageError: if there are fewer devices.
        """
        return [{}] * (workers or 1)

    def provide(self, root: Path, say: Callable[[str], None]) -> None:  # noqa: B027 - a remote one gets nothing here
        """Make what check() asks for and needs no person, such as the data; raise ConfigurationError if that fails."""

    def reap(self) -> list[str]:
        """End what killed launchers of this machine left running elsewhere; return the names of those runs."""
        return []

    @staticmethod
    def examine(environment: Mapping[str, str]) -> Check | None:
        """Return doctor's check of whether the backend could be used, None for no such check."""
        return None
