"""A glance into the memory for hooks: a few indexed reads and named facts, in a few milliseconds, whatever its size.

It checks, migrates and repairs nothing. A memory that is missing, damaged, busy or of another version is None: whoever
glances goes on without, and the next verb or run puts it right.
"""

from __future__ import annotations

import os
import sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

BUSY_MS = 2000
"""How long a hook waits for a writer: a write takes milliseconds, and an agent waits for the hook."""
RECENT = 64
"""Verdicts and plans that are looked through: what is unsettled is recent."""
LEAST_SCHEMA = 3
"""The first version of the memory that has every column read here."""
DROP_PLANS = (
    "UPDATE plans SET closed_utc = ? WHERE closed_utc IS NULL "
    f"AND seq IN (SELECT seq FROM plans ORDER BY seq DESC LIMIT {RECENT}) "
    "AND plan NOT IN (SELECT plan FROM runs WHERE outcome IS NULL AND plan IS NOT NULL)"
)
"""Closes what is pending without a run; a plan that a run in progress carries out is closed when that ends."""


class Glance:
    """An open glance; rows are plain mappings.

    A "+" before a column keeps SQLite from walking a whole branch by its index: what is asked for is at the end.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.row_factory = sqlite3.Row

    def __enter__(self) -> Glance:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        return [dict(row) for row in self._db.execute(sql, values)]

    # Facts and events -----------------------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        """A named value."""
        rows = self._rows("SELECT value FROM facts WHERE name = ?", (name,))
        return str(rows[0]["value"]) if rows else None

    def set_fact(self, name: str, value: str | None) -> None:
        """Sets a named value; None takes it away."""
        if value is None:
            self._db.execute("DELETE FROM facts WHERE name = ?", (name,))
        else:
            self._db.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))

    def exchange(self, name: str, held: str | None, value: str) -> bool:
        """Sets a named value that still is what it was when it was read; else False, and nothing changes."""
        done = self._db.execute("UPDATE facts SET value = ? WHERE name = ? AND value = ?", (value, name, held))
        return done.rowcount == 1

    def advance(self, name: str, value: int) -> bool:
        """Raises a number; True for the one caller, of all at once, that raised it to this value."""
        done = self._db.execute(
            "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value "
            "WHERE CAST(facts.value AS INTEGER) < CAST(excluded.value AS INTEGER)",
            (name, str(value)),
        )
        return done.rowcount == 1

    def add_event(self, at_utc: str, kind: str, data: str) -> None:
        """Writes an event; data is the JSON text of an object."""
        self._db.execute("INSERT INTO events (at_utc, kind, run, data) VALUES (?, ?, NULL, ?)", (at_utc, kind, data))

    # Runs and verdicts ----------------------------------------------------------------------------------------

    def last(self, table: str) -> int:
        """The highest number given in a table, 0 in an empty one."""
        assert table in ("runs", "verdicts", "plans")
        return int(self._rows(f"SELECT max(seq) AS top FROM {table}")[0]["top"] or 0)

    def open_runs(self) -> list[dict[str, Any]]:
        """Runs without an end: run, folder, branch, started_utc."""
        return self._rows("SELECT run, folder, branch, started_utc FROM runs WHERE outcome IS NULL ORDER BY seq")

    def verdicts_after(self, seq: int, branch: str) -> list[dict[str, Any]]:
        """The latest verdict on a branch given after a number, with its run; none or one."""
        return self._rows(
            "SELECT v.seq, v.run, v.decision, v.why, v.text, v.baseline, r.val_bpb, r.outcome, r.subject "
            "FROM verdicts v JOIN runs r ON r.run = v.run WHERE v.seq > ? AND +r.branch = ? AND v.rule <> 'person' "
            "ORDER BY v.seq DESC LIMIT 1",
            (seq, branch),
        )

    def failed_after(self, seq: int, branch: str) -> list[dict[str, Any]]:
        """The latest finished run on a branch that was never judged, started after a number; none or one.

        Only the latest runs are looked through: an older one is no news.
        """
        seq = max(seq, self.last("runs") - RECENT)
        return self._rows(
            "SELECT seq, run, outcome, why FROM runs WHERE seq > ? AND +branch = ? AND outcome IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM verdicts WHERE verdicts.run = runs.run) ORDER BY seq DESC LIMIT 1",
            (seq, branch),
        )

    def recent(self, branch: str) -> list[dict[str, Any]]:
        """The latest verdicts on a branch, newest first."""
        return self._rows(
            "SELECT v.seq, v.run, v.decision, v.why, v.baseline, v.settled_utc, r.commit_ AS 'commit', r.fingerprint, "
            "r.val_bpb FROM (SELECT * FROM verdicts ORDER BY seq DESC LIMIT ?) v JOIN (SELECT run, branch, "
            '"commit" AS commit_, fingerprint, val_bpb FROM runs) r ON r.run = v.run WHERE +r.branch = ? '
            "ORDER BY v.seq DESC",
            (RECENT, branch),
        )

    def has_baseline(self, branch: str) -> bool:
        """Whether a branch began."""
        return bool(
            self._rows(
                "SELECT 1 FROM verdicts v JOIN runs r ON r.run = v.run WHERE v.baseline = 1 AND +r.branch = ? "
                "ORDER BY v.seq LIMIT 1",
                (branch,),
            )
        )

    def runs_of(self, commit: str) -> list[dict[str, Any]]:
        """The runs of a commit, by their names: run, outcome, counted, why."""
        return self._rows(
            "SELECT run, outcome, counted, why FROM runs WHERE run IN "
            '(SELECT run FROM runs WHERE run LIKE ?) AND "commit" = ? ORDER BY seq',
            (f"%-{commit[:7]}-%", commit),
        )

    def knows_folder(self, folder: str) -> bool:
        """Whether a run's folder is taken in."""
        return bool(self._rows("SELECT 1 FROM runs WHERE folder = ? AND folder <> ''", (folder,)))

    def pending_plan(self) -> dict[str, Any] | None:
        """The latest plan that is still open: plan, emitter, category, parent, kind, reason, details (JSON text)."""
        rows = self._rows(
            "SELECT * FROM (SELECT * FROM plans ORDER BY seq DESC LIMIT ?) WHERE closed_utc IS NULL LIMIT 1", (RECENT,)
        )
        return rows[0] if rows else None

    def drop_plans(self, at_utc: str) -> None:
        """Closes every plan that nobody carries out."""
        self._db.execute(DROP_PLANS, (at_utc,))

    def spent_usd(self, seq: int) -> float:
        """Estimated cost of the runs started after a number."""
        return float(self._rows("SELECT sum(cost_usd) AS usd FROM runs WHERE seq > ?", (seq,))[0]["usd"] or 0.0)


class _Nothing:
    """No memory to glance into."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def glance(discovery: str, say: Callable[[str], None] | None = None) -> Glance | _Nothing:
    """Opens a glance into the memory in a folder, None (when entered) where there is none that can be read.

    Args:
        discovery: The memory's folder.
        say: Told why a memory that is there can't be read.
    """
    path = os.path.join(discovery, "memory.db")
    try:
        size = os.path.getsize(path)
    except OSError:
        return _Nothing()
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1000)
        try:
            db.execute("PRAGMA synchronous = NORMAL")  # power lost takes the switch's last turn along, never a run
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            if size and version >= LEAST_SCHEMA:
                return Glance(db)
            why = f"it is of version {version}" if size else "it is empty"
        except sqlite3.Error as error:
            why = str(error)
        db.close()
    except sqlite3.Error as error:
        why = str(error)
    if say:
        say(f"{path} can't be read ({why}); uv run research doctor says what to do")
    return _Nothing()


def number_of(text: str | None) -> int:
    """The number that a fact holds, 0 where it holds none."""
    return int(text) if text and text.isdecimal() else 0
