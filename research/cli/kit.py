"""What every verb of the command line shares: one JSON object or plain text, one clear line for an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def show(verb: str, data: Mapping[str, Any], text: str, as_json: bool) -> None:
    """Prints a verb's result: the object with its schema first, or the text."""
    typer.echo(json.dumps({"schema": f"autoresearch.{verb}/1", **data}, ensure_ascii=False) if as_json else text)


def show_error(what: str, next_step: str, as_json: bool) -> None:
    """Prints an error: as an object on stdout, or as one line on stderr."""
    if as_json:
        typer.echo(json.dumps({"error": {"what": what, "next": next_step}}, ensure_ascii=False))
    else:
        typer.echo(f"research: {what} {next_step}".rstrip(), err=True)


def say_to_stderr(line: str) -> None:
    """Words for people while a verb works."""
    typer.echo(line, err=True)
