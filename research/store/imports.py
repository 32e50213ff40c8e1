"""Imports what other tools left: a results.tsv of anyone, an export of ours, or an older control plane's folder.

Nothing is thrown away and nothing is judged: what can't be read as a row is kept unchanged and named in the report;
what can be read is shown, and never judged, since nobody knows its contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from research.core.errors import ResearchError
from research.core.records import LedgerStatus
from research.store import ledger
from research.store.db import Store
from research.store.exports import SCHEMA, import_lines
from research.store.ledger_file import import_ledger_lines
from research.store.old_folder import EVENTS, STATE, import_folder


class NothingToImport(ResearchError):
    """The path holds nothing that can be imported."""


@dataclass(frozen=True)
class Skipped:
    """Something that was not imported as a run: its place and the reason; its text is kept all the same."""

    where: str
    why: str


@dataclass(frozen=True)
class Imported:
    """What an import came to.

    Attributes:
        runs: Names of the new runs.
        known: How many rows or records were known already.
        skipped: What could not be read as a run.
        doubtful: Rows that were imported although a field of theirs could not be read.
    """

    runs: tuple[str, ...]
    known: int = 0
    skipped: tuple[Skipped, ...] = ()
    doubtful: tuple[Skipped, ...] = ()


def import_path(store: Store, path: Path, at_utc: str) -> Imported:
    """Imports a results.tsv, an export of ours, or an older discovery folder; twice changes nothing.

    Raises:
        NothingToImport: if it is none of these.
        NotAnExport: if it is a broken export.
        OSError: if it can't be read.
    """
    if path.is_dir():
        if not any((path / name).is_file() for name in (EVENTS, STATE)):
            raise NothingToImport(f"{path} holds neither events.jsonl nor state.json.", "Give a discovery folder.")
        found = import_folder(store, path, at_utc)
        return Imported(found.runs, found.known, tuple(Skipped(*one) for one in found.skipped))
    if not path.is_file():
        raise NothingToImport(f"There is no file {path}.", "Give a results.tsv, an export or a discovery folder.")
    content = path.read_bytes()
    first = content[:200].lstrip()
    if first.startswith(b"{") and SCHEMA.encode() in first:
        return Imported(tuple(import_lines(store, content.decode("utf-8", "replace").rstrip("\n").split("\n"))))
    if path.name in (EVENTS, STATE):
        raise NothingToImport(f"{path} is a part of a discovery folder.", f"Type: uv run research import {path.parent}")
    if b"\x00" in content:
        raise NothingToImport(f"{path} holds zero bytes, so it is no UTF-8 text.", "Save it as UTF-8 and try again.")
    if b"\t" not in content:
        raise NothingToImport(f"{path} has no tab-separated lines.", "Give a results.tsv or a discovery folder.")
    lines = ledger.split(content)
    if lines and _is_other_header(lines[0]):
        columns = ledger.HEADER.decode().split("\t")
        raise NothingToImport(
            f"{path.name} is no ledger: its header has none of the columns {', '.join(columns)}.",
            "Give a results.tsv, an export (uv run research export) or a discovery folder.",
        )
    return _import_ledger(store, content, lines, at_utc)


def _import_ledger(store: Store, content: bytes, lines: Sequence[bytes], at_utc: str) -> Imported:
    """Imports rows as runs; a line without a commit or without any tab is kept as an event and skipped."""
    first = sum(bool(line.strip()) for line in content.split(b"\n")) - len(lines) + 1  # the header has a number too
    rows: list[bytes] = []
    skipped: list[Skipped] = []
    doubtful: list[Skipped] = []
    for place, line in enumerate(lines, first):
        where = f"row {place}"
        if why := _unreadable(line):
            skipped.append(Skipped(where, why))
            _keep(store, line, why, at_utc)
            continue
        rows.append(line)
        if why := _doubt(line):
            doubtful.append(Skipped(where, why))
    new = import_ledger_lines(store, rows, at_utc)
    return Imported(tuple(new), len(rows) - len(new), tuple(skipped), tuple(doubtful))


def _is_other_header(line: bytes) -> bool:
    """Checks whether a first line names columns, none of which a ledger has: no row, no number, no status."""
    words = line.decode("utf-8", "replace").lstrip("\ufeff").lower().split("\t")
    known = {*ledger.HEADER.decode().split("\t"), *get_args(LedgerStatus)}
    numbers = any(word.strip()[:1].isdigit() for word in words)
    return len(words) > 1 and not numbers and bool(_unreadable(line)) and not known & {word.strip() for word in words}


def _unreadable(line: bytes) -> str:
    """Says why a line is no row, "" if it is one."""
    if b"\t" not in line:
        return "no tab in it"
    commit = ledger.parse_row(line).commit
    if not commit:
        return "no commit"
    if not (4 <= len(commit) <= 40 and all(char in "0123456789abcdefABCDEF" for char in commit)):
        return f"{commit[:20]!r} is no commit"
    return ""


def _doubt(line: bytes) -> str:
    """Says what of a row could not be read, "" if all of it could."""
    row = ledger.parse_row(line)
    problems = []
    if line.count(b"\t") < 4:
        problems.append(f"{line.count(bytes([9])) + 1} of 5 fields")
    if row.status not in ("keep", "discard", "crash"):
        problems.append(f"status {row.status[:20]!r}")
    if row.val_bpb is None and row.status != "crash":
        problems.append("val_bpb is no number above zero")
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        problems.append("not UTF-8")
    return ", ".join(problems)


def _keep(store: Store, line: bytes, why: str, at_utc: str) -> None:
    """Keeps a line that is no row, once."""
    text = line.decode("utf-8", "backslashreplace")
    with store.write():  # another import of the same file may be at the same line
        if all(event.data.get("line") != text for event in store.events("import_skipped")):
            store.add_event(at_utc, "import_skipped", None, {"line": text, "why": why})
