"""Times every hook against starting a bare python3, with an empty history and with a long one.

    python scripts/bench_hooks.py [--runs 10000] [--repeat 40]

Prints milliseconds of processor time (median, so that what else runs on the machine counts little) and the ratio to
`python3 -c ''` started through the same shell, interleaved. As in a fresh clone, HEAD is packed and there is no .venv,
so hooks start with the first `python3` on PATH. Where that is a version manager's shim, put the interpreter itself in
front, since the shim's own time hides everything else.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from research.agents import autonomy  # noqa: E402
from research.core.paths import LabPaths  # noqa: E402
from research.core.records import Estimate, Metrics, Run, Verdict  # noqa: E402
from research.store.open import open_store  # noqa: E402
from research.verdict.summary import remembered  # noqa: E402

BRANCH = "autoresearch/bench"
PAYLOADS = {
    "SessionStart": {"source": "compact"},
    "UserPromptSubmit": {"prompt": "Have a look at the last run."},
    "PreToolUse": {"tool_name": "Bash", "tool_input": {"command": "git status --short && tail -n 5 run.log"}},
    "PostToolUse": {"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_response": ""},
    "Stop": {"stop_hook_active": True, "last_assistant_message": "done"},
}


def git(root: Path, *words: str) -> str:
    """Runs git in the bench repository."""
    who = ["-c", "user.name=Bench", "-c", "user.email=bench@example.org"]
    return subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def make(folder: Path, runs: int) -> Path:
    """A repository with the hooks, and a memory of so many runs."""
    root = folder / f"history-{runs}"
    root.mkdir()
    for part in (".codex", "research"):
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "train.py").write_text("x = 1\n")
    (root / ".gitignore").write_text("results/\nresults.tsv\n__pycache__/\n")
    git(root, "init", "-q", "-b", BRANCH)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "base")
    git(root, "gc", "-q")
    with open_store(LabPaths(root), "2026-01-01T00:00:00Z", print) as store, store.write():
        for number in range(runs):
            name = f"20260101-{number:06d}-{number:07x}-{number % 65536:04x}"
            metrics = Metrics(0.99, 300.0, 320.0, 40000.0, 40.0, 500.0, 950, 50.3, 8)
            run = Run(
                run=name, folder=name, origin="runner", branch=BRANCH, commit=f"{number:07x}".ljust(40, "a"),
                started_utc="2026-01-01T00:00:00Z", finished_utc="2026-01-01T00:06:00Z", outcome="scored",
                subject=f"exp: idea {number} [emitter=local_tuner]", metrics=metrics, val_bpb=0.99, contract="x",
                fingerprint=f"{number:064x}",
            )  # fmt: skip
            store.add_run(run)
            estimate = Estimate(0.99, 0.98, 1.0, 1)
            store.add_verdict(
                Verdict(name, "discard", "evidence", "not better", "2026-01-01T00:06:00Z", baseline=number == 0,
                        estimate=estimate, difference=estimate, text="a review " * 60,
                        settled_utc="2026-01-01T00:06:10Z")
            )  # fmt: skip
        state = autonomy.turned_on(autonomy.Autonomy(), "bench", time.time(), runs, {})
        autonomy.save(store, state)
        if runs:  # as every verdict leaves it
            remembered(store, BRANCH)
    for number in range(runs):
        (root / "results" / "runs" / f"20260101-{number:06d}-{number:07x}-{number % 65536:04x}").mkdir(parents=True)
    return root


def processor_s() -> float:
    """Return the processor seconds of all children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def once(command: str, root: Path, payload: dict[str, object]) -> float:
    """Return the processor seconds of one call."""
    text = json.dumps({"cwd": str(root), "session_id": "bench", **payload}).encode()
    start = processor_s()
    done = subprocess.run(["/bin/bash", "-c", command], cwd=root, input=text, capture_output=True, check=False)
    assert done.returncode == 0, done
    return processor_s() - start


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=40)
    options = parser.parse_args()
    hooks = json.loads((ROOT / ".codex" / "hooks.json").read_text())["hooks"]
    commands = {event: groups[0]["hooks"][0]["command"] for event, groups in hooks.items()}
    with tempfile.TemporaryDirectory(prefix="bench-hooks-") as place:
        roots = {runs: make(Path(place), runs) for runs in (0, options.runs)}
        times: dict[tuple[str, int], list[float]] = {}
        for number in range(options.repeat + 3):
            for runs, root in roots.items():
                for event in ("bare", *commands):
                    command = "python3 -c ''" if event == "bare" else commands[event]
                    payload = {} if event == "bare" else {**PAYLOADS[event], "hook_event_name": event}
                    if event == "Stop":
                        payload["last_assistant_message"] = f"done {number}"
                        (root / "train.py").write_text(f"x = {number}\n")
                    taken = once(command, root, payload)
                    if number >= 3:
                        times.setdefault((event, runs), []).append(taken)
        for root in roots.values():
            log = root / "results" / "discovery" / "hooks.log"
            if log.exists():
                print(log.read_text()[:2000])
    print(f"python3: {shutil.which('python3')}, load {os.getloadavg()[0]:.1f}")
    print(f"{'':18}{'0 runs':>10}{'ratio':>8}{f'{options.runs} runs':>14}{'ratio':>8}{'growth':>9}")
    for event in ("bare", *commands):
        few, many = (statistics.median(times[event, runs]) * 1e3 for runs in roots)
        bare = [statistics.median(times["bare", runs]) * 1e3 for runs in roots]
        print(f"{event:18}{few:8.1f}ms{few / bare[0]:8.2f}{many:12.1f}ms{many / bare[1]:8.2f}{many / few - 1:+9.0%}")


if __name__ == "__main__":
    main()
