"""Reads a run's log strictly: its summary block and its tail; nothing in it is executed.

A log is written by code that an agent wrote. So numbers come from the last block after a line ``---`` only, every
surprise means "no metrics" with a reason, only the head and the tail of the file are read, and text that is handed on
is bounded and quoted.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from research.core import contract
from research.core.records import Metrics
from research.core.settings import SETTINGS
from research.core.text import clean

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_RUNNER_END = "[run] end "
_LINE = re.compile(r"([A-Za-z_]\w*):\s*(\S.*)")


@dataclass(frozen=True)
class LogText:
    """The parts of a log that are read, as the lines that a terminal would show."""

    lines: tuple[str, ...]  # its end, or all of it
    head: tuple[str, ...] = ()  # its beginning; empty when the lines are the whole file

    def tail(self) -> tuple[str, ...]:
        """Return the last lines, trailing blank ones left out, each one bounded in length."""
        lines = list(self.lines)
        while lines and not lines[-1].strip():
            lines.pop()
        return tuple(clean(line) for line in lines[-SETTINGS.tail_lines :])


@dataclass(frozen=True)
class Summary:
    """The summary block of a log, which comes after the last ``---``."""

    metrics: Metrics | None  # the nine public values, None unless all are there, once each and sound
    words: dict[str, str]  # texts of our own lines (checks, contract, val_bpb_exact, ...), by key
    problem: str  # why there are no metrics; "" when there are, or when the log has no block at all
    start: int | None  # index in LogText.lines of the line after the mark


def _lines(data: bytes) -> tuple[str, ...]:
    """Split bytes into lines, of each the text after its last carriage return, cut where it is longer than any message.

    What is no UTF-8 becomes U+FFFD.
    """
    text = data.decode("utf-8", "replace").replace("\x00", "")
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1][: SETTINGS.log_line_chars] for line in text.split("\n")]
    return tuple(lines if lines[-1] else lines[:-1])


def read_log(path: Path) -> LogText | None:
    """Read a bounded part of a log of any size, None when there is no such file.

    Raises:
        OSError: if the file is there and cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            if size <= SETTINGS.log_head_bytes + SETTINGS.log_tail_bytes:
                return LogText(_lines(file.read(size)))
            head = _lines(file.read(SETTINGS.log_head_bytes))
            file.seek(size - SETTINGS.log_tail_bytes)
            tail = _lines(file.read(SETTINGS.log_tail_bytes))
    except (FileNotFoundError, NotADirectoryError):
        return None
    # The lines at the two cuts are torn; of a single one, a progress bar's, the last state is whole.
    return LogText(tail[1:] or tail, head[:-1])


def parse_text(text: str) -> LogText:
    """Read a log that is already in memory."""
    return LogText(_lines(text.encode("utf-8", "replace")))


def read_end(log: LogText) -> tuple[str, str] | None:
    """Read outcome and reason from the runner's own last line; None where the log ends with another line."""
    last = next((line for line in reversed(log.lines) if line.strip()), "")
    if not last.startswith(_RUNNER_END):
        return None
    try:
        plain = json.loads(last.removeprefix(_RUNNER_END))
        outcome, why = plain["outcome"], plain["why"] or f"exit {plain['exit']}"
    except (ValueError, LookupError, TypeError):
        return None
    return clean(str(outcome)), clean(str(why), SETTINGS.quote_chars)


def _number(key: str, text: str) -> float | int | None:
    if len(text) > SETTINGS.number_chars:
        return None
    if key in contract.INTEGER_KEYS:
        return int(text) if re.fullmatch(r"\d+", text) else None
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def read_summary(log: LogText) -> Summary:
    """Read the last summary block; never raises, whatever the log holds."""
    marks = [number for number, line in enumerate(log.lines) if line.strip() == contract.SUMMARY_MARK]
    if not marks:
        return Summary(None, {}, "", None)
    start = marks[-1] + 1
    values: dict[str, float | int] = {}
    words: dict[str, str] = {}
    problems = []
    for line in log.lines[start:]:
        match = _LINE.fullmatch(line.strip())
        if not match or match[1] not in contract.PUBLIC_KEYS + contract.OWN_KEYS:
            continue
        key, text = match[1], match[2]
        if key in values or key in words:
            problems.append(f"{key} is given twice")
        elif key in contract.OWN_KEYS:
            words[key] = clean(text)
        else:
            value = _number(key, text)
            if value is None:
                problems.append(f"{key} is not a finite number")
            values[key] = 0 if value is None else value
    missing = [key for key in contract.PUBLIC_KEYS if key not in values]
    if missing:
        problems.append(f"{', '.join(missing)} missing")
    elif values["val_bpb"] <= 0:
        problems.append("val_bpb is not above zero")
    if problems:
        return Summary(None, words, problems[0], start)
    return Summary(Metrics.from_values(values), words, "", start)
