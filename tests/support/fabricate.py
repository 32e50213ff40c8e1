"""Labs that never were: stores of any size made through the real Store, with wins, luck, crashes and replicates."""

from __future__ import annotations

import json
import random
import subprocess
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from hashlib import sha1, sha256
from pathlib import Path
from statistics import NormalDist, fmean

from research.core.clock import utc
from research.core.paths import LabPaths
from research.core.records import Decision, Estimate, Failure, Metrics, Plan, Run, Verdict
from research.report.data import PageData
from research.report.write import read_data
from research.store.db import Store
from research.store.open import open_store, read_store

BRANCH, CONTRACT = "autoresearch/made-up", "official-0123456789ab"
NOISE = 0.0005
ASSUMED_SD = 0.0007
"""What these labs' simple rule takes one run's noise for: fixed, so that no setting changes the history."""
EMITTERS = ("local_tuner", "architect", "simplifier", "recombine", "wild_card", None)
CATEGORIES = ("optimizer", "architecture", "attention", "batch", "normalization", "simplification")
NAMES = ("MATRIX_LR", "WARMDOWN", "DEPTH", "WINDOW", "ROPE_BASE", "EMBEDDING_WD", "SOFTCAP", "TOTAL_BATCH_SIZE")
FAULTS = (
    Failure("oom", "OutOfMemoryError: CUDA out of memory", "CUDA out of memory. Tried to allocate 2.1 GiB"),
    Failure("shape", "RuntimeError: shape is invalid for <b>input</b>", "shape '[4, 8]' is invalid"),
    Failure("nan", "FAIL: the loss is not a number", "FAIL"),
)
BASE = "".join(f"{name} = {number}\n" for number, name in enumerate(NAMES)) + "# the model\n" * 200
BEGIN = datetime(2026, 3, 1, 22, 0, 0, tzinfo=timezone.utc)


class Scores:
    """The scores of every configuration, weighed by their plain means."""

    def __init__(self) -> None:
        self._of: dict[str, list[float]] = {}

    def __contains__(self, commit: str) -> bool:
        return commit in self._of

    def add(self, commit: str, val_bpb: float) -> None:
        """Add a score."""
        self._of.setdefault(commit, []).append(val_bpb)

    def n(self, commit: str) -> int:
        """Return how many scores a configuration has."""
        return len(self._of.get(commit, ()))

    def estimate(self, commit: str) -> Estimate:
        """Return a configuration's mean."""
        return self._around(fmean(self._of[commit]), self._variance(commit), self.n(commit))

    def difference(self, commit: str, other: str) -> Estimate:
        """Return a configuration's mean minus another's."""
        mean = fmean(self._of[commit]) - fmean(self._of[other])
        return self._around(mean, self._variance(commit) + self._variance(other), self.n(commit) + self.n(other))

    def p_better(self, commit: str, other: str) -> float:
        """Return P(a configuration is better than another)."""
        sd = (self._variance(commit) + self._variance(other)) ** 0.5
        return NormalDist(fmean(self._of[commit]) - fmean(self._of[other]), sd).cdf(0.0)

    def _variance(self, commit: str) -> float:
        return ASSUMED_SD**2 / self.n(commit)

    def _around(self, mean: float, variance: float, n: int) -> Estimate:
        reach = 1.96 * variance**0.5
        return Estimate(mean, mean - reach, mean + reach, n)


