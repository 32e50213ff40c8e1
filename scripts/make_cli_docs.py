"""Writes docs/cli.md from the command line itself: every verb, its arguments and options, in the words of --help.

uv run scripts/make_cli_docs.py            write it
uv run scripts/make_cli_docs.py --check    say whether it is current (exit 1 if not)
"""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer
from typer.core import TyperArgument

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's verbs, whatever is installed

from research.cli.main import app  # noqa: E402

PAGE = ROOT / "docs" / "cli.md"
PIPE = "\\|"  # as tables want it
PLAIN_KINDS = ("str", "int", "float", "Path", "value")
HEAD = """# The command line

`uv run research VERB`, or `python -m research VERB`. This page is made from the verbs themselves by
`uv run scripts/make_cli_docs.py`; a test holds it against them.

Every verb knows `--help`, and `--json`: one object on stdout, its `schema` first; an error is
`{"error": {"what", "next"}}`. Exit codes: 0 fine, 1 a clear error, 2 a call that can't mean anything.
"""


def page(application: typer.Typer = app) -> str:
    """The whole page."""
    group: Any = typer.main.get_command(application)
    verbs = {name: group.commands[name] for name in sorted(group.commands)}
    parts = [HEAD, "| verb | |\n|---|---|"]
    rows = [f"| [`{name}`](#{name}) | {first_line(verb)} |" for name, verb in verbs.items()]
    parts[-1] += "\n" + "\n".join(rows) + "\n"
    parts += [section(name, verb) for name, verb in verbs.items()]
    return "\n".join(parts)


def first_line(verb: Any) -> str:
    """A verb's sentence."""
    return clean((verb.help or "").strip().split("\n")[0])


def section(name: str, verb: Any) -> str:
    """One verb: what it does, how it is called, what it takes."""
    shown = [p for p in verb.params if not p.hidden and not {"--help", "--json"} & set(p.opts)]
    arguments = [p for p in shown if isinstance(p, TyperArgument)]
    options = [p for p in shown if not isinstance(p, TyperArgument)]
    usage = " ".join(["research", name, *map(argument_in_usage, arguments), *(["[OPTIONS]"] if options else [])])
    text = "\n\n".join(" ".join(part.split()) for part in (verb.help or "").strip().split("\n\n"))
    lines = [f"## {name}\n", f"{clean(text)}\n", f"```\n{usage}\n```\n"]
    rows = [f"| `{argument_in_usage(p).replace('|', PIPE)}` | {words(p)} |" for p in arguments]
    rows += [f"| {names(p)} | {words(p)} |" for p in options]
    if rows:
        lines.append("| | |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(lines)


def bare(parameter: Any) -> Any:
    """The type of a parameter's value, without the None of one that may be left out."""
    kind = parameter.type_descriptor.annotation
    rest = [part for part in get_args(kind) if part is not type(None)]
    return rest[0] if rest else kind


def choices(parameter: Any) -> str:
    """The words that a parameter takes, "" where it takes others too."""
    kind = bare(parameter)
    values = list(kind) if isinstance(kind, type) and issubclass(kind, Enum) else get_args(kind)
    return "|".join(str(getattr(value, "value", value)) for value in values)


def argument_in_usage(parameter: Any) -> str:
    """An argument as usage lines have it."""
    name = choices(parameter) or str(parameter.metavar or parameter.name).upper()
    name += "..." if parameter.nargs == -1 else ""
    return name if parameter.required else f"[{name}]"


def names(parameter: Any) -> str:
    """An option's spellings."""
    spelled = [*parameter.opts, *parameter.secondary_opts]
    kind = choices(parameter).replace("|", PIPE) or str(
        parameter.metavar or getattr(bare(parameter), "__name__", "value")
    )
    value = "" if parameter.is_flag else f" {kind.upper() if kind in PLAIN_KINDS else kind}"
    return ", ".join(f"`{name}{value}`" for name in spelled)


def words(parameter: Any) -> str:
    """What a parameter is for, with its default where it has one."""
    default = parameter.default
    default = getattr(default, "value", default)
    plain = isinstance(default, (str, int, float)) and not isinstance(default, bool) and default != ""
    return clean(parameter.help or "") + (f" Default: `{default}`." if plain else "")


def clean(text: str) -> str:
    """Text that can stand in a table."""
    return " ".join(text.split()).replace("|", PIPE)


def main() -> int:
    """Writes the page, or compares it."""
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
