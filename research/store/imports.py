"""Imports files of other tools: a ledger of anyone, an export of ours, or an older control plane's folder.

Nothing is thrown away: what can't be read as a row is kept unchanged and named in the report. Nothing is judged, since
nobody knows the contract of a foreign score.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from research.core.errors import ResearchError
from research.core.records import Run
from research.store import ledger
from research.store.db import Store
from research.store.exports import SCHEMA, import_lines
from research.store.ledger_file import foreign_run, import_ledger_lines, writable
from research.store.old_folder import EVENTS, STATE, import_folder
from research.store.tables import read_json_lines, read_table

_OWN_LINE = re.compile(r"[0-9a-f]{7}\t(\d+\.\d{6}|nan)\t\d+\.\d\t(keep|discard|crash)\t[^\t\r\udc80-\udcff]*\Z")
_A_MEMORY = "is the memory of a checkout, which is imported from its export."
_EXPORT = "Type in that checkout: uv run research export --out memory.jsonl. Then import memory.jsonl here."


@dataclass(frozen=True)
class Skipped:
    """A row or record that was not read as a run, or not all of it; its text is kept all the same."""

    where: str  # its place, such as "row 3"
    why: str


@dataclass(frozen=True)
class Imported:
    """The result of an import."""

    runs: tuple[str, ...]  # names of the new runs
    known: int = 0  # number of rows or records that were known already
    skipped: tuple[Skipped, ...] = ()  # rows or records that were not imported as runs
    doubtful: tuple[Skipped, ...] = ()  # rows that were imported although a field of theirs could not be read


def import_path(store: Store, path: Path, at_utc: str) -> Imported:
    """Import a ledger, a log of JSON lines, an export of ours, or an older discovery folder; again adds nothing.

    Raises:
        ResearchError: if it is none of these, holds another metric, or is a broken export.
        OSError: if it can't be read.
    """
    if path.is_dir():
        if not any((path / name).is_file() for name in (EVENTS, STATE)):
            if (path / "memory.db").is_file():
                raise ResearchError(f"{path} {_A_MEMORY}", _EXPORT)
            raise ResearchError(f"{path} holds neither {EVENTS} nor {STATE}.", "Give a discovery folder.")
        new, known, skipped = import_folder(store, path, at_utc)
        return Imported(tuple(new), known, tuple(Skipped(*one) for one in skipped))
    if not path.is_file():
        raise ResearchError(f"There is no file {path}.", "Give a ledger, an export or a discovery folder.")
    content = path.read_bytes()
    is_json = content[:200].lstrip(b"\xef\xbb\xbf \r\n").startswith(b"{")
    if is_json and SCHEMA.encode() in content[:200]:
        runs, known = import_lines(store, content.decode("utf-8-sig", "replace").rstrip("\n").split("\n"))
        return Imported(tuple(runs), known)
    if path.name in (EVENTS, STATE):
        raise ResearchError(f"{path} is a part of a discovery folder.", f"Type: uv run research import {path.parent}")
    if content.startswith(b"SQLite format 3\x00"):
        raise ResearchError(f"{path} {_A_MEMORY}", _EXPORT)
    if b"\x00" in content:
        raise ResearchError(f"{path} holds zero bytes, so it is no UTF-8 text.", "Save it as UTF-8 and try again.")
    read = read_json_lines if is_json else read_table
    return _import_rows(store, list(read(path.name, content.decode("utf-8", "surrogateescape"))), at_utc)


def _import_rows(store: Store, rows: Sequence[ledger.LedgerRow], at_utc: str) -> Imported:
    """Import rows as runs; a row that can't be read is kept as an event and skipped."""
    skipped = [Skipped(f"row {row.line}", row.problem) for row in rows if row.problem]
    good = [row for row in rows if not row.problem]
    doubtful = [Skipped(f"row {row.line}", why) for row in good if (why := _unread_fields(row))]
    commits = {row.values["id"]: row.commit for row in good if row.values.get("id")}
    # A line in the form of our ledger may be one that this memory wrote.
    own = [row for row in good if row.is_plain and _OWN_LINE.match(row.text)]
    own_lines = {row.line for row in own}
    counts: Counter[str] = Counter()
    with store.write():
        kept = {str(event.data.get("line")) for event in store.events("import_skipped")} if skipped else set()
        for row in rows:
            text = row.text.rstrip("\r").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            if row.problem and text not in kept:
                kept.add(text)
                store.add_event(at_utc, "import_skipped", None, {"line": text, "why": row.problem})
        new = import_ledger_lines(store, [row.text.encode() for row in own], at_utc)
        for row in good:
            if row.line in own_lines:
                continue
            run = foreign_run(row, counts[row.text], at_utc, commits)
            counts[row.text] += 1
            if store.add_run(run, _line_of(run, row)):
                new.append(run.run)
    return Imported(tuple(new), len(good) - len(new), tuple(skipped), tuple(doubtful))


def _line_of(run: Run, row: ledger.LedgerRow) -> bytes:
    """Return a row as a line of our ledger: five columns, six decimals; the description keeps bytes of any kind."""
    *numbers, _ = ledger.render_row(run, ledger.says_kept(run.facts["status"])).split(b"\t", 4)
    description = " ".join(row.values.get("description", "").split())
    return b"\t".join((*numbers, description.encode("utf-8", "surrogateescape")))


def _unread_fields(row: ledger.LedgerRow) -> str:
    """Describe the fields of a row that could not be read, "" if all could."""
    values, problems = row.values, []
    commit, count = values.get("commit", ""), row.text.count("\t") + 1
    if row.is_plain and count < len(ledger.PUBLIC):
        problems.append(f"{count} of {len(ledger.PUBLIC)} fields")
    if commit and not row.commit:
        problems.append(f"{writable(commit)[:20]!r} is no commit")
    elif "commit" in values and not commit and row.is_plain:
        problems.append("no commit")
    if row.is_plain and values.get("status") not in ("keep", "discard", "crash"):
        problems.append(f"status {values.get('status', '')[:20]!r}")
    if row.score is None and not row.has_failed:
        problems.append(f"{ledger.METRIC} is no number above zero")
    if writable(row.text) != row.text:
        problems.append("not UTF-8")
    return ", ".join(problems)
