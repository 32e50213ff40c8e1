"""Imports what other tools left: a ledger of anyone, an export of ours, or an older control plane's folder.

Nothing is thrown away and nothing is judged: what can't be read as a row is kept unchanged and named in the report;
what can be read is shown, and never judged, since nobody knows its contract.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path

from research.core.clock import moment, utc
from research.core.errors import ResearchError
from research.core.records import Run
from research.core.settings import SETTINGS
from research.store import ledger
from research.store.db import Store
from research.store.exports import SCHEMA, import_lines
from research.store.ledger_file import import_ledger_lines
from research.store.old_folder import EVENTS, STATE, import_folder
from research.store.tables import METRIC, NoTable, OtherMetric, Row, read_json_lines, read_table

_PUBLIC = ledger.HEADER.decode().split("\t")
_HASH = re.compile(r"[0-9a-fA-F]{7,40}\Z")
_NUMBER_OF_SHEET = re.compile(r"[\d.]+[eE][-+]?\d+\Z")
_OWN_LINE = re.compile(r"[0-9a-f]{7}\t(\d+\.\d{6}|nan)\t\d+\.\d\t(keep|discard|crash)\t[^\t\r\udc80-\udcff]*\Z")
_FAILED = re.compile(r"crash|oom|fail|error|abort|timeout|diverge", re.I)
_KEPT = re.compile(r"(keep|kept|accept\w*|improve\w*|merge\w*)\Z", re.I)


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
    """Imports a ledger, a log of JSON lines, an export of ours, or an older discovery folder; twice changes nothing.

    Raises:
        NothingToImport: if it is none of these, or holds another metric.
        NotAnExport: if it is a broken export.
        OSError: if it can't be read.
    """
    if path.is_dir():
        if not any((path / name).is_file() for name in (EVENTS, STATE)):
            raise NothingToImport(f"{path} holds neither events.jsonl nor state.json.", "Give a discovery folder.")
        found = import_folder(store, path, at_utc)
        return Imported(found.runs, found.known, tuple(Skipped(*one) for one in found.skipped))
    if not path.is_file():
        raise NothingToImport(f"There is no file {path}.", "Give a ledger, an export or a discovery folder.")
    content = path.read_bytes()
    is_json = content[:200].lstrip(b"\xef\xbb\xbf \r\n").startswith(b"{")
    if is_json and SCHEMA.encode() in content[:200]:
        return Imported(tuple(import_lines(store, content.decode("utf-8", "replace").rstrip("\n").split("\n"))))
    if path.name in (EVENTS, STATE):
        raise NothingToImport(f"{path} is a part of a discovery folder.", f"Type: uv run research import {path.parent}")
    if b"\x00" in content:
        raise NothingToImport(f"{path} holds zero bytes, so it is no UTF-8 text.", "Save it as UTF-8 and try again.")
    text = content.decode("utf-8", "surrogateescape")
    try:
        rows = list(read_json_lines(text) if is_json else read_table(text, _PUBLIC))
    except OtherMetric as other:
        raise NothingToImport(
            f"{path.name} is a ledger of {other.name}, not of {METRIC}: scores of two metrics can't be compared.",
            f"Give a ledger with a column {METRIC}.",
        ) from None
    except NoTable:
        raise NothingToImport(
            f"{path.name} is no ledger: it has none of the columns {', '.join(_PUBLIC)}, separated by tabs, commas or "
            "semicolons.",
            "Give a ledger, an export (uv run research export) or a discovery folder.",
        ) from None
    return _import_rows(store, rows, at_utc)


def _import_rows(store: Store, rows: Sequence[Row], at_utc: str) -> Imported:
    """Imports rows as runs; what can't be read as one is kept as an event and skipped."""
    new: list[str] = []
    skipped = [Skipped(f"row {row.line}", row.problem) for row in rows if row.problem]
    good = [row for row in rows if not row.problem]
    doubtful = [Skipped(f"row {row.line}", why) for row in good if (why := _doubt(row))]
    commits = {row.values["id"]: _commit_of(row) for row in good if row.values.get("id")}
    counts: Counter[str] = Counter()
    with store.write():
        kept = {str(event.data.get("line")) for event in store.events("import_skipped")} if skipped else set()
        for row in rows:
            text = row.text.rstrip("\r").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            if row.problem and text not in kept:
                kept.add(text)
                store.add_event(at_utc, "import_skipped", None, {"line": text, "why": row.problem})
        own = [row.text.encode() for row in good if _is_own_format(row)]
        new += import_ledger_lines(store, own, at_utc)
        for row in good:
            if _is_own_format(row):
                continue
            run = _run_of(row, counts[row.text], commits, at_utc)
            counts[row.text] += 1
            if store.add_run(run, _line_of(run, row)):
                new.append(run.run)
    return Imported(tuple(new), len(good) - len(new), tuple(skipped), tuple(doubtful))


