"""The seam to the modal package: imported late, every call left when it takes too long or the runner must stop."""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from research.core.contract import RUNNER_EXITS
from research.core.errors import ConfigurationError, ResearchError
from research.runs.backend import StopRequest
from research.runs.modal.settings import Limits

T = TypeVar("T")

FailureKind = Literal["infrastructure", "capacity", "configuration"]

NEXT_STEPS: Final[Mapping[FailureKind, str]] = {
    "infrastructure": "Try again; https://status.modal.com tells of outages.",
    "capacity": "Try again later, ask for another --gpu, or wait longer with --queue-timeout.",
    "configuration": "Mend that and try again.",
}


class CloudError(ResearchError):
    """A call to Modal that failed for good; the kind says whose fault it is, never the candidate's."""

    def __init__(self, kind: FailureKind, what: str, next: str = "") -> None:
        super().__init__(what, next or NEXT_STEPS[kind])
        self.kind: FailureKind = kind
        self.exit_code = RUNNER_EXITS[kind]


class StoppedError(Exception):
    """The runner was asked to end during a call; holds the signal's number."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"signal {signal}")
        self.signal = signal


class LateError(Exception):
    """A call did not come back within its limit."""


def load_modal() -> Any:
    """Import the modal package.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        modal = importlib.import_module("modal")
    except ImportError as error:
        raise ConfigurationError(f"The modal package cannot be imported ({error}).", "Type: uv sync") from None
    # What the client's own tasks leave behind is reported to this logger, and without a handler that is stderr, where
    # the runner's end line must be the last.
    asyncio_log = logging.getLogger("asyncio")
    if not asyncio_log.handlers:
        asyncio_log.addHandler(logging.NullHandler())
    return modal


def require_token() -> None:
    """Raise ConfigurationError unless the client has credentials to show."""
    load_modal()
    config = importlib.import_module("modal.config").config
    if not (config.get("token_id") and config.get("token_secret")):
        raise ConfigurationError(
            "There is no Modal token.",
            "Type: uv run modal setup (or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET).",
        )


def failure_kind(error: BaseException) -> FailureKind:
    """Say whose fault an error of the client is: never the candidate's."""
    names = {c.__name__ for c in type(error).__mro__}
    if "ConflictError" in names:
        return "infrastructure"  # the sandbox ended before it began; for the client that is an invalid call
    if names & {"AuthError", "PermissionDeniedError", "InvalidError", "VersionError", "ConfigurationError"}:
        return "configuration"
    if "ResourceExhaustedError" in names:
        return "capacity"
    return "infrastructure"


def describe(error: BaseException) -> str:
    """Put an error of the client in one line."""
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text[:300]}"


async def let_go(task: asyncio.Future[Any], wait_s: float) -> bool:
    """Cancel a task and wait, up to that many seconds, until it has let go of the network; return whether it has.

    What is still under way when the process ends would leave a traceback of the client's as its last words.
    """
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=wait_s)
    if task.done() and not task.cancelled():
        task.exception()  # looked at, so that asyncio does not report it
    return task.done()


@dataclass(frozen=True)
class Caller:
    """Awaits calls to Modal within limits, looking at the runner's stop request meanwhile.

    Attributes:
        stop: Asks the run to end.
        limits: How often that is looked at, and how long a call that was given up may take to end.
    """

    stop: StopRequest
    limits: Limits

    async def result(self, work: Coroutine[Any, Any, T], limit_s: float | None) -> T:
        """Await a call, for ever without a limit; it is cancelled when it is given up.

        Raises:
            StoppedError: the runner was asked to end.
            LateError: the limit passed.
        """
        task = asyncio.ensure_future(work)
        deadline = float("inf") if limit_s is None else time.monotonic() + limit_s
        try:
            while True:
                if (number := self.stop.requested()) is not None:
                    raise StoppedError(number)
                if task.done():
                    return task.result()
                if time.monotonic() > deadline:
                    raise LateError
                await asyncio.wait({task}, timeout=self.limits.tick_s)
        finally:
            await let_go(task, self.limits.let_go_s)

    async def finish(self, work: Coroutine[Any, Any, T], limit_s: float, doing: str, hint: str = "") -> T:
        """Await a call as result() does; raise CloudError for any failure, with the hint before the general advice."""
        try:
            return await self.result(work, limit_s)
        except (StoppedError, CloudError):
            raise
        except LateError:
            kind: FailureKind = "infrastructure"
            what = f"Modal was not done with {doing} after {limit_s:g} s."
        except Exception as error:
            what, kind = f"Modal failed while {doing} ({describe(error)}).", failure_kind(error)
        raise CloudError(kind, what, f"{hint} {NEXT_STEPS[kind]}".strip())


class Cloud:
    """Asks Modal what this backend needs, for one app; every method raises what the client raises."""

    def __init__(self, app_name: str) -> None:
        self.modal = load_modal()
        self.app_name = app_name
        self._app: Any = None

    async def app(self) -> Any:
        """Look the app up, once; it is made at first use."""
        if self._app is None:
            self._app = await self.modal.App.lookup.aio(self.app_name, create_if_missing=True)
        return self._app

    async def volume(self, name: str) -> Any:
        """Open a version 2 volume, made at first use."""
        return await self.modal.Volume.from_name(name, create_if_missing=True, version=2).hydrate.aio()

    async def create(self, words: tuple[str, ...], options: Mapping[str, Any]) -> Any:
        """Create a sandbox that runs these words, and wait until it has its GPU."""
        return await self.modal.Sandbox.create.aio(*words, app=await self.app(), **options)

    async def find(self, name: str) -> Any | None:
        """Find the running sandbox of that name, None if there is none."""
        try:
            return await self.modal.Sandbox.from_name.aio(self.app_name, name)
        except self.modal.exception.NotFoundError:
            return None

    async def log(self, sandbox_id: str) -> AsyncGenerator[str, None]:
        """Read a sandbox's output from its beginning, piece by piece, to the sandbox's end."""
        sandbox = await self.modal.Sandbox.from_id.aio(sandbox_id)
        async with aclosing(aiter(sandbox.stdout)) as pieces:
            async for text in pieces:
                yield text

    async def running(self, tags: Mapping[str, str]) -> list[Any]:
        """List the app's running sandboxes that carry these tags."""
        app = await self.app()
        return [s async for s in self.modal.Sandbox.list.aio(app_id=app.app_id, tags=dict(tags))]
