"""Measures how well the training loss foretells the score, by many short runs of small changes.

    uv run scripts/measure_forecast.py draw changes.json --changes 100     changes as the built-in agent makes them
    python scripts/measure_forecast.py run changes.json --out DIR --jobs 28 --minutes 9
    uv run scripts/measure_forecast.py table DIR/runs.jsonl [--figure FILE.svg]   how far forecasts are off

`run` needs the standard library and what train.py needs, and goes on where it was ended: each finished run is one line
of DIR/runs.jsonl. Without --gpus it runs the pocket profile, one thread each; with --gpus 0,1 the official one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import cycle, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from research.runs.racing import LossCurve
    from research.verdict.forecast import Fit

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


# ---------------------------------------------------------------------------------------------------------------
# What they say

KINDS = {  # words of a change's first constant, the first kind that has one counts
    "loss": r"AHEAD|SOFTCAP",
    "batch": r"BATCH",
    "schedule": r"WARM|FINAL_LR|MOMENTUM_STEPS",
    "rates": r"_LR|_WD|BETA|MOMENTUM|MUON",
    "size": r"DEPTH|WIDTH|MLP|FILTER|PAIR_ROWS|GATE|HEAD_DIM|WINDOW",
    "values": r"",  # initial values, scales, kinds of norm
}
GRID = [n / 20 for n in range(2, 20)]


@dataclass(frozen=True)
class Told:
    """One finished run against the baseline's with the same seed: gaps by fraction in nats, the difference in bpb."""

    what: str
    seed: int
    kind: str
    gaps: dict[float, float]  # none where the tokens by then differ by too much
    tokens: float  # at the end, minus 1
    difference: float


def read_runs(paths: Sequence[Path]) -> list[dict[str, object]]:
    """Return the scored runs of some files of lines."""
    lines = [json.loads(text) for path in paths for text in path.read_text().splitlines()]
    return [line for line in lines if (line["score"] or {}).get("val_bpb") and not line["score"].get("suspect")]


def curve_of(line: dict[str, object]) -> LossCurve:
    """Return a run's curve: that of its log, or that in score.json where the log has fewer points."""
    from research.runs.racing import LossCurve, Point

    curve, said = LossCurve(), line["score"]["reported"]
    points = said["loss_curve"]
    curve.feed(str(line["log"]).encode())
    if len(curve.points) >= len(points):
        return curve
    ends = [*((one[0] + other[0]) / 2 for one, other in pairwise(points)), 1.0]
    told = zip(ends, points, strict=True)
    curve.points = [Point(n, end, loss, said["tokens_per_s"]) for n, (end, (_, loss)) in enumerate(told, 1)]
    return curve


def told_by(runs: Sequence[dict[str, object]]) -> list[Told]:
    """Compare every run with the first of the baseline's with its seed, the baseline's later ones too."""
    from research.runs.racing import Prediction, Watch

    curves = [(line, curve_of(line)) for line in runs]
    base = {line["seed"]: (line, curve) for line, curve in reversed(curves) if line["name"] == BASELINE}
    found = []
    for line, curve in curves:
        if line["seed"] not in base or line is base[line["seed"]][0]:
            continue
        other, reference = base[line["seed"]]
        watch = Watch("", reference, lambda _gap, _fraction: Prediction(0.0, 0.0, 1.0), curve=curve)
        gaps = {f: gap for f in GRID if (gap := watch.gap(f)) is not None}
        what = str(line["what"])
        kind = next(kind for kind, words in KINDS.items() if re.search(words, what.partition(" ")[0]))
        kind = "nothing" if line["name"] == BASELINE else kind
        tokens = curve.points[-1].speed / reference.points[-1].speed - 1
        difference = line["score"]["val_bpb"] - other["score"]["val_bpb"]
        found.append(Told(what, line["seed"], kind, gaps, tokens, difference))
    return found


