"""Reads the discovery folder of the older control plane: events.jsonl and state.json, whatever state they are in.

Every line is kept as an event, once; those of recorded experiments also become runs. Experiments that only
state.json still holds become runs too. Scores without a contract are shown and never judged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from research.core.records import Failure, Metrics, Run
from research.store.db import Store
from research.store.rows import finite

EVENTS, STATE = "events.jsonl", "state.json"
_SCORE_FACTS = ("status", "category", "niche", "phase", "recommendation", "diff_summary", "discovery_score")


@dataclass
class OldFolder:
    """What an older folder came to: names of new runs, records known already, and what was skipped and why."""

    new: list[str] = field(default_factory=list)
    known: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of the new runs."""
        return tuple(self.new)


def import_folder(store: Store, folder: Path, at_utc: str) -> OldFolder:
    """Imports an older discovery folder; twice changes nothing.

    Raises:
        OSError: if a file of it can't be read.
    """
    found = OldFolder()
    with store.write():
        kept = {event.data.get("sha256") for event in store.events("import")}
        for where, text in _texts(folder):
            name = where.split(" ")[0]
            digest = hashlib.sha256(f"{name}\n{text}".encode("utf-8", "replace")).hexdigest()
            if digest not in kept:
                kept.add(digest)
                store.add_event(at_utc, "import", None, {"from": name, "sha256": digest, "text": text})
            for record, why in _records(name, text):
                run = _run(record, at_utc) if record is not None else None
                if why or run is None:
                    found.skipped.append((where, why or "an experiment without an id"))
                elif store.add_run(run):
                    found.new.append(run.run)
                else:
                    found.known += 1
    return found


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields the lines of the log and the whole state, each with its place."""
    log, state = folder / EVENTS, folder / STATE
    if log.is_file():
        for number, text in enumerate(log.read_bytes().decode("utf-8", "backslashreplace").split("\n"), 1):
            if text.strip():
                yield f"{EVENTS} line {number}", text
    if state.is_file():
        text = state.read_bytes().decode("utf-8", "backslashreplace")
        if text.strip():
            yield STATE, text


def _records(name: str, text: str) -> Iterator[tuple[Mapping[str, Any] | None, str]]:
    """Yields the experiments in a text, or why it can't be read; other events hold none."""
    try:
        value = json.loads(text, parse_constant=lambda word: None)
    except (ValueError, RecursionError):
        yield None, "not whole JSON"
        return
    if not isinstance(value, dict):
        yield None, f"a JSON object is expected, not {_called(value)}"
    elif name == STATE:
        yield from _of_state(value)
    else:
        yield from _of_event(value)


def _of_state(state: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any] | None, str]]:
    recent = state.get("recent_experiments")
    if recent is None:
        return
    if not isinstance(recent, list):
        yield None, f"recent_experiments is {_called(recent)}, not a list"
        return
    for place, record in enumerate(recent):
        if isinstance(record, dict):
            yield record, ""
        else:
            yield None, f"recent_experiments[{place}] is {_called(record)}, not an object"


def _of_event(event: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any] | None, str]]:
    record = next((event[key] for key in ("record", "experiment", "data", "payload") if key in event), event)
    names = {str(event.get(key)) for key in ("event", "type", "kind", "event_type")}
    if "experiment_recorded" not in names and not (isinstance(record, dict) and "experiment_id" in record):
        return
    if isinstance(record, dict):
        yield record, ""
    else:
        yield None, f"an experiment's record is {_called(record)}, not an object"


def _text(value: object) -> str:
    """Returns a string that can be written anywhere: JSON may spell halves of characters, which no encoding has."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _called(value: object) -> str:
    """Names a value's kind in JSON's words."""
    names = {type(None): "null", bool: "a truth value", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")


def _run(record: Mapping[str, Any], at_utc: str) -> Run | None:
    """Makes a run of a record; a score of zero is none."""
    identity = record.get("experiment_id")
    if not isinstance(identity, (str, int)) or isinstance(identity, bool) or identity == "":
        return None
    values = record.get("metrics")
    values = values if isinstance(values, dict) else {}
    numbers = {key: finite(value) for key, value in values.items()}
    score = numbers.get("val_bpb")
    scored = score is not None and score > 0 and record.get("status") != "crash"
    signature = _text(record.get("crash_signature"))
    at = _text(record.get("timestamp")) or at_utc
    return Run(
        run="import-" + hashlib.sha256(f"experiment {identity}".encode("utf-8", "replace")).hexdigest()[:16],
        folder="",
        origin="import",
        branch=_text(record.get("branch")),
        commit=_text(record.get("commit")),
        parent=_text(record.get("commit_parent")),
        subject=_text(record.get("description")),
        emitter=_text(record.get("emitter")) or None,
        started_utc=at,
        finished_utc=at,
        outcome="scored" if scored else "crash",
        metrics=_metrics(numbers) if scored else None,
        val_bpb=score if scored else None,
        peak_vram_mb=numbers.get("peak_vram_mb"),
        failure=None if scored else Failure("unknown", signature or "unknown", signature),
        counted=False,
        why="imported from an older memory; its contract is unknown",
        facts={key: _text(str(record[key])) for key in _SCORE_FACTS if record.get(key) is not None},
    )


def _metrics(numbers: Mapping[str, float | None]) -> Metrics | None:
    """Returns the nine values, None unless all are there."""
    whole = {name: value for name in Metrics.__dataclass_fields__ if (value := numbers.get(name)) is not None}
    if len(whole) < len(Metrics.__dataclass_fields__):
        return None
    return Metrics.from_values({**whole, "num_steps": int(whole["num_steps"]), "depth": int(whole["depth"])})
