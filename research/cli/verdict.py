"""The verbs noise and last-review: how much runs of the same code differ, and the last review. Both only read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from research.cli.kit import here, json_option, show
from research.core import git
from research.store.open import read_store
from research.store.reads import Scored, latest_reviewed, scores
from research.verdict.comparable import Keys
from research.verdict.evidence import Evidence
from research.verdict.noise import Noise
from research.verdict.review import as_it_stands

NO_REVIEW = "No review recorded yet."
COLUMNS = ("contract", "sd", "95 % interval", "n", "runs", "configs")


@dataclass(frozen=True)
class Group:
    """The noise of one contract, and the believable runs and configurations that it was seen in."""

    contract: str
    noise: Noise
    runs: int
    configurations: int

    def as_dict(self) -> dict[str, Any]:
        """Returns the group as JSON values."""
        numbers = {"sd": self.noise.sd, "low": self.noise.low, "high": self.noise.high, "n": self.noise.n}
        return {"contract": self.contract, **numbers, "runs": self.runs, "configurations": self.configurations}

    def cells(self) -> tuple[str, ...]:
        """Returns the group as a table's row."""
        known = self.noise
        interval = f"{known.low:.6f} to {known.high:.6f}"
        return (self.contract, f"{known.sd:.6f}", interval, str(known.n), str(self.runs), str(self.configurations))


def groups_of(runs: Sequence[Scored]) -> list[Group]:
    """Returns the noise of every contract, in order of its first run."""
    found = []
    for contract in dict.fromkeys(run.contract for run in runs if run.contract is not None):
        mine = [run for run in runs if run.contract == contract]
        keys, evidence = Keys(mine), Evidence()
        for run in mine:
            evidence.add(keys.of(run), run.val_bpb)
        found.append(Group(contract, evidence.noise(), len(mine), len(evidence)))
    return found


@click.command("noise")
@json_option
def noise(as_json: bool) -> None:
    """Shows the noise of every contract."""
    paths = here()
    with read_store(paths) as store:
        runs = [run for run in scores(store) if run.contract is not None]
    groups = groups_of(runs)
    branch = git.head(paths.root).branch
    latest = next((run for run in reversed(runs) if run.branch == branch), runs[-1] if runs else None)
    current = next((group for group in groups if latest and group.contract == latest.contract), None)
    known = current.noise if current else Evidence().noise()
    data = {
        "contract": current.contract if current else None,
        "n": known.n,
        "sd": known.sd,
        "low": known.low,
        "high": known.high,
        "prior": {"sd": known.prior_sd, "n": known.prior_n},
        "groups": [group.as_dict() for group in groups],
    }
    rows: list[str] = []
    if sys.stdout.isatty() and not as_json:
        _show_table(groups)
    elif groups:
        rows = ["\t".join(cells) for cells in (COLUMNS, *(group.cells() for group in groups))]
    show("noise", data, "\n".join([*rows, _sentence(known)]), as_json)


def _sentence(known: Noise) -> str:
    """Writes the noise in words."""
    spread = f"One run has a standard deviation of {known.sd:.6f} bpb [{known.low:.6f}, {known.high:.6f}]"
    replicates = f"{known.n} replicates" if known.n != 1 else "1 replicate"
    assumed = f"and the assumption of {known.prior_sd:.4f}, which counts as {known.prior_n:g}"
    return f"{spread}, from {replicates} {assumed}."


def _show_table(groups: Sequence[Group]) -> None:
    """Prints the groups as a table at a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, box=box.SIMPLE_HEAD, padding=(0, 1))
    for group in groups:
        table.add_row(*group.cells())
    Console().print(table)


@click.command("last-review")
@json_option
def last_review(as_json: bool) -> None:
    """Shows the review of the run that was judged last."""
    with read_store(here()) as store:
        name = latest_reviewed(store)
        mine = store.verdicts(name) if name else []
    text = next((as_it_stands(verdict) for verdict in reversed(mine) if verdict.text), NO_REVIEW)
    data = {"run": mine[-1].run if mine else None, "verdict": mine[-1].decision if mine else None, "text": text}
    show("last-review", data, text.rstrip("\n"), as_json)
