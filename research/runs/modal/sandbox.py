"""One sandbox from its creation to its end, whatever the control plane and the log do meanwhile.

An answer that was lost is not a creation that failed: the name is unique, so it is looked for before another is made.
Output goes out as it comes. Whenever this returns or raises, the sandbox has ended or Modal was asked to end it.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, Callable, Mapping
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


@dataclass(frozen=True)
class Launcher:
    """Creates and ends sandboxes; reports by say what it could not confirm."""

    cloud: Cloud
    caller: Caller
    say: Callable[[str], None]

    async def create(
        self, words: tuple[str, ...], options: Mapping[str, Any], queue_timeout_s: float | None
    ) -> Created:
        """Create a sandbox that runs these words and wait for its GPU.

        Raises:
            StoppedError: the runner was asked to end; what was created is ended.
            CloudError: there is no sandbox.
        """
        try:
            return await self._create(words, options, queue_timeout_s)
        except LateError:
            await self._end_named(options["name"])
            raise no_gpu(options["gpu"], queue_timeout_s) from None
        except (StoppedError, asyncio.CancelledError):
            await self._end_named(options["name"])
            raise

    async def _create(
        self, words: tuple[str, ...], options: Mapping[str, Any], queue_timeout_s: float | None
    ) -> Created:
        name, why = options["name"], ""
        deadline = time.monotonic() + (CLIENT_QUEUE_S if queue_timeout_s is None else queue_timeout_s)
        for tried in range(1, self.caller.limits.create_tries + 1):
            left = None if queue_timeout_s is None else max(0.0, deadline - time.monotonic())
            try:
                return Created(await self.caller.result(self.cloud.create(words, options), left))
            except (LateError, StoppedError):
                raise
            except Exception as error:
                kind, why = failure_kind(error), describe(error)
                if kind != "infrastructure" and type(error).__name__ != "AlreadyExistsError":
                    raise CloudError(kind, f"Modal refuses the sandbox ({why}).") from error
            found, _ = await self._find(name)
            if found is not None:
                self.say(f"the answer was lost ({why}); adopted the sandbox by its name {name}")
                return Created(found, max(self.caller.limits.tick_s, deadline - time.monotonic()))
            await asyncio.sleep(back_off(self.caller.limits, tried))
        await self._end_named(name)
        raise CloudError("infrastructure", f"The sandbox could not be created ({why}).")

    async def end(self, sandbox: Any, is_over: bool = False) -> None:
        """End a sandbox, whatever the stop request says; a failure is reported unless the sandbox is over anyway."""
        deadline, failures = time.monotonic() + self.caller.limits.abandon_s, 0
        while (left := deadline - time.monotonic()) > 0:
            try:
                await asyncio.wait_for(sandbox.terminate.aio(), left)
                return
            except Exception:
                failures += 1
                await asyncio.sleep(min(back_off(self.caller.limits, failures), max(0.0, deadline - time.monotonic())))
        if not is_over:
            self.say(f"could not confirm the end of {sandbox.object_id}: it ends at its own time limit, or by --reap")

    async def _find(self, name: str) -> tuple[Any | None, bool]:
        """Look for a sandbox by its name; return it, or else None and whether it is certain that there is none.

        Two answers make it certain: a name may be known a moment after its sandbox, and the control plane just failed.
        """
        deadline, missed = time.monotonic() + self.caller.limits.abandon_s, 0
        while (left := deadline - time.monotonic()) > 0:
            try:
                if (found := await asyncio.wait_for(self.cloud.find(name), left)) is not None:
                    return found, True
                missed += 1
            except Exception:
                missed = 0
            if missed == 2:
                return None, True
            await asyncio.sleep(min(self.caller.limits.back_off_s, left))
        return None, False

    async def _end_named(self, name: str) -> None:
        """End what a creation that was given up has made, or may still make a moment later."""
        found, certain = await self._find(name)
        if found is not None:
            await self.end(found)
        elif not certain:
            self.say(f"a sandbox named {name} may still come to life: it ends at its own time limit, or by --reap")


def no_gpu(gpu: str, queue_timeout_s: float | None) -> CloudError:
    """Return the error of a queue timeout."""
    waited_s = CLIENT_QUEUE_S if queue_timeout_s is None else queue_timeout_s
    return CloudError("capacity", f"No {gpu} within {waited_s / 60:g} minutes.")


WatchKind = Literal["end", "timeout", "interrupted", "capacity", "lost"]


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

    kind: WatchKind
    seen: Seen
    why: str
    signal: int | None
    start_s: float
    run_s: float
    idle: bool


class Watch:
    """Follows one sandbox.

    Args:
        launcher: Ends the sandbox when that is due.
        created: The sandbox.
        mark: Its random mark.
        emit: Takes output; what it raises ends the sandbox, a broken pipe as an interruption.
        timeout_s: Seconds the command may take.
    """

    def __init__(
        self, launcher: Launcher, created: Created, mark: str, emit: Callable[[bytes], None], timeout_s: float
    ) -> None:
        self._launcher = launcher
        self._created = created
        self._sandbox = created.sandbox
        self._emit = emit
        self._timeout_s = timeout_s
        self._limits = launcher.caller.limits
        self._parser = Parser(mark)
        self._log_opened = self._asked_to_end = False
        self._began = time.monotonic()
        self._container_began = None if created.queue_s else self._began
        self._command_began: float | None = None
        self._code: int | None = None  # as the service reports it; None while the sandbox lives
        self._answered, self._trouble = self._began, ""  # when the service last did, and what went wrong since
        self._reader = LogReader(self._open_log, self._limits.reopen_s)
        self._poller = asyncio.ensure_future(self._poll())

    async def follow(self) -> Watched:
        """Hand output on until the sandbox's end."""
        try:
            return await self._follow()
        except BrokenPipeError:
            return self._done("interrupted", "nobody reads the output any more", signal.SIGPIPE)
        finally:
            await self._end_sandbox()
            let_go_s = self._limits.let_go_s
            await asyncio.gather(let_go(self._poller, let_go_s), self._reader.close(let_go_s))

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
            if (number := self._launcher.caller.stop.requested()) is not None:
                await self._stop_and_drain()
                return self._done("interrupted", f"ended by {signal.Signals(number).name}", number)
            if self._code is None:
                if (overdue := self._overdue(now)) is not None:
                    await self._stop_and_drain()
                    # The end mark may have been on its way.
                    return self._done("end") if seen.end else overdue
            elif sandbox_ended is None:
                sandbox_ended, passes = now, self._reader.passes
            elif self._reader.passes > passes:  # the whole log of a dead sandbox is known
                return self._ended_without_mark(is_whole=True)
            elif now - sandbox_ended > self._limits.drain_s and not looked_again:
                # A connection can be dead without an error; a new one reads the whole log of the dead sandbox at once.
                looked_again, sandbox_ended = True, now
                await self._reader.reopen(self._limits.let_go_s)
            elif now - sandbox_ended > self._limits.drain_s:
                return self._ended_without_mark(is_whole=False)
            await self._reader.wait_for_more(self._limits.tick_s)

    def _open_log(self) -> AsyncGenerator[str, None]:
        if self._log_opened:
            return self._launcher.cloud.log(self._sandbox.object_id)
        self._log_opened = True
        log: AsyncGenerator[str, None] = aiter(self._sandbox.stdout)
        return log

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
            await self._launcher.end(self._sandbox, is_over=self._parser.seen.end is not None)

    async def _stop_and_drain(self) -> None:
        passes = self._reader.passes
        await self._end_sandbox()
        deadline = time.monotonic() + self._limits.drain_s
        while self._reader.passes == passes and time.monotonic() < deadline:
            self._pump()
            await self._reader.wait_for_more(self._limits.tick_s)
        self._pump(is_last=True)

    def _pump(self, is_last: bool = False) -> None:
        text = self._parser.feed(self._reader.take()) + (self._parser.flush() if is_last else "")
        now = time.monotonic()
        if self._parser.seen.container and self._container_began is None:
            self._container_began = now
        if self._parser.seen.started and self._command_began is None:
            self._command_began = now
        if text:
            self._emit(text.encode("utf-8", "surrogateescape"))

    def _overdue(self, now: float) -> Watched | None:
        limits = self._limits
        if self._container_began is None:
            return self._done("capacity") if now - self._began > self._created.queue_s else None
        if self._command_began is None:
            if now - self._container_began <= limits.start_s:
                return None
            return self._done("lost", f"the command did not start within {limits.start_s:g} s of the container")
        late_s = limits.kill_after_s + limits.grace_s
        if now - self._command_began <= self._timeout_s + late_s:
            return None
        silent_s = now - self._answered
        if silent_s > limits.grace_s:
            return self._done("lost", f"Modal has not answered for {silent_s:.0f} s ({self._trouble})")
        return self._done("timeout", f"not over {late_s:g} s after its time limit; the sandbox was ended")

    def _ended_without_mark(self, is_whole: bool) -> Watched:
        """Judge a sandbox that ended without an end mark, unless that was among the last lines."""
        self._pump(is_last=True)
        seen = self._parser.seen
        if seen.end is not None:
            return self._done("end")
        if self._code == TIMEOUT_STATUS and seen.started:
            return self._done("timeout", "the sandbox's own time limit ended it")
        if seen.started:
            where = "in the middle of the command, or the end of its log is missing"
        elif is_whole:
            where = "before the command began"
        else:
            where = f"and its log could not be read {self._reader.trouble}".rstrip()
        why = f"the sandbox ended {where} (it reports {self._code})"
        return self._done("lost", why, idle=is_whole and not seen.started)

    def _done(self, kind: WatchKind, why: str = "", number: int | None = None, idle: bool = False) -> Watched:
        now = time.monotonic()
        started = self._command_began or now
        return Watched(kind, self._parser.seen, why, number, started - self._began, now - started, idle)
