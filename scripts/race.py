"""Races variants of train.py, the arms, interleaved on one machine, so that drift affects all of them alike.

    python scripts/race.py default published fork --budget 120 --seeds 42 43 44 --out results/race

An arm is NAME, a recipe of docs/recipes.json or `default` (train.py as it is); NAME=BASE:KEY=VALUE;KEY=VALUE changes
constants of a base; BASE may also be a path to another train.py, whose fixed seed is replaced. Every run keeps its
train.py, log and score.json under --out, and one line of results.jsonl. The audit score is in those files only.

With --cards 0 1 runs go on at once, one a card. Arms and seeds rotate over the cards, so that none belongs to one card.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from research.runs.gpu import choose_gpu, list_gpus  # noqa: E402

UNCOUNTED_STEPS = 11  # of the public contract
SCORE_FIELDS = (
    "val_bpb", "val_bpb_exact", "audit_bpb", "audit_bpb_exact", "contract", "peak_vram_mb", "clock", "probes",
    "offered_ms", "suspect", "torch",
)  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """One variant of train.py."""

    name: str
    source: str  # the whole text


def with_constants(source: str, constants: dict[str, str]) -> str:
    """Return a train.py's text with top-level constants set to other expressions; exit where one is missing."""
    for key, value in constants.items():
        source, count = re.subn(rf"(?m)^{re.escape(key)} = .*$", lambda _, k=key, v=value: f"{k} = {v}", source)
        if count != 1:
            sys.exit(f"race: train.py has no constant {key}: see the settings at its top")
    return source


def parse_arm(text: str, recipes: dict[str, dict[str, str]]) -> Arm:
    """Return the arm that a text means: NAME, NAME=BASE, or NAME=BASE:KEY=VALUE;KEY=VALUE."""
    head, _, changes = text.partition(":")
    name, _, base = head.partition("=")
    base = base or name
    default = (ROOT / "train.py").read_text()
    if base in recipes:
        source = with_constants(default, recipes[base])
    elif base == "default":
        source = default
    elif Path(base).is_file():
        source = Path(base).read_text()
    else:
        sys.exit(f"race: no recipe or file {base!r}: one of default, {', '.join(recipes)}, or a path to a train.py")
    pairs = [pair.split("=", 1) for pair in changes.split(";") if pair]
    return Arm(name, with_constants(source, {key.strip(): value.strip() for key, value in pairs}))


def with_seed(source: str, seed: int) -> str:
    """Return a train.py's text with a seed in place of a fixed one, as public ones have; ours reads the variable."""
    return re.sub(r"(manual_seed(?:_all)?)\(\d+\)", rf"\1({seed})", source)


def printed(log: Path) -> dict[str, str]:
    """Return the summary at the end of a log, for a train.py that reports nothing to prepare.py."""
    block = log.read_text(errors="replace").rpartition("---\n")[2]
    return {key: value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}


def run(arm: Arm, seed: int, budget: str, out: Path, card: str | None) -> dict[str, object]:
    """Make one run in its own process, on a card; return its line of results.jsonl."""
    folder = (out / f"{arm.name}-{budget}s-{seed}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.py").write_text(with_seed(arm.source, seed))
    (folder / "score.json").unlink(missing_ok=True)
    env = os.environ | {
        "AUTORESEARCH_TIME_BUDGET": budget,
        "AUTORESEARCH_SEED": str(seed),
        "AUTORESEARCH_RUN_DIR": str(folder),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        **({} if card is None else {"CUDA_VISIBLE_DEVICES": card}),
    }
    device = choose_gpu(list_gpus(), env)
    line: dict[str, object] = {"arm": arm.name, "seed": seed, "budget_s": budget, "machine": platform.node()}
    line |= {"card": device.index if device else None, "card_uuid": device.uuid if device else None}
    started = time.time()
    with open(folder / "run.log", "wb") as log:
        command = [sys.executable, folder / "train.py"]
        line["exit"] = subprocess.run(command, cwd=ROOT, env=env, stdout=log, stderr=log).returncode
    line["wall_s"] = round(time.time() - started, 1)
    try:
        score = json.loads((folder / "score.json").read_text())
    except (OSError, ValueError):
        tail = (folder / "run.log").read_text(errors="replace").strip().splitlines()
        return line | {"error": tail[-1] if tail else ""}
    said = score.get("reported") or {}
    shown = said.get("summary") or printed(folder / "run.log")
    steps, seconds = int(shown.get("num_steps", 0)), float(shown.get("training_seconds", "nan"))
    tokens = 1e6 * float(shown.get("total_tokens_M", "nan"))
    counted = (steps - UNCOUNTED_STEPS) * tokens / steps / seconds if steps else math.nan
    return line | {
        **{key: score.get(key) for key in SCORE_FIELDS},
        "tokens_per_s": said.get("tokens_per_s", counted if math.isfinite(counted) else None),
        "mfu_percent": float(shown.get("mfu_percent", "nan")),
        "steps": steps,
        "params_m": float(shown.get("num_params_M", "nan")),
        "epochs": score["data"]["epochs"],
        "waited_share": score["data"]["waited_share"],
        **{key: said.get(key) for key in ("attention", "kernels", "phases_s")},
        "device": score["device"]["class"],
    }


