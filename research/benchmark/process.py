"""Reads facts about the running process: its age, script, commit, environment at launch, folder and lock."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter, process_time  # as they are now, whatever becomes of them in `time`

from research.benchmark.exits import explained_os_errors, stop

try:
    import fcntl
except ImportError:
    stop("Windows can't run this: install WSL (wsl --install), and run it there")


def age_s() -> float:
    """Return the seconds since this process started, import of torch included; 0 where the system does not tell."""
    try:
        with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
            ticks = int(stat.read().rpartition(")")[2].split()[19])
            return max(0.0, float(uptime.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return 0.0


class Clock:
    """The clock of this process, since its start, with the seconds of making data, which count as no training."""

    def __init__(self, read: Callable[[], float]) -> None:
        self.read = read  # returns the seconds that count, time.perf_counter or time.process_time
        self.started = perf_counter() - age_s()
        self.started_utc = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - age_s()))
        self.preparing_s = 0.0

    def wall_s(self) -> float:
        """Return the seconds on the wall since the process started."""
        return perf_counter() - self.started

    def elapsed_s(self) -> float:
        """Return the seconds that count since the process started: a process's processor time begins at 0."""
        return process_time() if self.read is process_time else self.wall_s()


def number_from_env(name: str, default: float, kind: Callable[[str], float]) -> float:
    """Return the number that a variable holds; end the program where it is none, below zero or beyond 64 bits."""
    text = os.environ.get(name) or str(default)
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**63:
        stop(f"{name}={text!r} is not a number that can be used: set it to 0 or more, below 2^63, or unset it")
    return value


def others_s() -> float:
    """Return the processor seconds of the processes that this one started, those that still run only on Linux."""
    times = os.times()
    total = times.children_user + times.children_system
    for file in Path("/proc/self/task").glob("*/children"):
        for child in file.read_text().split():
            with suppress(OSError, ValueError, IndexError):
                ticks = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]
                total += sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return total


def launch_environment() -> dict[str, str]:
    """Return the environment that this process was launched with, whatever it is now; {} where the system hides it."""
    try:
        pairs = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(pair.decode("utf-8", "surrogateescape").split("=", 1) for pair in pairs if b"=" in pair)


def main_source() -> bytes | None:
    """Return the text of the script that runs, as it is now: it may be edited while it trains."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        return Path(path).read_bytes() if path else None
    except OSError:
        return None


def git_head(root: Path) -> str | None:
    """Return the hash of the commit that a repository is at, None outside git."""
    done = _git(root, "rev-parse", "HEAD")
    return done.stdout.strip() if done and done.returncode == 0 else None


def _git(root: Path, *words: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None


def run_folder(root: Path) -> Path | None:
    """Return the folder of this run, made if need be; None where nothing may be left behind.

    The runner names one. A run by hand gets one of its own, but only in a repository that expects it.
    """
    named = os.environ.get("AUTORESEARCH_RUN_DIR")
    if named:
        folder = Path(named)
    else:
        results = root / "results"
        if not results.exists():
            ignored = _git(root, "check-ignore", "-q", "results/")
            if not ignored or ignored.returncode != 0:
                return None
        folder = results / "runs" / f"hand-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by a whole one, or leave it as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "w", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Make the other processes that want to prepare a folder wait; the kernel releases the lock with its owner."""
    with explained_os_errors(f"preparing {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield
