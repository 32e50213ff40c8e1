"""Takes the marked lines out of a sandbox's one output stream, and tells what they say.

Only the wrapper's last line makes a result: without it a run was not seen to end, whatever the service reports.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import queue
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from research.core.contract import SCORE_FILE
from research.runs.modal import wrapper
from research.runs.modal.client import Call


@dataclass(frozen=True)
class EndMark:
    """What the wrapper said last.

    Attributes:
        code: The command's exit code as its shell saw it: 128+N for signal N.
        took_s: Seconds the command took.
        score_sha256: Of score.json, "none" without one, another word where it could not be sent.
        score_lines: How many lines it was sent in.
    """

    code: int
    took_s: float
    score_sha256: str
    score_lines: int


@dataclass
class Seen:
    """What the marks have said so far."""

    device: str | None = None
    driver: str = ""
    started: bool = False
    fault: str = ""
    end: EndMark | None = None
    score_parts: dict[int, str] = field(default_factory=dict)


class Parser:
    """Cuts a stream of text into output and marks.

    Args:
        mark: The random mark of this sandbox.
    """

    def __init__(self, mark: str) -> None:
        self.seen = Seen()
        self._mark = mark
        self._rest = ""

    def feed(self, text: str) -> str:
        """Takes the next piece of the stream; returns the output in it, as far as it is certain to be output."""
        self._rest += text
        lines = self._rest.split("\n")
        self._rest = lines.pop()
        return "".join(self._line(line, "\n") for line in lines)

    def flush(self) -> str:
        """Takes the end of the stream; returns the output that was held back."""
        rest, self._rest = self._rest, ""
        return self._line(rest, "") if rest else ""

    def _line(self, line: str, newline: str) -> str:
        if self.seen.end is not None:
            return ""  # nothing that belongs to the command comes after its end
        before, found, said = line.partition(self._mark + " ")
        if not found:
            # An unfinished mark is the sandbox's death in the middle of it, not output.
            return "" if not newline and self._mark in line else line + newline
        self._take(said)
        return before

    def _take(self, said: str) -> None:
        word, _, rest = said.partition(" ")
        words = rest.split()
        if word == wrapper.DEVICE:
            name, _, driver = rest.partition(",")
            self.seen.device, self.seen.driver = name.strip() or None, driver.strip()
        elif word == wrapper.STARTED:
            self.seen.started = True
        elif word == wrapper.FAULT:
            self.seen.fault = rest
        elif word == wrapper.SCORE and words and words[0].isdigit():
            self.seen.score_parts[int(words[0])] = words[1] if len(words) > 1 else ""
        elif word == wrapper.END and len(words) == 4 and all(words[i].isdigit() for i in (0, 1, 3)):
            self.seen.end = EndMark(int(words[0]), int(words[1]) / 1e6, words[2], int(words[3]))


def score_of(seen: Seen) -> bytes | None:
    """The score.json that came with the stream, None if there was none or it is damaged."""
    end = seen.end
    if end is None or sorted(seen.score_parts) != list(range(end.score_lines)):
        return None
    try:
        data = base64.b64decode("".join(seen.score_parts[i] for i in range(end.score_lines)), validate=True)
    except binascii.Error:
        return None
    return data if hashlib.sha256(data).hexdigest() == end.score_sha256 else None


def save_score(data: bytes, run_dir: Path) -> None:
    """Writes score.json into a run's folder, whole or not at all.

    Raises:
        OSError: the disk is full or not writable.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    temporary = run_dir / f".{SCORE_FILE}.{os.getpid()}.tmp"
    temporary.write_bytes(data)
    os.replace(temporary, run_dir / SCORE_FILE)


class LogReader:
    """Reads a sandbox's log in a thread of its own and hands it on by a queue.

    A log stream that breaks is opened again from its beginning, and what was already handed on is skipped.

    Args:
        open_log: Opens the log from its beginning; may raise or take its time.
        pause_s: Seconds before it is opened again.
        skip: Characters at its beginning that are known already.
    """

    def __init__(self, open_log: Callable[[], AsyncIterator[str]], pause_s: float, skip: int = 0) -> None:
        self._open = open_log
        self._pause_s = pause_s
        self._pieces: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._chars = skip
        self.trouble = ""
        """What went wrong last, for people."""
        self.passes = 0
        """How often the log was read to its end."""
        self._closed = False
        self._call = Call(self._work)

    def take(self) -> str:
        """What came since the last call."""
        pieces = []
        while True:
            try:
                pieces.append(self._pieces.get_nowait())
            except queue.Empty:
                return "".join(pieces)

    def close(self, wait_s: float) -> bool:
        """Stops reading; waits up to that many seconds until the stream is let go, and returns whether it is."""
        self._closed = True
        self._call.cancel(wait_s)
        return self._call.done()

    async def _work(self) -> None:
        while not self._closed:  # a client may make an error of its own of a cancellation
            try:
                skip = self._chars
                async for text in self._open():
                    fresh, skip = text[skip:], max(0, skip - len(text))
                    if fresh:
                        self._chars += len(fresh)
                        self._pieces.put(fresh)
                self.trouble = ""
                self.passes += 1
            except Exception as error:
                # Whatever the client raises here, the run goes on: the end mark or the deadline decides.
                self.trouble = f"{type(error).__name__}: {error}"
            await asyncio.sleep(self._pause_s)
