"""Opens memory.db: migrated, in WAL mode, patient with other writers, and checked for damage."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from research.core.errors import ResearchError
from research.core.settings import SETTINGS
from research.store.schema import MIGRATIONS

_DAMAGE = (
    "malformed", "not a database", "corrupt", "unsupported file format", "no such table", "no such column",
)  # fmt: skip
_SHARED_BYTES = 1_048_576
"""More than was ever mapped of memory.db-shm; what is not used of it takes no disk."""


class StoreDamaged(ResearchError):
    """The file can't be read as a memory; whoever opens it for writing rebuilds it."""

    def __init__(self, what: str) -> None:
        super().__init__(what, "Type: uv run research record, which rebuilds it.")


class StoreBusy(ResearchError):
    """Another process holds the write lock, or the disk refuses the write."""


def _takes_files(folder: Path) -> bool:
    """Check whether a file can be written, so that an error is of the memory and not of its disk."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(SETTINGS.reserve_bytes))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True


@contextlib.contextmanager
def translated(path: Path | None) -> Iterator[None]:
    """Turn sqlite3's errors into ours, around everything that is done with a connection."""
    if path:
        _restore_shared_memory(f"{path}-shm")
    try:
        yield
    except sqlite3.DatabaseError as error:
        if isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
            raise
        text = str(error)
        # SQLite calls a garbled log a disk I/O error, as it does a disk that fails or is full.
        is_garbled = path is not None and "disk I/O error" in text and _takes_files(path.parent)
        if is_garbled or any(word in text for word in _DAMAGE):
            raise StoreDamaged(f"{path} is damaged ({text}).") from None
        advice = "Another process is using it: wait, and try again."
        if path is not None and "locked" not in text:
            advice = f"Type: df -h {path.parent}; ls -ld {path.parent}. When files can be written there, try again."
        raise StoreBusy(f"{path} could not be used: {text}.", advice) from None


def _restore_shared_memory(file: str) -> None:
    """Give memory.db-shm a length again where somebody emptied it.

    SQLite has it mapped, and the kernel ends a process that touches what is gone. Of zeros SQLite makes it anew. The
    file is not opened, since closing it would drop SQLite's locks on it, and never made shorter, since another process
    may just be making it.
    """
    with contextlib.suppress(OSError):
        if os.stat(file).st_size == 0:
            os.truncate(file, _SHARED_BYTES)


def _configure(db: sqlite3.Connection, wait_s: float) -> None:
    db.row_factory = sqlite3.Row
    db.execute(f"PRAGMA busy_timeout = {int(wait_s * 1000)}")
    deadline = time.monotonic() + wait_s
    while True:
        # Switching to WAL needs a moment alone, for which SQLite does not wait by itself.
        try:
            if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                db.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Make writes happen together or not at all; may be entered inside itself."""
    if db.in_transaction:
        yield
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def schema_version(db: sqlite3.Connection) -> int:
    """Return how many migrations the file has had."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: sqlite3.Connection, path: Path | None, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring the file up to date, one transaction a step."""
    while (version := schema_version(db)) != len(migrations):
        if version > len(migrations):
            raise ResearchError(
                f"{path} was written by a newer version (schema {version}; this one knows {len(migrations)}).",
                "Update this checkout, or move the file away to start anew.",
            )
        with transaction(db):
            if schema_version(db) == version:
                for statement in migrations[version].split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {version + 1}")


def connect(
    path: Path | None, migrations: Sequence[str] = MIGRATIONS, wait_s: float = SETTINGS.busy_timeout_s
) -> sqlite3.Connection:
    """Open the file (or, for None, an empty memory that nobody else sees) and bring it up to date.

    It waits at most wait_s for another writer, here and at every later statement. See Store for what it raises.
    """
    with translated(path):
        db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=wait_s, check_same_thread=False)
        try:
            _configure(db, wait_s)
            if path and path.stat().st_size <= SETTINGS.check_bytes:
                found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
                if found != "ok":
                    raise StoreDamaged(f"{path} is damaged ({found}).")
            migrate(db, path, migrations)
        except BaseException:
            db.close()
            raise
    return db
