"""Compares how fast two runs trained, so that a machine that was slower in one of them is not taken for a change.

A run that trained on fewer tokens scores worse. Where the change itself explains that (a larger model, another batch or
window, a kernel that it lost) it is the change's own cost; where nothing in the code explains it, it is the machine's.
"""

from __future__ import annotations

from collections.abc import Sequence

from research.core.records import Run
from research.core.settings import SETTINGS

KERNELS = "kernels"  # name of the run's fact that names the kernels that ran


def gpu_tokens_per_second(run: Run) -> float | None:
    """Return a run's tokens per second of counted training; None where it reported none, or ran on a CPU.

    On a CPU the speed changes from run to run with whatever else runs on the machine.
    """
    metrics = run.metrics
    if metrics is None or "cpu" in (run.facts.get("device_class") or run.device or "").lower():
        return None
    if metrics.training_seconds <= 0.0 or metrics.total_tokens_M <= 0.0:
        return None
    return metrics.total_tokens_M * 1e6 / metrics.training_seconds


def unexplained(run: Run, others: Sequence[Run]) -> str:
    """Return how much faster or slower a scored run trained than its parent's, where its change does not explain that.

    Returns:
        One phrase, "" where the speeds agree, are unknown, or differ by what the change did.
    """
    mine = gpu_tokens_per_second(run)
    speeds = sorted(speed for other in others if (speed := gpu_tokens_per_second(other)) is not None)
    if mine is None or not speeds or _has_other_shape(run, others[-1]):
        return ""
    ratio = mine / speeds[len(speeds) // 2]
    if ratio < 1.0 - SETTINGS.throughput_tolerance:
        return f"this machine was {1.0 - ratio:.0%} slower in this run"
    if ratio > 1.0 + SETTINGS.throughput_tolerance:
        return f"this machine was {1.0 - 1.0 / ratio:.0%} slower in the runs that it is compared with"
    return ""


def lost_kernels(run: Run, others: Sequence[Run]) -> str:
    """Return a sentence on the tokens that a change's other kernels cost, "" where kernels are the same or unknown."""
    theirs = next((other for other in reversed(others) if other.facts.get(KERNELS)), None)
    now, before = run.facts.get(KERNELS), theirs.facts.get(KERNELS) if theirs else None
    if theirs is None or not now or now == before or run.metrics is None or theirs.metrics is None:
        return ""
    fewer = theirs.metrics.total_tokens_M - run.metrics.total_tokens_M
    return f"other kernels ran than for its parent ({now}; before {before}): {fewer:+.1f} M fewer training tokens"


def _has_other_shape(run: Run, other: Run) -> bool:
    """Return whether two programs differ in what decides their speed: size, tokens of a step, memory, kernels."""
    mine, theirs = run.metrics, other.metrics
    if mine is None or theirs is None or not mine.num_steps or not theirs.num_steps:
        return True
    pairs = (
        (mine.num_params_M, theirs.num_params_M),
        (mine.total_tokens_M / mine.num_steps, theirs.total_tokens_M / theirs.num_steps),
        (mine.peak_vram_mb, theirs.peak_vram_mb),
    )
    same = all(abs(one - two) <= SETTINGS.shape_tolerance * max(one, two) for one, two in pairs)
    return not same or run.facts.get(KERNELS) != other.facts.get(KERNELS)
