"""Watches one sandbox from its creation to its end: output out live, the end recognised whatever fails on the way."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from research.runs.backend import StopRequest
from research.runs.modal.client import Call, Cloud, describe
from research.runs.modal.sandbox import Launcher, back_off
from research.runs.modal.settings import Limits
from research.runs.modal.stream import LogReader, Parser, Seen

TIMEOUT_STATUS = 124  # what the client makes of a sandbox that its own time limit ended


@dataclass(frozen=True)
class Watched:
    """How the watch ended.

    Attributes:
        kind: "end" when the command was seen to end; "timeout" when its sandbox had to be ended; "interrupted" by a
            signal; "capacity" when an adopted sandbox got no GPU; "lost" when the infrastructure failed.
        seen: What the marks said.
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
    """Asks in a thread whether the sandbox still runs; errors only make it ask more slowly.

    Args:
        ask: Tells the sandbox's exit code, None while it runs.
        limits: How often.
    """

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, int | None]], limits: Limits) -> None:
        self.code: int | None = None
        self.trouble = ""
        self.answered = time.monotonic()
        self._ask = ask
        self._limits = limits
        self._call = Call(self._work)

    def close(self) -> None:
        """Stops asking."""
        self._call.cancel(self._limits.let_go_s)

    async def _work(self) -> None:
        failures = 0
        while self.code is None:
            try:
                self.code = await self._ask()
                self.answered, self.trouble, failures = time.monotonic(), "", 0
            except Exception as error:
                failures += 1
                # The client says by an exception, not by a code, that the time limit ended the sandbox.
                if type(error).__name__ == "SandboxTimeoutError":
                    self.code = TIMEOUT_STATUS
                self.trouble = describe(error)
            await asyncio.sleep(back_off(self._limits, failures) if failures else self._limits.poll_s)


