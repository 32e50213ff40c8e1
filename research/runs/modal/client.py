"""The one door to the modal package: imported late, called in threads that can be left, its errors sorted.

A call to the client can take minutes, and a signal handler that only sets a flag does not end it. So every one runs in
a thread of its own while the main thread looks at the stop request, and can be cancelled there.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Generic, Literal, TypeVar

from research.core.errors import ConfigurationError, ResearchError
from research.runs.backend import StopRequest

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
    """Something asynchronous, done in a thread of its own that dies with the process.

    Args:
        work: Makes what is to be awaited.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._cancelled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._result: T | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="modal-call", daemon=True).start()

    def _run(self) -> None:
        try:
            self._result = asyncio.run(self._main())
        except BaseException as error:
            self._error = error
        self._done.set()

    async def _main(self) -> T:
        with self._lock:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            if self._cancelled:
                raise asyncio.CancelledError
        return await self._work()

    def cancel(self, wait_s: float) -> None:
        """Gives it up, and waits up to that many seconds until it has let go of the network.

        What is still under way when the process ends leaves a traceback of the client's as its last words.
        """
        with self._lock:
            self._cancelled = True
            if self._loop is not None and self._task is not None:
                with suppress(RuntimeError):  # it has just ended
                    self._loop.call_soon_threadsafe(self._task.cancel)
        self._done.wait(wait_s)

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
    """What this backend asks of Modal; every method raises what the client raises.

    Args:
        app_name: The app that sandboxes belong to; made at first use.
    """

    def __init__(self, app_name: str) -> None:
        self.modal = load_modal()
        self.app_name = app_name
        self._app: Any = None

    async def app(self) -> Any:
        """The app, looked up once."""
        if self._app is None:
            self._app = await self.modal.App.lookup.aio(self.app_name, create_if_missing=True)
        return self._app

    async def volume(self, name: str) -> Any:
        """A version 2 volume, made at first use."""
        return await self.modal.Volume.from_name(name, create_if_missing=True, version=2).hydrate.aio()

    async def create(self, order: SandboxOrder, image: Any, volumes: Mapping[str, Any]) -> Any:
        """Creates a sandbox and waits until it has its GPU."""
        return await self.modal.Sandbox.create.aio(
            *order.entrypoint,
            app=await self.app(),
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

    async def find(self, name: str) -> Any | None:
        """The running sandbox of that name, None if there is none."""
        try:
            return await self.modal.Sandbox.from_name.aio(self.app_name, name)
        except self.modal.exception.NotFoundError:
            return None

    async def log(self, sandbox_id: str) -> AsyncIterator[str]:
        """A sandbox's output from its beginning, piece by piece."""
        sandbox = await self.modal.Sandbox.from_id.aio(sandbox_id)
        async for text in sandbox.stdout:
            yield text

    async def running(self, tags: Mapping[str, str]) -> list[Any]:
        """The app's running sandboxes that carry these tags."""
        app = await self.app()
        return [s async for s in self.modal.Sandbox.list.aio(app_id=app.app_id, tags=dict(tags))]
