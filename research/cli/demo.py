"""The verb demo: a recorded night, played again in seconds, with its morning page."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from research.cli.kit import json_option, show
from research.cli.report import show_until_stopped
from research.core.paths import machine_home
from research.core.settings import SETTINGS

if TYPE_CHECKING:
    from research.report.recording import Recording


@click.command("demo")
@click.option("--serve", is_flag=True, help="Show the page to the local network until Ctrl-C, for a phone.")
@json_option
def demo(serve: bool, as_json: bool) -> None:
    """Plays the night on a terminal, writes its page and opens it."""
    from research.agents.night.progress import line_of
    from research.report.answer import FIRST_NIGHT
    from research.report.recording import NOTE, read_recording
    from research.report.serve import PageServer, open_page
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
        show("demo", {"path": str(path), "runs": len(recording.runs)}, "", True)
        return
    if sys.stdout.isatty():
        with contextlib.suppress(KeyboardInterrupt):  # it shortens the playing, not the demonstration
            _play(recording)
    else:
        for row in data.rows:
            click.echo(line_of(row.number, row.run, row.verdict))
    click.echo(f"This night was recorded on {recording.night.started_utc[:10]}. {NOTE}")
    click.echo(f"Its page: {path}")
    if not serve and (how := open_page(path)):
        click.echo(how.replace("research report", "research demo"), err=True)
    click.echo(f"To make one of your own: {FIRST_NIGHT}")
    if serve:
        server = PageServer(path)
        show_until_stopped(server, server.in_words())


def _play(recording: Recording) -> None:
    """Shows the pictures of the night, in a few seconds altogether."""
    from rich.console import Console
    from rich.live import Live

    from research.report.screen import frame

    console = Console(highlight=False)
    pause_s = SETTINGS.demo_s / max(1, 3 * len(recording.runs))
    begun, last = time.monotonic(), None
    with Live(console=console, screen=True, auto_refresh=False) as screen:
        for place, view in enumerate(recording.play(), 1):
            last = frame(view, console.width, console.height)
            screen.update(last, refresh=True)
            time.sleep(max(0.0, begun + place * pause_s - time.monotonic()))
    if last is not None:
        console.print(last)
