"""Measures the effect of a busy machine on a pocket run: the same train.py and seed, quiet and beside busy loops.

    uv run scripts/bench_pocket_clock.py --runs 5 --loops 3 --cores 2

Runs and loops share the first --cores processor cores that this process may use, so the loops take turns with the run
as they do on a full laptop. Two arms in turns: train.py as it is (processor time, one thread, pinned to a core), and
the same by the wall clock with a thread a core. Prints steps and val_bpb of each arm, quiet and busy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import race  # noqa: E402

BY_THE_WALL = """
import os, time, torch, prepare
prepare.clock = time.perf_counter
torch.set_num_threads(len(os.sched_getaffinity(0)))
"""


def run(arm: race.Arm, cores: list[int], budget: str, seed: int) -> dict[str, object]:
    """Run an arm once on its cores; return its line of results."""
    os.sched_setaffinity(0, cores[:1] if arm.name == "processor" else cores)
    with tempfile.TemporaryDirectory() as folder:
        line = race.run(arm, seed, budget, Path(folder), "")
    if line["exit"]:
        sys.exit(f"bench_pocket_clock: train.py ended with exit {line['exit']}: {line.get('error')}")
    return line


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="of each arm, quiet and busy (default 5)")
    parser.add_argument("--loops", type=int, default=3, help="busy loops (default 3)")
    parser.add_argument("--cores", type=int, default=2, help="cores for runs and loops together (default 2)")
    parser.add_argument("--budget", default="30", help="seconds of training (default 30)")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    os.environ["AUTORESEARCH_PROFILE"] = "pocket"
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    source = (ROOT / "train.py").read_text()
    arms = [race.Arm("processor", source), race.Arm("wall", BY_THE_WALL + source)]
    print(f"{options.runs} runs each, {options.budget} s, seed {options.seed}, cores {cores}", flush=True)
    run(arms[0], cores, "1", options.seed)  # makes the data
    found: dict[tuple[str, str], list[dict[str, object]]] = {}
    for state, loops in (("quiet", 0), ("busy", options.loops)):
        os.sched_setaffinity(0, cores)
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
        try:
            for _ in range(options.runs):
                for arm in arms:
                    found.setdefault((arm.name, state), []).append(run(arm, cores, options.budget, options.seed))
        finally:
            for loop in busy:
                loop.kill()
                loop.wait()
    print(f"{'clock':<10} {'':<6} {'steps':>6} {'(range)':>12} {'val_bpb':>9} {'sd':>9} {'wall s':>7}")
    middle = {}
    for (name, state), lines in found.items():
        steps, values, walls = ([line[key] for line in lines] for key in ("steps", "val_bpb", "wall_s"))
        middle[name, state] = statistics.median(steps)
        sd = statistics.stdev(values) if len(values) > 1 else float("nan")
        spread = f"{min(steps)} to {max(steps)}"
        print(f"{name:<10} {state:<6} {middle[name, state]:6.0f} {spread:>12}", end=" ")
        print(f"{statistics.median(values):9.6f} {sd:9.6f} {statistics.median(walls):7.0f}")
    for arm in arms:
        change = middle[arm.name, "busy"] / middle[arm.name, "quiet"] - 1
        print(f"{arm.name}: {100 * change:+.1f} % steps on the busy machine")


if __name__ == "__main__":
    main()
