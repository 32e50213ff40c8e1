"""Made-up nights as judged runs: one incumbent line, losers, crashes, replicates; the same for the same seed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

from research.core.records import Decision, Failure, Judged, Metrics, Run, Verdict
from research.store.db import Store

BRANCH = "autoresearch/try"
CONTRACT = "official-0123456789ab"
EMITTERS = ("local_tuner", "optimizer_hacker", "architecture_mutator", "simplifier", "contrarian", None)
KNOBS = {
    "optimizer": "MATRIX_LR",
    "architecture": "DEPTH",
    "attention": "ROPE_BASE",
    "batch": "TOTAL_BATCH_SIZE",
    "normalization": "QK_LAYERNORM_SHARE",
    "regularization": "DROPOUT",
}
FAILURES = (
    Failure("oom", "oom", "CUDA out of memory"),
    Failure("shape", "RuntimeError: shape # is invalid", "shape"),
    Failure("nan", "nan: diverged", "FAIL"),
)
METRICS = Metrics(0.99, 300.0, 320.0, 30000.0, 40.0, 500.0, 1000, 50.0, 8)


def at(minute: int) -> str:
    """A time, one minute after the other."""
    return f"2026-01-{1 + minute // 1440 % 28:02d}T{minute // 60 % 24:02d}:{minute % 60:02d}:00Z"


def name(number: int) -> str:
    """A commit, which is its own fingerprint here."""
    return f"{number:07x}{'0' * 33}"


def run(number: int, parent: str = "", val_bpb: float | None = 0.99, **more: object) -> Run:
    """One finished run; without a score it is a crash."""
    done = val_bpb is not None
    values: dict[str, object] = {
        "run": f"r{number}",
        "folder": f"r{number}",
        "origin": "runner",
        "branch": BRANCH,
        "commit": name(number),
        "started_utc": at(number),
        "finished_utc": at(number),
        "parent": parent,
        "subject": f"exp: idea {number}" if parent else "base",
        "seed": 42,
        "fingerprint": name(number),
        "contract": CONTRACT,
        "outcome": "scored" if done else "crash",
        "metrics": METRICS if done else None,
        "val_bpb": val_bpb,
        "peak_vram_mb": 30000.0 if done else None,
        "failure": None if done else FAILURES[1],
    }
    return Run(**{**values, **more})


def judged(of: Run, order: int, decision: Decision = "discard", baseline: bool = False) -> Judged:
    """A run with a verdict."""
    return Judged(of, Verdict(of.run, decision, "evidence", "so", of.started_utc, baseline=baseline), order)


def night(runs: int, seed: int = 0, sd: float = 0.0007, gain_share: float = 0.06) -> list[Judged]:
    """A history.

    Args:
        runs: How many runs.
        seed: Another one gives another night.
        sd: Noise of one run in bpb.
        gain_share: Share of ideas that are true gains.
    """
    rng = random.Random(seed)
    first = run(0, val_bpb=0.99 + rng.gauss(0, sd))
    found = [judged(first, 1, "keep", baseline=True)]
    true, tip, shown = {first.commit: 0.99}, first, first.val_bpb or 0.0
    for number in range(1, runs):
        if number > 4 and rng.random() < 0.15:
            old = rng.choice([item.run for item in found[-8:] if item.run.val_bpb] or [first])
            value = true[old.commit] + rng.gauss(0, sd)
            again = {"run": f"r{number}", "folder": f"r{number}", "seed": 42 + number % 3, "val_bpb": value}
            repeat = dataclasses.replace(old, **again, started_utc=at(number), finished_utc=at(number))
            found.append(judged(repeat, number + 1, "keep" if old.commit == tip.commit else "discard"))
            continue
        new = _idea(rng, number, tip, true, sd, gain_share)
        better = new.val_bpb is not None and new.val_bpb < shown - 0.001
        if better and new.val_bpb is not None:
            tip, shown = new, new.val_bpb
        found.append(judged(new, number + 1, "keep" if better else "discard"))
    return found


def _idea(rng: random.Random, number: int, tip: Run, true: dict[str, float], sd: float, gain_share: float) -> Run:
    kind = rng.choice(sorted(KNOBS))
    gains = rng.random() < gain_share
    effect = -rng.uniform(0.0005, 0.003) if gains else abs(rng.gauss(0.0015, 0.0025))
    true[name(number)] = true[tip.commit] + effect
    crashed = rng.random() < 0.07
    value = None if crashed else true[name(number)] + rng.gauss(0, sd)
    before, after = (round(rng.uniform(0.01, 0.1), 3) for _ in range(2))
    return run(
        number,
        tip.commit,
        value,
        emitter=rng.choice(EMITTERS),
        category=kind,
        delta={KNOBS[kind]: f"{before} -> {after}"},
        metrics=None if crashed else dataclasses.replace(METRICS, num_params_M=rng.choice((20.0, 50.0, 100.0))),
        peak_vram_mb=None if crashed else rng.uniform(10000, 70000),
        failure=rng.choice(FAILURES) if crashed else None,
        statements_added=1,
        statements_removed=rng.choice((1, 2)),
    )


def fill(store: Store, history: Sequence[Judged]) -> None:
    """Put judged runs on record."""
    with store.write():
        for item in history:
            store.add_run(item.run)
            store.add_verdict(item.verdict)


def swapped(history: Sequence[Judged], place: int) -> list[Judged]:
    """The history with two neighbours in the other order."""
    items = list(history)
    items[place], items[place + 1] = items[place + 1], items[place]
    return items
