"""Writes what a person sees of a run, and its part of score.json: progress, warnings, complaints, the summary."""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from research.benchmark.exits import diverged

LINES = 100  # of a run's progress in a log
LOSS_LIMIT = 100.0  # nats a token; an untrained model is at ln(vocabulary), 9
UNCOUNTED_STEPS = 11  # steps before the clock starts in the public contract
OVERFIT_EPOCHS = 4  # beyond it, repeated text no longer stands in for new text (Muennighoff 2023)
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "B200": 2250e12, "4090": 165e12}  # dense bf16


# While it trains


class Pending(NamedTuple):
    """A step's loss on its way to the host."""

    step: int
    fraction: float
    loss: torch.Tensor
    done: Any  # torch.cuda.Event


class Progress:
    """The progress of a run while it trains: its losses, and a line on them from time to time.

    Losses are read a step late, so that the GPU never waits for the host.

    The line holds the mean of the losses since the line before. It rewrites itself on a terminal; elsewhere a run has
    about a hundred of them. Python's garbage collector rests meanwhile: a collection within a step costs half a second.

    The first uncounted_steps are not on the clock, which clock() reads.
    """

    def __init__(self, tokens_per_step: int, uncounted_steps: int, budget_s: float, clock: Callable[[], float]) -> None:
        self.tokens_per_step, self.uncounted_steps = tokens_per_step, uncounted_steps
        self.budget_s, self.clock = budget_s, clock
        self.curve: list[tuple[float, float]] = []  # (elapsed fraction of the budget, loss in nats) of every step
        self.shown = 0  # losses of the curve that were printed
        self.pending: Pending | None = None
        self.tty = sys.stdout.isatty()
        self.every_s = 0.5 if self.tty else budget_s / LINES
        self.due = 0.0

    def read(self, step: int, fraction: float, losses: Sequence[torch.Tensor]) -> None:
        """Start reading a step's loss, the mean of its micro-batches', and wait for that of the step before."""
        if step == 1:
            gc.collect()
            gc.freeze()
            gc.disable()
        loss = losses[0] if len(losses) == 1 else torch.stack(list(losses)).mean()
        if loss.device.type != "cuda":
            self._add(step, fraction, loss.item())
            return
        before, done = self.pending, torch.cuda.Event()
        host = torch.empty((), pin_memory=True).copy_(loss, non_blocking=True)
        done.record()
        self.pending = Pending(step, fraction, host, done)
        self._take(before)

    def _take(self, pending: Pending | None) -> None:
        if pending is not None:
            pending.done.synchronize()
            self._add(pending.step, pending.fraction, pending.loss.item())

    def _add(self, step: int, fraction: float, loss: float) -> None:
        """Keep a loss; end the run where it is not a number or above LOSS_LIMIT."""
        if not loss <= LOSS_LIMIT:
            diverged(f"the loss at step {step} is {loss:.4g}: training diverged; lower the learning rates")
        self.curve.append((fraction, loss))

    def show(self, step: int, elapsed_s: float, last: bool = False) -> None:
        """Print a line, if it is time for one."""
        now = time.perf_counter() if self.tty else elapsed_s
        if not self.curve or (now < self.due and not last) or (self.shown == len(self.curve) and not self.tty):
            return
        self.due = now + self.every_s
        losses = [loss for _, loss in self.curve[self.shown :] or self.curve[-1:]]
        self.shown = len(self.curve)
        counted = max(0, step - self.uncounted_steps)
        line = (
            f"step {step:5d} {100 * min(1, elapsed_s / self.budget_s):5.1f} %  loss {sum(losses) / len(losses):7.4f}  "
            f"{counted * self.tokens_per_step / elapsed_s if counted else 0:11,.0f} tok/s  "
            f"{max(0.0, self.budget_s - elapsed_s):4.0f} s left"
        )
        print(f"\r{line}" if self.tty else line, end="" if self.tty and not last else "\n", flush=True)

    def end(self, step: int, started: float) -> float:
        """Wait for the last step, show the last line, and return the seconds since `started`."""
        if self.pending is not None:
            torch.cuda.synchronize()
        elapsed = self.clock() - started
        self._take(self.pending)
        self.show(step, elapsed, last=True)
        gc.enable()
        return elapsed


# When it has been scored


