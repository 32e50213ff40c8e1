"""The shape of memory.db, as numbered migrations: the next change is a new function at the end, never an edit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

Migration = Callable[[sqlite3.Connection], None]


def _create(db: sqlite3.Connection, table: str, columns: str) -> None:
    db.execute(f"CREATE TABLE {table} ({columns})")


def m001_runs(db: sqlite3.Connection) -> None:
    """Creates runs, verdicts, plans, events: columns are the fields of the records of that name, mappings JSON."""
    _create(
        db,
        "runs",
        """
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        run TEXT NOT NULL UNIQUE, folder TEXT NOT NULL, origin TEXT NOT NULL,
        branch TEXT NOT NULL, "commit" TEXT NOT NULL, started_utc TEXT NOT NULL,
        parent TEXT NOT NULL, subject TEXT NOT NULL, emitter TEXT, seed INTEGER NOT NULL,
        backend TEXT NOT NULL, gpu TEXT NOT NULL, device TEXT,
        fingerprint TEXT NOT NULL, train_sha256 TEXT NOT NULL, harness TEXT NOT NULL,
        contract TEXT, contract_key TEXT NOT NULL,
        finished_utc TEXT, outcome TEXT, exit_code INTEGER, child_exit INTEGER,
        metrics TEXT, val_bpb REAL, val_bpb_exact REAL, audit_bpb REAL, audit_bpb_exact REAL, peak_vram_mb REAL,
        failure TEXT, suspect TEXT NOT NULL, counted INTEGER NOT NULL, why TEXT NOT NULL,
        cost_usd REAL, phases_s TEXT NOT NULL, facts TEXT NOT NULL,
        additions INTEGER NOT NULL, deletions INTEGER NOT NULL, plan TEXT
        """,
    )
    db.execute("CREATE UNIQUE INDEX runs_folder ON runs (folder) WHERE folder <> ''")
    db.execute("CREATE INDEX runs_branch ON runs (branch, contract)")
    db.execute("CREATE INDEX runs_fingerprint ON runs (fingerprint, seed)")
    db.execute("CREATE INDEX runs_key ON runs (contract_key)")
    db.execute("CREATE INDEX runs_open ON runs (outcome) WHERE outcome IS NULL")
    _create(
        db,
        "verdicts",
        """
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        run TEXT NOT NULL REFERENCES runs (run), decision TEXT NOT NULL, rule TEXT NOT NULL, why TEXT NOT NULL,
        created_utc TEXT NOT NULL, baseline INTEGER NOT NULL, incumbent TEXT NOT NULL, p_better REAL,
        estimate TEXT, terms TEXT NOT NULL, text TEXT NOT NULL, settled_utc TEXT
        """,
    )
    db.execute("CREATE INDEX verdicts_run ON verdicts (run, seq)")
    _create(
        db,
        "plans",
        """
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        plan TEXT NOT NULL UNIQUE, created_utc TEXT NOT NULL, emitter TEXT, category TEXT, parent TEXT,
        kind TEXT NOT NULL, reason TEXT NOT NULL, run TEXT, closed_utc TEXT, details TEXT NOT NULL
        """,
    )
    _create(
        db,
        "events",
        "seq INTEGER PRIMARY KEY AUTOINCREMENT, at_utc TEXT NOT NULL, kind TEXT NOT NULL, run TEXT, data TEXT NOT NULL",
    )
    _create(db, "facts", "name TEXT PRIMARY KEY, value TEXT NOT NULL")


def m002_ledger(db: sqlite3.Connection) -> None:
    """Creates the lines of results.tsv as bytes, ours and foreign ones, in order of finish."""
    _create(db, "ledger", "seq INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT UNIQUE, line BLOB NOT NULL")


def m003_changes(db: sqlite3.Connection) -> None:
    """Adds what a run's change was, and the difference that a verdict found."""
    db.execute("ALTER TABLE runs ADD COLUMN category TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE runs ADD COLUMN delta TEXT NOT NULL DEFAULT '{}'")
    db.execute("ALTER TABLE runs ADD COLUMN statements_added INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE runs ADD COLUMN statements_removed INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE verdicts ADD COLUMN difference TEXT")


def m004_ideas(db: sqlite3.Connection) -> None:
    """Creates the queue of a person's ideas: columns are the fields of the record Idea."""
    _create(
        db,
        "ideas",
        """
        idea INTEGER PRIMARY KEY AUTOINCREMENT,
        text TEXT NOT NULL, created_utc TEXT NOT NULL, plan TEXT, closed_utc TEXT, why TEXT NOT NULL
        """,
    )


MIGRATIONS: Sequence[Migration] = (m001_runs, m002_ledger, m003_changes, m004_ideas)

TABLES = frozenset({"runs", "verdicts", "plans", "events", "facts", "ledger", "ideas"})
"""What an up-to-date file holds."""
