"""Reads and writes the memory: runs, verdicts, plans, ideas, events, named values and ledger lines."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from research.core.records import Event, Idea, Judged, Plan, Run, Verdict
from research.core.settings import SETTINGS
from research.store import ledger
from research.store.connect import StoreDamaged, connect, transaction, translated
from research.store.rows import Record, from_row, to_row
from research.store.schema import TABLES

ENDED = "outcome IN ({})".format(", ".join(f"'{one}'" for one in sorted(ledger.ROW_OUTCOMES)))
"""The SQL condition of runs that came to a result."""
RESULTS = f" WHERE counted = 1 AND {ENDED}"
"""The SQL condition of runs that count as results of a candidate, as in the ledger."""


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Return device and inode of a file, which differ from those of another one in its place; None without a file."""
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found else None


class Store:
    """One connection to the memory.

    Args:
        path: The file; None for an empty memory that is gone when closed (for reading where there is none yet).
        wait_s: Longest wait for another writer.

    Raises:
        StoreDamaged, StoreBusy: from every method, as their names say.
        ResearchError: if the file was written by a newer version of this project.
    """

    def __init__(self, path: Path | None, wait_s: float = SETTINGS.busy_timeout_s) -> None:
        self.path = path
        self._db = connect(path, wait_s=wait_s)
        self._file = _identity(path)
        found = {row["name"] for row in self._read("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if missing := TABLES - found:
            self.close()
            raise StoreDamaged(f"{path} lacks {', '.join(sorted(missing))}.")

    def is_current(self) -> bool:
        """Check whether the file is still the one that was opened; somebody may have removed or replaced it."""
        return _identity(self.path) == self._file

    def close(self) -> None:
        """Close the connection."""
        with translated(self.path):
            self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """Make several writes happen together or not at all."""
        with translated(self.path), transaction(self._db):
            yield

    def _execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        with self.write():
            return self._db.execute(sql, values)

    def _insert(self, table: str, record: Run | Verdict | Plan, unless: str = "") -> bool:
        """Write a record; return whether it was written."""
        row = to_row(record)
        columns = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        return self._execute(f"INSERT INTO {table} ({columns}) VALUES ({marks}){unless}", *row.values()).rowcount == 1

    def _read(self, sql: str, *values: object) -> list[dict[str, Any]]:
        with translated(self.path):
            return [dict(row) for row in self._db.execute(sql, values)]

    def _all(self, kind: type[Record], sql: str, *values: object) -> list[Record]:
        return [from_row(kind, row) for row in self._read(sql, *values)]

    def _one(self, kind: type[Record], sql: str, *values: object) -> Record | None:
        return next(iter(self._all(kind, sql, *values)), None)

    def tuples(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Read rows as plain tuples, for the other modules of this room that need a few columns of many rows."""
        with translated(self.path):
            return [tuple(row) for row in self._db.execute(sql, values)]

    # Runs -----------------------------------------------------------------------------------------------------

    def start_run(self, run: Run, alone: bool = False) -> str | None:
        """Write the start record, unless the run is to be alone and another makes it; return the other's name, or None.

        The other is a counted run of the same code, contract and seed that has not ended. A run of a known name or
        folder raises sqlite3.IntegrityError.
        """
        same = "SELECT run FROM runs WHERE fingerprint = ? AND seed = ? AND contract_key = ?"
        with self.write():
            going = self.tuples(f"{same} AND counted AND outcome IS NULL", run.fingerprint, run.seed, run.contract_key)
            if alone and going:
                return str(going[0][0])
            self._insert("runs", run)
        return None

    def finish_run(self, run: Run) -> bool:
        """Write the finish record and the ledger line; return False if the run was never started, or has them."""
        assert run.outcome is not None
        row = to_row(run)
        columns = ", ".join(f'"{name}" = ?' for name in row)
        sql = f"UPDATE runs SET {columns} WHERE run = ? AND outcome IS NULL"
        with self.write():
            if self._execute(sql, *row.values(), run.run).rowcount != 1:
                return False
            self._add_line(run)
        return True

    def update_suspect(self, run: Run) -> None:
        """Write the reasons not to trust the score of a finished run."""
        self._execute("UPDATE runs SET suspect = ? WHERE run = ?", to_row(run)["suspect"], run.run)

    def add_run(self, run: Run, line: bytes | None = None) -> bool:
        """Write a finished run that was not started here; return False if its name or folder is known.

        Its ledger line is made from the run, unless one is given.
        """
        known = "SELECT 1 FROM runs WHERE run = ? OR (folder = ? AND folder <> '')"
        with self.write():
            if self.tuples(known, run.run, run.folder):
                return False
            self._insert("runs", run)
            self._add_line(run, line)
        return True

    def _add_line(self, run: Run, line: bytes | None = None) -> None:
        if line is None and ledger.has_row(run):
            line = ledger.render_row(run, False)
        if line is not None:
            self._execute("INSERT INTO ledger (run, line) VALUES (?, ?)", run.run, line)

    def void_run(self, run: Run, at_utc: str) -> None:
        """Take a finished run out of judgement and ledger; its record stays, with outcome, reason and exit as given."""
        with self.write():
            self._execute(
                "UPDATE runs SET counted = 0, outcome = ?, why = ?, exit_code = ? WHERE run = ?",
                run.outcome, run.why, run.exit_code, run.run,
            )  # fmt: skip
            self._execute("DELETE FROM ledger WHERE run = ?", run.run)
            self.add_event(at_utc, "void", run.run, {"why": run.why})

    def run(self, name: str) -> Run | None:
        """Read one run by its name."""
        return self._one(Run, "SELECT * FROM runs WHERE run = ?", name)

    def runs(self) -> list[Run]:
        """Read every run, in order of start."""
        return self._all(Run, "SELECT * FROM runs ORDER BY seq")

    def open_runs(self) -> list[Run]:
        """Read the runs that were started and have no finish record."""
        return self._all(Run, "SELECT * FROM runs WHERE outcome IS NULL ORDER BY seq")

    def folders(self) -> frozenset[str]:
        """Read the folders of results/runs that are known."""
        return frozenset(row["folder"] for row in self._read("SELECT folder FROM runs WHERE folder <> ''"))

    def runs_of(self, fingerprint: str) -> list[Run]:
        """Read the finished runs of one train.py, by its fingerprint."""
        sql = "SELECT * FROM runs WHERE fingerprint = ? AND outcome IS NOT NULL ORDER BY seq"
        return self._all(Run, sql, fingerprint)

    def latest_with_key(self, contract_key: str) -> Run | None:
        """Read the latest run that counts, was launched under this key, and whose contract is known."""
        sql = "SELECT * FROM runs WHERE contract_key = ? AND counted AND contract IS NOT NULL ORDER BY seq DESC LIMIT 1"
        return self._one(Run, sql, contract_key)

    # Verdicts -------------------------------------------------------------------------------------------------

    def add_verdict(self, verdict: Verdict) -> None:
        """Write a verdict, which holds from now on, and the ledger line; earlier verdicts stay on record."""
        with self.write():
            self._insert("verdicts", verdict)
            run = self.run(verdict.run)
            if run and ledger.has_row(run) and run.origin != "import":
                line = ledger.render_row(run, verdict.decision == "keep")
                self._execute("UPDATE ledger SET line = ? WHERE run = ?", line, verdict.run)

    def settle(self, run: str, at_utc: str) -> None:
        """Note that git followed the verdict that holds."""
        self._execute(
            "UPDATE verdicts SET settled_utc = ? WHERE seq = (SELECT MAX(seq) FROM verdicts WHERE run = ?)"
            " AND settled_utc IS NULL",
            at_utc, run,
        )  # fmt: skip

    def verdict(self, run: str) -> Verdict | None:
        """Read the verdict that holds for a run."""
        return self._one(Verdict, "SELECT * FROM verdicts WHERE run = ? ORDER BY seq DESC LIMIT 1", run)

    def verdicts(self, run: str | None = None) -> list[Verdict]:
        """Read every verdict on a run, or on all, oldest first."""
        where, values = ("WHERE run = ?", [run]) if run is not None else ("", [])
        return self._all(Verdict, f"SELECT * FROM verdicts {where} ORDER BY seq", *values)

    def judged(self, branch: str | None = None, run_columns: str = "*", verdict_columns: str = "*") -> list[Judged]:
        """Read the counted runs of a branch, or of all, that ended by themselves, with their verdicts.

        They are in order of start. Fields whose columns are left out take their defaults; seq and run are needed.
        """
        where, values = (" AND branch = ?", [branch]) if branch is not None else ("", [])
        rows = self._read(f"SELECT {run_columns} FROM runs{RESULTS}{where} ORDER BY seq", *values)
        known: dict[str, list[tuple[int, Verdict]]] = {}
        for row in self._read(f"SELECT {verdict_columns} FROM verdicts ORDER BY seq"):
            known.setdefault(row["run"], []).append((row["seq"], from_row(Verdict, row)))
        found = []
        for row in rows:
            run, verdicts = from_row(Run, row), known.get(row["run"])
            if verdicts:
                *earlier, (order, verdict) = verdicts
                found.append(Judged(run, verdict, order, tuple((place, past.decision) for place, past in earlier)))
            else:
                found.append(Judged(run))
        return found

    # Plans and events -----------------------------------------------------------------------------------------

    def add_plan(self, plan: Plan) -> bool:
        """Write a plan; return False if it is there, since who plans from the same memory makes the same plan."""
        return self._insert("plans", plan, " ON CONFLICT (plan) DO NOTHING")

    def close_plan(self, plan: str, at_utc: str, run: str | None) -> None:
        """Note that a plan was carried out by a run, or dropped (None)."""
        sql = "UPDATE plans SET closed_utc = ?, run = ? WHERE plan = ? AND closed_utc IS NULL"
        self._execute(sql, at_utc, run, plan)

    def drop_plans(self, at_utc: str) -> None:
        """Close every plan that no run in progress carries out; theirs are closed when they end."""
        self._execute(
            "UPDATE plans SET closed_utc = ? WHERE closed_utc IS NULL AND plan NOT IN"
            " (SELECT plan FROM runs WHERE outcome IS NULL AND plan IS NOT NULL)",
            at_utc,
        )

    def pending_plan(self) -> Plan | None:
        """Read the latest plan that is still open."""
        return self._one(Plan, "SELECT * FROM plans WHERE closed_utc IS NULL ORDER BY seq DESC LIMIT 1")

    def run_of_plan(self, plan: str) -> str | None:
        """Return the run that carried a plan out and came to a result, None without one."""
        rows = self.tuples(f"SELECT run FROM runs WHERE plan = ? AND {ENDED} ORDER BY seq LIMIT 1", plan)
        return str(rows[0][0]) if rows else None

    def plan(self, name: str) -> Plan | None:
        """Read one plan by its name."""
        return self._one(Plan, "SELECT * FROM plans WHERE plan = ?", name)

    def plans(self) -> list[Plan]:
        """Read every plan, oldest first."""
        return self._all(Plan, "SELECT * FROM plans ORDER BY seq")

    def add_idea(self, idea: Idea) -> int:
        """Write a person's idea and return its number, which is given to it if it has none."""
        cursor = self._execute(
            "INSERT INTO ideas (idea, text, created_utc, plan, closed_utc, why) VALUES (?, ?, ?, ?, ?, ?)",
            idea.idea or None, idea.text, idea.created_utc, idea.plan, idea.closed_utc, idea.why,
        )  # fmt: skip
        return int(cursor.lastrowid or 0)

    def update_idea(self, idea: Idea) -> None:
        """Write the plan of an idea, and whether and why it was given up."""
        sql = "UPDATE ideas SET plan = ?, closed_utc = ?, why = ? WHERE idea = ?"
        self._execute(sql, idea.plan, idea.closed_utc, idea.why, idea.idea)

    def ideas(self) -> list[Idea]:
        """Read every idea with the run that tried it, oldest first."""
        sql = (
            "SELECT i.*, (SELECT r.run FROM runs r WHERE r.plan = i.plan AND i.plan IS NOT NULL"
            f" AND r.{ENDED} ORDER BY r.seq LIMIT 1) AS run FROM ideas i ORDER BY i.idea"
        )
        return [Idea(**row) for row in self._read(sql)]

    def add_event(self, at_utc: str, kind: str, run: str | None, data: Mapping[str, Any]) -> None:
        """Write an event."""
        text = json.dumps(dict(data), ensure_ascii=False)
        self._execute("INSERT INTO events (at_utc, kind, run, data) VALUES (?, ?, ?, ?)", at_utc, kind, run, text)

    def events(self, kind: str | None = None) -> list[Event]:
        """Read every event, or those of one kind, oldest first."""
        where, values = ("WHERE kind = ?", [kind]) if kind is not None else ("", [])
        rows = self.tuples(f"SELECT seq, at_utc, kind, run, data FROM events {where} ORDER BY seq", *values)
        return [Event(seq, at_utc, kind, run, json.loads(data)) for seq, at_utc, kind, run, data in rows]

    def fact(self, name: str) -> str | None:
        """Read a named value, such as the autonomy switch."""
        rows = self.tuples("SELECT value FROM facts WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def set_fact(self, name: str, value: str) -> None:
        """Set a named value."""
        self._execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", name, value)

    # Ledger ---------------------------------------------------------------------------------------------------

    def ledger_lines(self) -> list[bytes]:
        """Read the lines of results.tsv, in order of finish."""
        return [line for _, line in self.ledger_entries()]

    def ledger_entries(self) -> list[tuple[str, bytes]]:
        """Read the name of the run and the line of every row of results.tsv, in order of finish."""
        return [(run, bytes(line)) for run, line in self.tuples("SELECT run, line FROM ledger ORDER BY seq")]

    def replace_ledger(self, entries: Sequence[tuple[str, bytes]]) -> None:
        """Replace all rows of the ledger, names of runs with their lines, in this order (after a rebuild)."""
        with self.write():
            self._execute("DELETE FROM ledger")
            for run, line in entries:
                self._execute("INSERT INTO ledger (run, line) VALUES (?, ?)", run, line)