@dataclass
class MadeUp:
    """A store being filled: the true values behind it, and what a simple rule decides."""

    store: Store
    paths: LabPaths
    chance: random.Random
    now: datetime = BEGIN
    scores: Scores = field(default_factory=Scores)
    truth: dict[str, float] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    about: dict[str, tuple[str, str | None, str, dict[str, str]]] = field(default_factory=dict)
    tip: str = ""
    again: list[str] = field(default_factory=list)

    def commit(self, parent: str, title: str, emitter: str | None, category: str, name: str, better: float) -> str:
        """A new configuration: its text, its true value."""
        value = str(self.chance.randrange(10, 99_999))
        text = self.source[parent].splitlines() if parent else BASE.splitlines()
        place = NAMES.index(name)
        before, text[place] = text[place], f"{name} = {value}"
        tag = f" [emitter={emitter}]" if emitter else ""
        made = self.store_commit("\n".join(text) + "\n", parent, f"exp: {title}{tag}" if parent else "baseline")
        self.source[made] = "\n".join(text) + "\n"
        self.truth[made] = self.truth[parent] + better if parent else 0.9979
        delta = {name: f"{before.split(' = ')[1]} -> {value}"}
        self.about[made] = (f"exp: {title}{tag}" if parent else "baseline", emitter, category, delta)
        return made

    def store_commit(self, text: str, parent: str, message: str) -> str:
        """Write a commit of this train.py into the repository, and return its hash."""
        tree = self.store_object("tree", b"100644 train.py\0" + bytes.fromhex(self.store_object("blob", text.encode())))
        head = [f"tree {tree}", *([f"parent {parent}"] if parent else [])]
        who = f"Made Up <made@up.invalid> {int(BEGIN.timestamp())} +0000"
        content = "\n".join([*head, f"author {who}", f"committer {who}", "", message, ""])
        return self.store_object("commit", content.encode())

    def store_object(self, kind: str, content: bytes) -> str:
        """Write a loose object as git does, without a process of its own."""
        data = f"{kind} {len(content)}\0".encode() + content
        name = sha1(data).hexdigest()
        path = self.paths.root / ".git" / "objects" / name[:2] / name[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(data, 1))
        return name

    def run(self, commit: str, parent: str, fails: Failure | None = None) -> Run:
        """One run, stored with its folder, judged."""
        subject, emitter, category, delta = self.about[commit]
        begun = self.now + timedelta(seconds=self.chance.randrange(5, 60))
        self.now = begun + timedelta(seconds=self.chance.randrange(20, 60) if fails else 335)
        seed = 42 + self.scores.n(commit)
        name = f"{begun:%Y%m%d-%H%M%S}-{commit[:7]}-{self.chance.randrange(65536):04x}"
        score = None if fails else round(self.truth[commit] + self.chance.gauss(0, NOISE), 6)
        start = Run(
            name, name, "runner", BRANCH, commit, utc(begun), parent=parent, subject=subject, emitter=emitter,
            seed=seed, backend="local", device="NVIDIA H100", fingerprint=sha256(commit.encode()).hexdigest(),
            contract_key="k", additions=3, deletions=1, category=category,
            delta=delta if parent else {},
            statements_added=self.chance.choice([0, 1, 3]), statements_removed=self.chance.choice([0, 1, 2]),
        )  # fmt: skip
        folder = self.paths.runs / name
        folder.mkdir(parents=True)
        (folder / "train.py").write_text(self.source[commit])
        (folder / "score.json").write_text(json.dumps({"reported": {"loss_curve": curve(self.chance)}}))
        self.store.start_run(start)
        peak = self.chance.choice([22_000.0, 45_060.2, 61_000.0])
        metrics = None if score is None else Metrics(score, 300.1, 331.0, peak, 41.2, 350.0, 1000, 50.3, 8)
        done = {
            **vars(start), "finished_utc": utc(self.now), "outcome": "crash" if fails else "scored",
            "exit_code": 1 if fails else 0, "contract": None if fails else CONTRACT, "metrics": metrics,
            "val_bpb": score, "audit_bpb": None if score is None else score + 0.02 + self.chance.gauss(0, NOISE / 2),
            "peak_vram_mb": None if fails else peak, "failure": fails, "cost_usd": 0.31,
        }  # fmt: skip
        finished = Run(**done)
        self.store.finish_run(finished)
        self.judge(finished)
        return finished

    def judge(self, run: Run) -> None:
        """Keep what is surely better, measure again what may be, discard the rest."""
        if run.val_bpb is None:
            return self.say(run, "discard", "no score")
        self.scores.add(run.commit, run.val_bpb)
        if not self.tip:
            self.tip = run.commit
            return self.say(run, "keep", "baseline", baseline=True)
        if run.commit == self.tip:
            return self.say(run, "keep", "a replicate of what stands")
        p, n = self.scores.p_better(run.commit, self.tip), self.scores.n(run.commit)
        if (p > 0.95 and n > 1) or p > 0.995:
            self.say(run, "keep", f"P(better) = {p:.3f} with n = {n}", p)
            self.tip = run.commit
        elif p > 0.5 and n < 4:
            self.again.append(run.commit)
            self.say(run, "replicate", f"P(better) = {p:.3f} with n = {n}: another seed tells", p)
        else:
            self.say(run, "discard", f"P(better) = {p:.3f} with n = {n}", p)
        return None

    def say(self, run: Run, decision: Decision, why: str, p: float | None = None, baseline: bool = False) -> None:
        """Stores a verdict."""
        known = run.commit in self.scores and run.val_bpb is not None
        estimate = self.scores.estimate(run.commit) if known else None
        other = known and self.tip and run.commit != self.tip
        difference = self.scores.difference(run.commit, self.tip) if other else None
        at = utc(self.now)
        self.store.add_verdict(
            Verdict(run.run, decision, "made-up", why, at, baseline, self.tip, p, estimate, difference, {}, "", at)
        )


