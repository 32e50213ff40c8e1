"""The verbs about runs: what a log says, what is taken in, what a verdict does to the branch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from research.cli_kit import JsonFlag, show
from research.contract import RUN_LOG
from research.repo import find_root
from research.runs.failure import classify
from research.runs.log import read_log, read_summary


def register(app: typer.Typer) -> None:
    """Adds this module's verbs to the front door."""
    app.command("parse-run")(parse_run)


def parse_run(
    path: Annotated[Path | None, typer.Argument(help="A run log; by default run.log of this repository.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the metrics, the failure and the last lines of a run log."""
    target = path if path is not None else find_root(Path.cwd()) / RUN_LOG
    if target.is_dir():
        target = target / RUN_LOG
    log = read_log(target)
    if log is None:
        data: dict[str, Any] = {"metrics": None, "tail": [], "failure": None, "words": {}, "problem": "no such file"}
        show("parse-run", data, f"No log at {target}.", as_json)
        return
    summary = read_summary(log)
    failure = classify(log, summary)
    metrics = summary.metrics.as_dict() if summary.metrics else None
    tail = list(log.tail())
    data = {
        "metrics": metrics,
        "tail": tail,
        "failure": {"kind": failure.kind, "signature": failure.signature, "text": failure.text} if failure else None,
        "words": summary.words,
        "problem": summary.problem,
    }
    lines = [f"{key + ':':<18}{value}" for key, value in (metrics or {}).items()]
    lines += [f"{key + ':':<18}{value}" for key, value in summary.words.items()]
    if not metrics:
        lines.append(f"no metrics: {summary.problem or 'the log has no summary block'}")
    if failure:
        lines.append(f"failure: {failure.kind} ({failure.signature})")
    lines += ["", "last lines:", *("| " + line for line in tail)]
    show("parse-run", data, "\n".join(lines), as_json)
