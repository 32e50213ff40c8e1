"""Classifies failures: the kind says what to do about one; the signature is the same for every run of one fault."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence

from research.core import contract
from research.core.interpreter import GET_UV
from research.core.records import Failure, FailureKind
from research.core.settings import SETTINGS
from research.core.text import clean
from research.runs.log import LogText, Summary

NO_SUMMARY = "no summary"
"""Signature of a log that shows neither a score nor a failure."""

_OWN_PACKAGES = "torch|triton|numpy|pyarrow|requests|tiktoken|rustbpe|click|rich|jinja2|optuna|modal|research|prepare"
"""Modules that the project installs or contains; any other missing module is one that an edit imports."""
_OF_MACHINE: Mapping[FailureKind, tuple[str, ...]] = {
    "disk_full": (r"no space left on device|disk quota exceeded|database or disk is full",),
    "read_only": (r"read-only file system|permission denied: \S*(\.cache|autoresearch)",),
    "gpu_lost": (
        r"fallen off the bus|gpu is lost|no cuda gpus are available|no cuda-capable device",
        r"uncorrectable (ecc|nvlink)|unable to determine the device handle|nvrm: xid",
        r"device\(s\) is/are busy or unavailable",
    ),
    "toolchain": (
        r"ptxas (fatal|.*(error|too old|not found))|not defined for option 'gpu-name'|sm_\w+ is not compatible",
        r"no kernel image is available|too old to be supported by the triton|kernel image is invalid",
        r"failed to find c compiler|unsupported gpu architecture|(driver|ptx).*(too old|unsupported toolchain)",
        r"driver/library version mismatch",
    ),
    "cuda": (
        r"cuda error: (unknown error|initialization error|system not)|cuda unknown error|cudaErrorUnknown",
        r"(cuda|error)\W*(code )?999\b|system has unsupported display driver",
    ),
    "uv_missing": (
        r"^(\S+: )*(line \d+: )?'?uv'?: (command )?not found|no such file or directory: '?uv\b",
        r"^env: '?\W?uv\W?'?: no such file",
    ),
    "package_missing": (
        rf"^(\w+\.)*ModuleNotFoundError: No module named '({_OWN_PACKAGES})\b|^ImportError: lib\S+\.so",
    ),
}
"""Patterns of log lines where the machine failed. No edit of train.py causes these, so none is blamed for them."""

_ADVICE: Mapping[FailureKind, str] = {
    "disk_full": "Free disk space: du -xh -d2 ~ | sort -h | tail",
    "read_only": "Point AUTORESEARCH_HOME to a folder that can be written to.",
    "gpu_lost": "See whether the GPU answers: nvidia-smi. If not, restart the machine.",
    "gpu_taken": "End the process that holds the GPU's memory: nvidia-smi",
    "cuda": "Restart the CUDA driver, or the machine: sudo nvidia-smi -r",
    "toolchain": "Make torch, Triton and the driver fit each other: uv sync --reinstall (nvidia-smi shows the driver).",
    "uv_missing": f"Install uv: {GET_UV}",
    "package_missing": "Install the packages: uv sync",
    "uv": "See what uv says: uv sync",
}
_HELD = re.compile(
    r"(this process|process \d+) has ([\d.]+) ([GM])iB memory in use|([\d.]+) ([GM])iB is allocated by", re.I
)

_CLASSES: Mapping[FailureKind, re.Pattern[str]] = {
    "oom": re.compile(r"OutOfMemoryError|out of memory|MemoryError|CUBLAS_STATUS_ALLOC_FAILED", re.I),
    "import": re.compile(r"^(\w+\.)*(ImportError|ModuleNotFoundError)\b"),
    "shape": re.compile(
        r"size mismatch|shape|sizes? of tensor|must match the size|mat1 and mat2|dimension|broadcast"
        r"|expanded size|invalid for input of size",
        re.I,
    ),
    "kernel": re.compile(r"OutOfResources|CompilationError|illegal memory access|unspecified launch failure", re.I),
    "assertion": re.compile(r"^(\w+\.)*AssertionError\b"),
    "nan": re.compile(r"\bnan\b|\binf\b|non-?finite|diverged", re.I),
}
"""Patterns of a traceback's last line for the kinds of failures; the first that fits decides."""

