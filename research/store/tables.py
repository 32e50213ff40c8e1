"""Reads ledgers of any shape by their columns' names, and logs of one JSON object a line.

A ledger may be TSV or CSV, quoted or not, with several tables one under another. Nothing is judged here; what can't be
read is named with its line.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from research.core.errors import ResearchError
from research.store.ledger import METRIC, PUBLIC, LedgerRow
from research.store.ledger_file import writable

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
"""Names that ledgers give to each of our fields, the most telling first."""
_KNOWN = {name for names in _SYNONYMS.values() for name in names}
_METRICS = re.compile(
    r"^(val|valid|validation|test|eval)_|loss|auc|acc|rmse|mse|mae|f1|score|sharpe|metric|reward|return|perplexity|ppl"
)
"""Names that ledgers of other tasks give to the column of a score."""
_SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon"}
"""Separators of cells with their names."""
_QUOTED_LINES = 50
"""Lines that a quoted field may go over: a paragraph; beyond that the quotation mark was only a character."""


def _not_our_metric(name: str, metric: str) -> ResearchError:
    return ResearchError(
        f"{name} is a ledger of {metric}, not of {METRIC}: scores of two metrics can't be compared.",
        f"Give a ledger with a column {METRIC}.",
    )


def _no_table(name: str) -> ResearchError:
    return ResearchError(
        f"{name} is no ledger: it has none of the columns {', '.join(PUBLIC)}, separated by tabs, commas or "
        "semicolons.",
        "Give a ledger, an export (uv run research export) or a discovery folder.",
    )


def read_table(name: str, text: str) -> Iterator[LedgerRow]:
    """Yield the rows of a ledger in columns; one without a header has the public ones."""
    lines = text.removeprefix("\ufeff").split("\n")
    separator = _separator_of(lines)
    columns: list[str] | None = None
    other_metric, at = "", 0
    while at < len(lines):
        if not lines[at].strip(" \r"):
            at += 1
            continue
        cells, used = _record(lines, at, separator, len(columns or PUBLIC))
        number, raw, at = at + 1, "\n".join(lines[at : at + used]), at + used
        words = [cell.strip().lower().replace(" ", "_") for cell in cells]
        if _is_header(words):
            other_metric = "" if METRIC in _named(words) else writable(_metric_of(words))
            if other_metric and columns is None:
                raise _not_our_metric(name, other_metric)
            columns = words
            continue
        if columns is None:
            if not _is_public(cells):
                raise _no_table(name)
            columns = list(PUBLIC)
        if other_metric:
            yield LedgerRow(number, raw, problem=f"it belongs to a table of {other_metric}, not of {METRIC}")
        elif separator not in raw:
            yield LedgerRow(number, raw, problem=f"no {_SEPARATORS[separator]} in it")
        else:
            yield _row_of_cells(number, raw, cells, columns, separator)
    if columns is None:
        raise _no_table(name)


def _separator_of(lines: Sequence[str]) -> str:
    """Return the sign between cells, by the first line: a tab if it has one, else what it has more of."""
    first = next((line for line in lines if line.strip()), "")
    return "\t" if "\t" in first else ";" if first.count(";") > first.count(",") else ","


def _row_of_cells(number: int, raw: str, cells: list[str], columns: list[str], separator: str) -> LedgerRow:
    """Return a record as a row, by the names of its columns; the last one takes the cells that are too many."""
    last = len(columns) - 1
    if len(cells) > last + 1 > 1:  # the description holds separators of its own
        cells = [*cells[:last], separator.join(cells[last:])]
    if separator == ";":  # where that separates cells, a comma begins the decimals
        cells = [re.sub(r"\A([-+]?\d+),(\d+)\Z", r"\1.\2", cell) for cell in cells]
    is_plain = columns == list(PUBLIC) and separator == "\t" and raw.rstrip("\r").split("\t", last) == cells
    return _row(number, raw, dict(zip(columns, cells, strict=False)), is_plain)


def _record(lines: Sequence[str], at: int, separator: str, width: int) -> tuple[list[str], int]:
    """Return the cells of the record at a line, and how many lines it takes; a stray quotation mark is a character."""
    for used in range(1, _QUOTED_LINES + 1 if '"' in lines[at] else 1):
        if at + used > len(lines) or (used > 1 and lines[at + used - 1].count(separator) >= width - 1):
            break  # that is a row of its own
        try:
            text = [line.rstrip("\r") + "\n" for line in lines[at : at + used]]
            (cells,) = csv.reader(text, delimiter=separator, strict=True)
        except (csv.Error, ValueError):
            continue
        return cells, used
    return lines[at].rstrip("\r").split(separator), 1


def _is_header(words: Sequence[str]) -> bool:
    """Check whether cells are names of columns: two known ones, no number among them."""
    is_number = any(re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", word) for word in words)
    return not is_number and len({word for word in words if word in _KNOWN or _METRICS.search(word)}) > 1


def _is_public(cells: Sequence[str]) -> bool:
    """Check whether a first line without a header may be a row of the public columns."""
    return len(cells) > 1 and bool(re.match(r"\s*([-+]?[\d.]+|nan)?\s*\Z", cells[1], re.I))


def _named(given: Iterable[str]) -> dict[str, str]:
    """Return which of these names is which of our fields."""
    found = {ours: [name for name in synonyms if name in given] for ours, synonyms in _SYNONYMS.items()}
    return {ours: names[0] for ours, names in found.items() if names}


def _metric_of(names: Sequence[str]) -> str:
    """Return what the scores of a ledger without val_bpb are called."""
    rest = [name for name in names if name not in _KNOWN]
    return next((name for name in rest if _METRICS.search(name)), rest[0] if rest else "no column of its own")


def _row(number: int, raw: str, given: Mapping[str, str], is_plain: bool = False) -> LedgerRow:
    """Make a row of cells by their own names."""
    ours = _named(given)
    values = {name: given[theirs].strip() for name, theirs in ours.items()}
    more = {name: value.strip() for name, value in given.items() if name not in ours.values() and value.strip()}
    return LedgerRow(number, raw, values, more, is_plain=is_plain)


def read_json_lines(name: str, text: str) -> Iterator[LedgerRow]:
    """Yield the records of a log that holds one JSON object a line."""
    lines = [(number, raw) for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1) if raw.strip()]
    found = [(number, raw, _object(raw)) for number, raw in lines]
    metric = next((str(item["metricname"]) for _, _, item in found if item.get("metricname")), "")
    keys = {key for _, _, item in found for key in item}
    if METRIC not in keys and metric != METRIC:
        names = sorted(key for key in keys if _METRICS.search(key))
        raise _not_our_metric(name, metric or names[0]) if names or metric else _no_table(name)
    for number, raw, item in found:
        if metric == METRIC and "metric" in item:
            item.setdefault(METRIC, item.pop("metric"))
        row = _row(number, raw, {key: "" if value is None else _text(value) for key, value in item.items()})
        if not item:
            yield LedgerRow(number, raw, problem="not a whole JSON object")
        elif not {METRIC, "status", "commit"} & row.values.keys():
            yield LedgerRow(number, raw, problem="no score, status or commit in it")
        else:
            yield row


def _object(raw: str) -> dict[str, Any]:
    """Return the object in a line, those of its metrics beside the others; an empty one where there is none."""
    try:
        value = json.loads(raw, parse_constant=lambda word: None)
    except (ValueError, RecursionError):
        value = None
    item = _lowered(value)
    return {**_lowered(item.pop("metrics", None)), **item}


def _lowered(value: Any) -> dict[str, Any]:
    return {str(key).lower(): part for key, part in value.items()} if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()
