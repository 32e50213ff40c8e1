"""Measures how well the training loss foretells the score, by many short runs of small changes.

    uv run scripts/measure_forecast.py draw changes.json --changes 100     changes as the built-in agent makes them
    python scripts/measure_forecast.py run changes.json --out DIR --jobs 28 --minutes 9

`run` needs the standard library and what train.py needs, and goes on where it was ended: each finished run is one line
of DIR/runs.jsonl. Without --gpus it runs the pocket profile, one thread each; with --gpus 0,1 the official one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import cycle
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
BASELINE = "baseline"
EMITTERS = (None, None, "local_tuner", "simplifier")  # a night's ideas are mostly free
LOG_CHARS = 20_000  # of a run's log, its end
FIRST_GUESS_S = 90.0  # how long a run takes before one has ended
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


# ---------------------------------------------------------------------------------------------------------------
# Drawing changes


def draw(arguments: argparse.Namespace) -> None:
    """Write changes of train.py as the built-in agent would make them on a fresh branch, none twice."""
    from dataclasses import replace

    from research.agents.builtin import NothingToPropose, propose
    from research.code import diff
    from research.code.fingerprint import fingerprint
    from research.core.records import Plan
    from research.verdict.belief import Belief
    from research.verdict.models import Memory

    base = (ROOT / "train.py").read_bytes()
    memory = Memory("", None, Belief.from_history([]))
    changes: list[dict[str, object]] = []
    for number, emitter in zip(range(4 * arguments.changes), cycle(EMITTERS), strict=False):
        plan = Plan(f"draw{number}", "", emitter, None, "base", "experiment", "")
        try:
            made = propose(plan, memory, lambda _: base, arguments.draw_seed, arguments.profile)
        except NothingToPropose:
            continue
        memory = replace(memory, fingerprints=memory.fingerprints | {fingerprint(made.text)})
        what = made.subject.removeprefix("exp: ").partition(" [emitter")[0]
        category = diff.between(base, made.text).category
        changes.append({"what": what, "category": category, "lines": lines_changed(base.decode(), made.text.decode())})
        if len(changes) == arguments.changes:
            break
    for number, change in enumerate(changes, 1):
        change["name"] = f"c{number:03d}"
    Path(arguments.file).write_text(json.dumps(changes, indent=1) + "\n")
    print(f"{len(changes)} changes in {arguments.file}")


def lines_changed(old: str, new: str) -> list[tuple[str, str]]:
    """Return the stretches of lines that differ, before and after."""
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    return [("".join(before[i:j]), "".join(after[k:m])) for tag, i, j, k, m in matcher.get_opcodes() if tag != "equal"]


# ---------------------------------------------------------------------------------------------------------------
# Running them


@dataclass(frozen=True)
class Job:
    """One run to make: a change's name and text, its seed, and which time it is run with that seed."""

    name: str
    what: str
    category: str
    source: str
    seed: int
    again: int

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells it from the others."""
        return self.name, self.seed, self.again


def jobs_of(changes: Sequence[dict[str, object]], seeds: Sequence[int]) -> Iterator[Job]:
    """Yield the baseline twice for each seed, and every change once; a change of lines that are gone is left out."""
    base = (ROOT / "train.py").read_text()
    yield from (Job(BASELINE, BASELINE, "", base, seed, again) for again in (0, 1) for seed in seeds)
    for change in changes:
        source = base
        for before, after in change["lines"]:
            source = source.replace(before, after, 1) if source.count(before) == 1 else ""
        if not source:
            print(f"left out, since train.py holds other lines now: {change['what']}", flush=True)
            continue
        for seed in seeds:
            yield Job(str(change["name"]), str(change["what"]), str(change["category"]), source, seed, 0)


def environment(arguments: argparse.Namespace, gpu: str | None) -> dict[str, str]:
    """Return the variables of a run on a GPU, or on one thread of the processor."""
    found = dict(os.environ)
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), found.get("PYTHONPATH")]))
    found["CUDA_VISIBLE_DEVICES"] = gpu or ""
    found["AUTORESEARCH_PROFILE"] = "official" if gpu else "pocket"
    if arguments.budget:
        found["AUTORESEARCH_TIME_BUDGET"] = arguments.budget
    if arguments.home:
        found["AUTORESEARCH_HOME"] = str(Path(arguments.home).resolve())
    return found if gpu else found | dict.fromkeys(ONE_THREAD, "1")


def run_one(job: Job, out: Path, variables: dict[str, str], limit_s: float) -> dict[str, object]:
    """Make one run; return its line of runs.jsonl."""
    folder = out / "work" / f"{job.name}-{job.seed}-{job.again}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.py").write_text(job.source)
    (folder / "score.json").unlink(missing_ok=True)
    variables = variables | {"AUTORESEARCH_SEED": str(job.seed), "AUTORESEARCH_RUN_DIR": str(folder.resolve())}
    started = time.time()
    with open(folder / "run.log", "wb") as log:
        command = [sys.executable, str(folder / "train.py")]
        try:
            code = subprocess.run(command, cwd=ROOT, env=variables, stdout=log, stderr=log, timeout=limit_s).returncode
        except subprocess.TimeoutExpired:
            code = 124
    line: dict[str, object] = {"name": job.name, "what": job.what, "category": job.category, "seed": job.seed}
    line |= {"again": job.again, "exit": code, "wall_s": round(time.time() - started, 1)}
    line["log"] = (folder / "run.log").read_text(errors="replace")[-LOG_CHARS:]
    try:
        line["score"] = json.loads((folder / "score.json").read_text())
    except (OSError, ValueError):
        line["score"] = None
    return line


def run(arguments: argparse.Namespace) -> None:
    """Make the runs that are not there yet, several at a time, as long as there is time for another one."""
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "runs.jsonl"
    lines = [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []
    done = {(line["name"], line["seed"], line["again"]) for line in lines}
    walls = [line["wall_s"] for line in lines if line["exit"] == 0]
    jobs = [
        job for job in jobs_of(json.loads(Path(arguments.file).read_text()), arguments.seeds) if job.key not in done
    ]
    gpus = arguments.gpus.split(",") if arguments.gpus else [None]
    subprocess.run([sys.executable, "prepare.py"], cwd=ROOT, env=environment(arguments, gpus[0]), check=True)
    deadline, lock, queue = time.monotonic() + 60 * arguments.minutes, threading.Lock(), iter(jobs)

    def work(gpu: str | None) -> None:
        variables = environment(arguments, gpu)
        while True:
            left = deadline - time.monotonic()
            with lock:
                usual = statistics.median(walls) if walls else FIRST_GUESS_S
                job = next(queue, None) if left > usual else None
            if job is None:
                return
            line = run_one(job, out, variables, left)
            if line["exit"] == 124:
                return  # the time is up; the run is made again next time
            with lock, open(path, "a") as f:
                f.write(json.dumps(line) + "\n")
                walls.append(line["wall_s"])
                done.add(job.key)
                score = line["score"] or {}
                print(f"{job.name} {job.seed} exit {line['exit']} {score.get('val_bpb')} {job.what}", flush=True)

    workers = [threading.Thread(target=work, args=(gpu,)) for gpu, _ in zip(cycle(gpus), range(arguments.jobs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(f"{len(jobs) - sum(job.key in done for job in jobs)} runs are left of {len(jobs)}", flush=True)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure how well the training loss foretells the score.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("draw", help="write changes of train.py as the built-in agent makes them")
    verb.add_argument("file", help="where to write them, JSON")
    verb.add_argument("--changes", type=int, default=100, help="how many (default 100)")
    verb.add_argument("--profile", default="pocket", help="whose constants are changed (default pocket)")
    verb.add_argument("--draw-seed", type=int, default=0, help="other seed, other changes (default 0)")
    verb = verbs.add_parser("run", help="make the runs that are not there yet")
    verb.add_argument("file", help="the changes that draw wrote")
    verb.add_argument("--out", required=True, help="folder of the runs; they are in its runs.jsonl")
    verb.add_argument("--jobs", type=int, default=1, help="runs at a time (default 1)")
    verb.add_argument("--minutes", type=float, default=9.0, help="time for all of it (default 9)")
    verb.add_argument("--seeds", type=int, nargs="+", default=[42, 43], help="seeds of every change (default 42 43)")
    verb.add_argument("--gpus", help="official profile on these GPUs: 0,1 (default: pocket profile, no GPU)")
    verb.add_argument("--budget", help="seconds of training (default: the profile's)")
    verb.add_argument("--home", help="AUTORESEARCH_HOME with the data of the profile (default: this machine's)")
    return parser.parse_args()


if __name__ == "__main__":
    given = parse_arguments()
    {"draw": draw, "run": run}[given.verb](given)
