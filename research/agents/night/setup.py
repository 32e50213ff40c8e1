"""Prepares what a night needs before its first run: a branch to work on, and a price."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from research.agents.clients import CLIENTS
from research.agents.night.state import NightLimits
from research.core import git
from research.core.commands import first_commit_command
from research.core.contract import BRANCHES
from research.core.errors import ResearchError, UsageError
from research.runs.backend import Backend
from research.runs.backends import DEFAULT_BACKEND
from research.runs.preflight import BENCHMARK, TARGET

_PRICE_SHOWN = 2.5
"""Dollars an hour in the line that shows how a price is given: about what an H100 costs to rent."""


def require_branch(root: Path, wanted: str = "") -> bool:
    """Check that there is a branch to work on, the wanted one or any; return whether it is checked out already.

    Raises:
        ResearchError: if there is no train.py to run, or files would have to be given up to check a branch out.
    """
    here = git.head(root)
    if here.commit is None:
        raise ResearchError("This repository has no commit yet.", f"Type: {first_commit_command(root)}")
    if git.blob(root, wanted or "HEAD", TARGET) is None:  # such as one around a copy that was unpacked without git
        make = f"git init && {first_commit_command(root)}"
        what = f"The git repository at {root} has no {TARGET} in its last commit."
        raise ResearchError(what, f"Change into one that has. Where {TARGET} is in no repository yet, type: {make}")
    if here.branch.startswith(BRANCHES) and wanted in ("", here.branch):
        return True
    if doing := git.unfinished(root):
        raise ResearchError(f"A {doing} is in progress.", f"Finish it, or type: {git.how_to_abort(doing)}")
    if changed := git.changed_files(root):
        shown = ", ".join(changed[:5])
        raise ResearchError(
            f"The work tree is not clean ({shown}); a night needs a branch of its own.",
            f"Commit the changes or type: {git.how_to_clean(root)}. Then start again.",
        )
    return False


def take_branch(root: Path, wanted: str, now: datetime) -> str:
    """Return the autoresearch/* branch to work on, checked out: the wanted one, else this or a new one of today."""
    if require_branch(root, wanted):
        return git.head(root).branch
    if wanted:
        git.switch(root, wanted)
        return wanted
    name = git.free_branch(root, BRANCHES + f"{now.astimezone():%b%d}".lower())  # autoresearch/nov25-2
    git.switch(root, name, is_new=True)
    return name


def uncommitted(root: Path) -> str:
    """Return a warning about uncommitted edits of what is measured, which no run will see, "" without any."""
    if not (edited := ", ".join(git.differing(root, (TARGET, *BENCHMARK)))):
        return ""
    tip = (git.head(root).commit or "")[:7]
    return f"Uncommitted edits of {edited}: the night measures HEAD {tip}; commit them to have them measured."


def require_price(limits: NightLimits, backend: Backend, gpu: str, agent: str) -> str:
    """Refuse a limit in dollars where nothing has a price; return a warning where an agent does not name its costs.

    Raises:
        UsageError: if the agent is the built-in one, which costs nothing.
    """
    client = CLIENTS.get(agent)
    is_priced = limits.usd_per_hour or backend.knows_price(gpu) or (client and client.names_usd)
    if limits.max_usd is None or is_priced:
        return ""
    limit = f"--max-usd {limits.max_usd:g}"
    if client:
        nothing = f"{agent} does not say what it costs, and runs have no price here: {limit} counts nothing."
        return f"{nothing} Give runs one with --usd-per-hour."
    where = "" if backend.name == DEFAULT_BACKEND else f" --backend {backend.name}"
    raise UsageError(
        f"--max-usd needs a price, and the backend {backend.name} names none.",
        f"Type: uv run research night {limit} --usd-per-hour {_PRICE_SHOWN}{where}",
    )
