"""Measures how well the training loss foretells the score, by many short runs of small changes.

    uv run scripts/measure_forecast.py draw changes.json --changes 100     changes as the built-in agent makes them
    uv run scripts/measure_forecast.py run changes.json --out DIR --jobs 28
    uv run scripts/measure_forecast.py table DIR [--figure FILE.svg]       how far forecasts are off

`run` goes on where it was ended. Without --gpus it runs the pocket profile, with --gpus 0 1 the official one. `table`
takes checkouts too, whose nights compared runs, and files that --save wrote; several are put together.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import cycle
from pathlib import Path
from queue import Queue
from threading import Lock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from research.agents.builtin import NothingToPropose, propose  # noqa: E402
from research.code.fingerprint import fingerprint  # noqa: E402
from research.core.commit_message import idea_of  # noqa: E402
from research.core.git import find_root  # noqa: E402
from research.core.paths import LabPaths  # noqa: E402
from research.core.records import Plan  # noqa: E402
from research.core.settings import SETTINGS  # noqa: E402
from research.runs.racing import LossCurve, Prediction, Watch, curve_of, race_of  # noqa: E402
from research.store.open import read_store  # noqa: E402
from research.verdict.belief import Belief  # noqa: E402
from research.verdict.forecast import Fit, Pair, fit, prior_fit  # noqa: E402
from research.verdict.lineage import is_evidence, is_same  # noqa: E402
from research.verdict.models import Memory  # noqa: E402
from research.verdict.noise import OFFICIAL  # noqa: E402
from scripts import race  # noqa: E402

BASELINE, AGAIN = "baseline", "baseline again"
EMITTERS = (None, None, "local_tuner", "simplifier")  # a night's ideas are mostly free


def draw(arguments: argparse.Namespace) -> None:
    """Write changes of train.py as the built-in agent would make them on a fresh branch, none twice."""
    base = (ROOT / "train.py").read_bytes()
    memory = Memory(branch="", contract=None, noise=OFFICIAL.noise, belief=Belief([]))
    changes: list[dict[str, object]] = []
    for number, emitter in zip(range(4 * arguments.changes), cycle(EMITTERS), strict=False):
        plan = Plan(f"draw{number}", "", emitter, None, "base", "experiment", "")
        try:
            made = propose(plan, memory, lambda _: base, arguments.draw_seed, arguments.profile)
        except NothingToPropose:
            continue
        memory = replace(memory, fingerprints=memory.fingerprints | {fingerprint(made.text)})
        what = made.subject.removeprefix("exp: ").partition(" [emitter")[0]
        lines = lines_changed(base.decode(), made.text.decode())
        changes.append({"name": f"c{len(changes) + 1:03d}", "what": what, "lines": lines})
        if len(changes) == arguments.changes:
            break
    Path(arguments.file).write_text(json.dumps(changes, indent=1) + "\n")
    print(f"{len(changes)} changes in {arguments.file}")


def lines_changed(old: str, new: str) -> list[tuple[str, str]]:
    """Return the stretches of lines that differ, before and after."""
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    return [("".join(before[i:j]), "".join(after[k:m])) for tag, i, j, k, m in matcher.get_opcodes() if tag != "equal"]


def run(arguments: argparse.Namespace) -> None:
    """Make the runs that are missing, several at a time, until the time to start another one is over."""
    os.environ["AUTORESEARCH_PROFILE"] = "official" if arguments.gpus else "pocket"
    out, base = Path(arguments.out), (ROOT / "train.py").read_text()
    out.mkdir(parents=True, exist_ok=True)
    done = {(line["arm"], line["seed"]) for line in read_lines(out)}
    arms = {race.Arm(name, base): name for name in (BASELINE, AGAIN)}
    for change in json.loads(Path(arguments.file).read_text()):
        source = base
        for before, after in change["lines"]:
            source = source.replace(before, after, 1) if source.count(before) == 1 else ""
        if source:
            arms[race.Arm(change["name"], source)] = change["what"]
        else:
            print(f"left out, since train.py holds other lines now: {change['what']}", flush=True)
    jobs = [(arm, seed) for arm in arms for seed in arguments.seeds if (arm.name, seed) not in done]
    deadline, writing, free = time.monotonic() + 60 * arguments.minutes, Lock(), Queue[str]()
    for _, gpu in zip(range(arguments.jobs), cycle(arguments.gpus or [""]), strict=False):
        free.put(gpu)

    def work(job: tuple[race.Arm, int]) -> bool:
        gpu = free.get()
        if is_time := time.monotonic() < deadline:
            line = race.run(*job, arguments.budget, out, gpu) | {"what": arms[job[0]]}
            with writing, (out / "runs.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
                race.show(line)
        free.put(gpu)
        return is_time

    with ThreadPoolExecutor(arguments.jobs) as pool:
        made = list(pool.map(work, jobs))
    print(f"{made.count(False)} runs are left of {len(jobs)}", flush=True)


# Results -----------------------------------------------------------------------------------------------------------

KINDS = {  # words of a change's first constant, the first kind that has one counts
    "loss": r"AHEAD|SOFTCAP",
    "batch": r"BATCH",
    "schedule": r"WARM|FINAL_LR|MOMENTUM_STEPS",
    "rates": r"_LR|_WD|BETA|MOMENTUM|MUON",
    "size": r"DEPTH|WIDTH|MLP|FILTER|PAIR_ROWS|GATE|HEAD_DIM|WINDOW",
    "values": r"",  # initial values, scales, kinds of norm
}
POCKET_BPB = 0.01  # changes of the pocket profile differ by more than this, those on a GPU by less
NOTHING = "nothing"  # kind of the baseline's second run
GRID = [n / 20 for n in range(2, 20)]
SHOWN = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Compared:
    """One finished run, compared with the baseline's run with the same seed."""

    what: str  # the change in words
    seed: int
    kind: str  # one of KINDS, or NOTHING
    gaps: dict[float, float]  # in nats, by fraction; none where the tokens by then differ by too much
    tokens: float  # tokens at the end as a share of the baseline's, minus 1
    difference: float  # final val_bpb minus the baseline's

    def error(self, fraction: float, fitted: Fit) -> float:
        """Return the final difference minus the forecast at a fraction, in bpb."""
        return self.difference - fitted.slope * self.gaps[fraction]


