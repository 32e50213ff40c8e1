"""The verbs that move records: everything out as JSON lines, ledgers and older memories in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from research.cli.kit import JsonFlag, show
from research.cli.runs import this_lab
from research.core.files import write_whole
from research.store.exports import export_lines
from research.store.imports import Skipped, import_path
from research.store.ledger import render
from research.store.open import read_store


def register(app: typer.Typer) -> None:
    """Adds this module's verbs to the front door."""
    app.command("export")(export)
    app.command("import")(import_)


def export(
    ledger: Annotated[bool, typer.Option("--ledger", help="Rebuild results.tsv and print it instead.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write to this file instead of stdout.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print everything that is remembered as JSON lines, audit scores left out."""
    lab = this_lab()
    paths = lab.paths
    is_new = not (paths.memory.exists() or paths.ledger.exists() or paths.runs.is_dir())
    with read_store(paths) if is_new else lab.open() as store:
        if ledger:
            lines = store.ledger_lines()
            if lines:
                lab.sync(store)
            text = render(lines)
            data = {"path": str(out or paths.ledger), "rows": len(lines)}
        else:
            items = list(export_lines(store))
            text = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items).encode("utf-8", "replace")
            data = {"path": str(out) if out else None, "rows": len(items) - 1}
            if as_json and not out:
                data["records"] = items[1:]
    if out:
        write_whole(out.absolute(), text)
    if out or as_json:
        show("export", data, f"{data['rows']} records in {out}", as_json)
    else:
        typer.echo(text, nl=False)  # as bytes: rows of others may be in any encoding


def import_(
    path: Annotated[Path, typer.Argument(help="A results.tsv, an export, or an older discovery folder.")],
    as_json: JsonFlag = False,
) -> None:
    """Take in a ledger, an export, or an older memory; doing it twice changes nothing."""
    lab = this_lab()
    with lab.open() as store:
        found = import_path(store, path, lab.now_utc())
        lab.sync(store)
    data = {
        "imported": list(found.runs),
        "count": len(found.runs),
        "known": found.known,
        "skipped": [asdict(one) for one in found.skipped],
        "doubtful": [asdict(one) for one in found.doubtful],
    }
    lines = [f"{len(found.runs)} runs taken in from {path}; {found.known} were known already."]
    lines += _listed("not taken in (kept as events)", found.skipped)
    lines += _listed("taken in as they stand", found.doubtful)
    show("import", data, "\n".join(lines), as_json)


def _listed(what: str, items: Sequence[Skipped]) -> list[str]:
    """A count and the first few."""
    if not items:
        return []
    rest = [f"  and {len(items) - 10} more"] if len(items) > 10 else []
    return [f"{len(items)} {what}:", *(f"  {one.where}: {one.why}" for one in items[:10]), *rest]
