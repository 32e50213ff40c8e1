"""Defines the verbs export, which prints everything as JSON lines, and import, for ledgers and older memories."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from research.cli.kit import FILE, json_option, open_memory, show, this_lab
from research.core import git
from research.core.files import write_whole
from research.core.text import count_of, first_few
from research.store.exports import export_lines
from research.store.imports import Skipped, import_path
from research.store.ledger import render


@click.command("export")
@click.option("--ledger", is_flag=True, help="Rebuild results.tsv and print it instead.")
@click.option("--out", type=FILE, help="Write to this file instead of stdout.")
@json_option
def export(ledger: bool, out: Path | None, as_json: bool) -> None:
    lab = this_lab()
    with open_memory(lab) as store:
        if ledger:
            lines = store.ledger_lines()
            if lines:
                lab.sync(store)
            text = render(lines)
            data = {"path": str(out or lab.paths.ledger), "rows": len(lines)}
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
        click.echo(text, nl=False)  # as bytes: rows of others may be in any encoding


@click.command("import")
@click.argument("path", type=FILE, help="A ledger, a log of JSON lines, an export, or an older discovery folder.")
@json_option
def import_(path: Path, as_json: bool) -> None:
    lab = this_lab()
    with lab.open() as store:
        found = import_path(store, path, lab.now_utc())
        lab.sync(store)
        runs = [store.run(name) for name in found.runs]
    data = {
        "imported": list(found.runs),
        "count": len(found.runs),
        "known": found.known,
        "skipped": [asdict(one) for one in found.skipped],
        "doubtful": [asdict(one) for one in found.doubtful],
    }
    lines = [f"{count_of(len(found.runs), 'run')} imported from {path}; {found.known} were known already."]
    commits = dict.fromkeys(run.commit for run in runs if run and run.counted)  # what others' ledgers name is not run
    if gone := next((one for one in commits if git.resolve(lab.work, one) is None), None):
        lines.append(" ".join(git.missing_commit(gone)))
    lines += _listed("not imported (kept as events)", found.skipped)
    lines += _listed("imported with fields that could not be read", found.doubtful)
    show("import", data, "\n".join(lines), as_json)


def _listed(what: str, items: Sequence[Skipped]) -> list[str]:
    """Return a count and the first few."""
    if not items:
        return []
    few = first_few([f"{one.where}: {one.why}" for one in items], 10)
    return [f"{len(items)} {what}:", *(f"  {line}" for line in few)]
