"""Defines what the verbs share: options, types of numbers, printing of results and errors, the lab and its memory."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from research.core.contract import HAND_PREFIX
from research.core.git import find_root
from research.core.paths import LabPaths
from research.core.settings import SETTINGS

if TYPE_CHECKING:
    from research.lab.lab import Lab
    from research.store.db import Store

Verb = TypeVar("Verb", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)


def json_option(verb: Verb) -> Verb:
    """Give a verb its --json option."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")(verb)


def timeout_option(verb: Verb) -> Verb:
    """Give a verb its --timeout option."""
    usual, small = SETTINGS.default_timeout_minutes, SETTINGS.small_gpu_timeout_minutes
    text = f"Time limit of a run in minutes. Default: {usual:g}; {small:g} on a GPU here below 40 GB."
    return click.option("--timeout", type=Amount(above_zero=True), help=text)(verb)


class Count(click.IntRange):
    """A whole number with a least value."""

    name = "integer"  # in errors and --help


class Amount(click.FloatRange):
    """A number from 0, or above it: hours, minutes, dollars."""

    name = "number"

    def __init__(self, above_zero: bool = False) -> None:
        super().__init__(min=0.0, min_open=above_zero)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the number; "nan" would pass every comparison that a limit makes, and JSON has neither it nor "inf"."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def here() -> LabPaths:
    """Return the paths of the checkout that we are in."""
    return LabPaths(find_root(Path.cwd()))


def this_lab() -> Lab:
    """Return the lab of the checkout that we are in; its words go to stderr."""
    from research.lab.lab import Lab

    return Lab(here(), say=say_to_stderr)


def open_memory(lab: Lab) -> Store:
    """Open the memory, caught up and rebuilt where needed; make no file where nothing was ever recorded."""
    from research.store import reads
    from research.store.connect import StoreDamaged
    from research.store.open import read_store

    paths = lab.paths
    if not paths.memory.exists():
        return lab.open() if paths.runs.is_dir() or paths.ledger.exists() else read_store(paths)
    try:
        store = read_store(paths)
    except StoreDamaged:
        return lab.open()
    by_hand = paths.runs.is_dir() and any(name.startswith(HAND_PREFIX) for name in os.listdir(paths.runs))
    if by_hand or reads.something_waits(store):
        lab.catch_up(store)
    return store


def show(verb: str, data: Mapping[str, Any], text: str, as_json: bool) -> None:
    """Print a verb's result: the object with its schema first, or the text."""
    click.echo(_as_json({"schema": f"autoresearch.{verb}/1", **data}) if as_json else text)


def show_error(what: str, next_step: str, as_json: bool) -> None:
    """Print an error: as an object on stdout, or as one line on stderr."""
    if as_json:
        click.echo(_as_json({"error": {"what": what, "next": next_step}}))
    else:
        click.echo(f"research: {what} {next_step}".rstrip(), err=True)


def _as_json(data: Mapping[str, Any]) -> str:
    """Return an object as JSON; characters that no encoding has, such as in a file name, are replaced."""
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "replace").decode()


def say_to_stderr(line: str) -> None:
    """Print a line for people while a verb works."""
    click.echo(line, err=True)
