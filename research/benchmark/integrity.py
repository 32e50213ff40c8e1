"""Notes what a train.py does to its own measurement: what it changed, what it read, when it took its batches.

prepare.py reports to one Watch, and asks it for the reasons not to trust a score. It is made for edits that move the
score without improving the model, honest ones among them. A program that is written to deceive can change this module.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median_low
from time import perf_counter, process_time
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import torch
import torch.nn.functional as F

from research.benchmark import process
from research.benchmark.exits import stop

_CLOCKS = {
    name: getattr(time, name)
    for base in ("perf_counter", "monotonic", "time", "process_time", "thread_time")
    for name in (base, base + "_ns")
}
_LOSSES: tuple[tuple[Any, str], ...] = (
    *((F, name) for name in ("cross_entropy", "nll_loss", "log_softmax", "softmax")),
    *((torch, name) for name in ("log_softmax", "softmax", "logsumexp")),
    (torch.nn.CrossEntropyLoss, "forward"),
    (torch._C._nn, "cross_entropy_loss"),
)
OTHERS_S = 1.0
"""Processor seconds that other processes may compute for a pocket run while it trains: an honest one starts none."""
_SHARD = re.compile(r"(?:.*[/\\])?(shard_\d+\.[\w.]+)\Z")


# What was changed


def _content(name: str, value: object) -> object:
    """Return the part of a value that must not change: a function's code and defaults, a constant's copy, or itself."""
    value = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
    if isinstance(value, property):
        return [_content(name, part) for part in (value.fget, value.fset)]
    if isinstance(value, FunctionType):
        return value, value.__code__, value.__defaults__, dict(value.__kwdefaults__ or {})
    if isinstance(value, (dict, list)) and name.isupper():
        return value, value.copy()
    return value


class Snapshot:
    """A copy of modules and torch's loss functions as they were when it was made."""

    def __init__(self, modules: Sequence[ModuleType]) -> None:
        self._kept = [(owner, name, _content(name, getattr(owner, name))) for owner, name in _LOSSES]
        self._kept += [entry for module in modules for entry in _entries(module, module.__name__)]

    def changed(self) -> list[str]:
        """Return the names of functions and values that have changed since."""
        now = ((owner, name, _content(name, vars(owner).get(name)), kept) for owner, name, kept in self._kept)
        return [f"{owner.__name__}.{name}" for owner, name, value, kept in now if value != kept]


def changed_clocks() -> list[str]:
    """Return the names of the clocks that are not Python's own, or not what they were."""
    known = {name: clock for name, clock in _CLOCKS.items() if type(clock) is BuiltinFunctionType}
    return [f"time.{name}" for name in _CLOCKS if getattr(time, name) is not known.get(name)]


def _entries(owner: Any, module: str) -> Iterator[tuple[Any, str, object]]:
    """Yield the functions, classes and values of a module, and the members of its classes."""
    for name, value in [*vars(owner).items()]:
        if not name.startswith("__") or isinstance(value, FunctionType):
            yield owner, name, _content(name, value)
        if isinstance(value, type) and value.__module__ == module and value is not owner:
            yield from _entries(value, module)


def check_contract(fixed: Mapping[str, object], now: Mapping[str, object]) -> None:
    """End a recorded run whose train.py changed the contract that it was launched under.

    Args:
        fixed: The contract's constants as they were fixed; the variables are compared with those at launch.
        now: The same constants as they are now.
    """
    launched = process.launch_environment()
    if "AUTORESEARCH_RUN_DIR" not in launched:
        return
    moved = [f"prepare.{name}" for name, value in fixed.items() if now[name] != value]
    for name in ("AUTORESEARCH_PROFILE", "AUTORESEARCH_TIME_BUDGET", "AUTORESEARCH_SEED"):
        moved += [name] if os.environ.get(name, "") != launched.get(name, "") else []
    if moved:
        stop(f"train.py changed {', '.join(moved)}: a run is scored under the contract that it was launched under")


# What was read, and when


@dataclass
class Feed:
    """The record of what one loader has handed out."""

    split: str = "train"
    docs: int = 0  # documents of the split
    batches: int = 0
    tokens: int = 0
    epochs: float = 0.0  # documents placed / documents of the split
    waited_s: float = 0.0  # seconds that next() waited for data, the first batch not counted
    first: float = 0.0  # perf_counter of the first batch handed out
    last: float = 0.0  # perf_counter of the last one


