"""Reads a run's log strictly: its summary block and its tail; nothing in it is executed.

A log is written by code that an agent wrote. So numbers come from the last block after a line ``---`` only, every
surprise means "no metrics" with a reason, only the head and the tail of the file are read, and text that is handed on
is bounded and quoted.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from research.core import contract
from research.core.records import Metrics
from research.core.settings import SETTINGS
from research.core.text import clean

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\Z")
_INTEGER = re.compile(r"\d+\Z")
_LINE = re.compile(r"\s*([A-Za-z_]\w*):\s*(\S.*?)\s*\Z")


@dataclass(frozen=True)
class LogText:
    """The parts of a log that are read.

    Attributes:
        lines: Lines of the tail as a terminal would leave them (the text after the last carriage return).
        head: Lines of the beginning; empty when the tail is the whole file.
        size_bytes: Size of the whole log.
    """

    lines: tuple[str, ...]
    head: tuple[str, ...] = ()
    size_bytes: int = 0

    def tail(self, count: int = SETTINGS.tail_lines) -> tuple[str, ...]:
        """Returns the last lines, trailing blank ones left out, each one bounded in length."""
        lines = list(self.lines)
        while lines and not lines[-1].strip():
            lines.pop()
        return tuple(clean(line) for line in lines[-count:])


@dataclass(frozen=True)
class Summary:
    """The block after the last ``---``.

    Attributes:
        metrics: The nine public values, None unless all are there, once each and sound.
        words: Our own lines (checks, contract, val_bpb_exact, ...) as text.
        problem: Why there are no metrics; "" when there are, or when the log has no block at all.
        start: Index in LogText.lines of the line after the mark; None without a mark.
    """

    metrics: Metrics | None
    words: dict[str, str]
    problem: str
    start: int | None


def split_lines(data: bytes) -> tuple[str, ...]:
    """Splits the bytes of a log into lines; bytes that are not UTF-8 become U+FFFD."""
    text = data.decode("utf-8", "replace").replace("\x00", "")
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")]
    if lines and not lines[-1]:
        lines.pop()
    return tuple(lines)


def read_log(path: Path) -> LogText | None:
    """Reads a bounded part of a log of any size.

    Returns:
        None when there is no such file.

    Raises:
        OSError: if the file is there and cannot be read.
    """
    head_bytes, tail_bytes = SETTINGS.log_head_bytes, SETTINGS.log_tail_bytes
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size <= head_bytes + tail_bytes:
                file.seek(0)
                return LogText(split_lines(file.read(head_bytes + tail_bytes)), (), size)
            file.seek(0)
            head = split_lines(file.read(head_bytes))
            file.seek(size - tail_bytes)
            tail = split_lines(file.read(tail_bytes))
    except (FileNotFoundError, NotADirectoryError):
        return None
    # The lines at the two cuts are torn; of a single one, a progress bar's, the last state is whole.
    return LogText(tail[1:] or tail, head[:-1], size)


def parse_text(text: str) -> LogText:
    """Reads a log that is already in memory."""
    data = text.encode("utf-8", "replace")
    return LogText(split_lines(data), (), len(data))


def _number(key: str, text: str) -> float | int | None:
    if key in contract.INTEGER_KEYS:
        return int(text) if _INTEGER.match(text) and len(text) <= SETTINGS.number_chars else None
    if not _NUMBER.match(text) or len(text) > SETTINGS.number_chars:
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def read_summary(log: LogText) -> Summary:
    """Reads the last summary block; never raises, whatever the log holds."""
    start = next(
        (i + 1 for i in range(len(log.lines) - 1, -1, -1) if log.lines[i].strip() == contract.SUMMARY_MARK), None
    )
    if start is None:
        return Summary(None, {}, "", None)
    values: dict[str, float | int] = {}
    words: dict[str, str] = {}
    problem = ""
    for line in log.lines[start:]:
        match = _LINE.match(line)
        if not match or match[1] not in contract.PUBLIC_KEYS + contract.OWN_KEYS:
            continue
        key, text = match[1], match[2]
        if key in values or key in words:
            problem = problem or f"{key} is given twice"
        elif key in contract.OWN_KEYS:
            words[key] = clean(text)
        else:
            value = _number(key, text)
            if value is None:
                problem = problem or f"{key} is not a finite number"
                value = 0
            values[key] = value
    missing = [key for key in contract.PUBLIC_KEYS if key not in values]
    if missing:
        problem = problem or f"{', '.join(missing)} missing"
    elif values["val_bpb"] <= 0:
        problem = problem or "val_bpb is not above zero"
    if problem:
        return Summary(None, words, problem, start)
    return Summary(Metrics.from_values(values), words, "", start)


def quote(
    lines: tuple[str, ...] | list[str], max_lines: int = SETTINGS.tail_lines, max_chars: int = SETTINGS.quote_chars
) -> str:
    """Quotes log text as data for an agent: the last lines, cleaned, each behind ``| ``, at most max_chars in all."""
    kept: list[str] = []
    room = max_chars
    for line in reversed(lines[-max_lines:]):
        shown = "| " + clean(line)
        room -= len(shown) + 1
        if room < 0:
            break
        kept.append(shown)
    return "\n".join(reversed(kept))
