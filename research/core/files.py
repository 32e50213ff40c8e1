"""Writes files that are whole or not there, and takes locks that the kernel releases when their holder ends."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:
    raise SystemExit("Windows can't run this: install WSL (wsl --install), and run it there") from None


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file at once; a reader sees the old content or the new, also after a power cut.

    Raises:
        OSError: if it can't be written; the old file is then untouched.
    """
    if path.exists() and not path.is_file():  # a device, such as /dev/stdout, takes it and stays what it is
        path.write_bytes(content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns():x}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def sha256_of(path: Path) -> str:
    """Return the hash of a file of any size, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a file by one JSON object."""
    write_whole(path, (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "replace"))


def append_line(path: Path, line: str) -> None:
    """Add a line to a log of ours; a log that can't be written is no reason to stop."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(line.rstrip("\n") + "\n")


def read_json(path: Path, limit_bytes: int = 8_388_608) -> dict[str, Any] | None:
    """Read a JSON object; None when the file is missing, too large, torn, or something else."""
    try:
        with path.open("rb") as file:
            content = file.read(limit_bytes + 1)
        value = json.loads(content.decode("utf-8", "replace")) if len(content) <= limit_bytes else None
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def reserve(path: Path, size_bytes: int) -> None:
    """Make a file of blanks, if there is room, so that fill_reserved() needs no free disk later."""
    with path.open("wb") as file:
        file.write(b" " * size_bytes)
        file.flush()
        os.fsync(file.fileno())


def fill_reserved(path: Path, value: Mapping[str, Any]) -> None:
    """Write one JSON object into a reserved file, in place."""
    content = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    with path.open("r+b") as file:
        room = file.seek(0, os.SEEK_END)
        file.seek(0)
        file.write(content.ljust(room))
        file.flush()
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())


class FileLock:
    """An exclusive lock on a file.

    The kernel releases it when its holder has ended, and every process that inherited fileno().
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self, wait_s: float = 0.0) -> bool:
        """Take the lock; False if another holds it all that time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        deadline = time.monotonic() + wait_s
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._fd = fd
                    return True
                except (BlockingIOError, PermissionError):
                    if time.monotonic() >= deadline:
                        return False
                    time.sleep(0.01)
        finally:
            if self._fd != fd:
                os.close(fd)

    def fileno(self) -> int:
        """Return the descriptor that holds the lock."""
        assert self._fd is not None
        return self._fd

    def note(self, text: str) -> None:
        """Leave a note for others about who holds it; a full disk does not matter."""
        with contextlib.suppress(OSError):
            os.ftruncate(self.fileno(), 0)
            os.pwrite(self.fileno(), text.encode("utf-8", "replace"), 0)

    def read_note(self) -> str:
        """Read what the holder left."""
        try:
            return self.path.read_text("utf-8", "replace")[:1000].strip()
        except OSError:
            return ""

    def release(self) -> None:
        """Close our descriptor; the lock goes when nobody else has it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@contextlib.contextmanager
def held(path: Path, wait_s: float, note: str = "") -> Iterator[None]:
    """Hold a lock, and leave a note for others about who holds it.

    Raises:
        TimeoutError: if another holds it all that time.
    """
    lock = FileLock(path)
    if not lock.acquire(wait_s):
        raise TimeoutError(errno.ETIMEDOUT, f"another process holds it for over {wait_s:.0f} s", str(path))
    try:
        if note:
            lock.note(note)
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Check whether some process holds a lock; a file that is missing is free, one that we may not read is held."""
    try:
        with path.open("rb") as file:
            # A shared lock needs no right to write, and two that check at once do not see each other.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return False
