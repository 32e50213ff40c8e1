"""Runs the command line ``research VERB``, whose verbs are imported when they are named, and returns exit codes."""

from __future__ import annotations

import importlib
import io
import signal
import sys

import click

from research.cli.kit import show_error
from research.core.errors import ResearchError

VERBS = {
    "archive": ("memory", "Show the best configuration of every niche, the lowest mean first."),
    "autonomy": ("autonomy", "Turn autonomous continuation by a coding agent's Stop hook on or off, or show it."),
    "decide": ("runs", "Overrule a verdict, and carry that out in git."),
    "demo": ("report", "Play a recorded night again in seconds and open its morning page; needs nothing."),
    "doctor": ("report", "Say what is missing or wrong here, and the command that mends it; changes nothing."),
    "export": ("store", "Print everything that is remembered as JSON lines, audit scores left out."),
    "idea": ("idea", "Queue an idea of yours, tried before the planner's own; without one, list what became of them."),
    "import": ("store", "Import anybody's ledger, an export, or an older memory; doing it twice changes nothing."),
    "last-review": ("memory", "Show the review of the run that was judged last."),
    "next": ("next", "Show the next plan and the prompt that an agent would get; nothing is changed."),
    "night": ("night", "Experiment alone until a limit is reached; Ctrl-C ends cleanly, the same command resumes."),
    "noise": ("memory", "Show how much runs of the same code differ."),
    "parse-run": ("runs", "Show the metrics, the failure and the last lines of a run log."),
    "record": ("runs", "Record finished runs that were made by hand."),
    "replicate": ("runs", "Run a commit again, with the seed that tells most or with another."),
    "report": (
        "report",
        "Write the morning page, results/report.html: what was found, how sure that is, and what to do next.",
    ),
    "settle": ("runs", "Carry a verdict out in git: the branch goes to what is kept."),
    "simulate": ("simulate", "Compare search policies on synthetic nights whose truth is known."),
    "summary": ("memory", "Show the state of the search: baseline, best, plan, conjectures, elites, warnings."),
    "watch": (
        "report",
        "Watch a night live: the run in flight, the latest verdicts, the best so far, what is left; Ctrl-C leaves.",
    ),
}
"""The verbs: module in research/cli, and a sentence for --help, which so imports no module."""


class Verbs(click.Group):
    """A group of commands that imports a verb's module when the verb is named, and no other."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all verbs."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a verb; None for an unknown name."""
        if cmd_name not in VERBS:
            return None
        module, sentence = VERBS[cmd_name]
        found = vars(importlib.import_module(f"research.cli.{module}")).values()
        verb = next(one for one in found if isinstance(one, click.Command) and one.name == cmd_name)
        verb.help = sentence
        return verb

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the verb that was typed; an error names verbs that are spelled like it."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:  # click knows only the verbs that were imported
            raise click.NoSuchCommand(error.command_name, possibilities=VERBS, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of verbs without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"show_default": True, "help_option_names": ["--help"]})
@click.version_option(package_name="autoresearch-evo", prog_name="research")
def app() -> None:
    """Run, judge, remember and choose experiments on train.py."""


def run(argv: list[str]) -> int:
    """Run one command line and return its exit code; errors become one clear line or one JSON object."""
    as_json = "--json" in argv
    try:
        code = app(argv or ["--help"], prog_name="research", standalone_mode=False)
    except click.UsageError as error:
        what = " ".join(error.format_message().split())
        of = error.ctx.command_path if error.ctx else "research"
        show_error(what if what.endswith((".", "?", "!")) else f"{what}.", f"Type: uv run {of} --help", as_json)
        return 2
    except click.ClickException as error:
        show_error(error.format_message(), "", as_json)
        return 1
    except (click.Abort, KeyboardInterrupt):
        show_error("Stopped.", "", as_json)
        return 130
    except ResearchError as error:
        show_error(error.what, error.next, as_json)
        return 2 if error.exit_code == 2 else 1
    except BrokenPipeError:
        sys.stderr.close()  # nor is anybody told that stdout could not be flushed at the end
        return 1
    except OSError as error:
        show_error(f"{error.filename or 'The system'}: {error.strerror or error}.", "Mend that and try again.", as_json)
        return 1
    except Exception as error:  # a mistake of ours, whose traceback is for whoever mends it
        if not as_json:
            raise
        import traceback

        traceback.print_exc()
        show_error(f"{type(error).__name__}: {error}.", "The traceback on stderr says where.", as_json)
        return 1
    if not argv:
        return 2
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the console script; where the output can't take a character, "?" stands for it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    code = run(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: one more Ctrl-C would only print a traceback
    sys.exit(code)
