"""One sandbox from its creation to its end, whatever the control plane and the log do meanwhile.

An answer that was lost is not a creation that failed: the name is unique, so it is looked for before another is made.
Output goes out as it comes. A sandbox of ours has ended, or was told to, whenever this returns or raises.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from research.runs.modal.client import (
    Caller,
    Cloud,
    CloudError,
    LateError,
    StoppedError,
    describe,
    failure_kind,
    let_go,
)
from research.runs.modal.settings import CLIENT_QUEUE_S, Limits
from research.runs.modal.stream import LogReader, Parser, Seen

TIMEOUT_STATUS = 124  # what the client makes of a sandbox that its own time limit ended


@dataclass(frozen=True)
class Created:
    """A sandbox of ours.

    Attributes:
        sandbox: The client's handle.
        queue_s: Seconds it may still wait for its GPU, if it was adopted: its creation was never confirmed. 0 for one
            that has its GPU.
    """

    sandbox: Any
    queue_s: float = 0.0


def back_off(limits: Limits, failures: int) -> float:
    """Return the seconds to pause after that many failures in a row, the last included."""
    return min(limits.back_off_max_s, limits.back_off_s * 2.0 ** (failures - 1))


class Launcher:
    """Creates and ends sandboxes.

    Args:
        cloud: Modal.
        caller: Awaits its answers.
        say: Takes one line for people.
    """

    def __init__(self, cloud: Cloud, caller: Caller, say: Callable[[str], None]) -> None:
        self._cloud = cloud
        self._caller = caller
        self._limits = caller.limits
        self._say = say

    async def create(
        self, words: tuple[str, ...], options: Mapping[str, Any], queue_timeout_s: float | None
    ) -> Created:
        """Create a sandbox and wait for its GPU.

        Args:
            words: What it runs.
            options: What it is created with, its unique name among them.
            queue_timeout_s: Seconds to wait for a GPU; None leaves the bound to the client (21 minutes).

        Raises:
            StoppedError: the runner was asked to end; what was created is ended.
            CloudError: there is no sandbox.
        """
        name, why = options["name"], ""
        deadline = time.monotonic() + (CLIENT_QUEUE_S if queue_timeout_s is None else queue_timeout_s)
        for tried in range(1, self._limits.create_tries + 1):
            left = None if queue_timeout_s is None else max(0.0, deadline - time.monotonic())
            try:
                return Created(await self._caller.result(self._cloud.create(words, options), left))
            except LateError:
                await self._end_named(name)
                raise no_gpu(options["gpu"], queue_timeout_s) from None
            except (StoppedError, asyncio.CancelledError):
                await self._end_named(name)
                raise
            except Exception as error:
                kind, why = failure_kind(error), describe(error)
                if kind != "infrastructure" and type(error).__name__ != "AlreadyExistsError":
                    raise CloudError(kind, f"Modal refuses the sandbox ({why}).") from error
            if (found := await self._look_for(name)) is not None:
                self._say(f"the answer was lost ({why}); adopted the sandbox by its name {name}")
                return Created(found, max(self._limits.tick_s, deadline - time.monotonic()))
            await asyncio.sleep(back_off(self._limits, tried))
        await self._end_named(name)
        raise CloudError("infrastructure", f"The sandbox could not be created ({why}).")

    async def end(self, sandbox: Any, is_over: bool = False) -> None:
        """End a sandbox, whatever the stop request says; where that cannot be confirmed, tell what becomes of it.

        Args:
            sandbox: The client's handle.
            is_over: Its command has ended, so that it is about to end by itself: no news if that is not confirmed.
        """
        deadline = time.monotonic() + self._limits.abandon_s
        failures = 0
        while (left := deadline - time.monotonic()) > 0:
            try:
                await asyncio.wait_for(sandbox.terminate.aio(), left)
                return
            except Exception:
                failures += 1
                await asyncio.sleep(max(0.0, min(back_off(self._limits, failures), deadline - time.monotonic())))
        if not is_over:
            self._say(f"could not confirm the end of {sandbox.object_id}: it ends at its own time limit, or by --reap")

    async def _look_for(self, name: str) -> Any | None:
        """Look twice: a name may be known a moment after its sandbox, and the control plane has just failed."""
        for tried in (1, 2):
            try:
                found = await self._caller.result(self._cloud.find(name), self._limits.call_s)
            except (StoppedError, LateError):
                return None
            except Exception:
                found = None
            if found is not None:
                return found
            await asyncio.sleep(back_off(self._limits, tried))
        return None

    async def _end_named(self, name: str) -> None:
        """End what a creation that was given up has made, or may still make a moment later."""
        deadline = time.monotonic() + self._limits.abandon_s
        missed = 0
        while (left := deadline - time.monotonic()) > 0:
            try:
                found = await asyncio.wait_for(self._cloud.find(name), left)
                if found is not None:
                    await self.end(found)
                    return
                missed += 1
                if missed == 2:
                    return  # it failed, or the client ended it
            except Exception:
                missed = 0
            await asyncio.sleep(min(self._limits.back_off_s, max(0.0, deadline - time.monotonic())))
        self._say(f"a sandbox named {name} may still come to life: it ends at its own time limit, or by --reap")


def no_gpu(gpu: str, queue_timeout_s: float | None) -> CloudError:
    """Return the error of a queue timeout."""
    waited_s = CLIENT_QUEUE_S if queue_timeout_s is None else queue_timeout_s
    return CloudError("capacity", f"No {gpu} within {waited_s / 60:g} minutes.")


@dataclass(frozen=True)
class Watched:
    """How the watch ended.

    Attributes:
        kind: "end" when the command was seen to end; "timeout" when its sandbox had to be ended; "interrupted" by a
            signal; "capacity" when an adopted sandbox got no GPU; "lost" when the infrastructure failed.
        seen: Everything the marks said.
        why: One sentence for people, "" for an end.
        signal: The signal's number.
        start_s: Seconds from the creation to the command's start, run_s from there to the end.
        idle: Whether the command is known not to have begun, so that another sandbox repeats nothing.
    """

    kind: Literal["end", "timeout", "interrupted", "capacity", "lost"]
    seen: Seen
    why: str = ""
    signal: int | None = None
    start_s: float = 0.0
    run_s: float = 0.0
    idle: bool = False


class Poller:
    """Asks whether a sandbox still runs; errors only make it ask more slowly.

    Args:
        sandbox: The client's handle.
        limits: How often.
    """

    def __init__(self, sandbox: Any, limits: Limits) -> None:
        self.code: int | None = None
        self.trouble = ""
        self.answered = time.monotonic()
        self._sandbox = sandbox
        self._limits = limits
        self._task = asyncio.ensure_future(self._ask())

    async def close(self) -> None:
        """Stop asking."""
        await let_go(self._task, self._limits.let_go_s)

    async def _ask(self) -> None:
        failures = 0
        while self.code is None:
            try:
                self.code = await self._sandbox.poll.aio()
                self.answered, self.trouble, failures = time.monotonic(), "", 0
            except Exception as error:
                failures += 1
                self.trouble = describe(error)
            await asyncio.sleep(back_off(self._limits, failures) if failures else self._limits.poll_s)


class Watch:
    """Follows one sandbox.

    Args:
        cloud: Modal.
        launcher: Ends the sandbox when that is due.
        caller: Knows the stop request and the limits.
        created: The sandbox.
        mark: Its random mark.
        emit: Takes output; what it raises ends the sandbox, a broken pipe as an interruption.
        timeout_s: Seconds the command may take.
    """

    def __init__(
        self,
        cloud: Cloud,
        launcher: Launcher,
        caller: Caller,
        created: Created,
        mark: str,
        emit: Callable[[bytes], None],
        timeout_s: float,
    ) -> None:
        self._cloud = cloud
        self._launcher = launcher
        self._stop = caller.stop
        self._limits = caller.limits
        self._sandbox = created.sandbox
        self._queue_s = created.queue_s
        self._emit = emit
        self._timeout_s = timeout_s
        self._parser = Parser(mark)
        self._log_opened = False
        self._told_to_end = False
        self._reader = LogReader(self._open_log, self._limits.reopen_s)
        self._poller = Poller(self._sandbox, self._limits)
        self._began = time.monotonic()
        self._container_began: float | None = None if created.queue_s else self._began
        self._command_began: float | None = None

    async def follow(self) -> Watched:
        """Hand output on until the sandbox's end."""
        try:
            return await self._follow()
        except BrokenPipeError:
            return self._done("interrupted", "nobody reads the output any more", signal.SIGPIPE)
        finally:
            await self._end_sandbox()
            await asyncio.gather(self._poller.close(), self._reader.close(self._limits.let_go_s))

    async def _follow(self) -> Watched:
        sandbox_ended: float | None = None
        passes = 0
        looked_again = False
        while True:
            self._pump()
            seen, now = self._parser.seen, time.monotonic()
            if seen.end is not None:
                return self._done("end")
            if seen.fault:
                return self._done("lost", seen.fault, idle=True)
            if self._poller.code is None:
                if (overdue := self._overdue(now)) is not None:
                    await self._stop_and_drain()
                    # The end mark may have been on its way.
                    return self._done("end") if self._parser.seen.end else overdue
            elif sandbox_ended is None:
                sandbox_ended, passes = now, self._reader.passes
            elif self._reader.passes > passes:  # the whole log of a dead sandbox is known, and has no end mark
                return self._mute_end(is_whole=True)
            elif now - sandbox_ended > self._limits.drain_s and not looked_again:
                # A connection can be dead without an error; a new one reads the whole log of the dead sandbox at once.
                looked_again, sandbox_ended = True, now
                await self._reader.reopen(self._limits.let_go_s)
            elif now - sandbox_ended > self._limits.drain_s:
                return self._mute_end(is_whole=False)
            if (number := self._stop.requested()) is not None:
                await self._stop_and_drain()
                return self._done("interrupted", f"ended by {signal.Signals(number).name}", number)
            await self._news(self._limits.tick_s)

    async def _news(self, longest_s: float) -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._reader.news.wait(), longest_s)

    def _open_log(self) -> AsyncGenerator[str, None]:
        if self._log_opened:
            return self._cloud.log(self._sandbox.object_id)
        self._log_opened = True
        log: AsyncGenerator[str, None] = aiter(self._sandbox.stdout)
        return log

    async def _end_sandbox(self) -> None:
        if not self._told_to_end:
            self._told_to_end = True
            await self._launcher.end(self._sandbox, is_over=self._parser.seen.end is not None)

    async def _stop_and_drain(self) -> None:
        passes = self._reader.passes
        await self._end_sandbox()
        deadline = time.monotonic() + self._limits.drain_s
        while self._reader.passes == passes and time.monotonic() < deadline:
            self._pump()
            await self._news(self._limits.tick_s)
        self._pump(is_last=True)

    def _pump(self, is_last: bool = False) -> None:
        text = self._parser.feed(self._reader.take()) + (self._parser.flush() if is_last else "")
        now = time.monotonic()
        if self._parser.seen.alive and self._container_began is None:
            self._container_began = now
        if self._parser.seen.started and self._command_began is None:
            self._command_began = now
        if text:
            self._emit(text.encode("utf-8", "surrogateescape"))

    def _overdue(self, now: float) -> Watched | None:
        limits = self._limits
        if self._container_began is None:
            if now - self._began <= self._queue_s:
                return None
            return self._done("capacity", idle=True)
        if self._command_began is None:
            if now - self._container_began <= limits.start_s:
                return None
            return self._done("lost", f"the command did not start within {limits.start_s:g} s of the container")
        allowed = self._timeout_s + limits.kill_after_s + limits.grace_s
        if now - self._command_began <= allowed:
            return None
        silent_s = now - self._poller.answered
        if silent_s > limits.grace_s:
            return self._done("lost", f"Modal has not answered for {silent_s:.0f} s ({self._poller.trouble})")
        late_s = allowed - self._timeout_s
        return self._done("timeout", f"not over {late_s:g} s after its time limit; the sandbox was ended")

    def _mute_end(self, is_whole: bool) -> Watched:
        self._pump(is_last=True)
        seen, code = self._parser.seen, self._poller.code
        if seen.end is not None:
            return self._done("end")
        if code == TIMEOUT_STATUS and seen.started:
            return self._done("timeout", "the sandbox's own time limit ended it")
        if seen.started:
            where = "in the middle of the command, or the end of its log is missing"
        elif is_whole:
            where = "before the command began"
        else:
            where = f"and its log could not be read {self._reader.trouble}".rstrip()
        why = f"the sandbox ended {where} (it reports {code})"
        return self._done("lost", why, idle=is_whole and not seen.started)

    def _done(
        self,
        kind: Literal["end", "timeout", "interrupted", "capacity", "lost"],
        why: str = "",
        number: int | None = None,
        idle: bool = False,
    ) -> Watched:
        now = time.monotonic()
        started = self._command_began or now
        return Watched(kind, self._parser.seen, why, number, started - self._began, now - started, idle)
