"""Takes in what other tools left: a results.tsv of anyone, or the discovery folder of the older control plane."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from research.errors import ResearchError
from research.records import Failure, Metrics, Run
from research.store import ledger
from research.store.db import Store
from research.store.exports import SCHEMA, import_lines
from research.store.ledger_file import take_in_lines
from research.store.rows import finite


class NothingToImport(ResearchError):
    """The path holds nothing that can be taken in."""


def import_path(store: Store, path: Path, at_utc: str) -> list[str]:
    """Takes in a results.tsv, an export of ours, or an older discovery folder; twice is a no-op.

    Returns:
        Names of the new runs.

    Raises:
        NothingToImport: if it is none of these.
        NotAnExport: if it is a broken export.
        OSError: if it can't be read.
    """
    if path.is_dir():
        return _import_discovery(store, path, at_utc)
    if not path.is_file():
        raise NothingToImport(f"There is no file {path}.", "Give a results.tsv, an export or a discovery folder.")
    content = path.read_bytes()
    first = content[:200].lstrip()
    if first.startswith(b"{") and SCHEMA.encode() in first:
        return import_lines(store, content.decode("utf-8", "replace").rstrip("\n").split("\n"))
    lines = ledger.split(content)
    if b"\x00" in content or not any(b"\t" in line for line in lines):
        raise NothingToImport(f"{path} has no tab-separated lines.", "Give a results.tsv or a discovery folder.")
    return take_in_lines(store, lines, at_utc)


def _import_discovery(store: Store, folder: Path, at_utc: str) -> list[str]:
    """An older folder: one run per recorded experiment; every line of its event log is kept as it stands."""
    log, state = folder / "events.jsonl", folder / "state.json"
    if not log.is_file() and not state.is_file():
        raise NothingToImport(f"{folder} holds neither events.jsonl nor state.json.", "Give a discovery folder.")
    new: list[str] = []
    known = {event.data.get("sha256") for event in store.events("import")}
    texts = [("events.jsonl", text) for text in _lines(log)]
    if state.is_file():
        texts.append(("state.json", state.read_bytes().decode("utf-8", "replace")))
    with store.write():
        for name, text in texts:
            digest = hashlib.sha256(f"{name}\n{text}".encode("utf-8", "replace")).hexdigest()
            if digest in known or not text.strip():
                continue
            known.add(digest)
            store.add_event(at_utc, "import", None, {"from": name, "sha256": digest, "text": text})
            run = _experiment(text, at_utc)
            if run and store.take_in_run(run):
                new.append(run.run)
    return new


def _lines(path: Path) -> list[str]:
    return path.read_bytes().decode("utf-8", "replace").split("\n") if path.is_file() else []


def _experiment(text: str, at_utc: str) -> Run | None:
    """The run that one event of the older log tells of, None for other events and torn lines."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    record = next((event[key] for key in ("record", "experiment", "data", "payload") if key in event), event)
    names = {str(event.get(key)) for key in ("event", "type", "kind", "event_type")}
    if not isinstance(record, dict) or ("experiment_recorded" not in names and "experiment_id" not in record):
        return None
    return _old_run(record, at_utc)


def _old_run(record: Mapping[str, Any], at_utc: str) -> Run | None:
    identity = str(record.get("experiment_id") or "")
    if not identity:
        return None
    values = record.get("metrics") if isinstance(record.get("metrics"), dict) else {}
    assert isinstance(values, dict)
    score = finite(values.get("val_bpb"))
    scored = score is not None and score > 0 and record.get("status") != "crash"
    numbers = {key: finite(value) for key, value in values.items()}
    metrics = None
    if scored and all(numbers.get(name) is not None for name in Metrics.__dataclass_fields__):
        metrics = Metrics.from_values({name: values[name] for name in Metrics.__dataclass_fields__})
    signature = str(record.get("crash_signature") or "")
    at = str(record.get("timestamp") or at_utc)
    facts = {
        key: str(record[key])
        for key in ("status", "category", "niche", "phase", "recommendation", "diff_summary", "discovery_score")
        if record.get(key) is not None
    }
    return Run(
        run="import-" + hashlib.sha256(f"experiment {identity}".encode()).hexdigest()[:16],
        folder="",
        origin="import",
        branch=str(record.get("branch") or ""),
        commit=str(record.get("commit") or ""),
        parent=str(record.get("commit_parent") or ""),
        subject=str(record.get("description") or ""),
        emitter=str(record["emitter"]) if record.get("emitter") else None,
        started_utc=at,
        finished_utc=at,
        outcome="scored" if scored else "crash",
        metrics=metrics,
        val_bpb=score if scored else None,
        peak_vram_mb=numbers.get("peak_vram_mb"),
        failure=None if scored else Failure("unknown", signature or "unknown", signature),
        counted=False,
        why="taken in from an older memory; its contract is unknown",
        facts=facts,
    )
