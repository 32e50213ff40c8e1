"""The verbs about runs: what a log says, what is taken in, what a verdict does to the branch."""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from research.cli.kit import JsonFlag, say_to_stderr, show
from research.core.contract import RUN_LOG
from research.core.errors import UsageError
from research.core.git import find_root
from research.core.paths import LabPaths
from research.core.settings import SETTINGS
from research.lab.apply_verdict import Settled
from research.lab.apply_verdict import decide as decide_run
from research.lab.apply_verdict import settle as settle_run
from research.lab.import_run import import_run
from research.lab.lab import Lab
from research.lab.launch import Request
from research.lab.replicate import replicate as replicate_commit
from research.runs.failure import classify
from research.runs.log import read_log, read_summary


class Choice(str, Enum):
    """What a person can decide."""

    keep = "keep"
    discard = "discard"


def register(app: typer.Typer) -> None:
    """Adds this module's verbs to the front door."""
    app.command("parse-run")(parse_run)
    app.command("record")(record)
    app.command("settle")(settle)
    app.command("decide")(decide)
    app.command("replicate")(replicate)


def this_lab() -> Lab:
    """The lab of the checkout that we are in; its words go to stderr."""
    return Lab(LabPaths(find_root(Path.cwd())), say=say_to_stderr)


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


def record(
    path: Annotated[
        Path | None, typer.Argument(help="A run's folder or log; by default every finished hand-made run.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Take in finished runs that were made by hand."""
    lab = this_lab()
    with lab.open_as_it_is() as store:
        new = lab.catch_up(store)
        if path is not None:
            new += import_run(lab, store, path)
            lab.catch_up(store)
        lines = []
        for name in new:
            run, verdict = store.run(name), store.verdict(name)
            assert run is not None
            score = f"{run.val_bpb:.6f}" if run.val_bpb is not None else str(run.outcome)
            lines.append(f"{name}: {score}, {verdict.decision if verdict else run.why or 'not judged'}")
    show("record", {"recorded": new}, "\n".join(lines) or "Nothing new to record.", as_json)


def _show_settled(verb: str, done: Settled, as_json: bool) -> None:
    data = {
        "run": done.run.run if done.run else None,
        "verdict": done.verdict.decision if done.verdict else None,
        "tip": done.tip,
        "rule": done.verdict.rule if done.verdict else None,
        "why": done.verdict.why if done.verdict else None,
        "say": done.say,
    }
    head = f"{done.run.run}: {done.verdict.decision} ({done.verdict.why})\n" if done.run and done.verdict else ""
    show(verb, data, head + done.say, as_json)


def settle(
    run: Annotated[str | None, typer.Argument(help="A run; by default the oldest unsettled one.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Carry a verdict out in git: the branch goes to what is kept."""
    lab = this_lab()
    with lab.open() as store:
        _show_settled("settle", settle_run(lab, store, run), as_json)


def decide(
    run: Annotated[str, typer.Argument(help="The run.")],
    decision: Annotated[Choice, typer.Argument(help="What to do with it.")],
    why: Annotated[str, typer.Option("--why", help="The reason, kept with the verdict.")],
    as_json: JsonFlag = False,
) -> None:
    """Overrule a verdict, and carry that out in git."""
    if not (why := " ".join(why.split())):
        raise UsageError("The reason is empty.", f"Type: research decide {run} {decision.value} --why 'WHAT YOU KNOW'")
    lab = this_lab()
    with lab.open() as store:
        _show_settled("decide", decide_run(lab, store, run, decision.value, why), as_json)


def replicate(
    commit: Annotated[str | None, typer.Argument(help="The commit; by default HEAD.")] = None,
    backend: Annotated[str, typer.Option(help="Where to run it: local or modal.")] = "local",
    gpu: Annotated[str, typer.Option(help="GPU of a remote backend.")] = "H100",
    timeout: Annotated[float, typer.Option(min=0, help="Time limit in minutes.")] = SETTINGS.default_timeout_minutes,
    seed: Annotated[int | None, typer.Option(help="The seed, used before or not; by default what tells most.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run a commit again, with the first seed that the best so far has and it has not, else the next unused one."""
    lab = this_lab()
    if as_json:
        lab.stream = sys.stderr.buffer  # stdout is for the object alone
    request = Request(command=(), backend=backend, gpu=gpu, timeout_s=timeout * 60)
    end = replicate_commit(lab, commit, request, seed)
    show("replicate", end.as_dict(), "end " + json.dumps(end.as_dict(), ensure_ascii=False), as_json)
    if end.exit:
        raise typer.Exit(1)