class Probes(NamedTuple):
    """The results of the probes of a scored model."""

    shifts: Mapping[str, float]  # nats by which losses moved that must not move, by what was changed
    same_state: bool  # no parameter or buffer changed while it was scored
    loss_mean: float  # nats between the reported losses and the cross-entropies of its logits, on average
    loss_token: float  # of the worst token
    trouble: str  # why it could not be probed, "" if it could

    def facts(self, checks: Mapping[str, str], tolerance_nats: Mapping[str, float], seconds: float) -> dict[str, Any]:
        """Return the results as score.json holds them."""
        return {
            "seconds": round(seconds, 3),
            "trouble": self.trouble,
            "causal": {
                "check": checks["causal"],
                "shift_nats": finite(self.shifts),
                "state_unchanged": self.same_state,
            },
            "loss": {"check": checks["loss"], **finite({"mean_nats": self.loss_mean, "token_nats": self.loss_token})},
            "tolerance_nats": dict(tolerance_nats),
        }


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return values with None for a difference that could not be told: JSON has no infinity."""
    return {k: v if math.isfinite(v) else None for k, v in values.items()}


def complaints(found: Probes, tolerance_nats: Mapping[str, float]) -> Iterator[str]:
    """Yield a sentence for every result of the probes beyond the tolerances."""
    if found.trouble:
        yield f"probes: {found.trouble}"
        return
    for where, shift in found.shifts.items():
        if shift <= tolerance_nats["causal"]:
            continue
        if where == "first batch again":
            yield (
                f"causal probe: the first batch scored again gives other losses (by {shift:.3g} nats): "
                "the model keeps something from what it was scored on"
            )
        else:
            yield f"causal probe: replacing all {where} moves losses that must not see them by {shift:.3g} nats"
    if not found.same_state:
        yield "causal probe: a parameter or buffer changed during the evaluation"
    if not (found.loss_mean <= tolerance_nats["loss_mean"] and found.loss_token <= tolerance_nats["loss_token"]):
        yield (
            f"loss probe: the reported losses are not the cross-entropy of model(x): off by {found.loss_mean:.3g} nats "
            f"on average, {found.loss_token:.3g} at worst"
        )


def thinned(curve: Sequence[tuple[float, float]], points: int = 100) -> list[tuple[float, ...]]:
    """Return about `points` (fraction, loss) pairs, each the mean of its stretch of the curve."""
    size = max(1, math.ceil(len(curve) / points))
    stretches = [curve[i : i + size] for i in range(0, len(curve), size)]
    return [tuple(round(sum(c) / len(s), 5) for c in zip(*s, strict=True)) for s in stretches]


def doubt(score: dict[str, Any], reasons: Sequence[str]) -> None:
    """Add reasons not to trust a score to it, a sentence each, and print them as warnings."""
    for reason in reasons:
        if reason not in score["suspect"]:
            score["suspect"].append(reason)
            print(f"warning: this score is suspect: {reason}", file=sys.stderr, flush=True)


def add_report(score: dict[str, Any], uncounted_steps: int | None, said: Mapping[str, Any]) -> dict[str, str]:
    """Add what train.py reports to a score, warn of what is odd, and return our lines of the summary."""
    clock, epochs = score["clock"], score["data"]["epochs"]
    if uncounted_steps is not None:
        clock["uncounted_steps"] = uncounted_steps
        if uncounted_steps > UNCOUNTED_STEPS:
            doubt(score, [f"it left its first {uncounted_steps} steps uncounted, not {UNCOUNTED_STEPS}"])
    reported = {"seed": score["seed"], "epochs": epochs, "uncounted_seconds": clock["uncounted_s"], **said}
    score["reported"] = reported | {"loss_curve": thinned(said.get("loss_curve", ()))}
    if epochs > OVERFIT_EPOCHS:
        what = "the training text was repeated so often that the score measures overfitting"
        print(f"warning: {epochs:.1f} epochs: {what}; add text or lower the budget", file=sys.stderr, flush=True)
    return {
        "val_bpb_exact": f"{score['val_bpb_exact']:.6f}",
        "epochs": f"{epochs:.2f}",
        "contract": score["contract"],
        "causal_check": score["probes"]["causal"]["check"],
        "loss_check": score["probes"]["loss"]["check"],
        "uncounted_seconds": f"{clock['uncounted_s']:.1f}",
    }


class Facts(NamedTuple):
    """The facts of its run that train.py reports once it is scored."""

    parameters: int  # of the model
    depth: int  # layers
    attention: str  # name of the attention that it used
    steps: int  # of the optimizer, in all
    uncounted_steps: int  # first steps, which were not on the clock
    tokens_per_step: int
    flops_per_token: float  # forward and backward
    training_s: float  # counted seconds
    marks: tuple[float, float, float, float]  # prepare.clock() at the start, before training, after it, after scoring
    peak_mb: float  # peak of the GPU's memory while training, in MiB
    loss_curve: Sequence[tuple[float, float]]  # (elapsed fraction of the budget, loss in nats) of every step

    def tokens_per_s(self) -> float:
        """Return the tokens trained on in a counted second."""
        return (self.steps - self.uncounted_steps) * self.tokens_per_step / self.training_s

    def public_lines(self, val_bpb: float, device: str) -> dict[str, str]:
        """Return the nine lines of the public summary, in their order."""
        peak_flops = next((flops for name, flops in PEAK_FLOPS.items() if name in device), math.inf)
        return {
            "val_bpb": f"{val_bpb:.6f}",
            "training_seconds": f"{self.training_s:.1f}",
            "total_seconds": f"{self.marks[3] - self.marks[0]:.1f}",
            "peak_vram_mb": f"{self.peak_mb:.1f}",
            "mfu_percent": f"{100 * self.flops_per_token * self.tokens_per_s() / peak_flops:.2f}",
            "total_tokens_M": f"{self.steps * self.tokens_per_step / 1e6:.1f}",
            "num_steps": str(self.steps),
            "num_params_M": f"{self.parameters / 1e6:.1f}",
            "depth": str(self.depth),
        }

    def phases_s(self, began: float) -> dict[str, float]:
        """Return the seconds of each phase of the run, which began so long before the clock of the marks was at 0."""
        start, ready, trained, end = self.marks
        phases = {
            "import": start + began,
            "start": ready - start,
            "uncounted_steps": trained - ready - self.training_s,
            "training": self.training_s,
            "evaluation": end - trained,
        }
        return {name: round(seconds, 3) for name, seconds in phases.items()}


def show_summary(lines: Mapping[str, str]) -> None:
    """Print the summary."""
    print("---")
    for key, value in lines.items():
        print(f"{key + ':':<17} {value}")
