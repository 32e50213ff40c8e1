"""The grammar of results.tsv: how a run becomes a line, and how anybody's line is read without losing a byte."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from research.core.records import LedgerStatus, Run

HEADER = b"commit\tval_bpb\tmemory_gb\tstatus\tdescription"
ROW_OUTCOMES = frozenset({"scored", "crash", "timeout", "stopped"})
"""Runs that ended by themselves, by their time limit, or since they were losing; nothing else has a row."""


@dataclass(frozen=True)
class LedgerRow:
    """One line as it was found, and what could be read of it.

    Attributes:
        line: The bytes, without the line feed.
        commit: First field.
        val_bpb: None unless a finite number above zero.
        memory_gb: None unless a finite number.
        status: Fourth field, unchanged.
        description: The rest.
    """

    line: bytes
    commit: str
    val_bpb: float | None
    memory_gb: float | None
    status: str
    description: str


def has_row(run: Run) -> bool:
    """Checks whether the ledger has a line for this run."""
    return run.counted and run.outcome in ROW_OUTCOMES


def render_row(run: Run, kept: bool) -> bytes:
    """Writes a run's line.

    Args:
        run: A run that has_row() accepts.
        kept: Whether its verdict keeps it; an undecided one does not yet.
    """
    status: LedgerStatus = "crash"
    val_bpb = memory_gb = 0.0
    if run.outcome == "scored" and run.val_bpb is not None:
        status = "keep" if kept else "discard"
        val_bpb = math.nan if run.origin == "log" else run.val_bpb  # nobody checked it, so it is no lowest score
        memory_gb = (run.peak_vram_mb or 0.0) / 1024
    elif run.outcome == "stopped":
        status, val_bpb = "discard", math.nan  # it has no score, and the code is not to blame
    description = " ".join(run.subject.replace("\t", " ").splitlines())
    commit = run.commit[:7] or "0000000"
    return f"{commit}\t{val_bpb:.6f}\t{memory_gb:.1f}\t{status}\t{description}".encode("utf-8", "replace")


def render(lines: Iterable[bytes]) -> bytes:
    """Writes the whole file."""
    return b"".join(line + b"\n" for line in (HEADER, *lines))


def split(content: bytes) -> tuple[bytes, ...]:
    """Returns a ledger's lines without header and blank lines; quotes mean nothing here, bytes stay as they are."""
    lines = [line for line in content.split(b"\n") if line.strip()]
    if lines and lines[0].lstrip(b"\xef\xbb\xbf").split(b"\t")[0].strip().lower() == b"commit":
        lines = lines[1:]
    return tuple(lines)


def value_of(text: str) -> float | None:
    """Reads a finite number, None for everything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def parse_row(line: bytes) -> LedgerRow:
    """Reads one line; whatever is missing or unreadable is None or empty, never an error."""
    fields = line.decode("utf-8", "replace").rstrip("\r").split("\t", 4)
    fields += [""] * (5 - len(fields))
    val_bpb = value_of(fields[1])
    return LedgerRow(
        line=line,
        commit=fields[0].strip(),
        val_bpb=val_bpb if val_bpb is not None and val_bpb > 0 else None,
        memory_gb=value_of(fields[2]),
        status=fields[3].strip(),
        description=fields[4],
    )


def unknown_lines(found: Sequence[bytes], known: Iterable[bytes]) -> tuple[bytes, ...]:
    """Returns the lines that are not among the known ones, counting repetitions, in their order."""
    left = Counter(known)
    new = []
    for line in found:
        if left[line] > 0:
            left[line] -= 1
        else:
            new.append(line)
    return tuple(new)


def digest(content: bytes) -> str:
    """Returns the hash by which a file that we wrote is recognised."""
    return hashlib.sha256(content).hexdigest()
