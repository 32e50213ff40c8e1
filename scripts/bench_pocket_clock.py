"""Measures what a busy machine does to a pocket run: the same train.py and seed, quiet and beside busy loops.

    uv run scripts/bench_pocket_clock.py --runs 5 --loops 3 --cores 2

Runs and loops share the first --cores processor cores that this process may use, so the loops take turns with the run
as they do on a full laptop. Two arms in turns: train.py as it is (processor time, one thread, pinned to a core), and
the same by the wall clock with a thread a core. Prints steps and val_bpb of each arm, quiet and busy. Data and
tokenizer are those of $AUTORESEARCH_HOME; making a tokenizer needs rustbpe.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUSY = "while True: pass"
BY_THE_WALL = """
import os, runpy, sys, time, torch, prepare
prepare.clock = time.perf_counter
torch.set_num_threads(len(os.sched_getaffinity(0)))
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def run(arm: str, cores: list[int], budget: str, seed: int) -> dict[str, float]:
    """Run train.py once; return its steps, score and seconds on the wall."""
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {
            "AUTORESEARCH_PROFILE": "pocket",
            "AUTORESEARCH_TIME_BUDGET": budget,
            "AUTORESEARCH_SEED": str(seed),
            "AUTORESEARCH_RUN_DIR": folder,
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": str(ROOT),
        }
        script = [str(ROOT / "train.py")] if arm == "processor" else ["-c", BY_THE_WALL, str(ROOT / "train.py")]
        mine = cores[:1] if arm == "processor" else cores
        began = time.perf_counter()
        done = subprocess.run(
            ["taskset", "-c", ",".join(map(str, mine)), sys.executable, *script],
            cwd=ROOT, env=env, capture_output=True, text=True,
        )  # fmt: skip
        wall_s = time.perf_counter() - began
        if done.returncode:
            sys.exit(f"bench_pocket_clock: train.py ended with exit {done.returncode}: {done.stderr[-300:]}")
        score = json.loads((Path(folder) / "score.json").read_text())
    steps = int(score["reported"]["summary"]["num_steps"])
    return {"steps": steps, "val_bpb": score["val_bpb"], "wall_s": wall_s}


def require_tokenizer() -> None:
    """End the program where there is no pocket tokenizer and none can be made."""
    home = Path(os.environ.get("AUTORESEARCH_HOME") or "~/.cache/autoresearch").expanduser()
    made = home / "pocket" / "tokenizer" / "tokenizer.json"
    if not made.exists() and importlib.util.find_spec("rustbpe") is None:
        sys.exit(
            f"bench_pocket_clock: {made} is missing, and rustbpe, which makes it, is not installed. Type: uv sync. Or"
            " set AUTORESEARCH_HOME to a folder in which a pocket run was made."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="of each arm, quiet and busy (default 5)")
    parser.add_argument("--loops", type=int, default=3, help="busy loops (default 3)")
    parser.add_argument("--cores", type=int, default=2, help="cores for runs and loops together (default 2)")
    parser.add_argument("--budget", default="30", help="seconds of training (default 30)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--states", nargs="+", default=["quiet", "busy"], choices=["quiet", "busy"])
    parser.add_argument("--arms", nargs="+", default=["processor", "wall"], choices=["processor", "wall"])
    arguments = parser.parse_args()
    require_tokenizer()
    cores = sorted(os.sched_getaffinity(0))[: arguments.cores]
    print(f"{arguments.runs} runs each, {arguments.budget} s, seed {arguments.seed}, cores {cores}", flush=True)
    run(arguments.arms[0], cores, "1", arguments.seed)  # makes the data
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for state in arguments.states:
        loops = [
            subprocess.Popen(["taskset", "-c", ",".join(map(str, cores)), sys.executable, "-c", BUSY])
            for _ in range(arguments.loops if state == "busy" else 0)
        ]
        try:
            for _ in range(arguments.runs):
                for arm in arguments.arms:
                    found.setdefault((arm, state), []).append(run(arm, cores, arguments.budget, arguments.seed))
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()
    print(f"{'clock':<10} {'':<6} {'steps':>6} {'(range)':>12} {'val_bpb':>9} {'sd':>9} {'wall s':>7}")
    for (arm, state), runs in found.items():
        steps, values, walls = ([one[key] for one in runs] for key in ("steps", "val_bpb", "wall_s"))
        sd = statistics.stdev(values) if len(values) > 1 else float("nan")
        spread = f"{min(steps):.0f} to {max(steps):.0f}"
        middle = statistics.median
        print(f"{arm:<10} {state:<6} {middle(steps):6.0f} {spread:>12}", end=" ")
        print(f"{middle(values):9.6f} {sd:9.6f} {middle(walls):7.0f}")
    for arm in arguments.arms if len(arguments.states) == 2 else ():
        quiet, busy = (statistics.median(one["steps"] for one in found[arm, state]) for state in ("quiet", "busy"))
        print(f"{arm}: {100 * (busy / quiet - 1):+.1f} % steps on the busy machine")


if __name__ == "__main__":
    main()
