"""Classifies failures: a class that says what to do about one, and a signature that is the same for the same fault."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace

from research.core import contract
from research.core.interpreter import GET_UV
from research.core.records import Failure, FailureKind
from research.core.settings import SETTINGS
from research.core.text import clean
from research.runs.log import LogText, Summary

NO_SUMMARY = "no summary"
"""Signature of a log that shows neither a score nor a failure."""
_EXCEPTION = re.compile(r"([A-Za-z_][\w.]*)(?::\s*(.*))?\Z")
_TRACEBACK = "Traceback (most recent call last):"
_RANK = re.compile(r"^\[rank\d+\]: ?")
"""What torchrun writes before every line of a process."""

_OWN_PACKAGES = "torch|triton|numpy|pyarrow|requests|tiktoken|rustbpe|click|rich|jinja2|optuna|modal|research|prepare"
"""What the project installs or brings; another module that is missing is one that an edit imports."""
_OF_MACHINE: tuple[tuple[FailureKind, re.Pattern[str]], ...] = (
    ("disk_full", re.compile(r"no space left on device|disk quota exceeded|database or disk is full", re.I)),
    ("read_only", re.compile(r"read-only file system|permission denied: \S*(\.cache|autoresearch)", re.I)),
    (
        "gpu_lost",
        re.compile(
            r"fallen off the bus|gpu is lost|no cuda gpus are available|no cuda-capable device"
            r"|uncorrectable (ecc|nvlink)|unable to determine the device handle"
            r"|device\(s\) is/are busy or unavailable|nvrm: xid",
            re.I,
        ),
    ),
    (
        "toolchain",
        re.compile(
            r"ptxas (fatal|.*(error|too old|not found))|not defined for option 'gpu-name'|sm_\w+ is not compatible"
            r"|no kernel image is available|too old to be supported by the triton|kernel image is invalid"
            r"|failed to find c compiler|unsupported gpu architecture|(driver|ptx).*(too old|unsupported toolchain)"
            r"|driver/library version mismatch",
            re.I,
        ),
    ),
    ("cuda", re.compile(r"cuda error: (unknown error|initialization error|system not)|cuda unknown error", re.I)),
    ("cuda", re.compile(r"(cuda|error)\W*(code )?999\b|cudaErrorUnknown|system has unsupported display driver", re.I)),
    ("uv_missing", re.compile(r"^(\S+: )*(line \d+: )?'?uv'?: (command )?not found|no such file or directory: '?uv\b")),
    ("uv_missing", re.compile(r"^env: '?\W?uv\W?'?: no such file", re.I)),
    (
        "package_missing",
        re.compile(rf"^(\w+\.)*ModuleNotFoundError: No module named '({_OWN_PACKAGES})\b|^ImportError: lib\S+\.so"),
    ),
)
"""What a log says where the machine failed. No edit of train.py brings these about, so none is blamed for them."""

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
    ("kernel", re.compile(r"OutOfResources|CompilationError|illegal memory access|unspecified launch failure", re.I)),
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


def advice_on(failure: Failure | None) -> str:
    """Return what to do about a failure of the machine, "" for any other."""
    return _ADVICE.get(failure.kind, "") if failure else ""


def _of_machine(lines: Sequence[str]) -> Failure | None:
    """Finds a failure of the machine in the end of a log."""
    last = [line for line in lines[-SETTINGS.tail_lines :] if line.strip() and not line[:1].isspace()]
    for line in reversed(last):
        for kind, pattern in _OF_MACHINE:
            if pattern.search(line):
                return Failure(kind, f"{kind}: {scrub(line)}"[: SETTINGS.signature_chars], clean(line))
    taken = next((line for line in reversed(last) if "out of memory" in line.lower() and _is_taken(line)), None)
    return Failure("gpu_taken", "gpu_taken", clean(taken)) if taken else None


def _is_taken(line: str) -> bool:
    """Checks whether other processes hold so much of a GPU's memory that their absence would help.

    In a container torch knows its own process by another number, so that what it has allocated itself tells it apart.
    """
    own, others, is_named = 0.0, [], "this process has" in line.lower()
    for who, held, unit, allocated, its_unit in _HELD.findall(line):
        size = float(held or allocated) / (1.0 if (unit or its_unit).upper() == "G" else 1024.0)
        if allocated:
            own = size
        elif who.lower() != "this process":
            others.append(size)
    alien = [size for size in others if is_named or not own <= size <= SETTINGS.own_memory_factor * own]
    return sum(alien) >= SETTINGS.taken_memory_gib


def _last_words(log: LogText) -> str:
    return next((line.strip() for line in reversed(log.lines) if line.strip()), "")


def _is_of_uv(log: LogText) -> bool:
    """Checks whether uv itself failed (no network, broken environment), so that train.py never ran."""
    words = [line.strip().lower() for line in (*log.head, *log.lines) if line.strip()]
    return any(line.startswith("error: ") for line in words) and not any(line == "---" for line in words)


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
    log = replace(log, lines=tuple(_RANK.sub("", line) for line in log.lines))
    ends_itself = exit_code in (0, contract.EXIT_PROBE_FAILED, contract.EXIT_DIVERGED)
    is_over = timed_out or ends_itself or (exit_code is None and summary.start is not None)
    if not is_over and (found := _of_machine(log.lines)):
        return found
    if exit_code == 2 and _is_of_uv(log):
        return Failure("uv", "uv could not start train.py", clean(_last_words(log)))
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
