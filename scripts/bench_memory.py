"""Measures how much longer verbs take with a long history than with an empty store, in interleaved calls.

    python scripts/bench_memory.py [RUNS] [TRIES] [VERB ...]

Absolute times mean little on a busy machine; read the difference. The long history has its next plan recorded, as after
a run; "next --seed" plans anew.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from research.core.records import Plan  # noqa: E402
from research.store.db import Store  # noqa: E402
from tests.support.histories import BRANCH, fill, night  # noqa: E402

VERBS = ("summary", "archive", "next", "next --seed 1", "last-review", "noise")
PLAN = Plan("p", "", None, "optimizer", None, "experiment", "why", details={"brief": "do", "branch": BRANCH})


def make_lab(place: Path, runs: int) -> Path:
    """Make a repository with a store of so many judged runs; return its folder."""
    place.mkdir()
    git = ["git", "-C", str(place), "-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    subprocess.run(["git", "init", "-q", "-b", BRANCH, str(place)], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "base"], check=True)
    folder = place / "results" / "discovery"
    folder.mkdir(parents=True)
    with Store(folder / "memory.db") as store:
        if runs:
            fill(store, night(runs))
            store.add_plan(PLAN)
    return place


def seconds(lab: Path, verb: str) -> float:
    """Return the wall-clock seconds of one verb."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "research", *verb.split(), "--json"], cwd=lab, env=environment, capture_output=True
    )
    return time.perf_counter() - began


def main(runs: int = 10_000, tries: int = 7, verbs: tuple[str, ...] = VERBS) -> None:
    """Print a line for each verb: medians of interleaved calls, and the first call."""
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as place:
        empty, full = make_lab(Path(place) / "empty", 0), make_lab(Path(place) / "full", runs)
        print(f"{runs} runs; seconds\n{'verb':<13} {'empty':>7} {'full':>7} {'over':>7} {'first over':>11}")
        for verb in verbs:
            first = seconds(full, verb) - seconds(empty, verb)
            pairs = [(seconds(empty, verb), seconds(full, verb)) for _ in range(tries)]
            low, high = (statistics.median(each) for each in zip(*pairs, strict=True))
            print(f"{verb:<13} {low:7.3f} {high:7.3f} {high - low:+7.3f} {first:+11.3f}", flush=True)


if __name__ == "__main__":
    numbers, words = [int(a) for a in sys.argv[1:] if a.isdigit()], tuple(a for a in sys.argv[1:] if not a.isdigit())
    main(*numbers, **({"verbs": words} if words else {}))
