"""Keeps results.tsv equal to the store, and imports the lines that others wrote into it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from research.core.clock import as_utc
from research.core.files import held, write_whole
from research.core.records import Run
from research.core.settings import SETTINGS
from research.store import ledger
from research.store.db import Store

_DIGESTS = "ledger_digests"  # of the file as we wrote it last, and as we are about to write it


def foreign_run(row: ledger.LedgerRow, occurrence: int, at_utc: str, commits: Mapping[str, str] | None = None) -> Run:
    """Return a row of another ledger as a run, which is shown and never judged, since its contract is unknown.

    Args:
        occurrence: How many equal rows came before it; the same row twice is two runs.
        commits: The commits of the rows by their ids, which may be named as parents.
    """
    digest = hashlib.sha256(row.text.encode("utf-8", "surrogateescape") + b"\n%d" % occurrence).hexdigest()
    values, score = row.values, row.score
    facts = {"status": values.get("status", ""), **row.more}
    if not row.commit or "id" in values:
        facts["id"] = values.get("id") or values.get("commit", "")
    parent = values.get("parent", "")
    megabytes, gigabytes = row.number("peak_vram_mb"), row.number("memory_gb")
    at = as_utc(values.get("at", "")) or at_utc
    return Run(
        run=f"import-{digest[:16]}",
        folder="",
        origin="import",
        branch="",
        commit=row.commit,
        parent=writable(commits.get(parent) or parent if commits else parent),
        started_utc=at,
        finished_utc=at,
        subject=writable(" ".join(values.get("description", "").split())),
        outcome="crash" if score is None else "scored",
        val_bpb=score,
        peak_vram_mb=megabytes if megabytes is not None else gigabytes and gigabytes * 1024,
        counted=False,
        why="imported from a ledger; its contract is unknown",
        facts={writable(name): writable(value)[: SETTINGS.max_fact_chars] for name, value in facts.items()},
    )


def writable(text: str) -> str:
    """Return text that can be written anywhere; bytes that are no UTF-8 are marked."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def import_ledger_lines(
    store: Store, lines: Sequence[bytes], at_utc: str, is_edit: Callable[[bytes], bool] = lambda line: False
) -> list[str]:
    """Import the lines that the store does not hold, once; return the names of the new runs.

    A line that is_edit() says is an edited line of ours is kept as an event, and no run.
    """
    new: list[str] = []
    with store.write():
        known = store.ledger_lines()
        counts = Counter(known)
        for line in ledger.unknown_lines(lines, known):
            if is_edit(line):
                store.add_event(at_utc, "ledger_edit", None, {"line": line.decode("utf-8", "backslashreplace")})
                continue
            run = foreign_run(ledger.parse_row(line), counts[line], at_utc)
            counts[line] += 1
            if store.add_run(run, line):
                new.append(run.run)
    return new


def edit_check(store: Store, lines: Sequence[bytes]) -> Callable[[bytes], bool]:
    """Return a function that checks whether a line is one of the store's with another status or description.

    A line with another score is not: after a rebuild it is the only trace of a run whose folder is gone.
    """

    def measured(line: bytes) -> tuple[str, ...]:
        values = ledger.parse_row(line).values
        return values.get("commit", "")[:7], values.get(ledger.METRIC, "")

    left = Counter(measured(line) for line in ledger.unknown_lines(store.ledger_lines(), lines))

    def check(line: bytes) -> bool:
        left[measured(line)] -= 1
        return left[measured(line)] >= 0

    return check


def sync_ledger(store: Store, path: Path, lock: Path, at_utc: str) -> list[str]:
    """Import the lines that others added to results.tsv, then write it anew; return the names of their runs.

    A file that can't be written raises OSError; the next call writes it.
    """
    new: list[str] = []
    with held(lock, SETTINGS.busy_timeout_s):
        content = path.read_bytes() if path.exists() else b""
        ours: list[str] = json.loads(store.fact(_DIGESTS) or "[]")
        if content and hashlib.sha256(content).hexdigest() not in ours:
            own = {run.commit[:7].encode() for run in store.runs() if run.origin != "import" and run.commit}
            lines = ledger.split(content)
            new = import_ledger_lines(store, lines, at_utc, is_edit=lambda line: line.strip()[:7] in own)
        held_lines = store.ledger_lines()
        wanted = ledger.render(held_lines)
        if wanted == content or not (held_lines or content):
            return new
        store.set_fact(_DIGESTS, json.dumps([*ours[-1:], hashlib.sha256(wanted).hexdigest()]))
        write_whole(path, wanted)
    return new
