"""Keeps results.tsv equal to the store, and imports the lines that others wrote into it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from research.core.files import held, write_whole
from research.core.records import Run
from research.core.settings import SETTINGS
from research.store import ledger
from research.store.db import Store

_DIGESTS = "ledger_digests"  # of the file as we wrote it last, and as we are about to write it


def foreign_run(line: bytes, occurrence: int, at_utc: str) -> Run:
    """Makes a run of a foreign ledger line: kept and shown, never judged, since its contract is unknown.

    Args:
        line: The bytes.
        occurrence: How many equal lines came before it; the same line twice is two runs.
        at_utc: When it was imported.
    """
    row = ledger.parse_row(line)
    name = "import-" + hashlib.sha256(line + b"\n%d" % occurrence).hexdigest()[:16]
    scored = row.val_bpb is not None and row.status != "crash"
    return Run(
        run=name,
        folder="",
        origin="import",
        branch="",
        commit=row.commit,
        started_utc=at_utc,
        finished_utc=at_utc,
        subject=row.description,
        outcome="scored" if scored else "crash",
        val_bpb=row.val_bpb if scored else None,
        peak_vram_mb=row.memory_gb * 1024 if scored and row.memory_gb is not None else None,
        counted=False,
        why="imported from a ledger; its contract is unknown",
        facts={"status": row.status},
    )


def import_ledger_lines(
    store: Store, lines: Sequence[bytes], at_utc: str, is_edit: Callable[[bytes], bool] = lambda line: False
) -> list[str]:
    """Imports the lines that the store does not hold, once; returns the names of the new runs.

    Args:
        store: The memory.
        lines: Lines of a ledger.
        at_utc: Now.
        is_edit: Checks whether a line is an edit of a line of ours, which is kept as an event, and no run.
    """
    new: list[str] = []
    with store.write():
        known = store.ledger_lines()
        counts = Counter(known)
        for line in ledger.unknown_lines(lines, known):
            if is_edit(line):
                store.add_event(at_utc, "ledger_edit", None, {"line": line.decode("utf-8", "backslashreplace")})
                continue
            run = foreign_run(line, counts[line], at_utc)
            counts[line] += 1
            if store.add_run(run, line):
                new.append(run.run)
    return new


def names_own_commit(store: Store) -> Callable[[bytes], bool]:
    """Returns a check whether a line is about a commit that this lab has run."""
    ours = {run.commit[:7] for run in store.runs() if run.origin != "import" and run.commit}
    return lambda line: ledger.parse_row(line).commit[:7] in ours


def differs_in_words(store: Store, lines: Sequence[bytes]) -> Callable[[bytes], bool]:
    """Returns a check whether a line is one of the store's lines with another status or description.

    After a rebuild, a line with another score is the only trace of a run of that commit whose folder is gone.
    """
    left = Counter(_measured(line) for line in ledger.unknown_lines(store.ledger_lines(), lines))

    def check(line: bytes) -> bool:
        if left[_measured(line)] == 0:
            return False
        left[_measured(line)] -= 1
        return True

    return check


def _measured(line: bytes) -> tuple[str, float | None]:
    row = ledger.parse_row(line)
    return row.commit[:7], row.val_bpb


def sync_ledger(store: Store, path: Path, lock: Path, at_utc: str) -> list[str]:
    """Makes the file what the store holds; lines that others added to it are imported first.

    Args:
        store: The memory.
        path: results.tsv.
        lock: A file to lock meanwhile.
        at_utc: Now.

    Returns:
        Names of the imported runs.

    Raises:
        OSError: if the file can't be written; the next call makes up for it.
    """
    new: list[str] = []
    with held(lock, SETTINGS.busy_timeout_s):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            content = b""
        ours: list[str] = json.loads(store.fact(_DIGESTS) or "[]")
        if content and ledger.digest(content) not in ours:
            new = import_ledger_lines(store, ledger.split(content), at_utc, names_own_commit(store))
        lines = store.ledger_lines()
        wanted = ledger.render(lines)
        if wanted == content or (not lines and not content):
            return new
        store.set_fact(_DIGESTS, json.dumps([*ours[-1:], ledger.digest(wanted)]))
        write_whole(path, wanted)
    return new
