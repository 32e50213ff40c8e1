"""Converts records to plain values and back, for the columns of the store, files in run folders, and exports."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from research.core.records import Estimate, Failure, Metrics, Plan, Run, Verdict

Record = TypeVar("Record", Run, Verdict, Plan)

SECRET_FIELDS = ("audit_bpb", "audit_bpb_exact")
"""Fields of a run that nobody who chooses experiments may see."""

_PARTS: dict[str, Any] = {"metrics": Metrics, "failure": Failure, "estimate": Estimate, "difference": Estimate}
_JSON_FIELDS = frozenset({*_PARTS, "suspect", "phases_s", "facts", "delta", "terms", "details"})
_FLAGS = frozenset({"counted", "baseline"})


def to_plain(record: Run | Verdict | Plan) -> dict[str, Any]:
    """Turn a record into JSON values."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(record).items()}


def from_plain(kind: type[Record], plain: Mapping[str, Any]) -> Record:
    """Make a record of JSON values, of which unknown ones are left out; ValueError says what is missing or wrong."""
    known = kind.__dataclass_fields__
    try:
        return kind(**{name: _value(name, value) for name, value in plain.items() if name in known})
    except TypeError as error:
        raise ValueError(f"not a whole {kind.__name__.lower()}: {error}") from None


def _value(name: str, value: Any) -> Any:
    """Return a field's value from its JSON value."""
    if name in _PARTS and value is not None:
        return _PARTS[name](**value)
    if name == "suspect":
        return tuple(value)
    return bool(value) if name in _FLAGS else value


def to_row(record: Run | Verdict | Plan) -> dict[str, Any]:
    """Turn a record into column values: mappings and parts become JSON text."""
    plain = to_plain(record)
    for name, value in plain.items():
        if name in _JSON_FIELDS and value is not None:
            plain[name] = json.dumps(value, ensure_ascii=False)
        elif name in _FLAGS:
            plain[name] = int(value)
    return plain


def from_row(kind: type[Record], row: Mapping[str, Any]) -> Record:
    """Read a record from column values."""
    plain = {name: json.loads(v) if v is not None and name in _JSON_FIELDS else v for name, v in row.items()}
    return from_plain(kind, plain)


def finite(value: object) -> float | None:
    """Return a number that can be compared, None for everything else (NaN, infinities, huge integers, words, true)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
