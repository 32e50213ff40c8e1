"""The one door to the modal package: imported late, called from threads that can be left behind, its errors sorted.

A call to the client can block for minutes and cannot be interrupted by a signal handler that only sets a flag, so
every one runs in a thread of its own while the main thread looks at the stop request.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from research.errors import ConfigurationError, ResearchError
from research.runs.backend import StopRequest

if TYPE_CHECKING:
    import modal

T = TypeVar("T")

FailureKind = Literal["infrastructure", "capacity", "configuration"]


def load_modal() -> Any:
    """The modal package.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        return importlib.import_module("modal")
    except ImportError as error:
        raise ConfigurationError(f"The modal package cannot be imported ({error}).", "Type: uv sync") from None


def require_token() -> None:
    """Raises ConfigurationError unless the client has credentials to show."""
    load_modal()
    config = importlib.import_module("modal.config").config
    missing = [name for name in ("token_id", "token_secret") if not config.get(name)]
    if missing:
        raise ConfigurationError(
            "There is no Modal token.",
            "Type: uv run modal setup (or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET).",
        )


def failure_kind(error: BaseException) -> FailureKind:
    """Whose fault an error of the client is: never the candidate's."""
    names = {c.__name__ for c in type(error).__mro__}
    if "ConflictError" in names:
        return "infrastructure"  # the sandbox ended before it began; for the client that is an invalid call
    if names & {"AuthError", "PermissionDeniedError", "InvalidError", "VersionError", "ConfigurationError"}:
        return "configuration"
    if "ResourceExhaustedError" in names:
        return "capacity"
    return "infrastructure"


def describe(error: BaseException) -> str:
    """One line about an error of the client."""
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text[:300]}"


EXIT_CODES: Final[Mapping[FailureKind, int]] = MappingProxyType(
    {"infrastructure": 75, "capacity": 69, "configuration": 78}
)
NEXT_STEPS: Final[Mapping[FailureKind, str]] = MappingProxyType(
    {
        "infrastructure": "Try again; https://status.modal.com tells of outages.",
        "capacity": "Try again later, ask for another --gpu, or wait longer with --queue-timeout.",
        "configuration": "Mend that and try again.",
    }
)


class CloudError(ResearchError):
    """A call to Modal that failed for good.

    Args:
        kind: Whose fault it is; never the candidate's.
        what: What happened, in one sentence.
        next: What to do, where the kind alone does not say it.
    """

    def __init__(self, kind: FailureKind, what: str, next: str = "") -> None:
        super().__init__(what, next or NEXT_STEPS[kind])
        self.kind: FailureKind = kind
        self.exit_code = EXIT_CODES[kind]


class StoppedError(Exception):
    """The runner was asked to end during a call.

    Args:
        signal: The signal's number.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"signal {signal}")
        self.signal = signal


class LateError(Exception):
    """A call did not come back within its limit."""


class Call(Generic[T]):
    """One blocking call in a thread that dies with the process.

    Args:
        work: What to call.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._done = threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="modal-call", daemon=True).start()

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error
        self._done.set()

    def done(self) -> bool:
        """Whether it came back."""
        return self._done.is_set()

    def result(self) -> T:
        """What came back; raises what was raised. Only after done()."""
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def wait(self, stop: StopRequest, limit_s: float | None, tick_s: float) -> T:
        """Waits for it.

        Args:
            stop: Looked at every tick_s seconds.
            limit_s: Seconds to wait, None without a bound.

        Raises:
            StoppedError: the runner was asked to end; the call goes on.
            LateError: the limit passed; the call goes on.
        """
        deadline = None if limit_s is None else time.monotonic() + limit_s
        while not self._done.wait(tick_s):
            signal = stop.requested()
            if signal is not None:
                raise StoppedError(signal)
            if deadline is not None and time.monotonic() > deadline:
                raise LateError
        return self.result()

    def wait_regardless(self, limit_s: float) -> bool:
        """Waits without looking at the stop request; whether it came back."""
        return self._done.wait(limit_s)


@dataclass(frozen=True)
class SandboxOrder:
    """Everything a sandbox is created with."""

    entrypoint: tuple[str, ...]
    name: str
    tags: Mapping[str, str]
    env: Mapping[str, str]
    gpu: str
    cpu: float
    memory_mib: int
    life_s: int
    workdir: str


class Cloud:
    """What this backend asks of Modal; every method blocks and raises what the client raises.

    Args:
        app_name: The app that sandboxes belong to; made at first use.
    """

    def __init__(self, app_name: str) -> None:
        self.modal = load_modal()
        self.app_name = app_name
        self._app: Any = None

    @property
    def app(self) -> Any:
        """The app, looked up once."""
        if self._app is None:
            self._app = self.modal.App.lookup(self.app_name, create_if_missing=True)
        return self._app

    def volume(self, name: str) -> modal.Volume:
        """A version 2 volume, made at first use."""
        found: modal.Volume = self.modal.Volume.from_name(name, create_if_missing=True, version=2).hydrate()
        return found

    def create(self, order: SandboxOrder, image: Any, volumes: Mapping[str, Any]) -> Any:
        """Creates a sandbox and waits until it has its GPU."""
        return self.modal.Sandbox.create(
            *order.entrypoint,
            app=self.app,
            name=order.name,
            tags=dict(order.tags),
            image=image,
            env=dict(order.env),
            timeout=order.life_s,
            workdir=order.workdir,
            gpu=order.gpu,
            cpu=order.cpu,
            memory=order.memory_mib,
            volumes=dict(volumes),
        )

    def find(self, name: str) -> Any | None:
        """The running sandbox of that name, None if there is none."""
        try:
            return self.modal.Sandbox.from_name(self.app_name, name)
        except self.modal.exception.NotFoundError:
            return None

    def log(self, sandbox_id: str) -> Any:
        """A sandbox's output from its beginning, piece by piece."""
        return self.modal.Sandbox.from_id(sandbox_id).stdout

    def running(self, tags: Mapping[str, str]) -> list[Any]:
        """The app's running sandboxes that carry these tags."""
        return list(self.modal.Sandbox.list(app_id=self.app.app_id, tags=dict(tags)))