_SCRUBS = (
    (r"\b0x[0-9a-fA-F]+", "ADDR"),
    (r"(?:[A-Za-z]:)?(?:[\w.~-]*[/\\])+[\w.~-]*", "PATH"),
    (r"\bline \d+\b", "line #"),
    (r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", "#"),
    (r"#(?:\s*[,x×]\s*#)+", "#"),
    (r"#\s*(?:[KMGT]i?B|bytes)\b", "#"),
    (r"\s+", " "),
)


def scrub(text: str) -> str:
    """Return a message without what differs between two runs of one fault: addresses, paths, numbers, sizes."""
    for pattern, word in _SCRUBS:
        text = re.sub(pattern, word, text)
    return text.strip()[: SETTINGS.signature_chars]


def advice_on(failure: Failure | None) -> str:
    """Return the command that helps against a failure of the machine, "" for any other failure."""
    return _ADVICE.get(failure.kind, "") if failure else ""


def classify(log: LogText, summary: Summary, exit_code: int | None = None, timed_out: bool = False) -> Failure | None:
    """Return why a run failed, None if nothing shows that it did.

    The exit code (128+N for signal N) is None when only the log is known.
    """
    lines = tuple(re.sub(r"^\[rank\d+\]: ?", "", line) for line in log.lines)  # as torchrun writes before each
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    ends_itself = exit_code in (0, contract.EXIT_PROBE_FAILED, contract.EXIT_DIVERGED)
    is_over = timed_out or ends_itself or (exit_code is None and summary.start is not None)
    if not is_over and (found := _of_machine(lines)):
        return found
    if exit_code == 2 and _is_of_uv(lines):
        return Failure("uv", "uv could not start train.py", clean(last))
    if timed_out:
        return Failure("timeout", "timeout", "ended by the time limit")
    if exit_code is not None and (found := _of_exit(exit_code, last, summary)):
        return found
    if exit_code is None and (found := _of_checks(summary)):
        return found
    fails_late = summary.start is not None and _last_exception(lines[summary.start :]) is not None
    if exit_code == 0 or (exit_code is None and summary.metrics and not fails_late):
        if summary.metrics:
            return None
        return Failure("unknown", NO_SUMMARY, summary.problem or "exit 0 without a summary block")
    if exception := _last_exception(lines):
        return _of_exception(*exception)
    return _of_last_line(last, summary, exit_code)


def _of_machine(lines: Sequence[str]) -> Failure | None:
    """Return the failure of the machine that the end of a log shows, None if it shows none."""
    last = [line for line in lines[-SETTINGS.tail_lines :] if line.strip() and not line[:1].isspace()]
    for line in reversed(last):
        for kind, patterns in _OF_MACHINE.items():
            if any(re.search(pattern, line, re.I) for pattern in patterns):
                return Failure(kind, f"{kind}: {scrub(line)}"[: SETTINGS.signature_chars], clean(line))
    taken = next((line for line in reversed(last) if "out of memory" in line.lower() and _is_taken(line)), None)
    return Failure("gpu_taken", "gpu_taken", clean(taken)) if taken else None


def _is_taken(line: str) -> bool:
    """Check whether an out-of-memory message names other processes that hold enough of the GPU to be the cause.

    In a container torch does not know its own process by its number; a process that holds about as much memory as torch
    says it has allocated is taken for this one.
    """
    own, others, is_named = 0.0, [], "this process has" in line.lower()
    for who, held, unit, allocated, its_unit in _HELD.findall(line):
        size = float(held or allocated) / (1.0 if (unit or its_unit).upper() == "G" else 1024.0)
        if allocated:
            own = size
        elif who.lower() != "this process":
            others.append(size)
    mine = [] if is_named else [size for size in sorted(others) if own <= size <= SETTINGS.own_memory_factor * own]
    return sum(others) - sum(mine[:1]) >= SETTINGS.taken_memory_gib


def _is_of_uv(lines: Sequence[str]) -> bool:
    """Check whether uv itself failed (no network, broken environment), so that train.py never ran."""
    words = [line.strip().lower() for line in lines]
    return any(word.startswith("error: ") for word in words) and contract.SUMMARY_MARK not in words


def _of_exit(exit_code: int, last: str, summary: Summary) -> Failure | None:
    """Return the failure that the exit code alone shows, None where it shows none."""
    if exit_code == contract.EXIT_PROBE_FAILED:
        return _of_checks(summary) or Failure("probe", "probe", "a probe of the score failed")
    if exit_code == contract.EXIT_DIVERGED:
        return Failure("nan", "nan: diverged", clean(last) or "the loss diverged")
    if exit_code > 128:
        number = exit_code - 128
        name = signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"
        return Failure("killed", f"killed: {name}", f"ended by {name}")
    return None


def _of_checks(summary: Summary) -> Failure | None:
    failed = [key for key in contract.CHECK_KEYS if summary.words.get(key) == contract.FAIL]
    return Failure("probe", "probe: " + "+".join(failed), f"{' and '.join(failed)}: fail") if failed else None


def _last_exception(lines: Sequence[str]) -> tuple[str, str] | None:
    """Find type and message of the exception that ended the last traceback, None without one."""
    starts = [number for number, line in enumerate(lines) if line.strip() == "Traceback (most recent call last):"]
    if not starts:
        return None
    for line in lines[starts[-1] + 1 :]:
        if not line[:1].isspace() and (match := re.fullmatch(r"([A-Za-z_][\w.]*)(?::\s*(.*))?", line)):
            return match[1].rsplit(".", 1)[-1], match[2] or ""
    return "Traceback", ""


def _of_exception(name: str, message: str) -> Failure:
    text = f"{name}: {message}" if message else name
    kind: FailureKind = next((kind for kind, pattern in _CLASSES.items() if pattern.search(text)), "unknown")
    if kind == "nan" and name in {"NameError", "ImportError", "AttributeError", "KeyError"}:
        kind = "unknown"
    return Failure(kind, "oom" if kind == "oom" else scrub(text), clean(text))


def _of_last_line(last: str, summary: Summary, exit_code: int | None) -> Failure:
    """Classify a log that holds no traceback."""
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
