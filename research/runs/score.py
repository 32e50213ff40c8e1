"""Reads score.json, the one file that says what a run scored, and compares it with the log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from research.core import contract
from research.core.files import read_json
from research.core.records import Metrics, Run
from research.core.settings import SETTINGS
from research.runs.log import Summary
from research.store.rows import finite

OUTSIDE = "outside_budget_s"
"""Name of the part of score.json, and of the run's fact, that holds the seconds outside the budget, by phase."""
TOKENS_PER_S = "tokens_per_s"
"""Name of the part of the report, and of the run's fact, that holds the speed of counted training."""

_MEASURED = ("val_bpb", "val_bpb_exact", "audit_bpb", "audit_bpb_exact", "peak_vram_mb")


@dataclass(frozen=True)
class ScoreFile:
    """The content of score.json; None or "" stands for what it does not say."""

    status: str  # contract.SCORED or contract.PROBE_FAILED
    contract: str  # name of the contract
    measured: Mapping[str, float | None]  # scores and peak memory, named as in Run; val_bpb is None for a failed probe
    seed: int | None
    commit: str
    train_sha256: str
    device: str
    started_utc: str
    budget_s: float | None  # seconds of training that the contract gives
    handed_tokens: float | None  # tokens of training text that prepare.py handed out
    early_tokens: float  # those of them that it handed out before the budget can have begun
    held_out_tokens: float  # tokens of validation text that it handed to train.py
    clock: str  # the clock that the budget is counted by, "wall" or "processor"
    wall_s: float | None  # from the process's start to the writing of the score, by its own clock
    found: tuple[str, ...]  # what prepare.py found against the score, a sentence each
    printed: str  # the summary that train.py reported, as it printed it
    facts: Mapping[str, str]  # small things worth keeping


def _at(plain: object, *path: str) -> Any:
    """Return the value at a path of names in nested objects, None where there is none."""
    for name in path:
        plain = plain.get(name) if isinstance(plain, dict) else None
    return plain


def _text(plain: object, *path: str) -> str:
    """Return the text at a path, "" for none; JSON may spell halves of characters, which no encoding has."""
    value = _at(plain, *path)
    return value[:200].encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def read_score(folder: Path) -> ScoreFile | None:
    """Read the score of a run's folder; None when the file is missing, torn or not whole."""
    plain = read_json(folder / contract.SCORE_FILE)
    if plain is None or plain.get("schema") != contract.SCORE_SCHEMA:
        return None
    status, name, val_bpb = plain.get("status"), _text(plain, "contract"), finite(plain.get("val_bpb"))
    if status not in (contract.SCORED, contract.PROBE_FAILED) or not re.fullmatch(r"[a-z]+[0-9.]*-[0-9a-f]{12}", name):
        return None
    if status == contract.PROBE_FAILED:
        val_bpb = None
    elif val_bpb is None or val_bpb <= 0:
        return None
    seed, found = plain.get("seed"), plain.get("suspect")
    return ScoreFile(
        status=status,
        contract=name,
        measured={name: finite(plain.get(name)) for name in _MEASURED} | {"val_bpb": val_bpb},
        seed=seed if type(seed) is int and 0 <= seed <= contract.MAX_SEED else None,
        commit=_text(plain, "commit"),
        train_sha256=_text(plain, "train_py_sha256"),
        device=_text(plain, "device", "name") or _text(plain, "device", "class"),
        started_utc=_text(plain, "started_utc"),
        budget_s=finite(_at(plain, "fingerprint", "time_budget_s")),
        handed_tokens=finite(_at(plain, "data", "handed_tokens")),
        held_out_tokens=finite(_at(plain, "data", "held_out_tokens")) or 0.0,
        early_tokens=finite(_at(plain, "data", "tokens_before_budget")) or 0.0,
        clock=_text(plain, "clock", "kind") or "wall",
        wall_s=finite(_at(plain, "clock", "wall_s")),
        found=tuple(text for item in found if (text := _text(item))) if isinstance(found, list) else (),
        printed=_printed(_at(plain, "reported", "summary")),
        facts=_facts(plain),
    )


def _printed(summary: object) -> str:
    """Return a reported summary as lines, of the nine public keys only."""
    lines = [f"{key}: {text}" for key in contract.PUBLIC_KEYS if (text := _text(summary, key))]
    return "\n".join([contract.SUMMARY_MARK, *lines]) if lines else ""


def _facts(plain: Mapping[str, Any]) -> dict[str, str]:
    """Return the other values of score.json that are kept with the run: words, numbers, and objects as JSON."""
    facts = {"torch": _text(plain, "torch"), "python": _text(plain, "python")}
    facts["device_class"] = _text(plain, "device", "class")
    numbers = {"uncounted_s": "clock", "epochs": "data", "waited_share": "data", TOKENS_PER_S: "reported"}
    for key, part in numbers.items():
        value = finite(_at(plain, part, key))
        facts[key] = "" if value is None else f"{value:g}"
    outside = _at(plain, "clock", OUTSIDE)
    told = {key: _at(plain, "reported", key) for key in ("initial_values", "kernels")}
    told[OUTSIDE] = {"clock": _at(plain, "clock", "kind"), **outside} if outside and isinstance(outside, dict) else None
    for key, what in told.items():
        text = json.dumps(what, sort_keys=True) if what else ""
        facts[key] = text if len(text) <= SETTINGS.max_fact_chars else ""
    return {key: text for key, text in facts.items() if text}