def table(arguments: argparse.Namespace) -> None:
    """Print the error of the forecast at each twentieth of the budget, by kind of change, and what stopping does."""
    told = told_by(read_runs([Path(path) for path in arguments.files]))
    near = [one for one in told if one.kind not in ("loss", "nothing") and one.gaps]
    rows = [row_of(near, fraction) for fraction in GRID]
    print("| budget | n | slope | scale | sd | largest / scale | right sign |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        errors = [error(one, row) for one in near if row.fraction in one.gaps]
        signs = [(one.difference < 0) == (foretold(one, row) < 0) for one in near if row.fraction in one.gaps]
        print(
            f"| {row.fraction:.0%} | {len(errors)} | {row.fit.slope:.3f} | {row.fit.scale:.4f} | "
            f"{root_mean_square(errors):.4f} | {max(map(abs, errors)) / row.fit.scale:.1f} | "
            f"{sum(signs) / len(signs):.0%} |"
        )
    print("\nRoot mean square of the error by kind, bpb; n, and how many had other tokens at the end:\n")
    print("| kind | n | tokens off | 25 % | 50 % | 75 % |")
    print("|---|---|---|---|---|---|")
    for kind in [*KINDS, "nothing"]:
        mine = [one for one in told if one.kind == kind]
        off = [root_mean_square([error(one, row) for one in mine if row.fraction in one.gaps]) for row in pick(rows)]
        far = sum(abs(one.tokens) > 0.05 for one in mine)
        print(f"| {kind} | {len(mine)} | {far} | {' | '.join(f'{value:.4f}' for value in off)} |")
    print("\nStopping at the first look with a smaller P, by a forecast from the other seeds' runs:\n")
    print("| P | stopped | budget saved | better than the baseline | of them stopped | foretold |")
    print("|---|---|---|---|---|---|")
    others = {seed: [one for one in near if one.seed != seed] or near for seed in {one.seed for one in near}}
    known = {seed: [row_of(some, fraction) for fraction in GRID] for seed, some in others.items()}
    for chance in (0.01, 0.02, 0.05, 0.1):
        print(race_row(near, known, chance))
    if arguments.figure:
        Path(arguments.figure).write_text(figure(near, pick(rows)))


@dataclass(frozen=True)
class Measured:
    """What the runs say of one fraction of the budget."""

    fraction: float
    fit: Fit


def pick(rows: Sequence[Measured]) -> list[Measured]:
    """Return the rows of a quarter, half and three quarters of the budget."""
    return [row for row in rows if row.fraction in (0.25, 0.5, 0.75)]


def foretold(one: Told, row: Measured) -> float:
    """Return what is foretold of a run, in bpb."""
    return row.fit.slope * one.gaps[row.fraction]


def error(one: Told, row: Measured) -> float:
    """Return how far a run came out from what was foretold of it, in bpb."""
    return one.difference - foretold(one, row)


def root_mean_square(values: Sequence[float]) -> float:
    """Return the root of the mean square, 0 of nothing."""
    return math.sqrt(sum(value * value for value in values) / len(values)) if values else 0.0


def row_of(told: Sequence[Told], fraction: float) -> Measured:
    """Fit the forecast at a fraction to all runs; they count twenty times, so that the prior counts for little."""
    from research.verdict.forecast import fit, prior_fit

    pairs = [(one.gaps[fraction], one.difference) for one in told if fraction in one.gaps]
    return Measured(fraction, fit(pairs * 20, prior_fit(fraction, is_pocket=True)))


def race_row(told: Sequence[Told], rows: Mapping[int, Sequence[Measured]], chance: float) -> str:
    """Say what stopping at the first look with a smaller chance does: a row of a table; rows are by the run's seed."""
    ended = []
    for one in told:
        due = (row for row in rows[one.seed] if row.fraction in one.gaps)
        looks = ((row, row.fit.predict(one.gaps[row.fraction]).p_better) for row in due)
        stop = next(((row.fraction, p) for row, p in looks if row.fraction >= 0.25 and p < chance), None)
        if stop:
            ended.append((one, *stop))
    saved = sum(1 - fraction for _, fraction, _ in ended) / len(told)
    better, wrong = (sum(one.difference < 0 for one in some) for some in (told, [one for one, _, _ in ended]))
    expected = sum(p for _, _, p in ended)
    share = len(ended) / len(told)
    return f"| {chance:.2f} | {share:.0%} | {saved:.0%} | {better} of {len(told)} | {wrong} | {expected:.1f} |"


def figure(told: Sequence[Told], rows: Sequence[Measured]) -> str:
    """Draw the difference that runs came to over their gap, a panel for each row, with what is foretold."""
    width, height, margin, gap = 330, 300, 46, 24
    reach_y = sorted(abs(one.difference) for one in told)[int(0.95 * len(told))] * 1.15
    parts = []
    for number, row in enumerate(rows):
        left = margin + number * (width + gap)
        mine = [one for one in told if row.fraction in one.gaps]
        reach_x = sorted(abs(one.gaps[row.fraction]) for one in mine)[int(0.95 * len(mine))] * 1.15

        def x(value: float, left: float = left, reach: float = reach_x) -> float:
            return round(left + (max(-1.0, min(1.0, value / reach)) + 1) / 2 * width, 1)

        def y(value: float) -> float:
            return round(40 + (1 - max(-1.0, min(1.0, value / reach_y))) / 2 * height, 1)

        ends = [(side * reach_x, row.fit.slope * side * reach_x) for side in (-1, 1)]
        off = row.fit.predict(0.0).sd
        band = [(at, value + off) for at, value in ends] + [(at, value - off) for at, value in reversed(ends)]
        parts.append(f'<text x="{left}" y="24" class="head">after {row.fraction:.0%} of the budget</text>')
        parts.append(f'<polygon class="band" points="{" ".join(f"{x(a)},{y(b)}" for a, b in band)}"/>')
        parts.append(f'<path class="fit" d="M{x(ends[0][0])},{y(ends[0][1])}L{x(ends[1][0])},{y(ends[1][1])}"/>')
        parts.append(f'<path class="axis" d="M{left},{y(0)}h{width}M{x(0)},40v{height}"/>')
        for one in mine:
            place = f'cx="{x(one.gaps[row.fraction])}" cy="{y(one.difference)}"'
            parts.append(
                f'<circle class="{one.kind}" {place} r="3"><title>{one.what}, seed {one.seed}</title></circle>'
            )
        parts.append(f'<text x="{left + width}" y="{height + 60}" class="end">gap, to {reach_x:.2g} nats</text>')
    colours = {"rates": "#3465a4", "schedule": "#c4661f", "size": "#4e9a06", "batch": "#75507b", "values": "#888888"}
    for number, (kind, colour) in enumerate(colours.items()):
        at = margin + 110 * number
        parts.append(f'<circle fill="{colour}" cx="{at}" cy="{height + 82}" r="5"/>')
        parts.append(f'<text x="{at + 10}" y="{height + 86}">{kind}</text>')
    words = f"up: difference at the end, to {reach_y:.2g} bpb; line and band: what is foretold, one sd"
    parts.append(f'<text x="{margin + 110 * len(colours)}" y="{height + 86}">{words}</text>')
    style = "".join(f".{kind}{{fill:{colour};fill-opacity:.75}}" for kind, colour in colours.items())
    style += ".axis{stroke:#888;fill:none}.fit{stroke:#222}.band{fill:#ddd}text{font:13px sans-serif;fill:#333}"
    style += ".head{font-weight:bold}.end{text-anchor:end}.nothing{fill:none;stroke:#222}"
    size = f"0 0 {2 * margin + len(rows) * (width + gap) - gap} {height + 100}"
    body = "\n".join(parts)
    paper = f'<style>{style}</style>\n<rect width="100%" height="100%" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}">{paper}\n{body}\n</svg>\n'


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
    verb = verbs.add_parser("table", help="print how far forecasts are off")
    verb.add_argument("files", nargs="+", help="files that run wrote")
    verb.add_argument("--figure", help="draw gaps and what they came to into this SVG file")
    return parser.parse_args()


if __name__ == "__main__":
    given = parse_arguments()
    {"draw": draw, "run": run, "table": table}[given.verb](given)
