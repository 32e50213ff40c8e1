"""Reads ledgers of any shape by their columns' names: TSV or CSV, quoted or not, several tables one under another,
and logs of one JSON object a line. Nothing is judged here; what can't be read is named with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

METRIC = "val_bpb"
_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "commit": ("commit", "hash", "sha", "commit_hash", "git_commit", "git_sha", "git_hash"),
    METRIC: (METRIC, "validation_bpb"),
    "memory_gb": ("memory_gb", "peak_memory_gb", "peak_vram_gb", "vram_gb", "mem_gb"),
    "peak_vram_mb": ("peak_vram_mb", "vram_mb", "memory_mb"),
    "status": ("status", "decision", "outcome", "verdict", "result"),
    "description": ("description", "desc", "hypothesis", "idea", "change", "title", "subject", "notes"),
    "parent": ("parent", "parent_exp", "parent_commit", "parent_id", "parent_hash", "parent_run"),
    "id": ("exp_id", "experiment_id", "run_id", "id", "exp", "experiment", "run"),
    "at": ("timestamp", "started_utc", "started_at", "created_at", "datetime", "date", "time"),
}
"""What a field is called, the most telling name first."""
_KNOWN = {name for names in _SYNONYMS.values() for name in names}
_METRICS = re.compile(
    r"^(val|valid|validation|test|eval)_|loss|auc|acc|rmse|mse|mae|f1|score|sharpe|metric|reward|return|perplexity|ppl"
)
"""What the column of a score is called in ledgers of other tasks."""
_MARKS = {"\t": "tab", ",": "comma", ";": "semicolon"}
"""What separates cells, in words."""
_QUOTED_LINES = 50
"""Lines that a quoted field may go over: a paragraph; beyond that the quotation mark was only a character."""


class OtherMetric(Exception):
    """The scores are no val_bpb. Args: name, what they are called."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class NoTable(Exception):
    """The text has no columns of a ledger."""


@dataclass(frozen=True)
class Row:
    """One record of a ledger.

    Attributes:
        line: Number of its first line, from 1.
        text: The record as it was found.
        values: Its fields by our names (see _SYNONYMS), as text.
        more: Its other fields by their own names.
        problem: Why it can't be read, "" if it can.
        is_plain: Whether it is one line of the public columns in their order, without quotes.
    """

    line: int
    text: str
    values: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    is_plain: bool = False


