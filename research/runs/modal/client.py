"""Calls Modal's client, which is imported late; gives a call up when it takes too long or the run must stop."""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Literal, TypeVar

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
    """A call to Modal failed for good; the kind says why, and it is never the candidate's fault."""

    def __init__(self, kind: FailureKind, what: str, next: str = "") -> None:
        super().__init__(what, next or NEXT_STEPS[kind])
        self.kind: FailureKind = kind


class StoppedError(Exception):
    """The runner was asked to end during a call; its argument is the signal's number."""


class LateError(Exception):
    """A call did not come back within its limit."""


def load_modal() -> Any:
    """Import the modal package; raise ConfigurationError where it is not installed."""
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
            "Type: uv run modal setup, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET.",
        )


def failure_kind(error: BaseException) -> FailureKind:
    """Return the kind of failure that an error of the client is."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if "ConflictError" in names:
        return "infrastructure"  # the sandbox ended before it began; for the client that is an invalid call
    if names & {"AuthError", "PermissionDeniedError", "InvalidError", "VersionError", "ConfigurationError"}:
        return "configuration"
    return "capacity" if "ResourceExhaustedError" in names else "infrastructure"


def describe(error: BaseException) -> str:
    """Return an error of the client in one line."""
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text[:300]}"


async def cancel(task: asyncio.Future[Any], wait_s: float) -> None:
    """Cancel a task and wait, up to that many seconds, until it has left the network.

    What is still under way when the process ends would leave a traceback of the client's as its last words.
    """
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=wait_s)
    if task.done() and not task.cancelled():
        task.exception()  # looked at, so that asyncio does not report it


class Cloud:
    """Modal's client for one app, within limits.

    Args:
        stop: May ask a run to end.
        say: Takes a line for people.
    """

    def __init__(self, app_name: str, limits: Limits, stop: StopRequest | None, say: Callable[[str], None]) -> None:
        self.modal = load_modal()
        self.app_name, self.limits, self.say = app_name, limits, say
        self.app: Any = None  # set by connect()
        self.left_behind = False  # whether a sandbox may live on, since nobody could be asked to end it
        self._stop = stop

    def stop_signal(self) -> int | None:
        """Return the number of the signal that asks the run to end, None while nobody asked."""
        return self._stop.requested() if self._stop else None

    async def call(self, work: Coroutine[Any, Any, T], limit_s: float) -> T:
        """Await a call; one that is given up is cancelled, and StoppedError or LateError raised."""
        task, deadline = asyncio.ensure_future(work), time.monotonic() + limit_s
        try:
            while True:
                if (number := self.stop_signal()) is not None:
                    raise StoppedError(number)
                if task.done():
                    return task.result()
                if time.monotonic() > deadline:
                    raise LateError
                await asyncio.wait({task}, timeout=self.limits.tick_s)
        finally:
            await cancel(task, self.limits.cancel_s)

    async def finish(self, work: Coroutine[Any, Any, T], limit_s: float, doing: str, hint: str = "") -> T:
        """Await a call as call() does; raise CloudError for any failure, with the hint before the general advice."""
        try:
            return await self.call(work, limit_s)
        except StoppedError:
            raise
        except LateError:
            kind: FailureKind = "infrastructure"
            what = f"Modal was not done with {doing} after {limit_s:g} s."
        except Exception as error:
            what, kind = f"Modal failed while {doing} ({describe(error)}).", failure_kind(error)
        raise CloudError(kind, what, f"{hint} {NEXT_STEPS[kind]}".strip())

    def say_left_behind(self, what: str) -> None:
        """Tell the user about a sandbox that may live on."""
        self.left_behind = True
        self.say(f"{what}: it ends at its own time limit, or by --reap")

    async def connect(self) -> None:
        """Look the app up."""
        lookup = self.modal.App.lookup.aio(self.app_name, create_if_missing=True)
        self.app = await self.finish(lookup, self.limits.call_s, "looking up the app")
