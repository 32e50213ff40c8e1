"""Defines the verbs about single runs: parse-run, record, settle, decide and replicate."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from research.cli.kit import FILE, Count, here, json_option, show, this_lab, timeout_option
from research.core.commands import replicate_command
from research.core.contract import MAX_SEED, RUN_LOG
from research.core.errors import ResearchError, UsageError
from research.core.records import Decision
from research.core.text import count_of
from research.runs.backends import BACKENDS, DEFAULT_BACKEND, DEFAULT_GPU
from research.runs.failure import NO_SUMMARY, advice_on, classify
from research.runs.log import read_end, read_log, read_summary

if TYPE_CHECKING:
    from research.lab.apply_verdict import Settled


@click.command("parse-run")
@click.argument("path", type=FILE, required=False, help="A run log; by default run.log of this repository.")
@json_option
def parse_run(path: Path | None, as_json: bool) -> None:
    target = path if path is not None else here().root / RUN_LOG
    if target.is_dir():
        target = target / RUN_LOG
    log = read_log(target)
    if log is None and path is not None:
        raise ResearchError(f"There is no log at {target}.", "Type: uv run research parse-run LOG_OR_FOLDER_OF_A_RUN")
    data: dict[str, Any] = {"metrics": None, "tail": [], "failure": None, "words": {}, "problem": "no such file"}
    if log is None:
        show("parse-run", data, f"No log at {target}.", as_json)
        return
    summary = read_summary(log)
    failure = classify(log, summary)
    metrics = summary.metrics.as_dict() if summary.metrics else None
    data |= {"metrics": metrics, "tail": list(log.tail()), "words": summary.words, "problem": summary.problem}
    lines = [f"{key + ':':<18}{value}" for key, value in {**(metrics or {}), **summary.words}.items()]
    if not metrics:
        lines.append(f"no metrics: {summary.problem or 'the log has no summary block'}")
    # The runner's words count only where the command's own show nothing: train.py could print such a line too.
    ended = read_end(log) if failure and failure.signature == NO_SUMMARY else None
    if ended:
        outcome, why = ended
        lines.append(f"{outcome}: {why}")
        is_machine = outcome in ("infrastructure", "capacity", "configuration")
        data["failure"] = {"kind": outcome, "machine": is_machine, "text": why, "signature": outcome, "advice": ""}
    elif failure:
        lines.append(f"failure: {failure.kind} ({failure.signature})")
        if failure.machine:
            lines.append(f"the machine failed, not the candidate. {advice_on(failure)}")
        data["failure"] = {
            "kind": failure.kind,
            "machine": failure.machine,
            "text": failure.text,
            "signature": failure.signature,
            "advice": advice_on(failure),
        }
    lines += ["", "last lines:", *("| " + line for line in data["tail"])]
    show("parse-run", data, "\n".join(lines), as_json)


@click.command("record")
@click.argument(
    "path", type=FILE, required=False, help="A run's folder or log; by default every finished hand-made run."
)
@json_option
def record(path: Path | None, as_json: bool) -> None:
    from research.lab.import_run import import_run

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


@click.command("settle")
@click.argument("run", required=False, help="A run; by default the oldest unsettled one.")
@json_option
def settle(run: str | None, as_json: bool) -> None:
    from research.lab import apply_verdict

    lab = this_lab()
    with lab.open() as store:
        done = apply_verdict.settle(lab, store, run)
        branch = done.run.branch if done.run else ""
        waiting = sum(one.branch == branch for one in apply_verdict.unsettled(store)) if branch else 0
    more = f"Still to settle on {branch}: {count_of(waiting, 'verdict')}. Type: uv run research settle"
    _show_settled("settle", done, as_json, more if waiting else "")


@click.command("decide")
@click.argument("run", help="The run, or its commit.")
@click.argument("decision", type=click.Choice(("keep", "discard")), help="What to do with it.")
@click.option("--why", required=True, help="The reason, kept with the verdict.")
@json_option
def decide(run: str, decision: Decision, why: str, as_json: bool) -> None:
    from research.lab import apply_verdict

    if not (why := " ".join(why.split())):
        raise UsageError("The reason is empty.", f"Type: uv run research decide {run} {decision} --why 'WHAT YOU KNOW'")
    lab = this_lab()
    with lab.open() as store:
        _show_settled("decide", apply_verdict.decide(lab, store, run, decision, why), as_json)


def _show_settled(verb: str, done: Settled, as_json: bool, more: str = "") -> None:
    run, verdict = done.run, done.verdict
    data = {
        "run": run.run if run else None,
        "verdict": verdict.decision if verdict else None,
        "tip": done.tip,
        "rule": verdict.rule if verdict else None,
        "why": verdict.why if verdict else None,
        "say": done.say,
    }
    head = f"{run.run}: {verdict.decision} ({verdict.why})\n" if run and verdict else ""
    show(verb, data, f"{head}{done.say}\n{more}".rstrip(), as_json)


@click.command("replicate")
@click.argument("commit", required=False, help="The commit; by default HEAD.")
@click.option("--backend", default=DEFAULT_BACKEND, help=f"Where to run it: {', '.join(BACKENDS)}.")
@click.option("--gpu", default=DEFAULT_GPU, help="GPU of a remote backend.")
@timeout_option
@click.option("--seed", type=Count(0, MAX_SEED), help="The seed, used before or not; by default what tells most.")
@json_option
def replicate(
    commit: str | None, backend: str, gpu: str, timeout: float | None, seed: int | None, as_json: bool
) -> None:
    from research.lab.launch import Request
    from research.lab.replicate import replicate as replicate_commit

    lab = this_lab()
    if as_json:
        lab.stream = sys.stderr.buffer  # stdout is for the object alone
    lab.make_backend(backend, lab.environment)  # an unknown one is a wrong call, not a run that was refused
    request = Request((), backend, gpu, timeout and timeout * 60)
    end = replicate_commit(lab, commit, request, seed)
    if end.outcome == "refused":
        now = f"Refused: {end.why}"
    elif not end.counted:
        now = f"Not counted ({end.outcome}): {end.why or 'see the log above'}"
    elif end.outcome == "interrupted":  # there is no verdict that could be settled
        now = f"Not a result: it was ended by {_name_of(end.exit - 128)}. Type the same again."
    else:
        with lab.open_as_it_is() as store:
            run, verdict = store.run(end.run), store.verdict(end.run)
        now = f"Now: uv run research settle {end.run}"
        if run and verdict and verdict.is_open:  # settling would be refused
            now = f"Not decided yet. Now: {replicate_command(run.commit)}"
    text = f"end {json.dumps(end.as_dict(), ensure_ascii=False)}\n{now}"
    show("replicate", end.as_dict(), text, as_json)
    if end.exit:
        raise click.exceptions.Exit(1)


def _name_of(number: int) -> str:
    """Return the name of a signal that people use."""
    if number == signal.SIGINT:
        return "Ctrl-C"
    try:
        return signal.Signals(number).name
    except ValueError:
        return "a signal"