def _run_of(row: Row, occurrence: int, commits: Mapping[str, str], at_utc: str) -> Run:
    """Makes a run of a row: kept and shown, never judged, since its contract is unknown."""
    digest = hashlib.sha256(row.text.encode("utf-8", "surrogateescape") + b"\n%d" % occurrence).hexdigest()
    values, score = row.values, _score_of(row)
    facts = {"status": values.get("status", ""), **{name: value for name, value in row.more.items() if value}}
    facts |= {"id": values.get("id") or values.get("commit", "")} if not _commit_of(row) or "id" in values else {}
    parent = values.get("parent", "")
    megabytes, gigabytes = (ledger.value_of(values.get(name, "")) for name in ("peak_vram_mb", "memory_gb"))
    at = _moment(values.get("at", "")) or at_utc
    return Run(
        run=f"import-{digest[:16]}",
        folder="",
        origin="import",
        branch="",
        commit=_commit_of(row),
        parent=_clean(commits.get(parent) or parent),
        started_utc=at,
        finished_utc=at,
        subject=_clean(" ".join(values.get("description", "").split())),
        outcome="crash" if score is None else "scored",
        val_bpb=score,
        peak_vram_mb=megabytes if megabytes is not None else gigabytes and gigabytes * 1024,
        counted=False,
        why="imported from a ledger; its contract is unknown",
        facts={name: _clean(value)[: SETTINGS.max_fact_chars] for name, value in facts.items()},
    )


def _is_own_format(row: Row) -> bool:
    """Checks for a line as this project's ledgers hold it, which may be one of ours come back."""
    return row.is_plain and bool(_OWN_LINE.match(row.text))


def _line_of(run: Run, row: Row) -> bytes:
    """Writes a row as ledgers have it: five columns, six decimals; bytes of its description that are no text stay."""
    *numbers, _ = ledger.render_row(run, bool(_KEPT.match(run.facts["status"]))).split(b"\t", 4)
    description = " ".join(row.values.get("description", "").split())
    return b"\t".join((*numbers, description.encode("utf-8", "surrogateescape")))


def _commit_of(row: Row) -> str:
    """Returns the commit that a row names, "" where it names none or something else."""
    commit = row.values.get("commit", "")
    return commit if _HASH.match(commit) else ""


def _score_of(row: Row) -> float | None:
    """Returns a row's val_bpb, None where it has none or failed."""
    value = ledger.value_of(row.values.get(METRIC, ""))
    failed = _FAILED.search(row.values.get("status", ""))
    return value if value is not None and value > 0 and not failed else None


def _moment(text: str) -> str:
    """Returns a time as records keep it, "" for none; one without a zone is UTC."""
    try:
        at = moment(text.replace(" ", "T", 1))
    except ValueError:
        return ""
    return utc(at if at.tzinfo else at.replace(tzinfo=timezone.utc))


def _clean(text: str) -> str:
    """Returns text that can be written anywhere; bytes that are no UTF-8 are marked."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _doubt(row: Row) -> str:
    """Says what of a row could not be read, "" if all of it could."""
    values, problems = row.values, []
    commit = values.get("commit", "")
    if row.is_plain and row.text.count("\t") < len(_PUBLIC) - 1:
        count = row.text.count("\t") + 1
        problems.append(f"{count} of {len(_PUBLIC)} fields")
    if commit and not _HASH.match(commit):
        sheet = ", a spreadsheet's number" if _NUMBER_OF_SHEET.match(commit) else ""
        problems.append(f"{_clean(commit)[:20]!r} is no commit{sheet}")
    elif "commit" in values and not commit and row.is_plain:
        problems.append("no commit")
    if row.is_plain and values.get("status") not in ("keep", "discard", "crash"):
        problems.append(f"status {values.get('status', '')[:20]!r}")
    if _score_of(row) is None and not _FAILED.search(values.get("status", "")):
        problems.append(f"{METRIC} is no number above zero")
    if _clean(row.text) != row.text:
        problems.append("not UTF-8")
    return ", ".join(problems)
