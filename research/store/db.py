"""The memory's reads and writes: every statement that touches runs, verdicts, plans, events and ledger lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from research.core.records import Event, Idea, Judged, Plan, Run, Verdict
from research.core.settings import SETTINGS
from research.store import ledger
from research.store.connect import StoreDamaged, connect, transaction, translated
from research.store.rows import Record, event_from_row, from_row, to_row
from research.store.schema import TABLES

ENDED = "outcome IN ({})".format(", ".join(f"'{one}'" for one in sorted(ledger.ROW_OUTCOMES)))
"""The runs that came to a result."""
RESULTS = f" WHERE counted = 1 AND {ENDED}"
"""The runs that are results of a candidate, as in the ledger. An interrupted one is nobody's crash."""


def _judged(run: Run, verdicts: list[tuple[int, Verdict]]) -> Judged:
    if not verdicts:
        return Judged(run)
    order, verdict = verdicts[-1]
    return Judged(run, verdict, order, tuple((place, past.decision) for place, past in verdicts[:-1]))


def _identity(path: Path) -> tuple[int, int] | None:
    """Returns what tells a file from another one in its place, None without a file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _insert(table: str, row: Mapping[str, Any]) -> str:
    columns = ", ".join(f'"{name}"' for name in row)
    return f"INSERT INTO {table} ({columns}) VALUES ({', '.join(':' + name for name in row)})"


class Store:
    """One connection to the memory.

    Args:
        path: The file; None for an empty memory that is gone when closed (for reading where there is none yet).
        wait_s: Longest wait for another writer.

    Raises:
        StoreNewer, StoreDamaged, StoreBusy: from every method, as their names say.
    """

    def __init__(self, path: Path | None, wait_s: float = SETTINGS.busy_timeout_s) -> None:
        self.path = path
        self._db = connect(path, wait_s=wait_s)
        self._file = _identity(path) if path else None
        found = {row["name"] for row in self._read("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if missing := TABLES - found:
            self._db.close()
            raise StoreDamaged(f"{path} lacks {', '.join(sorted(missing))}.")

    def is_current(self) -> bool:
        """Checks whether the file is still the one that was opened; somebody may have removed or replaced it."""
        return self.path is None or _identity(self.path) == self._file

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """Makes several writes happen together or not at all."""
        with translated(self.path), transaction(self._db):
            yield

    def _read(self, sql: str, *values: object) -> list[dict[str, Any]]:
        with translated(self.path):
            return [dict(row) for row in self._db.execute(sql, values)]

    def _all(self, kind: type[Record], sql: str, *values: object) -> list[Record]:
        return [from_row(kind, row) for row in self._read(sql, *values)]

    def _one(self, kind: type[Record], sql: str, *values: object) -> Record | None:
        return next(iter(self._all(kind, sql, *values)), None)

    def tuples(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Reads rows as plain tuples, for the other modules of this room that need a few columns of many rows."""
        with translated(self.path):
            cursor = self._db.cursor()
            cursor.row_factory = None
            return cursor.execute(sql, values).fetchall()

    # Runs -----------------------------------------------------------------------------------------------------

    def start_run(self, run: Run, alone: bool = False) -> str | None:
        """Writes the start record.

        Args:
            run: The run.
            alone: Whether only if no run that counts, of the same code, contract and seed, is going on.

        Returns:
            The name of the one that is going on, where nothing was written for it.

        Raises:
            sqlite3.IntegrityError: if there is a run of that name or folder.
        """
        row = to_row(run)
        same = "SELECT run FROM runs WHERE fingerprint = :fingerprint AND seed = :seed AND contract_key = :contract_key"
        with self.write():
            going = self._db.execute(f"{same} AND counted AND outcome IS NULL", row).fetchone() if alone else None
            if going is None:
                self._db.execute(_insert("runs", row), row)
        return going["run"] if going else None

    def finish_run(self, run: Run) -> bool:
        """Writes the finish record and the ledger line of a run that was started.

        Returns:
            False if the run is finished already (nothing changes), or was never started.
        """
        row = to_row(run)
        assert row["outcome"] is not None
        columns = ", ".join(f'"{name}" = :{name}' for name in row if name != "run")
        with self.write():
            done = self._db.execute(f"UPDATE runs SET {columns} WHERE run = :run AND outcome IS NULL", row)
            if done.rowcount != 1:
                return False
            self._add_line(run)
        return True

    def doubt(self, run: Run) -> None:
        """Writes what speaks against the score of a finished run."""
        with self.write():
            self._db.execute("UPDATE runs SET suspect = :suspect WHERE run = :run", to_row(run))

    def add_run(self, run: Run, line: bytes | None = None) -> bool:
        """Writes a finished run that was not started here.

        Args:
            run: The run.
            line: Its ledger line where it is somebody else's; by default the run's own, if it has one.

        Returns:
            False if a run of that name or folder is known.
        """
        with self.write():
            known = self._db.execute(
                "SELECT 1 FROM runs WHERE run = ? OR (folder = ? AND folder <> '')", (run.run, run.folder)
            ).fetchone()
            if known:
                return False
            self._db.execute(_insert("runs", to_row(run)), to_row(run))
            if line is not None:
                self._db.execute("INSERT INTO ledger (run, line) VALUES (?, ?)", (run.run, line))
            else:
                self._add_line(run)
        return True

    def _add_line(self, run: Run) -> None:
        if ledger.has_row(run):
            self._db.execute("INSERT INTO ledger (run, line) VALUES (?, ?)", (run.run, ledger.render_row(run, False)))

    def void_run(self, run: Run, at_utc: str) -> None:
        """Takes a finished run out of what is judged and out of the ledger; its record stays, changed as given."""
        with self.write():
            columns = {"run": run.run, "outcome": run.outcome, "why": run.why, "exit_code": run.exit_code}
            self._db.execute(
                "UPDATE runs SET counted = 0, outcome = :outcome, why = :why, exit_code = :exit_code WHERE run = :run",
                columns,
            )
            self._db.execute("DELETE FROM ledger WHERE run = ?", (run.run,))
            self.add_event(at_utc, "void", run.run, {"why": run.why})

    def run(self, name: str) -> Run | None:
        """Reads one run by its name."""
        return self._one(Run, "SELECT * FROM runs WHERE run = ?", name)

    def runs(self) -> list[Run]:
        """Reads every run, in order of start."""
        return self._all(Run, "SELECT * FROM runs ORDER BY seq")

    def open_runs(self) -> list[Run]:
        """Reads the runs that were started and have no finish record."""
        return self._all(Run, "SELECT * FROM runs WHERE outcome IS NULL ORDER BY seq")

    def folders(self) -> frozenset[str]:
        """Reads the folders of results/runs that are known."""
        return frozenset(row["folder"] for row in self._read("SELECT folder FROM runs WHERE folder <> ''"))

    def runs_of(self, fingerprint: str) -> list[Run]:
        """Reads the finished runs of one train.py, by its fingerprint."""
        sql = "SELECT * FROM runs WHERE fingerprint = ? AND outcome IS NOT NULL ORDER BY seq"
        return self._all(Run, sql, fingerprint)

    def latest_with_key(self, contract_key: str) -> Run | None:
        """Reads the latest run that was launched under this key and whose contract is known."""
        sql = "SELECT * FROM runs WHERE contract_key = ? AND contract IS NOT NULL ORDER BY seq DESC LIMIT 1"
        return self._one(Run, sql, contract_key)

    # Verdicts -------------------------------------------------------------------------------------------------

    def add_verdict(self, verdict: Verdict) -> None:
        """Writes a verdict, which holds from now on, and the ledger line; earlier verdicts stay on record."""
        with self.write():
            self._db.execute(_insert("verdicts", to_row(verdict)), to_row(verdict))
            run = self.run(verdict.run)
            if run and ledger.has_row(run) and run.origin != "import":
                line = ledger.render_row(run, verdict.decision == "keep")
                self._db.execute("UPDATE ledger SET line = ? WHERE run = ?", (line, verdict.run))

    def settle(self, run: str, at_utc: str) -> None:
        """Notes that git followed the verdict that holds."""
        with self.write():
            self._db.execute(
                "UPDATE verdicts SET settled_utc = ? WHERE seq = (SELECT MAX(seq) FROM verdicts WHERE run = ?)"
                " AND settled_utc IS NULL",
                (at_utc, run),
            )

    def verdict(self, run: str) -> Verdict | None:
        """Reads the verdict that holds for a run."""
        return self._one(Verdict, "SELECT * FROM verdicts WHERE run = ? ORDER BY seq DESC LIMIT 1", run)

    def verdicts(self, run: str | None = None) -> list[Verdict]:
        """Reads every verdict on a run, or on all, oldest first."""
        if run is None:
            return self._all(Verdict, "SELECT * FROM verdicts ORDER BY seq")
        return self._all(Verdict, "SELECT * FROM verdicts WHERE run = ? ORDER BY seq", run)

    def judged(self, branch: str | None = None, run_columns: str = "*", verdict_columns: str = "*") -> list[Judged]:
        """Reads the counted runs that ended by themselves with their verdicts, in order of start.

        Args:
            branch: Their branch, None for all.
            run_columns: Columns of runs, where not all are needed; the other fields take their defaults.
            verdict_columns: Columns of verdicts, likewise; seq and run among them.
        """
        where = RESULTS + (" AND branch = ?" if branch is not None else "")
        branches = [branch] if branch is not None else []
        rows = self._read(f"SELECT {run_columns} FROM runs{where} ORDER BY seq", *branches)
        known: dict[str, list[tuple[int, Verdict]]] = {}
        for row in self._read(f"SELECT {verdict_columns} FROM verdicts ORDER BY seq"):
            known.setdefault(row["run"], []).append((row["seq"], from_row(Verdict, row)))
        return [_judged(from_row(Run, row), known.get(row["run"], [])) for row in rows]

    # Plans and events -----------------------------------------------------------------------------------------

    def add_plan(self, plan: Plan) -> bool:
        """Writes a plan.

        Returns:
            False if a plan of that name is on record, and nothing changes: whoever plans beside us from the same
            memory makes the same plan.
        """
        with self.write():
            sql = _insert("plans", to_row(plan)) + " ON CONFLICT (plan) DO NOTHING"
            return self._db.execute(sql, to_row(plan)).rowcount == 1

    def close_plan(self, plan: str, at_utc: str, run: str | None) -> None:
        """Notes that a plan was carried out by a run, or dropped (None)."""
        with self.write():
            self._db.execute(
                "UPDATE plans SET closed_utc = ?, run = ? WHERE plan = ? AND closed_utc IS NULL", (at_utc, run, plan)
            )

    def drop_plans(self, at_utc: str) -> None:
        """Close every plan that no run in progress carries out; theirs are closed when they end."""
        with self.write():
            self._db.execute(
                "UPDATE plans SET closed_utc = ? WHERE closed_utc IS NULL AND plan NOT IN"
                " (SELECT plan FROM runs WHERE outcome IS NULL AND plan IS NOT NULL)",
                (at_utc,),
            )

    def pending_plan(self) -> Plan | None:
        """Reads the latest plan that is still open."""
        return self._one(Plan, "SELECT * FROM plans WHERE closed_utc IS NULL ORDER BY seq DESC LIMIT 1")

    def run_of_plan(self, plan: str) -> str | None:
        """Finds the run that carried a plan out and ended by itself or its time limit."""
        sql = "SELECT run FROM runs WHERE plan = ? AND outcome IN ('scored', 'crash', 'timeout') ORDER BY seq LIMIT 1"
        rows = self._read(sql, plan)
        return str(rows[0]["run"]) if rows else None

    def plan(self, name: str) -> Plan | None:
        """Reads one plan by its name."""
        return self._one(Plan, "SELECT * FROM plans WHERE plan = ?", name)

    def plans(self) -> list[Plan]:
        """Reads every plan, oldest first."""
        return self._all(Plan, "SELECT * FROM plans ORDER BY seq")

    def add_idea(self, idea: Idea) -> int:
        """Writes a person's idea and returns its number, which is given to it if it has none."""
        with self.write():
            cursor = self._db.execute(
                "INSERT INTO ideas (idea, text, created_utc, plan, closed_utc, why) VALUES (?, ?, ?, ?, ?, ?)",
                (idea.idea or None, idea.text, idea.created_utc, idea.plan, idea.closed_utc, idea.why),
            )
            return int(cursor.lastrowid or 0)

    def update_idea(self, idea: Idea) -> None:
        """Writes the plan of an idea, and whether and why it was given up."""
        with self.write():
            self._db.execute(
                "UPDATE ideas SET plan = ?, closed_utc = ?, why = ? WHERE idea = ?",
                (idea.plan, idea.closed_utc, idea.why, idea.idea),
            )

    def ideas(self) -> list[Idea]:
        """Reads every idea with the run that tried it, oldest first."""
        sql = (
            "SELECT i.*, (SELECT r.run FROM runs r WHERE r.plan = i.plan AND i.plan IS NOT NULL AND r.outcome IN"
            " ('scored', 'crash', 'timeout', 'stopped') ORDER BY r.seq LIMIT 1) AS run FROM ideas i ORDER BY i.idea"
        )
        return [Idea(**row) for row in self._read(sql)]

    def add_event(self, at_utc: str, kind: str, run: str | None, data: Mapping[str, Any]) -> None:
        """Writes an event."""
        with self.write():
            self._db.execute(
                "INSERT INTO events (at_utc, kind, run, data) VALUES (?, ?, ?, ?)",
                (at_utc, kind, run, json.dumps(dict(data), ensure_ascii=False)),
            )

    def events(self, kind: str | None = None) -> list[Event]:
        """Reads every event, or those of one kind, oldest first."""
        if kind is None:
            return [event_from_row(row) for row in self._read("SELECT * FROM events ORDER BY seq")]
        return [event_from_row(row) for row in self._read("SELECT * FROM events WHERE kind = ? ORDER BY seq", kind)]

    def fact(self, name: str) -> str | None:
        """Reads a named value, such as the autonomy switch."""
        rows = self._read("SELECT value FROM facts WHERE name = ?", name)
        return str(rows[0]["value"]) if rows else None

    def set_fact(self, name: str, value: str) -> None:
        """Sets a named value."""
        with self.write():
            self._db.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))

    # Ledger ---------------------------------------------------------------------------------------------------

    def ledger_lines(self) -> list[bytes]:
        """Reads the lines of results.tsv, in order of finish."""
        return [line for _, line in self.ledger_entries()]

    def ledger_entries(self) -> list[tuple[str, bytes]]:
        """Reads run and line, in order of finish."""
        return [(row["run"], bytes(row["line"])) for row in self._read("SELECT run, line FROM ledger ORDER BY seq")]

    def reorder_ledger(self, runs: Sequence[str]) -> None:
        """Puts the lines of these runs into this order (after a rebuild)."""
        with self.write():
            lines = dict(self.ledger_entries())
            self._db.execute("DELETE FROM ledger")
            for run in [*(r for r in runs if r in lines), *(r for r in lines if r not in set(runs))]:
                self._db.execute("INSERT INTO ledger (run, line) VALUES (?, ?)", (run, lines[run]))
