"""Defines the verbs that show: report (the morning page), watch (live), demo (a recorded night) and doctor."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from research.cli.kit import FILE, json_option, open_memory, show, this_lab
from research.core.paths import machine_home
from research.core.settings import SETTINGS

if TYPE_CHECKING:
    from research.report.serve import PageServer


@click.command("report")
@click.option("--open", "open_it", is_flag=True, help="Open it in the browser.")
@click.option("--serve", is_flag=True, help="Show it to the local network until Ctrl-C, with a QR code for a phone.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of --serve; 0 takes a free one.")
@click.option("--figures", type=FILE, help="Also write the two charts as SVG files into this folder.")
@click.option("--branch", help="Show this branch; by default the one that is checked out.")
@click.option("--contract", help="Show the runs of this contract; by default of the one that was kept in last.")
@json_option
def report(
    open_it: bool, serve: bool, port: int | None, figures: Path | None, as_json: bool, **shown: str | None
) -> None:
    if port is not None and not serve:
        raise click.UsageError("--port is the port of --serve, which is missing.")
    from research.report.serve import PageServer, open_page
    from research.report.write import page_path, read_data, write_figures, write_page

    lab = this_lab()
    with open_memory(lab) as store:
        data = read_data(store, lab.paths, lab.now_utc(), **shown)
    path = write_page(data, page_path(lab.paths))
    pictures = write_figures(data, figures.absolute()) if figures else []
    server = PageServer(path, port) if serve else None
    found = {"path": str(path), "figures": [str(picture) for picture in pictures], "runs": len(data.rows)}
    found |= {"address": server.address} if server else {}
    show("report", found, "\n".join(str(p) for p in (path, *pictures)), as_json)
    if open_it and (how := open_page(path)):
        click.echo(how, err=True)
    if server:
        show_until_stopped(server, server.in_words(), as_json)


def show_until_stopped(server: PageServer, words: str, as_json: bool = False) -> None:
    """Show a page until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(server):
        click.echo(words, err=as_json)
        while True:
            time.sleep(3600)


@click.command("watch")
@click.option("--once", is_flag=True, help="Print one picture and end.")
@json_option
def watch(once: bool, as_json: bool) -> None:
    from research.report.watch import Live

    live = Live(this_lab())
    if as_json:
        show("watch", live.look().as_dict(), "", True)
    elif once:
        live.print_once()
    else:
        live.follow()


@click.command("demo")
@click.option("--serve", is_flag=True, help="Show the page to the local network until Ctrl-C, for a phone.")
@json_option
def demo(serve: bool, as_json: bool) -> None:
    from research.agents.night.progress import LEGEND, line_of
    from research.report.answer import FIRST_NIGHT
    from research.report.recording import read_recording
    from research.report.serve import PageServer, open_page
    from research.report.watch import show_pictures
    from research.report.write import write_page

    recording = read_recording()
    data = recording.data()
    path = machine_home() / "demo" / "report.html"
    try:
        write_page(data, path)
    except OSError:  # a home that can't be written to, or a full disk
        path = Path(tempfile.mkdtemp(prefix="autoresearch-demo-")) / "report.html"
        write_page(data, path)
    if as_json:
        show("demo", {"path": str(path), "runs": len(data.rows)}, "", True)
        return
    devices = " and ".join(dict.fromkeys(run.device for run in recording.runs if run.device))
    said = f"This night was recorded on {recording.night.started_utc[:10]}, on {devices or 'a processor'}."
    click.echo(" ".join((said, *recording.notes)))
    if sys.stdout.isatty():
        from rich.console import Console

        from research.report.screen import frame

        views, console = list(recording.play()), Console(highlight=False)
        show_pictures(console, views, SETTINGS.demo_s / len(views))
        console.print(frame(views[-1], console.width, console.height))
    else:
        click.echo(LEGEND)
        for row in data.rows:
            click.echo(line_of(row.number, row.run, row.verdict))
    click.echo(f"Its page: {path}")
    if not serve and (how := open_page(path)):
        click.echo(how.replace("research report", "research demo"), err=True)
    click.echo(f"To make one of your own: {FIRST_NIGHT}")
    if serve:
        server = PageServer(path)
        show_until_stopped(server, server.in_words())


@click.command("doctor")
@click.option("--clients", is_flag=True, help="Also ask the coding agents about themselves and their hooks (seconds).")
@json_option
def doctor(clients: bool, as_json: bool) -> None:
    from research.report.doctor import examine, in_words

    checks = examine(Path.cwd(), os.environ, clients)
    show("doctor", {"checks": [vars(check) for check in checks]}, in_words(checks), as_json)
