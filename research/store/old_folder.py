"""Reads the discovery folder of the older control plane: events.jsonl and state.json, whatever state they are in.

Every line is kept as an event, once; those of recorded experiments also become runs. Experiments that only
state.json still holds become runs too. Scores without a contract are shown and never judged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from research.core.clock import as_utc
from research.core.records import Failure, Metrics, Run
from research.store.db import Store
from research.store.rows import finite

EVENTS, STATE = "events.jsonl", "state.json"
_SCORE_FACTS = ("status", "category", "niche", "phase", "recommendation", "diff_summary", "discovery_score")


def import_folder(store: Store, folder: Path, at_utc: str) -> tuple[list[str], int, list[tuple[str, str]]]:
    """Import an older discovery folder; a second time adds nothing.

    Returns:
        Names of the new runs, how many records were known already, and the place and reason of each that was skipped.
    """
    new, known, skipped = list[str](), 0, list[tuple[str, str]]()
    with store.write():
        kept = {event.data.get("sha256") for event in store.events("import")}
        for where, text in _texts(folder):
            name = where.split(" ")[0]
            digest = hashlib.sha256(f"{name}\n{text}".encode("utf-8", "replace")).hexdigest()
            if digest not in kept:
                kept.add(digest)
                store.add_event(at_utc, "import", None, {"from": name, "sha256": digest, "text": text})
            for record in _records(name, text):
                run = _run(record, at_utc) if isinstance(record, dict) else None
                if run is None:
                    skipped.append((where, record if isinstance(record, str) else "an experiment without an id"))
                elif store.add_run(run):
                    new.append(run.run)
                else:
                    known += 1
    return new, known, skipped


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the lines of the log and the whole state, each with its place."""
    contents = {
        name: (folder / name).read_bytes().decode("utf-8", "backslashreplace") if (folder / name).is_file() else ""
        for name in (EVENTS, STATE)
    }
    lines = [(f"{EVENTS} line {number}", text) for number, text in enumerate(contents[EVENTS].split("\n"), 1)]
    yield from ((where, text) for where, text in [*lines, (STATE, contents[STATE])] if text.strip())


def _records(name: str, text: str) -> list[dict[str, Any] | str]:
    """Return the experiments in a text; in the place of one that can't be read stands the reason."""
    try:
        value = json.loads(text, parse_constant=lambda word: None)
    except (ValueError, RecursionError):
        return ["not whole JSON"]
    if not isinstance(value, dict):
        return ["not a JSON object"]
    if name == STATE:
        found = value.get("recent_experiments") or []
        if not isinstance(found, list):
            return ["recent_experiments is not a list"]
        return [one if isinstance(one, dict) else "an experiment's record is not an object" for one in found]
    record = next((value[key] for key in ("record", "experiment", "data", "payload") if key in value), value)
    names = {str(value.get(key)) for key in ("event", "type", "kind", "event_type")}
    is_experiment = "experiment_recorded" in names or (isinstance(record, dict) and "experiment_id" in record)
    if not is_experiment:
        return []
    return [record if isinstance(record, dict) else "an experiment's record is not an object"]


def _text(value: object) -> str:
    """Return a string that can be written anywhere: JSON may spell halves of characters, which no encoding has."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _run(record: Mapping[str, Any], at_utc: str) -> Run | None:
    """Return a record as a run, None for one without an id; a score of zero counts as none."""
    identity = record.get("experiment_id")
    if not isinstance(identity, (str, int)) or isinstance(identity, bool) or identity == "":
        return None
    values = record.get("metrics")
    numbers = {key: finite(value) for key, value in values.items()} if isinstance(values, dict) else {}
    score = numbers.get("val_bpb")
    scored = score is not None and score > 0 and record.get("status") != "crash"
    signature = _text(record.get("crash_signature"))
    at = as_utc(_text(record.get("timestamp"))) or at_utc
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
    """Return the nine values, None unless all are there."""
    whole = {one.name: value for one in fields(Metrics) if (value := numbers.get(one.name)) is not None}
    if len(whole) < len(fields(Metrics)):
        return None
    return Metrics.from_values({**whole, "num_steps": int(whole["num_steps"]), "depth": int(whole["depth"])})
