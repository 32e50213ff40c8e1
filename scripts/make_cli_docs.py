"""Writes docs/cli.md from the command line itself: every verb, its arguments and options, in the words of --help.

uv run scripts/make_cli_docs.py            write it
uv run scripts/make_cli_docs.py --check    say whether it is current (exit 1 if not)
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's verbs, whatever is installed

from research.cli.main import app  # noqa: E402

PAGE = ROOT / "docs" / "cli.md"
PIPE = "\\|"  # a pipe as tables spell it
HEAD = """# The command line

`uv run research VERB`, or `python -m research VERB`. This page is made from the verbs themselves by
`uv run scripts/make_cli_docs.py`; a test holds it against them.

Every verb knows `--help`, and `--json`: one object on stdout, its `schema` first; an error is
`{"error": {"what", "next"}}`. Exit codes: 0 fine, 1 a clear error, 2 a call that can't mean anything.
"""


def page() -> str:
    """Return the whole page."""
    context = click.Context(app, info_name="research")
    verbs = {name: app.get_command(context, name) for name in app.list_commands(context)}
    parts = [HEAD, "| verb | |\n|---|---|"]
    rows = [f"| [`{name}`](#{name}) | {clean(verb.help or '')} |" for name, verb in verbs.items()]
    parts[-1] += "\n" + "\n".join(rows) + "\n"
    parts += [section(verb, click.Context(verb, context, name)) for name, verb in verbs.items()]
    return "\n".join(parts)


def section(verb: click.Command, context: click.Context) -> str:
    """Return the section of one verb: what it does, how it is called, its arguments and options."""
    shown = [p for p in verb.params if p.name != "as_json"]
    arguments = [p for p in shown if isinstance(p, click.Argument)]
    options = [p for p in shown if isinstance(p, click.Option)]
    usage = [context.command_path, *(p.make_metavar(context) for p in arguments)]
    usage += [f"{p.opts[0]} {p.make_metavar(context)}" for p in options if p.required]
    usage += ["[OPTIONS]"] * any(not p.required for p in options)
    lines = [f"## {context.info_name}\n", f"{clean(verb.help or '')}\n", f"```\n{' '.join(usage)}\n```\n"]
    rows = [f"| `{clean(p.make_metavar(context))}` | {words(p)} |" for p in arguments]
    rows += [f"| {names(p, context)} | {words(p)} |" for p in options]
    if rows:
        lines.append("| | |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(lines)


def names(option: click.Option, context: click.Context) -> str:
    """Return the spellings of an option with its value."""
    value = "" if option.is_flag else " " + option.make_metavar(context).strip("[]{}")
    return ", ".join(f"`{clean(name + value)}`" for name in option.opts)


def words(parameter: click.Argument | click.Option) -> str:
    """Return what a parameter is for, with its default where it has one."""
    default = parameter.default
    plain = isinstance(default, (str, int, float)) and not isinstance(default, bool) and default != ""
    required = " (required)" if isinstance(parameter, click.Option) and parameter.required else ""
    return clean(parameter.help or "") + required + (f" Default: `{default}`." if plain else "")


def clean(text: str) -> str:
    """Return a text as one line that a table can hold."""
    return " ".join(text.split()).replace("|", PIPE)


def main() -> int:
    """Write the page, or check it; return the exit code."""
    text = page()
    if "--check" in sys.argv[1:]:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        if not current:
            print("docs/cli.md is not what the verbs say. Type: uv run scripts/make_cli_docs.py", file=sys.stderr)
        return 0 if current else 1
    PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE} is written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