class Watch:
    """Follows one sandbox.

    Args:
        cloud: Modal.
        launcher: Ends the sandbox when that is due.
        sandbox: Which.
        mark: Its random mark.
        limits: What to wait for, and how long.
    """

    def __init__(self, cloud: Cloud, launcher: Launcher, sandbox: Any, mark: str, limits: Limits) -> None:
        self._launcher = launcher
        self._sandbox = sandbox
        self._limits = limits
        self._parser = Parser(mark)
        self._cloud = cloud
        self._fresh = True
        self._told_to_end = False
        self._reader = LogReader(self._open_log, limits.reopen_s)
        self._chars = 0
        self._second_look = False
        self._poller = Poller(sandbox.poll.aio, limits)
        self._began = time.monotonic()
        self._command_began: float | None = None

    def follow(
        self, emit: Callable[[bytes], None], stop: StopRequest, timeout_s: float, queue_s: float | None, adopted: bool
    ) -> Watched:
        """Hands output on until the sandbox's end; the sandbox has ended, or was told to, when this returns or raises.

        Args:
            emit: Takes output; what it raises ends the sandbox, a broken pipe as an interruption.
            stop: Asks for the end.
            timeout_s: Seconds the command may take.
            queue_s: Seconds an adopted sandbox may wait for a GPU.
            adopted: Whether it may still wait for one.
        """
        try:
            return self._loop(emit, stop, timeout_s, queue_s if adopted else 0.0)
        except BrokenPipeError:
            return self._done("interrupted", "nobody reads the output any more", signal.SIGPIPE)
        finally:
            self._end_sandbox()
            self._poller.close()
            self._reader.close(self._limits.let_go_s)

    def _loop(
        self, emit: Callable[[bytes], None], stop: StopRequest, timeout_s: float, queue_s: float | None
    ) -> Watched:
        sandbox_ended: float | None = None
        passes = 0
        while True:
            self._pump(emit)
            seen, now = self._parser.seen, time.monotonic()
            if seen.end is not None:
                return self._done("end")
            if seen.fault:
                return self._done("lost", seen.fault, idle=True)
            if seen.started and self._command_began is None:
                self._command_began = now
            if self._poller.code is None:
                overdue = self._overdue(now, timeout_s, queue_s)
                if overdue is not None:
                    self._stop_and_drain(emit)
                    # The end mark may have been on its way.
                    return self._done("end") if self._parser.seen.end else overdue
            elif sandbox_ended is None:
                sandbox_ended, passes = now, self._reader.passes
            elif self._reader.passes == passes and now - sandbox_ended > self._limits.drain_s and not self._second_look:
                self._look_again()
                sandbox_ended, passes = now, 0
            elif now - sandbox_ended > self._limits.drain_s or self._reader.passes > passes:
                whole = self._reader.passes > passes
                self._pump(emit)
                return self._done("end") if self._parser.seen.end else self._mute_end(emit, whole)
            number = stop.wait(self._limits.tick_s)
            if number is not None:
                self._stop_and_drain(emit)
                return self._done("interrupted", f"ended by {signal.Signals(number).name}", number)

    def _open_log(self) -> AsyncIterator[str]:
        fresh, self._fresh = self._fresh, False
        return aiter(self._sandbox.stdout) if fresh else self._cloud.log(self._sandbox.object_id)

    def _look_again(self) -> None:
        # A connection can be dead without an error; a new one reads the whole log of the dead sandbox at once.
        self._second_look = True
        self._reader.close(self._limits.let_go_s)
        self._reader = LogReader(self._open_log, self._limits.reopen_s, self._chars)

    def _end_sandbox(self) -> None:
        if not self._told_to_end:
            self._told_to_end = True
            self._launcher.end(self._sandbox, is_over=self._parser.seen.end is not None)

    def _pump(self, emit: Callable[[bytes], None]) -> None:
        fresh = self._reader.take()
        self._chars += len(fresh)
        text = self._parser.feed(fresh)
        if text:
            emit(text.encode("utf-8", "surrogateescape"))

    def _overdue(self, now: float, timeout_s: float, queue_s: float | None) -> Watched | None:
        limits = self._limits
        if self._command_began is None:
            if queue_s is None or now - self._began <= limits.start_s + queue_s:
                return None
            if queue_s:
                return self._done("capacity", f"no GPU within {queue_s / 60:g} minutes")
            return self._done("lost", f"the command did not start within {limits.start_s:g} s of the container")
        allowed = timeout_s + limits.kill_after_s + limits.grace_s
        if now - self._command_began <= allowed:
            return None
        silent_s = now - self._poller.answered
        if silent_s > limits.grace_s:
            return self._done("lost", f"Modal has not answered for {silent_s:.0f} s ({self._poller.trouble})")
        return self._done("timeout", f"not over {allowed - timeout_s:g} s after its time limit; the sandbox was ended")

    def _mute_end(self, emit: Callable[[bytes], None], whole: bool) -> Watched:
        self._flush(emit)
        idle = whole and not self._parser.seen.started
        if self._poller.code == TIMEOUT_STATUS and self._parser.seen.started:
            return self._done("timeout", "the sandbox's own time limit ended it")
        if self._parser.seen.started:
            where = "in the middle of the command, or the end of its log is missing"
        elif idle:
            where = "before the command began"
        else:
            where = f"and its log could not be read {self._reader.trouble}".rstrip()
        return self._done("lost", f"the sandbox ended {where} (it reports {self._poller.code})", idle=idle)

    def _stop_and_drain(self, emit: Callable[[bytes], None]) -> None:
        passes = self._reader.passes
        self._end_sandbox()
        deadline = time.monotonic() + self._limits.drain_s
        while self._reader.passes == passes and time.monotonic() < deadline:
            time.sleep(self._limits.tick_s)
        self._pump(emit)
        self._flush(emit)

    def _flush(self, emit: Callable[[bytes], None]) -> None:
        text = self._parser.flush()
        if text:
            emit(text.encode("utf-8", "surrogateescape"))

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