def read_lines(out: Path) -> list[dict[str, object]]:
    """Return the lines of the runs that were made."""
    path = out / "runs.jsonl"
    return [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []


def compared_in(source: Path) -> list[Compared]:
    """Return the compared runs of a folder that `run` filled, of a checkout, or of a file that was saved."""
    if source.is_file():
        plain = [json.loads(line) for line in source.read_text().splitlines()]
        return [Compared(**{**one, "gaps": {float(at): gap for at, gap in one["gaps"].items()}}) for one in plain]
    return compare(source) if (source / "runs.jsonl").exists() else compare_lab(LabPaths(find_root(source)))


def compare_lab(paths: LabPaths) -> list[Compared]:
    """Compare every scored run of a lab with the one that its losses were compared with while it went on."""
    with read_store(paths) as store:
        runs = {run.run: run for run in store.runs() if is_evidence(run)}
    curves = {name: curve_of(paths.runs / run.folder) for name, run in runs.items()}
    found = []
    for name, run in runs.items():
        watched = race_of(run)
        other, mine, theirs = runs.get(watched.against), curves[name], curves.get(watched.against)
        if watched.looks and other and theirs and mine.points and theirs.points:  # a log may be gone
            what = idea_of(run.subject)
            kind = NOTHING if is_same(run, other) else kind_of(what)
            difference = (run.val_bpb or 0.0) - (other.val_bpb or 0.0)
            found.append(pair_of(what, run.seed, kind, mine, theirs, difference))
    return found


def pair_of(what: str, seed: int, kind: str, mine: LossCurve, theirs: LossCurve, difference: float) -> Compared:
    """Compare the loss curves of two finished runs whose final difference is known."""
    watch = Watch("", theirs, lambda _gap, _fraction: Prediction(0.0, 0.0, 1.0), curve=mine)
    gaps = {at: round(gap, 5) for at in GRID if (gap := watch.gap(at)) is not None}
    tokens = mine.points[-1].speed / theirs.points[-1].speed - 1
    return Compared(what, seed, kind, gaps, round(tokens, 4), round(difference, 6))


def kind_of(what: str) -> str:
    """Return the kind of a change, by its first constant."""
    first = what.partition(" ")[0]
    return next(kind for kind, words in KINDS.items() if re.search(words, first))


def compare(out: Path) -> list[Compared]:
    """Compare every scored run with the baseline's with its seed."""
    lines = [line for line in read_lines(out) if line.get("val_bpb") and not line.get("suspect")]
    curves = {id(line): curve_of(out / f"{line['arm']}-{line['budget_s']}s-{line['seed']}") for line in lines}
    base = {line["seed"]: line for line in lines if line["arm"] == BASELINE}
    found = []
    for line in lines:
        other = base.get(line["seed"])
        if other is None or line is other:
            continue
        kind = NOTHING if line["arm"] == AGAIN else kind_of(line["what"])
        difference = line["val_bpb"] - other["val_bpb"]
        found.append(pair_of(line["what"], line["seed"], kind, curves[id(line)], curves[id(other)], difference))
    return found


def pairs_of(runs: Sequence[Compared]) -> dict[float, list[Pair]]:
    """Return gaps and final differences by fraction."""
    return {at: [(one.gaps[at], one.difference) for one in runs if at in one.gaps] for at in GRID}


def line_through(pairs: Sequence[Pair]) -> Fit:
    """Return the line through zero that fits pairs best, with the heavy-tailed error that the forecast assumes."""
    freedom, slope, scale = SETTINGS.forecast_freedom, 0.0, root_mean_square([y for _, y in pairs]) or 1.0
    for _ in range(100 if any(gap for gap, _ in pairs) else 0):
        weights = [(freedom + 1) / (freedom + ((y - slope * x) / scale) ** 2) for x, y in pairs]
        along = sum(w * x * x for w, (x, _) in zip(weights, pairs, strict=True))
        slope = sum(w * x * y for w, (x, y) in zip(weights, pairs, strict=True)) / along
        squares = sum(w * (y - slope * x) ** 2 for w, (x, y) in zip(weights, pairs, strict=True))
        scale = math.sqrt(squares / len(pairs)) or SETTINGS.rounding_bpb
    return Fit(slope, scale)


def forecasts_of(runs: Sequence[Compared], is_pocket: bool) -> dict[float, Fit]:
    """Return the product's own forecast at each fraction, after these runs."""
    return {at: fit(pairs, prior_fit(at, is_pocket)) for at, pairs in pairs_of(runs).items()}


def root_mean_square(values: Sequence[float]) -> float:
    """Return the root of the mean square, 0 of nothing."""
    return math.sqrt(sum(value * value for value in values) / len(values)) if values else 0.0


def table(arguments: argparse.Namespace) -> None:
    """Print the error of the forecast at each twentieth of the budget, by kind of change, and what stopping does."""
    every = [one for source in arguments.sources for one in compared_in(source)]
    if arguments.save:
        Path(arguments.save).write_text("".join(json.dumps(vars(one)) + "\n" for one in every))
    near = [one for one in every if one.kind in arguments.kinds and one.gaps]
    is_pocket = bool(near) and statistics.median(abs(one.difference) for one in near) > POCKET_BPB
    fits = {at: line_through(pairs) for at, pairs in pairs_of(near).items()}
    print(
        "| budget | n | slope of a line | scale | error | largest / scale | right sign | forecast's slope | its error |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for at, fitted in fits.items():
        some, product = [one for one in near if at in one.gaps], prior_fit(at, is_pocket)
        errors, its_errors = ([one.error(at, each) for one in some] or [0.0] for each in (fitted, product))
        signs = [(one.difference < 0) == (fitted.slope * one.gaps[at] < 0) for one in some] or [False]
        print(
            f"| {at:.0%} | {len(some)} | {fitted.slope:.3f} | {fitted.scale:.4f} | {root_mean_square(errors):.4f} | "
            f"{max(map(abs, errors)) / fitted.scale:.1f} | {sum(signs) / len(signs):.0%} | "
            f"{product.slope:.2f} | {root_mean_square(its_errors):.4f} |"
        )
    print("\nRoot mean square of the error by kind, bpb; n, and how many had other tokens at the end:\n")
    print("| kind | n | tokens off | 25 % | 50 % | 75 % |\n|---|---|---|---|---|---|")
    for kind in [*KINDS, NOTHING]:
        mine = [one for one in every if one.kind == kind]
        off = [root_mean_square([one.error(at, fits[at]) for one in mine if at in one.gaps]) for at in SHOWN]
        far = sum(abs(one.tokens) > SETTINGS.race_max_tokens_off for one in mine)
        print(f"| {kind} | {len(mine)} | {far} | {' | '.join(f'{value:.4f}' for value in off)} |")
    print("\nStopping at the first look with a smaller P, by the product's forecast after the other seeds' runs:\n")
    print("| P | stopped | budget saved | better than the baseline | of them stopped | foretold |")
    print("|---|---|---|---|---|---|")
    seeds = {one.seed for one in near}
    others = {seed: forecasts_of([one for one in near if one.seed != seed], is_pocket) for seed in seeds}
    for chance in (0.01, 0.02, 0.05, 0.1):
        print(stopping(near, others, chance))
    if arguments.figure:
        Path(arguments.figure).write_text(figure(near, {at: prior_fit(at, is_pocket) for at in SHOWN}))


def stopping(compared: Sequence[Compared], fits: Mapping[int, Mapping[float, Fit]], chance: float) -> str:
    """Return a row of a table on stopping at the first look with a smaller chance; fits are by the run's seed."""
    ended = []
    for one in compared:
        looks = [(at, fits[one.seed][at].predict(gap).p_better) for at, gap in one.gaps.items() if at >= 0.25]
        ended += [(one, at, p) for at, p in looks if p < chance][:1]
    saved = sum(1 - at for _, at, _ in ended) / len(compared)
    better = sum(one.difference < 0 for one in compared)
    wrong = sum(one.difference < 0 for one, _, _ in ended)
    share, expected = len(ended) / len(compared), sum(p for _, _, p in ended)
    return f"| {chance:.2f} | {share:.0%} | {saved:.0%} | {better} of {len(compared)} | {wrong} | {expected:.1f} |"


COLOURS = {
    "rates": "#3465a4",
    "schedule": "#c4661f",
    "size": "#4e9a06",
    "batch": "#75507b",
    "values": "#888888",
    NOTHING: "#222222",
}
LEGEND = 92  # width of an entry of the legend, in pixels
STYLE = (
    ".axis{stroke:#888;fill:none}.fit{stroke:#222}.band{fill:#ddd}text{font:13px sans-serif;fill:#333}"
    ".head{font-weight:bold}.end{text-anchor:end}"
)


def figure(compared: Sequence[Compared], fits: Mapping[float, Fit]) -> str:
    """Return an SVG of the runs' final differences over their gaps, a panel for each fraction, with the forecast."""
    width, height, margin, space = 330, 300, 46, 24

    def reach_of(values: Sequence[float]) -> float:
        return sorted(map(abs, values))[int(0.95 * len(values))] * 1.15 if values else 1.0

    def held(value: float, reach: float) -> float:
        return max(-reach, min(reach, value))

    def place(value: float, reach: float, size: int) -> float:
        return round((value / reach + 1) / 2 * size, 1)

    reach_y = reach_of([one.difference for one in compared])
    parts = []
    for number, (at, fitted) in enumerate(fits.items()):
        left = margin + number * (width + space)
        mine = [one for one in compared if at in one.gaps]
        reach_x = reach_of([one.gaps[at] for one in mine])
        far, off = fitted.slope * reach_x, fitted.predict(0.0).sd
        corners = [(-1, off - far), (1, off + far), (1, far - off), (-1, -far - off)]
        band = " ".join(f"{place(x, 1, width)},{place(-y, reach_y, height)}" for x, y in corners)
        low, high = place(far, reach_y, height), place(-far, reach_y, height)
        parts += [
            f'<g transform="translate({left},40)">',
            f'<text y="-16" class="head">after {at:.0%} of the budget</text>',
            f'<svg width="{width}" height="{height}"><polygon class="band" points="{band}"/>',
            f'<path class="fit" d="M0,{low}L{width},{high}"/></svg>',
            f'<path class="axis" d="M0,{height / 2}h{width}M{width / 2},0v{height}"/>',
        ]
        for one in mine:
            x = place(held(one.gaps[at], reach_x), reach_x, width)
            y = place(held(-one.difference, reach_y), reach_y, height)
            title = f"<title>{one.what}, seed {one.seed}</title>"
            parts.append(f'<circle class="{one.kind}" cx="{x}" cy="{y}" r="3">{title}</circle>')
        parts.append(f'<text x="{width}" y="{height + 20}" class="end">gap, to {reach_x:.2g} nats</text></g>')
    for number, (kind, colour) in enumerate(COLOURS.items()):
        x = margin + LEGEND * number
        parts.append(f'<circle fill="{colour}" cx="{x}" cy="{height + 82}" r="5"/>')
        parts.append(f'<text x="{x + 10}" y="{height + 86}">{kind}</text>')
    words = f"up: difference at the end, to {reach_y:.2g} bpb; line and band: the forecast, one sd"
    parts.append(f'<text x="{margin + LEGEND * len(COLOURS)}" y="{height + 86}">{words}</text>')
    style = STYLE + "".join(f".{kind}{{fill:{colour};fill-opacity:.75}}" for kind, colour in COLOURS.items())
    size = f"0 0 {2 * margin + len(fits) * (width + space) - space} {height + 100}"
    paper = f'<style>{style}</style>\n<rect width="100%" height="100%" fill="#fff"/>\n'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}">{paper}' + "\n".join(parts) + "\n</svg>\n"


def main() -> None:
    """Run one command line."""
    parser = argparse.ArgumentParser(description="Measure how well the training loss foretells the score.")
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("draw", help="write changes of train.py as the built-in agent makes them")
    verb.set_defaults(do=draw)
    verb.add_argument("file", help="where to write them, JSON")
    verb.add_argument("--changes", type=int, default=100, help="how many (default 100)")
    verb.add_argument("--profile", default="pocket", help="whose constants are changed (default pocket)")
    verb.add_argument("--draw-seed", type=int, default=0, help="other seed, other changes (default 0)")
    verb = verbs.add_parser("run", help="make the runs that are not there yet")
    verb.set_defaults(do=run)
    verb.add_argument("file", help="the changes that draw wrote")
    verb.add_argument("--out", required=True, help="folder of the runs")
    verb.add_argument("--jobs", type=int, default=1, help="runs at a time (default 1)")
    verb.add_argument("--minutes", type=float, default=9.0, help="after which no further run is started (default 9)")
    verb.add_argument("--seeds", type=int, nargs="+", default=[42, 43], help="seeds of every change (default 42 43)")
    verb.add_argument("--gpus", nargs="+", help="official profile on these GPUs: 0 1 (default: pocket profile, no GPU)")
    verb.add_argument("--budget", default="30", help="seconds of training (default 30)")
    verb = verbs.add_parser("table", help="print how far forecasts are off")
    verb.set_defaults(do=table)
    verb.add_argument("sources", type=Path, nargs="+", help="folder of the runs, a checkout, or a file of --save")
    usual = [kind for kind in KINDS if kind != "loss"]
    verb.add_argument(
        "--kinds", nargs="+", default=usual, help=f"kinds of change (default {' '.join(usual)}; {NOTHING})"
    )
    verb.add_argument("--save", help="write the compared runs into this file, a JSON object a line")
    verb.add_argument("--figure", help="draw gaps and what they came to into this SVG file")
    arguments = parser.parse_args()
    arguments.do(arguments)


if __name__ == "__main__":
    main()