class Watch:
    """The record of what a run reads and does, as prepare.py sees it."""

    def __init__(self, clock: process.Clock) -> None:
        self.clock = clock
        self.feeds: dict[str, list[Feed]] = {"train": [], "val": []}
        self.handed: list[tuple[float, int]] = []  # elapsed_s and tokens of every training batch
        self.opened: dict[str, None] = {}  # shards that something else than prepare.py opened, in order
        self.reading = False  # whether prepare.py itself is opening them
        self.clocks: dict[str, None] = {}  # names of clocks that were changed at some time
        self.others_s = 0.0  # processor seconds of other processes until the first batch

    def note_open(self, event: str, args: tuple[Any, ...]) -> None:
        """Note that a shard is opened: a hook for sys.addaudithook."""
        if event == "open" and not self.reading:
            path = args[0].decode("utf-8", "replace") if isinstance(args[0], bytes) else args[0]
            if isinstance(path, str) and (match := _SHARD.match(path)):
                self.opened[match[1]] = None

    @contextmanager
    def own_reading(self) -> Iterator[None]:
        """Mark the shards that are opened inside as opened by prepare.py itself."""
        before, self.reading = self.reading, True
        try:
            yield
        finally:
            self.reading = before

    def new_feed(self, split: str, docs: int) -> Feed:
        """Note a new loader of a split."""
        self.feeds[split].append(Feed(split, docs))
        return self.feeds[split][-1]

    def hand(self, feed: Feed, tokens: int, epochs: float, asked: float) -> None:
        """Note a batch of so many tokens that a loader hands out, and when it was asked for."""
        feed.last = perf_counter()
        if feed.batches:
            feed.waited_s += feed.last - asked
        else:
            feed.first = feed.last
        feed.batches += 1
        feed.tokens += tokens
        feed.epochs = epochs
        if feed.split == "train":
            if not self.handed:
                self.others_s = process.others_s()
            self.handed.append((self.clock.elapsed_s(), tokens))
            self.clocks.update(dict.fromkeys(changed_clocks()))

    def seconds(self, budget_s: float, evaluation: Pace) -> dict[str, Any]:
        """Return this run's seconds by its clock, and those on the wall where the name says so.

        What is neither budget nor data preparation is uncounted, whatever train.py says. outside_budget_s has the
        seconds until the first batch, until the last, after it, and in the evaluation beyond what scoring takes.
        """
        clock, before = self.clock, evaluation.began
        outside = {}
        if self.handed:
            first, last = self.handed[0][0], self.handed[-1][0]
            outside["before_first_batch"] = round(first - clock.preparing_s, 3)
            outside["uncounted_steps"] = round(max(0.0, last - first - budget_s), 3)
            outside["after_last_batch"] = round(before - last, 3)
        return {
            "kind": "processor" if clock.read is process_time else "wall",
            "before_evaluation_s": round(before, 3),
            "wall_before_evaluation_s": round(evaluation.began_wall, 3),
            "preparing_s": round(clock.preparing_s, 3),
            "evaluation_s": round(evaluation.ended - before, 3),
            "uncounted_s": round(max(0.0, before - clock.preparing_s - budget_s), 3),
            "outside_budget_s": outside | {"evaluation": round(evaluation.unusual_s(), 3)},
        }

    def facts(self, budget_s: float) -> dict[str, Any]:
        """Return the numbers of what was handed out. waited_share is of the time from the first batch to the last."""
        feeds = self.feeds["train"]
        feed = feeds[-1] if feeds else Feed()
        seconds = feed.last - feed.first
        begun = self.handed[-1][0] - budget_s if self.handed else 0.0
        return {
            "batches": feed.batches,
            "tokens": feed.tokens,
            "handed_tokens": sum(one.tokens for one in feeds),
            "tokens_before_budget": sum(tokens for at, tokens in self.handed if at < begun),
            "held_out_tokens": sum(one.tokens for one in self.feeds["val"]),  # the scoring has a reader of its own
            "epochs": round(feed.epochs, 4),
            "waited_s": round(feed.waited_s, 4),
            "waited_share": round(feed.waited_s / seconds, 6) if seconds > 0 else None,
        }

    def reasons(self, changed: Sequence[str], held_out: Sequence[str]) -> list[str]:
        """Return the reasons not to trust the score, a sentence each, given the names of what train.py changed and of
        the shards that are held out."""
        found = []
        if names := [*dict.fromkeys([*changed, *self.clocks, *changed_clocks()])]:
            found.append(f"train.py changed {', '.join(names)}, which it is measured by")
        stems = [name.partition(".")[0] for name in held_out]
        secret = [name for name in self.opened if name.partition(".")[0] in stems]
        if secret:
            found.append(f"train.py opened held-out text itself: {', '.join(secret)}")
        if others := [name for name in self.opened if name not in secret]:
            found.append(f"train.py opened training text itself, past the loader: {', '.join(others)}")
        elsewhere_s = process.others_s() - self.others_s
        if self.handed and self.clock.read is process_time and elsewhere_s > OTHERS_S:
            found.append(f"other processes computed {elsewhere_s:.0f} s for it, which its clock did not count")
        return found


class Pace:
    """The seconds of the evaluation, call by call, so that a call that does more than score stands out."""

    def __init__(self, clock: process.Clock, device: torch.device) -> None:
        self.clock, self.device = clock, device
        self.began, self.began_wall = clock.elapsed_s(), clock.wall_s()
        self.ended = self.began
        self.calls: dict[str, list[float]] = {}

    @contextmanager
    def measure(self, kind: str) -> Iterator[None]:
        """Measure a call of the model."""
        began = self.now()
        yield
        self.calls.setdefault(kind, []).append(self.now() - began)

    def now(self) -> float:
        """Return the time once the device has finished its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return self.clock.elapsed_s()

    def end(self) -> None:
        """Note that the evaluation has ended."""
        self.ended = self.now()

    def spent_s(self, kind: str) -> float:
        """Return the seconds of all calls of a kind except the first, which may compile."""
        return sum(self.calls.get(kind, ())[1:])

    def unusual_s(self) -> float:
        """Return the seconds of the evaluation that calls of the usual length do not explain."""
        usual = sum(len(seconds) * median_low(seconds) for seconds in self.calls.values())
        return max(0.0, self.ended - self.began - usual)
