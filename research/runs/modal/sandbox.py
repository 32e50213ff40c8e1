"""Creates one sandbox and follows it to its end, whatever Modal's control plane and the log do meanwhile.

When the answer to a creation is lost, the sandbox may exist all the same: it is looked for by its unique name. Output
is handed on as it comes. Whenever this returns or raises, the sandbox has ended or Modal was asked to end it.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from research.runs.backend import EndKind
from research.runs.modal.client import Cloud, CloudError, LateError, StoppedError, T, cancel, describe, failure_kind
from research.runs.modal.settings import Limits
from research.runs.modal.stream import LogReader, Parser

TIMEOUT_STATUS = 124  # the client's exit status of a sandbox that its own time limit ended


def back_off(limits: Limits, failures: int) -> float:
    """Return the seconds to pause after so many failures in a row."""
    return min(limits.back_off_max_s, limits.back_off_s * 2.0 ** (failures - 1))


async def retry(limits: Limits, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Ask again until there is an answer, whether or not the run is to stop; raise the last error after abandon_s."""
    deadline, failures = time.monotonic() + limits.abandon_s, 0
    while True:
        try:
            return await asyncio.wait_for(ask(), max(0.0, deadline - time.monotonic()))
        except Exception:
            failures += 1
            pause_s = back_off(limits, failures)
            if time.monotonic() + pause_s >= deadline:
                raise
            await asyncio.sleep(pause_s)


async def create(cloud: Cloud, words: tuple[str, ...], options: Mapping[str, Any], queue_s: float) -> tuple[Any, float]:
    """Create a sandbox that runs these words, and wait up to so many seconds for its GPU.

    Returns:
        The client's handle, and the seconds that it may still wait for its GPU: 0 for one that has it, more for one
        that was found by its name because the answer to its creation was lost.

    Raises:
        StoppedError, LateError, CloudError: there is none, or it was ended.
    """
    name, deadline = options["name"], time.monotonic() + queue_s
    try:
        creation = cloud.modal.Sandbox.create.aio(*words, app=cloud.app, **options)
        return await cloud.call(creation, queue_s), 0.0
    except (LateError, StoppedError, asyncio.CancelledError):
        if (sandbox := await _find(cloud, name)) is not None:
            await end(cloud, sandbox)
        raise
    except Exception as error:
        kind, why = failure_kind(error), describe(error)
        if kind != "infrastructure":
            raise CloudError(kind, f"Modal refuses the sandbox ({why}).") from error
    if (sandbox := await _find(cloud, name)) is None:
        raise CloudError("infrastructure", f"The sandbox could not be created ({why}).")
    cloud.say(f"the answer was lost ({why}); adopted the sandbox by its name {name}")
    return sandbox, max(cloud.limits.tick_s, deadline - time.monotonic())


async def _find(cloud: Cloud, name: str) -> Any | None:
    """Look for a running sandbox twice, since its name may be known a moment after it; None where none was found."""

    async def by_name() -> Any | None:
        try:
            return await cloud.modal.Sandbox.from_name.aio(cloud.app_name, name)
        except cloud.modal.exception.NotFoundError:
            return None

    try:
        if (found := await retry(cloud.limits, by_name)) is None:
            await asyncio.sleep(cloud.limits.back_off_s)
            found = await retry(cloud.limits, by_name)
        return found
    except Exception:
        cloud.say_left_behind(f"a sandbox named {name} may still come to life")
        return None


async def end(cloud: Cloud, sandbox: Any, is_over: bool = False) -> None:
    """End a sandbox, whether or not the run is to stop; a failure is reported unless the sandbox is over anyway."""
    try:
        await retry(cloud.limits, sandbox.terminate.aio)
    except Exception:
        if not is_over:
            cloud.say_left_behind(f"could not confirm the end of {sandbox.object_id}")


@dataclass(frozen=True)
class Ending:
    """The end of a sandbox that was watched."""

    kind: EndKind  # "finished" when the command was seen to end
    why: str = ""  # one sentence for people
    signal: int = 0  # number of the signal that interrupted it, 0 for none
    never_began: bool = False  # whether the command surely did not begin, so that another sandbox would repeat nothing


