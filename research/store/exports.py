"""Exports the whole memory as JSON lines, for other tools and machines, and imports such an export."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from research.core.errors import ResearchError
from research.core.records import Idea, Plan, Run, Verdict
from research.store.db import Store
from research.store.rows import SECRET_FIELDS, from_plain, to_plain

SCHEMA = "autoresearch.export/1"


def export_lines(store: Store) -> Iterator[dict[str, Any]]:
    """Yield every record as one JSON object, the schema first; audit scores are left out."""
    yield {"schema": SCHEMA}
    lines = dict(store.ledger_entries())
    for run in store.runs():
        plain = {name: value for name, value in to_plain(run).items() if name not in SECRET_FIELDS}
        line = lines.get(run.run)
        yield {"type": "run", **plain, "line": base64.b64encode(line).decode() if line is not None else None}
    for verdict in store.verdicts():
        yield {"type": "verdict", **to_plain(verdict)}
    for plan in store.plans():
        yield {"type": "plan", **to_plain(plan)}
    for idea in store.ideas():
        yield {"type": "idea", **vars(idea)}
    for event in store.events():
        yield {"type": "event", "at_utc": event.at_utc, "kind": event.kind, "run": event.run, "data": dict(event.data)}


def import_lines(store: Store, texts: Iterable[str]) -> tuple[list[str], int]:
    """Import an export; return the names of the new runs, and how many were known already, which are left alone.

    Raises:
        ResearchError: if the first line is not ours, or a line can't be read; then nothing is imported.
    """
    new: dict[str, None] = {}  # names of the runs, in order
    runs = 0
    events = {_event_key(vars(event)) for event in store.events()}
    with store.write():
        for number, text in enumerate(texts, 1):
            try:
                item = json.loads(text)
                if number == 1 and item.get("schema") != SCHEMA:
                    raise ValueError("the first line does not name the schema")
                _import_item(store, item, new, events)
                runs += item.get("type") == "run"
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, sqlite3.Error) as error:
                what = f"Line {number} is not part of an export: {error}."
                raise ResearchError(what, "Nothing was imported.") from None
    return list(new), runs - len(new)


def _event_key(event: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the values that tell an event from others."""
    return event["at_utc"], event["kind"], event["run"], json.dumps(event["data"], sort_keys=True)


def _import_item(
    store: Store, item: Mapping[str, Any], new: dict[str, None], events: Collection[tuple[str, ...]]
) -> None:
    """Add one record of an export unless it is known; a new run's name is added to the new ones."""
    kind = item.get("type")
    if kind == "run":
        line = base64.b64decode(item["line"]) if item.get("line") else None
        if store.add_run(from_plain(Run, item), line):
            new[item["run"]] = None
    elif kind == "verdict" and item["run"] in new:
        store.add_verdict(from_plain(Verdict, item))
    elif kind == "plan":
        store.add_plan(from_plain(Plan, item))
    elif kind == "idea":
        idea = replace(Idea(**{name: value for name, value in item.items() if name != "type"}), run=None)
        if all((known.text, known.created_utc) != (idea.text, idea.created_utc) for known in store.ideas()):
            store.add_idea(replace(idea, idea=0))
    elif kind == "event" and _event_key(item) not in events:
        store.add_event(item["at_utc"], item["kind"], item["run"], item["data"])
