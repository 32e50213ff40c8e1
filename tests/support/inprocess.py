"""The command line and the runner called inside the test's own process: what a new process would print, without one."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from research.cli.main import run as run_verb


@dataclass(frozen=True)
class Printed:
    """What a call came to."""

    code: int
    out: str
    err: str


@contextlib.contextmanager
def inside(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Work in a folder with exactly these variables, as a new process would, and go back afterwards."""
    before, variables = os.getcwd(), dict(os.environ)
    try:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        yield
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(variables)


def printed(call: Callable[[], int], folder: Path, environment: Mapping[str, str], stdin: bytes = b"") -> Printed:
    """Call something that reads stdin, prints, and returns an exit code; return that and what it printed."""
    out, err, before = io.BytesIO(), io.BytesIO(), sys.stdin
    with (
        inside(folder, environment),
        io.TextIOWrapper(io.BytesIO(stdin), "utf-8") as sys.stdin,
        io.TextIOWrapper(out, "utf-8", write_through=True) as as_out,
        io.TextIOWrapper(err, "utf-8", write_through=True) as as_err,
        contextlib.redirect_stdout(as_out),
        contextlib.redirect_stderr(as_err),
    ):
        try:
            code = call()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        finally:
            sys.stdin = before
        return Printed(code, out.getvalue().decode("utf-8", "replace"), err.getvalue().decode("utf-8", "replace"))


def research(folder: Path, environment: Mapping[str, str], *arguments: str) -> Printed:
    """Run a verb of the command line."""
    return printed(lambda: run_verb(list(arguments)), folder, environment)
