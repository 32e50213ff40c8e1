"""Runs the command line ``scripts/run_experiment.py [options] -- COMMAND...``, with the standard library only."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from research.core import git
from research.core.contract import DEFAULT_SEED, MAX_SEED, RUNNER_EXITS
from research.core.errors import ConfigurationError, ResearchError
from research.core.paths import LabPaths
from research.core.settings import SETTINGS
from research.lab.lab import Lab, say
from research.lab.launch import Request, launch
from research.runs.backends import BACKENDS, DEFAULT_BACKEND, DEFAULT_GPU, make_backend
from research.runs.repeat import seed_of


def parse(argv: Sequence[str], environment: dict[str, str]) -> tuple[Request | None, bool]:
    """Read the command line; what follows ``--`` belongs to the command, its --help too.

    Returns:
        The request (None without a command), and whether remote runs of dead launchers are to be ended.

    Raises:
        SystemExit: 2 for a wrong usage, 0 after --help.
    """
    words = list(argv)
    own, command = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    parser = argparse.ArgumentParser(
        prog="run_experiment.py",
        usage="%(prog)s [options] -- COMMAND...",
        description="Runs COMMAND; `uv run train.py` is recorded, judged and written to results.tsv.",
        allow_abbrev=False,
    )
    parser.add_argument("--backend", choices=BACKENDS, default=DEFAULT_BACKEND)
    parser.add_argument("--gpu", default=DEFAULT_GPU, help="GPU of a remote backend (default %(default)s)")
    parser.add_argument(
        "--timeout", type=_seconds, metavar="MINUTES", dest="timeout_s",
        help=f"time limit of the run (default {SETTINGS.default_timeout_minutes:g}; "
        f"{SETTINGS.small_gpu_timeout_minutes:g} on a GPU here below 40 GB)",
    )  # fmt: skip
    parser.add_argument(
        "--queue-timeout", type=_seconds, metavar="MINUTES", dest="queue_timeout_s",
        help="longest wait for a remote GPU",
    )  # fmt: skip
    usual = seed_of(environment, DEFAULT_SEED)
    parser.add_argument(
        "--seed", type=_seed, default=usual, help="seed of the run (default: AUTORESEARCH_SEED, else 42)"
    )
    parser.add_argument("--again", action="store_true", help="run even what would only repeat a finished run")
    parser.add_argument("--smoke", action="store_true", help="first a few steps at tiny size on the CPU")
    parser.add_argument("--dry-run", action="store_true", help="check everything and launch nothing")
    parser.add_argument("--allow-dirty", action="store_true", help="run uncommitted changes, unscored")
    parser.add_argument("--race", action="store_true", help="end the run when it is all but certain to lose")
    parser.add_argument("--reap", action="store_true", help="end remote runs whose launcher is gone")
    options = vars(parser.parse_args(own))
    reaping = bool(options.pop("reap"))
    if command:
        return Request(tuple(command), **options), reaping
    if not reaping:
        parser.error("no COMMAND; the usual one is: -- uv run train.py")
    return None, True


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= (minutes := float(text)) < math.inf:
            return minutes * 60
    raise argparse.ArgumentTypeError(f"{text!r}: minutes are a number from 0")


def _seed(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 0 <= (value := int(text)) <= MAX_SEED:
            return value
    raise argparse.ArgumentTypeError(f"{text!r}: a seed is a whole number from 0")


def _reap(environment: Mapping[str, str]) -> int:
    """End the runs that dead launchers left at remote backends; return an exit code."""
    ended, code = [], 0
    for backend in BACKENDS:
        try:
            ended += make_backend(backend, environment).reap()
        except ResearchError as error:
            say(str(error))
            code = RUNNER_EXITS["configuration" if isinstance(error, ConfigurationError) else "infrastructure"]
    if ended or not code:
        say(f"reaped: {', '.join(ended) or 'nothing'}")
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; return the exit code of the contract."""
    request, reaping = parse(sys.argv[1:] if argv is None else argv, dict(os.environ))
    root = Path.cwd()
    with contextlib.suppress(ResearchError):
        root = git.find_root(root)
    if reaping:
        code = _reap(os.environ)
        if code or request is None:
            return code
    assert request is not None
    end = launch(Lab(LabPaths(root)), request)
    if end.why:
        say(f"{end.outcome}: {end.why}")
    say("end " + json.dumps(end.as_dict(), ensure_ascii=False))
    if argv is None:  # nothing may follow the last line: what remote clients leave behind prints at the very end
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return end.exit
