"""The verbs that show: the morning page with its charts, the live view, and what is missing or wrong here."""

from __future__ import annotations

import os
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from research.cli.kit import JsonFlag, show
from research.cli.runs import this_lab
from research.lab.lab import Lab
from research.report.doctor import examine, in_words
from research.report.write import read_data, write_figures, write_page
from research.store.db import Store
from research.store.open import read_store


def register(app: typer.Typer) -> None:
    """Adds this module's verbs to the front door."""
    app.command("report")(report)
    app.command("watch")(watch)
    app.command("doctor")(doctor)


def _memory(lab: Lab) -> Store:
    """The memory, caught up where there is anything to catch up with; a lab without a run is left untouched."""
    there = lab.paths.memory.exists() or lab.paths.runs.exists() or lab.paths.ledger.exists()
    return lab.open() if there else read_store(lab.paths)


def report(
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Also write the two charts as SVG files into this folder.")
    ] = None,
    branch: Annotated[
        str | None, typer.Option("--branch", help="Show this branch; by default the one that is checked out.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the morning page, results/report.html: what was found, how sure that is, and what to do next."""
    lab = this_lab()
    with _memory(lab) as store:
        data = read_data(store, lab.paths, lab.now_utc(), branch)
    path = write_page(data, lab.paths)
    pictures = write_figures(data, figures.absolute()) if figures else []
    if open_it:
        webbrowser.open(path.as_uri())
    found = {"path": str(path), "figures": [str(picture) for picture in pictures], "runs": len(data.rows)}
    show("report", found, "\n".join(str(p) for p in (path, *pictures)), as_json)


def watch(
    once: Annotated[bool, typer.Option("--once", help="Print one picture and end.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Watch a night live: the run in flight, the latest verdicts, the best so far and what is left; Ctrl-C leaves."""
    from research.report.watch import Live  # it draws with rich, for which no other verb should wait

    live = Live(this_lab())
    if as_json:
        show("watch", live.look().as_dict(), "", True)
    elif once:
        live.print_once()
    else:
        live.follow()


def doctor(
    clients: Annotated[
        bool, typer.Option("--clients", help="Also ask the coding agents about themselves and their hooks (seconds).")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Say what is missing or wrong here, and the command that mends it; changes nothing."""
    checks = examine(Path.cwd(), os.environ, clients)
    show("doctor", {"checks": [check.as_dict() for check in checks]}, in_words(checks), as_json)