def curve(chance: random.Random) -> list[list[float]]:
    """A loss that falls."""
    return [[i / 100, round(2.6 + 6 / (1 + i / 4) + chance.gauss(0, 0.02), 4)] for i in range(1, 101)]


def make_places(root: Path) -> LabPaths:
    """An empty repository."""
    root.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "-q", "-b", BRANCH, str(root)], check=True)
    return LabPaths(root)


def make_lab(root: Path, count: int, seed: int = 1) -> LabPaths:
    """A repository whose memory holds this many runs."""
    places = make_places(root)
    with open_store(places, utc(BEGIN), lambda _: None) as store, store.write():
        fill(MadeUp(store, places, random.Random(seed)), count)
    return places


def data_of(root: Path, count: int, at_utc: str = "2026-03-02T06:00:00Z") -> PageData:
    """Return what the page says of a new lab."""
    paths = make_lab(root, count) if count else make_places(root)
    with read_store(paths) as store:
        return read_data(store, paths, at_utc)


def fill(made: MadeUp, count: int) -> None:
    """Runs, judges and plans until there are so many runs."""
    chance = made.chance
    parent_of = {}
    first = made.commit("", "baseline", None, "", "MATRIX_LR", 0.0)
    parent_of[first] = ""
    for number in range(count):
        if number < 2 and count > 1:
            made.run(first, "")
        elif made.again:
            commit = made.again.pop()
            made.run(commit, parent_of[commit])
        elif number:
            name, category = chance.choice(NAMES), chance.choice(CATEGORIES)
            room = max(0.0, made.truth[made.tip] - 0.9690) / 0.029
            better = -abs(chance.gauss(0, 0.003)) * room if chance.random() < 0.15 else abs(chance.gauss(0, 0.003))
            title = f"{chance.choice(['raise', 'lower', 'halve', 'drop', 'schedule'])} {name.lower()} <{number}> & see"
            tip = made.tip
            commit = made.commit(tip, title, chance.choice(EMITTERS), category, name, better)
            parent_of[commit] = tip
            made.run(commit, tip, chance.choice(FAULTS) if chance.random() < 0.08 else None)
        else:
            made.run(first, "")
    if count > 1:
        details = {"phase": "exploit"}
        plan = Plan(
            "p1",
            utc(made.now),
            "recombine",
            "attention",
            made.tip,
            "experiment",
            "Two near misses.",
            None,
            None,
            details,
        )
        made.store.add_plan(plan)
