"""Measures what the runner costs around a child that does nothing: 20 runs, each recorded, judged and in the ledger.

    python scripts/bench_runner.py [--runs 20]

Wanted: under 0.5 s beyond the time of nvidia-smi, which is measured apart.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from research.runs.gpu import list_gpus

RUNNER = Path(__file__).resolve().parent / "run_experiment.py"
LIMIT_S = 0.5


def make_repository(folder: Path) -> dict[str, str]:
    """A repository whose train.py does nothing, and a uv that is only a name; returns the environment."""
    root, tools = folder / "repo", folder / "bin"
    root.mkdir()
    tools.mkdir()
    uv = tools / "uv"
    uv.write_text("#!/bin/sh\nexit 0\n")
    uv.chmod(0o755)
    (root / "train.py").write_text("")
    (root / "prepare.py").write_text("")
    (root / ".gitignore").write_text("results/\nresults.tsv\n")
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "AUTORESEARCH_HOME": str(folder / "home"),
        "AUTORESEARCH_PROFILE": "pocket",
    }
    who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "base"]):
        subprocess.run(["git", *command], cwd=root, check=True, env=environment)
    return environment


def timed(command: list[str], cwd: Path, environment: dict[str, str]) -> float:
    """Seconds that a command takes."""
    began = time.perf_counter()
    subprocess.run(command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - began


def main() -> int:
    """Runs the benchmark; exits 1 if the limit is missed."""
    parser = argparse.ArgumentParser(description="What the runner costs around a child that does nothing.")
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-runner-") as folder:
        environment = make_repository(Path(folder))
        root = Path(folder) / "repo"
        runner = [sys.executable, str(RUNNER), "--again", "--", "uv", "run", "train.py"]
        bare, with_runner = [], []
        for _ in range(options.runs):  # interleaved, so that a busy machine hits both alike
            bare.append(timed(["uv", "run", "train.py"], root, environment))
            with_runner.append(timed(runner, root, environment))
        began = time.perf_counter()
        devices = list_gpus()
        smi_s = time.perf_counter() - began if devices else 0.0
    overhead = statistics.median(with_runner) - statistics.median(bare) - smi_s
    print(f"child alone   {statistics.median(bare):.3f} s (median of {options.runs})")
    print(f"with runner   {statistics.median(with_runner):.3f} s ({min(with_runner):.3f} to {max(with_runner):.3f})")
    print(f"nvidia-smi    {smi_s:.3f} s")
    print(f"overhead      {overhead:.3f} s (wanted: under {LIMIT_S} s)")
    return 0 if overhead < LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