def show(line: dict[str, object]) -> None:
    """Print one row; the audit score stays in the files."""
    if line.get("val_bpb") is None:
        print(f"{line['arm']:<16} {line['seed']:>4}  exit {line['exit']}  {line.get('error', '')}", flush=True)
        return
    print(
        f"{line['arm']:<16} {line['seed']:>4}  {line['val_bpb']:.6f}  "
        f"{(line['tokens_per_s'] or 0) / 1e6:6.3f} M tok/s  "
        f"MFU {line['mfu_percent']:5.2f}  {line['steps']:>5} steps  {line['epochs']:5.2f} epochs  "
        f"waited {100 * (line['waited_share'] or 0):5.2f} %  {line['peak_vram_mb']:7.0f} MB  "
        f"wall {line['wall_s']:.0f} s  {line['attention']}",
        flush=True,
    )


def summarize(lines: list[dict[str, object]], arms: list[str]) -> None:
    """Print mean and sd of each arm, and paired differences to the first arm with a 95 % interval."""
    scored = {(line["arm"], line["seed"]): line for line in lines if line.get("val_bpb") is not None}
    seeds = sorted({seed for _, seed in scored})
    print()
    for arm in arms:
        values = [scored[arm, s]["val_bpb"] for s in seeds if (arm, s) in scored]
        if not values:
            continue
        sd = statistics.stdev(values) if len(values) > 1 else float("nan")
        text = f"{arm:<16} mean {statistics.mean(values):.6f}  sd {sd:.6f}  n {len(values)}"
        pairs = [s for s in seeds if (arm, s) in scored and (arms[0], s) in scored]
        if arm != arms[0] and pairs:
            difference = [scored[arm, s]["val_bpb"] - scored[arms[0], s]["val_bpb"] for s in pairs]
            audit = [scored[arm, s]["audit_bpb"] - scored[arms[0], s]["audit_bpb"] for s in pairs]
            mean = statistics.mean(difference)
            text += f"  minus {arms[0]}: {mean:+.6f}"
            if len(pairs) > 1:
                half = T_95[min(len(pairs) - 1, len(T_95)) - 1] * statistics.stdev(difference) / math.sqrt(len(pairs))
                text += f" [{mean - half:+.6f}, {mean + half:+.6f}]"
            agrees = (statistics.mean(audit) < 0) == (mean < 0)
            text += f"  audit {'agrees' if agrees else 'DISAGREES'} in sign"
        print(text)


T_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
"""Two-sided 95 % points of Student's t for 1, 2, ... degrees of freedom."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arms", nargs="+")
    parser.add_argument("--budget", default="120", help="seconds of training (default 120)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--cards", nargs="+", help="GPUs that run at once, as CUDA_VISIBLE_DEVICES names them")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "race")
    parser.add_argument("--until", type=float, default=math.inf, help="seconds after which no further run is started")
    arguments = parser.parse_args()
    recipes = json.loads((ROOT / "docs" / "recipes.json").read_text())
    arms = [parse_arm(text, recipes) for text in arguments.arms]
    started, lines, writing = time.time(), [], Lock()
    arguments.out.mkdir(parents=True, exist_ok=True)
    cards: list[str | None] = arguments.cards or [None]
    order = [(i, j) for i in range(len(arguments.seeds)) for j in range(len(arms))]
    jobs = [(arguments.seeds[i], arms[j], cards[(i + j) % len(cards)]) for i, j in order]

    def work(card: str | None) -> None:
        for seed, arm, place in jobs:
            if place != card:
                continue
            if time.time() - started > arguments.until:
                print(f"{arm.name:<16} {seed:>4}  not started: time is up")
                continue
            line = run(arm, seed, arguments.budget, arguments.out, card)
            with writing, open(arguments.out / "results.jsonl", "a") as f:
                lines.append(line)
                show(line)
                f.write(json.dumps(line) + "\n")

    with ThreadPoolExecutor(len(cards)) as pool:
        list(pool.map(work, cards))
    summarize(lines, [arm.name for arm in arms])


if __name__ == "__main__":
    main()
