"""Writes runs as lines of results.tsv, and reads the lines of anybody's ledger without losing a byte."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from research.core.records import LedgerStatus, Run

METRIC = "val_bpb"
PUBLIC = ("commit", METRIC, "memory_gb", "status", "description")
HEADER = "\t".join(PUBLIC).encode()
ROW_OUTCOMES = frozenset({"scored", "crash", "timeout", "stopped"})
"""Outcomes of the runs that have a row: they ended by themselves, by their time limit, or since they were losing."""
_HASH = re.compile(r"[0-9a-fA-F]{7,40}\Z")
_KEPT = re.compile(r"(keep|kept|best|baseline|accept\w*|improve\w*|merge\w*)\Z", re.I)
_FAILED = re.compile(r"crash|oom|fail|error|abort|timeout|diverge", re.I)


@dataclass(frozen=True)
class LedgerRow:
    """One record of anybody's ledger."""

    line: int  # number of its first line, from 1
    text: str  # its unchanged text; bytes that are no UTF-8 are surrogates
    values: Mapping[str, str] = field(default_factory=dict)  # its fields by our names
    more: Mapping[str, str] = field(default_factory=dict)  # its other fields by their own names
    problem: str = ""  # why it can't be read
    is_plain: bool = False  # whether it is one line of the public columns in their order, without quotes

    @property
    def commit(self) -> str:
        """Return the commit's hash, "" where the field is missing or no hash."""
        commit = self.values.get("commit", "")
        return commit if _HASH.match(commit) else ""

    @property
    def has_failed(self) -> bool:
        """Return whether its status says that the run had no result."""
        return bool(_FAILED.search(self.values.get("status", "")))

    @property
    def score(self) -> float | None:
        """Return its val_bpb, None where it has none or failed."""
        value = self.number(METRIC)
        return value if value is not None and value > 0 and not self.has_failed else None

    def number(self, name: str) -> float | None:
        """Return a field's finite number, None for everything else."""
        try:
            value = float(self.values.get(name, ""))
        except ValueError:
            return None
        return value if math.isfinite(value) else None


def says_kept(status: str) -> bool:
    """Check whether a status in anybody's ledger means that the change was kept."""
    return bool(_KEPT.match(status))


def has_row(run: Run) -> bool:
    """Check whether the ledger has a line for this run."""
    return run.counted and run.outcome in ROW_OUTCOMES


def render_row(run: Run, kept: bool) -> bytes:
    """Return the line of a run that has_row() accepts; an undecided one is not kept yet."""
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
    """Return the content of the whole file."""
    return b"".join(line + b"\n" for line in (HEADER, *lines))


def split(content: bytes) -> tuple[bytes, ...]:
    """Return a ledger's lines without header and blank lines; quotes mean nothing here, bytes stay as they are."""
    lines = [line for line in content.split(b"\n") if line.strip()]
    if lines and lines[0].lstrip(b"\xef\xbb\xbf").split(b"\t")[0].strip().lower() == b"commit":
        lines = lines[1:]
    return tuple(lines)


def parse_row(line: bytes) -> LedgerRow:
    """Read one line; fields that are missing are left out."""
    text = line.decode("utf-8", "surrogateescape")
    fields = (part.strip() for part in text.split("\t", len(PUBLIC) - 1))
    return LedgerRow(0, text, dict(zip(PUBLIC, fields, strict=False)), is_plain=True)


def unknown_lines(found: Sequence[bytes], known: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return the lines that are not among the known ones, counting repetitions, in their order."""
    left = Counter(known)
    new = []
    for line in found:
        if left[line] > 0:
            left[line] -= 1
        else:
            new.append(line)
    return tuple(new)