def disagreements(
    score: ScoreFile, summary: Summary | None, seed: int, train_sha256: str, run_s: float | None = None
) -> tuple[str, ...]:
    """List the reasons not to trust a score: contradictions with the log, the launch or the budget.

    The summary is None where there is no log; run_s, the seconds by the runner's clock, where there was no runner.
    """
    found = [*score.found, *(_against_log(score, summary) if summary else ())]
    own_s = score.wall_s if score.wall_s is not None else run_s
    if run_s and own_s and run_s - own_s > max(SETTINGS.wall_slack_s, SETTINGS.wall_slack_share * own_s):
        found.append(f"the run took {run_s:.0f} s by the runner's clock and {own_s:.0f} s by its own")
    if score.held_out_tokens:
        found.append(f"train.py read {score.held_out_tokens:,.0f} tokens of the validation text")
    if score.seed is not None and score.seed != seed:
        found.append(f"it ran with seed {score.seed}, not {seed}")
    if score.train_sha256 and train_sha256 and score.train_sha256 != train_sha256:
        found.append("score.json was made by another train.py")
    return tuple(found)


def _against_log(score: ScoreFile, summary: Summary) -> Iterator[str]:
    """Yield the contradictions of the log's summary with score.json, and with the contract's budget."""
    metrics, words = summary.metrics, summary.words
    if metrics is None:
        yield f"the log has no whole summary ({summary.problem or 'no block'})"
    else:
        val_bpb = score.measured["val_bpb"]
        if val_bpb is not None and abs(metrics.val_bpb - val_bpb) > SETTINGS.printed_bpb_tolerance:
            yield f"the log says val_bpb {metrics.val_bpb:.6f}, score.json {val_bpb:.6f}"
        yield from _beyond_budget(score, metrics)
    if words.get("contract", score.contract) != score.contract:
        yield "the log and score.json name different contracts"
    if any(words.get(key, contract.PASS) != contract.PASS for key in contract.CHECK_KEYS):
        yield "the log says that a probe failed"


def _beyond_budget(score: ScoreFile, metrics: Metrics) -> Iterator[str]:
    """Yield the signs of training beyond the budget, or on other text than prepare.py's."""
    budget, seconds, steps = score.budget_s, metrics.training_seconds, max(1, metrics.num_steps)
    if budget:
        most = budget * SETTINGS.max_budget_share + SETTINGS.last_steps * seconds / steps
        if not SETTINGS.min_budget_share * budget <= seconds <= most:
            yield f"it trained for {seconds:g} s of a budget of {budget:g} s"
    handed, claimed = score.handed_tokens, metrics.total_tokens_M * 1e6
    if handed is None:
        return
    most_handed = SETTINGS.max_handed_share * (claimed + SETTINGS.claimed_tokens_step / 2)
    if not SETTINGS.min_handed_share * claimed <= handed <= most_handed:
        yield f"it says that it trained on {claimed:,.0f} tokens; prepare.py handed out {handed:,.0f} of training text"
    allowed = SETTINGS.early_steps if score.clock == "wall" else SETTINGS.pocket_early_steps
    share = score.early_tokens / handed if handed else 0.0
    if share * steps > allowed:
        yield f"it took {share:.0%} of its text before its budget began, where {allowed} of {steps} steps are explained"


_PHASES = {
    "before_first_batch": "before its first training batch",
    "uncounted_steps": "between its first batch and its last, beyond the budget",
    "after_last_batch": "between its last training batch and the evaluation",
    "evaluation": "in the evaluation, beyond what scoring takes",
}


def overlong(run: Run, first: Run | None) -> Iterator[str]:
    """Yield a sentence for every phase of a scored run that took much longer than in the first run of its contract.

    The first run is None if this is it; then fixed limits hold.
    """
    mine, usual = _outside(run), _outside(first) if first else {}
    floor = SETTINGS.phase_s if mine.pop("clock", "wall") == "wall" else SETTINGS.pocket_phase_s
    if not usual:
        floor = SETTINGS.phase_factor * SETTINGS.phase_s
    step_s = run.metrics.training_seconds / max(1, run.metrics.num_steps) if run.metrics else 0.0
    for name, what in _PHASES.items():
        seconds, allowed = mine.get(name, 0.0), max(floor, SETTINGS.phase_factor * usual.get(name, 0.0))
        allowed += SETTINGS.edge_steps * step_s if name == "uncounted_steps" else 0.0
        if seconds > allowed:
            yield f"it spent {seconds:.0f} s {what}, where {allowed:.0f} s are explained"


def _outside(run: Run) -> dict[str, Any]:
    """Return the seconds that a run spent outside its budget, by phase."""
    try:
        plain = json.loads(run.facts.get(OUTSIDE, "{}"))
    except ValueError:
        return {}
    return {key: value for key, value in plain.items() if key == "clock" or finite(value) is not None}
