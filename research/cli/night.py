"""Defines the verb night, which experiments alone from the first baseline to the morning page."""

from __future__ import annotations

import contextlib
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from research.agents.clients import CLIENTS
from research.cli.kit import Amount, Count, here, json_option, show, timeout_option
from research.cli.report import show_until_stopped
from research.core.clock import utc
from research.core.settings import SETTINGS
from research.core.text import count_of
from research.runs.backends import BACKENDS, DEFAULT_BACKEND, DEFAULT_GPU
from research.store.open import read_store

if TYPE_CHECKING:
    from research.agents.night.loop import Night

NOTIFY = (
    "Shell command that gets a sentence on its stdin and, in $AUTORESEARCH_EVENT, what it is: win (a gain over the best"
    " before it is confirmed: more than one run, the whole interval a gain), kept (a change is kept, not confirmed"
    f" yet), stuck ({SETTINGS.stuck_runs} runs without a keep), end."
)
WORKERS = (
    "Candidates evaluated at once, each on a GPU, sandbox or processor core of its own. Default: 1; on the pocket"
    f" profile the cores that there are, at most {SETTINGS.default_core_workers}."
)


class Moment(click.ParamType[str]):
    """A time of day, read as the next moment at which this machine's clock shows it."""

    name = "HH:MM"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the moment as records keep it."""
        try:
            wanted = datetime.strptime(str(value), "%H:%M").time()
        except ValueError:
            self.fail(f"{value!r} is no time of day; 07:00 is one.", param, ctx)
        now = datetime.now()
        day = now.date() if wanted > now.time() else now.date() + timedelta(days=1)
        return utc(datetime.combine(day, wanted).astimezone())


@click.command("night")
@click.option("--agent", type=click.Choice(("builtin", *CLIENTS)), default="builtin", help="Who edits train.py.")
@click.option("--hours", type=Amount(above_zero=True), help="End after so many hours.")
@click.option("--until", type=Moment(), help="End at this time of day, HH:MM on this machine's clock.")
@click.option("--max-runs", type=Count(min=1), help="End after so many runs, baselines included.")
@click.option("--max-usd", type=Amount(above_zero=True), help="End before a usual run would go beyond it.")
@click.option("--usd-per-hour", type=Amount(), default=0.0, help="Price of an hour of running.")
@click.option("--workers", type=Count(min=1), help=WORKERS)
@click.option("--backend", default=DEFAULT_BACKEND, help=f"Where to run: {', '.join(BACKENDS)}.")
@click.option("--gpu", default=DEFAULT_GPU, help="GPU of a remote backend.")
@timeout_option
@click.option("--notify", help=NOTIFY)
@click.option("--serve", is_flag=True, help="Show the morning page to the local network, as report --serve does.")
@click.option("--seed", type=Count(min=0), default=0, help="Seed of plans and of the built-in agent.")
@click.option("--no-race", is_flag=True, help="Let every run go to its end, also one that is all but certain to lose.")
@click.option(
    "--policy",
    type=click.Choice(("discovery", "greedy")),
    default="discovery",
    help="Who plans and judges; greedy keeps whatever is lower.",
)
@click.option("--stop", is_flag=True, help="End the night that goes on in this checkout, as Ctrl-C does.")
@json_option
def night(
    stop: bool,
    serve: bool,
    hours: float | None,
    until: str | None,
    max_runs: int | None,
    max_usd: float | None,
    usd_per_hour: float,
    backend: str,
    gpu: str,
    timeout: float | None,
    no_race: bool,
    as_json: bool,
    **how: Any,
) -> None:
    from research.agents.night.start import run_night
    from research.agents.night.state import NightLimits
    from research.lab.launch import Request
    from research.report.serve import PageServer
    from research.report.write import live_page, page_path
    from research.runs.preflight import COMMAND

    def say(line: str) -> None:
        with contextlib.suppress(OSError):  # a closed terminal ends no night
            click.echo(line, err=as_json)

    paths = here()
    if stop:
        from research.agents.night.stop import stop_night

        said = stop_night(paths)
        show("night", {"said": said}, said, as_json)
        return
    limits = NightLimits(max_runs, hours, max_usd, usd_per_hour, until)
    request = Request(COMMAND, backend, gpu, timeout and timeout * 60, race=not no_race)
    server = PageServer(page_path(paths)) if serve else None
    if server:
        say(server.in_words())
    show_page = live_page(paths, say)
    done = run_night(paths, request, limits, say=say, show=show_page, **how)
    with read_store(paths) as store:
        show_page(store)
    if not as_json:
        say(_in_words(done, page_path(paths)))
    elif not done.problem:
        with contextlib.suppress(OSError):
            show("night", _as_data(done, page_path(paths)), "", as_json)
    if server and sys.stdout.isatty() and done.state.finished_utc:
        show_until_stopped(server, "The page is still shown, until Ctrl-C.")
    elif server:
        server.close()
    if done.problem:
        raise done.problem


def _in_words(done: Night, page: Path) -> str:
    """Return the last lines of a night that has ended."""
    from research.agents.night.loop import INTERRUPTED

    state = done.state
    text = f"Ended: {state.stop_reason}. {count_of(state.runs, 'run')}, {done.kept} kept. {done.found}".rstrip()
    if (state.stop_reason or "").startswith(INTERRUPTED):
        goes_on = "begins a new night, since its limits are used up" if state.finished_utc else "goes on with it"
        text += f" The same command {goes_on}."
    used = state.agent_usage.in_words()
    text += f"\nThe agent used {used}." if used else ""
    return f"{text}\nThe morning page: {page}"


def _as_data(done: Night, page: Path) -> dict[str, Any]:
    """Return the result of a night that has ended, for --json."""
    state = done.state
    return {
        "runs": state.runs,
        "kept": done.kept,
        "stop_reason": state.stop_reason,
        "report": str(page),
        "branch": state.branch,
        "night": state.night,
        "usd": round(state.usd, 2),
        "agent_tokens": state.agent_tokens,
        "agent_usd": state.agent_usd,
        "found": done.found,
    }
