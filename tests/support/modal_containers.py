"""A sandbox of the Modal stand-in: its files in a temporary folder, its entrypoint as a local process.

A container's paths become paths below that folder: mounts are laid out there, and environment variables and the
working directory that name a container path are rewritten. The entrypoint itself runs word by word as the client sent
it. A read-only mount is a copy of the volume's bytes: whatever the process does to it, the volume never changes.
"""

from __future__ import annotations

import codecs
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from support.modal_faults import Faults

UV_SHIM = """#!/bin/bash
# Stands in for uv: `uv run X.py` runs in the image's environment.
[ "$1" = run ] && shift
case "$1" in *.py) exec python "$@" ;; *) exec "$@" ;; esac
"""


@dataclass(frozen=True)
class Line:
    """One piece of a log."""

    fd: int
    text: str


@dataclass
class Container:
    """A sandbox, as the client asked for it."""

    id: str
    name: str
    tags: Mapping[str, str]
    app_id: str
    created_at: float  # seconds since the epoch
    root: Path  # the folder that stands for "/"
    entrypoint: tuple[str, ...]
    env: Mapping[str, str]
    workdir: str
    gpu: str
    timeout_s: float
    faults: Faults
    log: list[Line] = field(default_factory=list)  # everything that it printed
    status: str | None = None  # name of its final status, None while it lives
    exit_code: int = 0
    process: subprocess.Popen[bytes] | None = None
    _reaper: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Runs the entrypoint, unless the sandbox was ended before."""
        if self.status is not None:
            return
        if self.faults.die_after_lines == 0 and self.faults.play("die_times"):
            self.end(self.faults.die_status, self.faults.die_exit_code)
            return
        for folder in ("tmp", "root"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        workdir = self.inside(self.workdir or "/")
        workdir.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            self.entrypoint,
            cwd=workdir,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        readers = [
            threading.Thread(target=self._read, args=(fd, stream), daemon=True)
            for fd, stream in ((1, self.process.stdout), (2, self.process.stderr))
        ]
        for reader in readers:
            reader.start()
        self._reaper = threading.Thread(target=self._reap, args=(readers,), daemon=True)
        self._reaper.start()
        threading.Thread(target=self._time_out, daemon=True).start()

    def inside(self, path: str) -> Path:
        """Where a container path lies here."""
        return self.root / path.lstrip("/")

    def end(self, status: str, exit_code: int) -> None:
        """Ends the sandbox with every process in it; only the first end counts."""
        with self._lock:
            if self.status is None:
                self.status, self.exit_code = status, exit_code
        self._signal_all(signal.SIGKILL)

    def processes(self) -> list[int]:
        """Every living process of the sandbox's session."""
        if self.process is None:
            return []
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid and fields[0] not in "ZX":
                found.append(int(entry.name))
        return found

    def _environment(self) -> dict[str, str]:
        venv, uv = self.inside("/.uv/.venv"), self.inside("/.uv/uv")
        tools = self.inside("/usr/local/nvidia/bin")
        tools.mkdir(parents=True, exist_ok=True)
        if self.faults.device:
            tool = tools / "nvidia-smi"
            tool.write_text(f"#!/bin/sh\necho '{self.faults.device}'\n")
            tool.chmod(0o755)
        uv.parent.mkdir(parents=True, exist_ok=True)
        uv.write_text(UV_SHIM)
        uv.chmod(0o755)
        if not venv.exists():
            venv.symlink_to(sys.prefix)
        path = (uv.parent, venv / "bin", tools, "/usr/local/bin", "/usr/bin", "/bin")
        env = {
            "PATH": ":".join(map(str, path)),
            "HOME": str(self.root / "root"),
            "TMPDIR": str(self.root / "tmp"),
            "LANG": "C.UTF-8",
        }
        known = ("/app", "/root/", "/.uv/")
        return env | {k: str(self.inside(v)) if v.startswith(known) else v for k, v in self.env.items()}

    def _read(self, fd: int, stream: IO[bytes]) -> None:
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        for raw in iter(stream.readline, b""):
            text = decode(raw)
            if self.status is not None and self.status != "SUCCESS":
                continue  # too late: the service tells nothing of a dead sandbox's last words
            if not (self.faults.log_lost and self.faults.log_lost in text):
                self.log.append(Line(fd, text))
            count = len(self.log)
            if self.faults.die_after_lines == count and self.faults.play("die_times"):
                self.end(self.faults.die_status, self.faults.die_exit_code)
            if self.faults.hang_after_lines == count:
                self._signal_all(signal.SIGSTOP)
        stream.close()

    def _reap(self, readers: list[threading.Thread]) -> None:
        assert self.process is not None
        code = self.process.wait()
        self._signal_all(signal.SIGKILL)  # a container ends with its entrypoint
        for reader in readers:
            reader.join(5)
        with self._lock:
            if self.status is None:
                self.status = "SUCCESS" if code == 0 else "FAILURE"
                self.exit_code = code if code >= 0 else 128 - code

    def _time_out(self) -> None:
        deadline = time.monotonic() + self.timeout_s
        while self.status is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if self.status is None:
            self.end("TIMEOUT", 0)

    def _signal_all(self, number: int) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def remove(self) -> None:
        """Ends it and takes its files away."""
        self.end("TERMINATED", 137)
        if self._reaper is not None:
            self._reaper.join(10)
        shutil.rmtree(self.root, ignore_errors=True)
