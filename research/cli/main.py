"""The front door: ``research VERB``, thin over the rooms; every verb has --help and --json, and exits 0, 1 or 2."""

from __future__ import annotations

import sys
from typing import Any

import typer

from research.cli import autonomy, memory, next, night, report, runs, simulate, store, verdict
from research.cli.kit import show_error
from research.core.errors import ResearchError

_UsageError: Any = typer.BadParameter.__bases__[0]
_ClickError: Any = _UsageError.__bases__[0]

app = typer.Typer(
    name="research",
    help="Run, judge, remember and choose experiments on train.py.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
runs.register(app)
night.register(app)
store.register(app)
autonomy.register(app)
memory.register(app)
next.register(app)
report.register(app)
verdict.register(app)
simulate.register(app)


@app.callback()
def _group() -> None:
    """Run, judge, remember and choose experiments on train.py."""


def run(argv: list[str]) -> int:
    """Runs one command line and returns its exit code; errors become one clear line or one JSON object."""
    as_json = "--json" in argv
    if not argv:
        app(["--help"], prog_name="research", standalone_mode=False)
        return 2
    try:
        code = app(argv, prog_name="research", standalone_mode=False)
    except _UsageError as error:
        of = error.ctx.command_path if error.ctx else "research"
        show_error(_sentence(error.format_message()), f"{of} --help lists the options.", as_json)
        return 2
    except _ClickError as error:
        show_error(error.format_message(), "", as_json)
        return 1
    except (typer.Abort, KeyboardInterrupt):
        show_error("Stopped.", "", as_json)
        return 130
    except ResearchError as error:
        show_error(error.what, error.next, as_json)
        return 2 if error.exit_code == 2 else 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        show_error(f"{error.filename or 'The system'}: {error.strerror or error}.", "Mend that and try again.", as_json)
        return 1
    return code if isinstance(code, int) else 0


def _sentence(text: str) -> str:
    """A parser's words as a sentence."""
    text = text.replace("Value error, ", "")
    return text if text.endswith((".", "?", "!")) else f"{text}."


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))
