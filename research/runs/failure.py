"""Classifies failures: a class that says what to do about one, and a signature that is the same for the same fault."""

from __future__ import annotations

import re
import signal

from research.core import contract
from research.core.records import Failure, FailureKind
from research.core.settings import SETTINGS
from research.core.text import clean
from research.runs.log import LogText, Summary

NO_SUMMARY = "no summary"
"""Signature of a log that shows neither a score nor a failure."""
_EXCEPTION = re.compile(r"([A-Za-z_][\w.]*)(?::\s*(.*))?\Z")
_TRACEBACK = "Traceback (most recent call last):"

_CLASSES: tuple[tuple[FailureKind, re.Pattern[str]], ...] = (
    ("oom", re.compile(r"OutOfMemoryError|out of memory|MemoryError|CUBLAS_STATUS_ALLOC_FAILED", re.I)),
    ("import", re.compile(r"^(\w+\.)*(ImportError|ModuleNotFoundError)\b")),
    (
        "shape",
        re.compile(
            r"size mismatch|shape|sizes? of tensor|must match the size|mat1 and mat2|dimension|broadcast"
            r"|size of tensor|expanded size|invalid for input of size",
            re.I,
        ),
    ),
    ("assertion", re.compile(r"^(\w+\.)*AssertionError\b")),
    ("nan", re.compile(r"\bnan\b|\binf\b|non-?finite|diverged", re.I)),
)

_SCRUBS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"0x[0-9a-fA-F]+"), "ADDR"),
    (re.compile(r"(?:[A-Za-z]:)?(?:[\w.~-]*[/\\])+[\w.~-]*"), "PATH"),
    (re.compile(r"\bline \d+\b"), "line #"),
    (re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"), "#"),
    (re.compile(r"#(?:\s*[,x×]\s*#)+"), "#"),
    (re.compile(r"#\s*(?:[KMGT]i?B|bytes)\b"), "#"),
    (re.compile(r"\s+"), " "),
)


def scrub(text: str) -> str:
    """Removes what differs between two runs of one fault from a message: addresses, paths, numbers, sizes."""
    for pattern, word in _SCRUBS:
        text = pattern.sub(word, text)
    return text.strip()[: SETTINGS.signature_chars]


def last_exception(lines: tuple[str, ...]) -> tuple[str, str] | None:
    """Finds type and message of the exception that ended the last traceback, None without one."""
    for start in range(len(lines) - 1, -1, -1):
        if lines[start].strip() != _TRACEBACK:
            continue
        for line in lines[start + 1 :]:
            if line[:1].isspace() or not line:
                continue
            match = _EXCEPTION.match(line)
            if match:
                return match[1].rsplit(".", 1)[-1], match[2] or ""
        return "Traceback", ""
    return None


def _of_exception(name: str, message: str) -> Failure:
    text = f"{name}: {message}" if message else name
    kind: FailureKind = next((kind for kind, pattern in _CLASSES if pattern.search(text)), "unknown")
    if kind == "nan" and name in {"NameError", "ImportError", "AttributeError", "KeyError"}:
        kind = "unknown"
    signature = "oom" if kind == "oom" else scrub(text)
    return Failure(kind, signature, clean(text))


def _last_words(log: LogText) -> str:
    return next((line.strip() for line in reversed(log.lines) if line.strip()), "")


def _of_checks(summary: Summary) -> Failure | None:
    failed = [key for key in contract.CHECK_KEYS if summary.words.get(key) == contract.FAIL]
    return Failure("probe", "probe: " + "+".join(failed), f"{' and '.join(failed)}: fail") if failed else None


def _of_exit(exit_code: int, timed_out: bool, log: LogText, summary: Summary) -> Failure | None:
    """Classifies what the exit code alone decides."""
    if timed_out:
        return Failure("timeout", "timeout", "ended by the time limit")
    if exit_code == contract.EXIT_PROBE_FAILED:
        return _of_checks(summary) or Failure("probe", "probe", "a probe of the score failed")
    if exit_code == contract.EXIT_DIVERGED:
        return Failure("nan", "nan: diverged", clean(_last_words(log)) or "the loss diverged")
    if exit_code > 128:
        try:
            name = signal.Signals(exit_code - 128).name
        except ValueError:
            name = f"signal {exit_code - 128}"
        return Failure("killed", f"killed: {name}", f"ended by {name}")
    return None


def classify(log: LogText, summary: Summary, exit_code: int | None = None, timed_out: bool = False) -> Failure | None:
    """Finds why a run failed, None if nothing shows that it did.

    Args:
        log: What was read of the log.
        summary: Its summary block.
        exit_code: The command's exit code (128+N for signal N), None when only the log is known.
        timed_out: Whether the time limit ended it.
    """
    if exit_code is not None and (found := _of_exit(exit_code, timed_out, log, summary)):
        return found
    if exit_code is None and (found := _of_checks(summary)):
        return found
    exception = last_exception(log.lines)
    after_summary = summary.start is not None and last_exception(log.lines[summary.start :]) is not None
    if exit_code == 0 or (exit_code is None and summary.metrics and not after_summary):
        if summary.metrics:
            return None
        return Failure("unknown", NO_SUMMARY, summary.problem or "exit 0 without a summary block")
    if exception:
        return _of_exception(*exception)
    last = _last_words(log)
    if not last:
        return Failure("unknown", "empty log", "the log is empty")
    if last == "FAIL":
        return Failure("nan", "nan: diverged", "FAIL")
    if exit_code is None and summary.problem:
        return Failure("unknown", "summary: " + scrub(summary.problem), summary.problem)
    if match := re.match(r"(?:\w+\.)*\w*(?:Error|Exception)\b", last):
        return _of_exception(match[0].rsplit(".", 1)[-1], last[match.end() :].lstrip(": "))
    if exit_code is None:
        return Failure("unknown", NO_SUMMARY, "the log ends without a summary block: " + clean(last))
    return Failure("unknown", f"exit {exit_code}: {scrub(last)}", clean(last))