class SandboxWatch:
    """Follows one sandbox.

    Args:
        queue_s: Seconds that it may wait for its GPU, 0 if it has it.
        mark: The random mark of its own lines.
        emit: Takes the output; what it raises ends the sandbox, a broken pipe as an interruption.
        timeout_s: Seconds that its command may take.
    """

    def __init__(
        self, cloud: Cloud, sandbox: Any, queue_s: float, mark: str, emit: Callable[[bytes], None], timeout_s: float
    ) -> None:
        self._cloud, self._limits, self._sandbox = cloud, cloud.limits, sandbox
        self._queue_s, self._timeout_s, self._emit = queue_s, timeout_s, emit
        self.parser = Parser(mark)
        self.began = time.monotonic()
        self.container_began = None if queue_s else self.began
        self.command_began: float | None = None
        self._code: int | None = None  # as the service reports it; None while the sandbox lives
        self._answered, self._trouble = self.began, ""  # when the service last did, and what went wrong since
        self._log_opened = self._asked_to_end = False
        self._reader = LogReader(self._open_log, self._limits.reopen_s)
        self._poller = asyncio.ensure_future(self._poll())

    async def follow(self) -> Ending:
        """Hand output on until the sandbox's end."""
        try:
            return await self._follow()
        except BrokenPipeError:
            return Ending("interrupted", "nobody reads the output any more", signal.SIGPIPE)
        finally:
            await self._end_sandbox()
            wait_s = self._limits.cancel_s
            await asyncio.gather(cancel(self._poller, wait_s), self._reader.close(wait_s))

    async def _follow(self) -> Ending:
        ending: Ending | None = None
        while True:
            self._pump()
            if self.parser.is_over or self._code is not None:
                break
            if (ending := self._reason_to_end(time.monotonic())) is not None:
                await self._end_sandbox()
                break
            await asyncio.sleep(self._limits.tick_s)
        is_whole = await self._drain()
        if ending is None and not is_whole:
            # A connection can be dead without an error; a new one reads the whole log of the dead sandbox at once.
            await self._reader.close(self._limits.cancel_s)
            self._reader.start()
            is_whole = await self._drain()
        self._pump(is_last=True)
        if ending is not None and (ending.kind == "interrupted" or not self.parser.is_over):
            return ending
        return self._ended_by_itself(is_whole)

    async def _drain(self) -> bool:
        """Read what is left in the log of a sandbox that has ended; return whether it was read to its end."""
        passes, deadline = self._reader.passes, time.monotonic() + self._limits.drain_s
        while self._reader.passes == passes and not self.parser.is_over:
            if time.monotonic() > deadline:
                return False
            self._pump()
            await asyncio.sleep(self._limits.tick_s)
        return True

    def _ended_by_itself(self, is_whole: bool) -> Ending:
        """Return the end of a sandbox that was not ended from here."""
        if self.parser.code is not None:
            return Ending("finished")
        if self.parser.fault:
            return Ending("infrastructure", self.parser.fault, never_began=True)
        if self._code == TIMEOUT_STATUS and self.parser.started:
            return Ending("timeout", "the sandbox's own time limit ended it")
        if self.parser.started:
            where = "in the middle of the command, or the end of its log is missing"
        elif is_whole:
            where = "before the command began"
        else:
            where = "and its log could not be read" + (f" ({self._reader.trouble})" if self._reader.trouble else "")
        why = f"the sandbox ended {where} (it reports {self._code})"
        return Ending("infrastructure", why, never_began=is_whole and not self.parser.started)

    def _reason_to_end(self, now: float) -> Ending | None:
        """Return why the sandbox has to be ended, None while everything is in time and nobody asks for its end."""
        if (number := self._cloud.stop_signal()) is not None:
            return Ending("interrupted", f"ended by {signal.Signals(number).name}", number)
        limits = self._limits
        if self.container_began is None:
            return Ending("capacity") if now - self.began > self._queue_s else None
        if self.command_began is None:
            if now - self.container_began <= limits.start_s:
                return None
            return Ending("infrastructure", f"the command did not start within {limits.start_s:g} s of the container")
        late_s = limits.kill_after_s + limits.grace_s
        if now - self.command_began <= self._timeout_s + late_s:
            return None
        if (silent_s := now - self._answered) > limits.grace_s:
            return Ending("infrastructure", f"Modal has not answered for {silent_s:.0f} s ({self._trouble})")
        return Ending("timeout", f"not over {late_s:g} s after its time limit; the sandbox was ended")

    def _pump(self, is_last: bool = False) -> None:
        text = self.parser.feed(self._reader.take()) + (self.parser.flush() if is_last else "")
        now = time.monotonic()
        if self.parser.runs and self.container_began is None:
            self.container_began = now
        if self.parser.started and self.command_began is None:
            self.command_began = now
        if text:
            self._emit(text.encode("utf-8", "surrogateescape"))

    async def _open_log(self) -> AsyncGenerator[str, None]:
        sandbox = self._sandbox
        if self._log_opened:  # the handle's own stream can be read once
            sandbox = await self._cloud.modal.Sandbox.from_id.aio(sandbox.object_id)
        self._log_opened = True
        async with aclosing(aiter(sandbox.stdout)) as pieces:
            async for text in pieces:
                yield text

    async def _poll(self) -> None:
        """Ask whether the sandbox still runs; errors only make it ask more slowly."""
        failures = 0
        while self._code is None and not self._asked_to_end:  # a client may make an error of a cancellation
            try:
                self._code = await self._sandbox.poll.aio()
                self._answered, failures = time.monotonic(), 0
            except Exception as error:
                failures += 1
                self._trouble = describe(error)
            await asyncio.sleep(back_off(self._limits, failures) if failures else self._limits.poll_s)

    async def _end_sandbox(self) -> None:
        if not self._asked_to_end:
            self._asked_to_end = True
            await end(self._cloud, self._sandbox, is_over=self.parser.code is not None)
