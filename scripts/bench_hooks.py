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
from research.store.db import Store  # noqa: E402
from research.verdict.digest import read_digest  # noqa: E402
from scripts.bench_memory import make_lab  # noqa: E402
from tests.support.histories import BRANCH  # noqa: E402

PAYLOADS = {
    "SessionStart": {"source": "compact"},
    "UserPromptSubmit": {"prompt": "Have a look at the last run."},
    "PreToolUse": {"tool_name": "Bash", "tool_input": {"command": "git status --short && tail -n 5 run.log"}},
    "PostToolUse": {"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_response": ""},
    "Stop": {"stop_hook_active": True, "last_assistant_message": "done"},
}


def make(folder: Path, runs: int) -> Path:
    """Make a repository with the hooks and a memory of so many judged runs; return its folder."""
    root = make_lab(folder / f"history-{runs}", runs)
    for part in (".codex", "research"):
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "train.py").write_text("x = 1\n")
    (root / ".gitignore").write_text("results/\nresults.tsv\n__pycache__/\n")
    who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    for words in (["add", "-A"], [*who, "commit", "-qm", "hooks"], ["gc", "-q"]):
        subprocess.run(["git", "-C", str(root), *words], check=True)
    with Store(root / "results" / "discovery" / "memory.db") as store:
        autonomy.save(store, autonomy.turned_on(autonomy.Autonomy(), "bench", time.time(), runs, {}))
        store.close_plan("p", "", None)
        for run in store.runs():
            (root / "results" / "runs" / run.folder).mkdir(parents=True)
            store.settle(run.run, run.started_utc)
        if runs:
            read_digest(store, BRANCH)
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
    """Print the table."""
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
