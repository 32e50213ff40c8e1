"""Gets a sandbox, and gets rid of one, when the control plane answers late, twice or not at all.

An answer that was lost is not a creation that failed: the name is unique, so it is looked for before another is made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from research.runs.backend import StopRequest
from research.runs.modal.client import (
    Call,
    Cloud,
    CloudError,
    LateError,
    SandboxOrder,
    StoppedError,
    describe,
    failure_kind,
)
from research.runs.modal.settings import Limits


@dataclass(frozen=True)
class Got:
    """A sandbox of ours; adopted when its creation was never confirmed, so that it may still wait for its GPU."""

    sandbox: Any
    adopted: bool


def back_off(limits: Limits, failures: int) -> float:
    """Seconds to pause after that many failures in a row, the last included."""
    return min(limits.back_off_max_s, limits.back_off_s * 2.0 ** (failures - 1))


class Launcher:
    """Creates and ends sandboxes.

    Args:
        cloud: Modal.
        limits: What to wait for, and how long.
        stop: Looked at while waiting.
        say: Takes one line for people.
    """

    def __init__(self, cloud: Cloud, limits: Limits, stop: StopRequest, say: Callable[[str], None]) -> None:
        self._cloud = cloud
        self._limits = limits
        self._stop = stop
        self._say = say

    def create(self, order: SandboxOrder, image: Any, volumes: Mapping[str, Any], queue_s: float | None) -> Got:
        """Creates a sandbox and waits for its GPU.

        Args:
            order: What to create.
            image: Its image.
            volumes: Mount path to volume.
            queue_s: Seconds to wait for a GPU; None leaves the bound to the client (21 minutes).

        Raises:
            StoppedError: the runner was asked to end; what was created is ended.
            CloudError: there is no sandbox.
        """
        deadline = None if queue_s is None else time.monotonic() + queue_s
        why, call = "", None
        for tried in range(1, self._limits.create_tries + 1):
            number = self._stop.requested()
            if number is not None:
                if call is not None:
                    self._end_creation(call, order.name)
                raise StoppedError(number)
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            call = Call(lambda: self._cloud.create(order, image, volumes))
            try:
                return Got(call.wait(self._stop, left, self._limits.tick_s), adopted=False)
            except LateError:
                self._end_creation(call, order.name)
                raise CloudError("capacity", f"No {order.gpu} within {(queue_s or 0) / 60:g} minutes.") from None
            except StoppedError:
                self._end_creation(call, order.name)
                raise
            except Exception as error:
                kind, why = failure_kind(error), describe(error)
                exists = type(error).__name__ == "AlreadyExistsError"
                if kind != "infrastructure" and not exists:
                    raise CloudError(kind, f"Modal refuses the sandbox ({why}).") from error
            except BaseException:
                self._end_creation(call, order.name)
                raise
            found = self._look_for(order.name)
            if found is not None:
                self._say(f"the answer was lost ({why}); adopted the sandbox by its name {order.name}")
                return Got(found, adopted=True)
            self._pause(tried)
        if call is not None:
            self._end_creation(call, order.name)
        raise CloudError("infrastructure", f"The sandbox could not be created ({why}).")

    def end(self, sandbox: Any, is_over: bool = False) -> bool:
        """Ends a sandbox, whatever the stop request says.

        Args:
            sandbox: Which.
            is_over: Its command has ended, so that it is about to end by itself: no news if that is not confirmed.

        Returns:
            Whether Modal confirmed it; else people are told what becomes of it.
        """
        deadline = time.monotonic() + self._limits.abandon_s
        failures = 0
        while (left := deadline - time.monotonic()) > 0:
            call = Call(sandbox.terminate.aio)
            if call.wait_regardless(left):
                try:
                    call.result()
                    return True
                except Exception:
                    failures += 1
                    time.sleep(max(0.0, min(back_off(self._limits, failures), deadline - time.monotonic())))
            else:
                call.cancel(self._limits.let_go_s)
        if not is_over:
            self._say(f"could not confirm the end of {sandbox.object_id}: it ends at its own time limit, or by --reap")
        return False

    def _look_for(self, name: str) -> Any | None:
        # Twice: a name may be known a moment after its sandbox, and the control plane has just failed.
        for tried in (1, 2):
            try:
                found = Call(lambda: self._cloud.find(name)).wait(self._stop, self._limits.call_s, self._limits.tick_s)
            except (StoppedError, LateError):
                return None
            except Exception:
                found = None
            if found is not None:
                return found
            self._pause(tried)
        return None

    def _end_creation(self, call: Call[Any], name: str) -> None:
        """Ends what an abandoned creation made or still makes."""
        try:
            self._end_named(call, name)
        finally:
            if not call.done():
                call.cancel(self._limits.let_go_s)

    def _end_named(self, call: Call[Any], name: str) -> None:
        deadline = time.monotonic() + self._limits.abandon_s
        while (left := deadline - time.monotonic()) > 0:
            finished = call.done()
            look = Call(lambda: self._cloud.find(name))
            if look.wait_regardless(left):
                try:
                    found = look.result()
                except Exception:
                    found, finished = None, False
                if found is not None:
                    self.end(found)
                    return
            if finished:
                return  # it came back, and there is nothing of that name: it failed, or was ended by the client
            time.sleep(min(self._limits.back_off_s, max(0.0, left)))
        self._say(f"a sandbox named {name} may still come to life: it ends at its own time limit, or by --reap")

    def _pause(self, failures: int) -> None:
        self._stop.wait(back_off(self._limits, failures))