def read_table(text: str, public: Sequence[str]) -> Iterator[Row]:
    """Yields the rows of a ledger in columns.

    Args:
        text: The whole file.
        public: The columns of a ledger that names none.

    Raises:
        OtherMetric: if its first table holds another metric.
        NoTable: if it has no columns that are known.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    first = next((line for line in lines if line.strip()), "")
    mark = "\t" if any("\t" in line for line in lines) else ";" if first.count(";") > first.count(",") else ","
    columns: list[str] | None = None
    other, rows, at = "", 0, 0
    while at < len(lines):
        if not lines[at].strip(" \r"):
            at += 1
            continue
        cells, used = _cells(lines, at, mark, len(columns or public))
        number, raw, at = at + 1, "\n".join(lines[at : at + used]), at + used
        words = [cell.strip().lower().replace(" ", "_") for cell in cells]
        if _is_header(words):
            other = "" if METRIC in _named(words) else _metric_of(words)
            if other and columns is None and not rows:
                raise OtherMetric(other)
            columns = words
            continue
        if columns is None and not rows and not _is_public(cells):
            raise NoTable
        rows += 1
        if other:
            yield Row(number, raw, problem=f"it belongs to a table of {other}, not of {METRIC}")
        elif mark not in raw:
            yield Row(number, raw, problem=f"no {_MARKS[mark]} in it")
        else:
            names = columns or list(public)
            cells = _joined(cells, mark, len(names))
            if mark == ";":  # where that separates cells, a comma begins the decimals
                cells = [re.sub(r"\A([-+]?\d+),(\d+)\Z", r"\1.\2", cell) for cell in cells]
            values, more = _fields(names, cells)
            is_plain = names == list(public) and mark == "\t" and raw.rstrip("\r").split("\t", len(public) - 1) == cells
            yield Row(number, raw, values, more, is_plain=is_plain)
    if columns is None and not rows:
        raise NoTable


def _cells(lines: Sequence[str], at: int, mark: str, width: int) -> tuple[list[str], int]:
    """Splits a record into its cells; returns how many lines it takes too. A stray quotation mark is a character."""
    line, used, found, start = lines[at].rstrip("\r"), 1, list[str](), 0
    while True:
        if line[start : start + 1] == '"' and (closed := _closed(lines, at + used, line, start, mark, width)):
            cell, line, start, more = closed
            used += more
        else:
            end = line.find(mark, start)
            end = len(line) if end < 0 else end
            cell, start = line[start:end], end
        found.append(cell)
        if start >= len(line):
            return found, used
        start += 1


def _closed(
    lines: Sequence[str], following: int, line: str, start: int, mark: str, width: int
) -> tuple[str, str, int, int] | None:
    """Reads a quoted cell: its content, the line as it then is, where it ends, and how many more lines it took."""
    pattern = re.compile(rf'"((?:[^"]|"")*)"(?={re.escape(mark)}|\Z)')
    for more in range(_QUOTED_LINES):
        if match := pattern.match(line, start):
            return match[1].replace('""', '"'), line, match.end(), more
        at = following + more
        if at >= len(lines) or lines[at].count(mark) >= width - 1:  # that is a row of its own
            return None
        line += "\n" + lines[at].rstrip("\r")
    return None


def _joined(cells: list[str], mark: str, width: int) -> list[str]:
    """Puts together what a description holds of marks of its own."""
    return [*cells[: width - 1], mark.join(cells[width - 1 :])] if len(cells) > width > 1 else cells


def _is_header(words: Sequence[str]) -> bool:
    """Checks whether cells are names of columns: two known ones, no number among them."""
    is_number = any(re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", word) for word in words)
    return not is_number and len({word for word in words if word in _KNOWN or _METRICS.search(word)}) > 1


def _is_public(cells: Sequence[str]) -> bool:
    """Checks whether a first line without a header may be a row of the public columns."""
    return len(cells) > 1 and bool(re.match(r"\s*([-+]?[\d.]+|nan)?\s*\Z", cells[1], re.I))


def _named(names: Iterable[str]) -> dict[str, str]:
    """Returns which of these names is which of our fields."""
    given = list(names)
    picks = ((ours, next((name for name in synonyms if name in given), None)) for ours, synonyms in _SYNONYMS.items())
    return {ours: name for ours, name in picks if name is not None}


def _metric_of(names: Sequence[str]) -> str:
    """Returns what the scores of a ledger without val_bpb are called."""
    rest = [name for name in names if name not in _KNOWN]
    return next((name for name in rest if _METRICS.search(name)), rest[0] if rest else "no column of its own")


def _fields(names: Sequence[str], cells: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    given = dict(zip(names, cells, strict=False))
    ours = _named(names)
    values = {name: given[theirs].strip() for name, theirs in ours.items() if theirs in given}
    return values, {name: value.strip() for name, value in given.items() if name not in ours.values() and value.strip()}


def read_json_lines(text: str) -> Iterator[Row]:
    """Yields the records of a log that holds one JSON object a line.

    Raises:
        OtherMetric: if none of its scores is a val_bpb.
        NoTable: if it holds no records.
    """
    found = list(_objects(text))
    metric = next((str(item["metricname"]) for _, _, item in found if item.get("metricname")), "")
    keys = {key for _, _, item in found for key in item}
    if METRIC not in keys and metric != METRIC:
        names = [key for key in keys if _METRICS.search(key)]
        if not names and not metric:
            raise NoTable
        raise OtherMetric(metric or sorted(names)[0])
    for number, raw, item in found:
        if metric == METRIC and "metric" in item:
            item.setdefault(METRIC, item.pop("metric"))
        values, more = _fields(list(item), ["" if value is None else _text(value) for value in item.values()])
        if not item:
            yield Row(number, raw, problem="not a whole JSON object")
        elif not {METRIC, "status", "commit"} & values.keys():
            yield Row(number, raw, problem="no score, status or commit in it")
        else:
            yield Row(number, raw, values, more)


def _objects(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yields number, text and object of every line; an empty object where there is none."""
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if not raw.strip():
            continue
        try:
            value = json.loads(raw, parse_constant=lambda word: None)
        except (ValueError, RecursionError):
            value = None
        item = {str(key).lower(): part for key, part in value.items()} if isinstance(value, dict) else {}
        inner = item.pop("metrics", None)
        yield (
            number,
            raw,
            {**({str(k).lower(): v for k, v in inner.items()} if isinstance(inner, dict) else {}), **item},
        )


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()
