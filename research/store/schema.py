"""Defines the tables of memory.db as numbered migrations: a change is a new text at the end, never an edit."""

from __future__ import annotations

from collections.abc import Sequence

# Runs, verdicts, plans, events: columns are the fields of the records of that name, mappings are JSON.
_RECORDS = """
    CREATE TABLE runs (
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
    );
    CREATE UNIQUE INDEX runs_folder ON runs (folder) WHERE folder <> '';
    CREATE INDEX runs_branch ON runs (branch, contract);
    CREATE INDEX runs_fingerprint ON runs (fingerprint, seed);
    CREATE INDEX runs_key ON runs (contract_key);
    CREATE INDEX runs_open ON runs (outcome) WHERE outcome IS NULL;
    CREATE TABLE verdicts (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        run TEXT NOT NULL REFERENCES runs (run), decision TEXT NOT NULL, rule TEXT NOT NULL, why TEXT NOT NULL,
        created_utc TEXT NOT NULL, baseline INTEGER NOT NULL, incumbent TEXT NOT NULL, p_better REAL,
        estimate TEXT, terms TEXT NOT NULL, text TEXT NOT NULL, settled_utc TEXT
    );
    CREATE INDEX verdicts_run ON verdicts (run, seq);
    CREATE TABLE plans (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        plan TEXT NOT NULL UNIQUE, created_utc TEXT NOT NULL, emitter TEXT, category TEXT, parent TEXT,
        kind TEXT NOT NULL, reason TEXT NOT NULL, run TEXT, closed_utc TEXT, details TEXT NOT NULL
    );
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_utc TEXT NOT NULL, kind TEXT NOT NULL, run TEXT, data TEXT NOT NULL
    );
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)
"""
# The lines of results.tsv as bytes, ours and foreign ones, in order of finish.
_LEDGER = """
    CREATE TABLE ledger (seq INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT UNIQUE, line BLOB NOT NULL)
"""
# What a run's change was, and the difference that a verdict found.
_CHANGES = """
    ALTER TABLE runs ADD COLUMN category TEXT NOT NULL DEFAULT '';
    ALTER TABLE runs ADD COLUMN delta TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE runs ADD COLUMN statements_added INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN statements_removed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE verdicts ADD COLUMN difference TEXT
"""
# The queue of a person's ideas: columns are the fields of the record Idea.
_IDEAS = """
    CREATE TABLE ideas (
        idea INTEGER PRIMARY KEY AUTOINCREMENT,
        text TEXT NOT NULL, created_utc TEXT NOT NULL, plan TEXT, closed_utc TEXT, why TEXT NOT NULL
    )
"""
MIGRATIONS: Sequence[str] = (_RECORDS, _LEDGER, _CHANGES, _IDEAS)
"""The statements of each migration, separated by semicolons."""
TABLES = frozenset({"runs", "verdicts", "plans", "events", "facts", "ledger", "ideas"})
"""Names of the tables of an up-to-date file."""
