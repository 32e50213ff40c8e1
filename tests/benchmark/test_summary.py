"""A run while it trains: every loss is kept, the mean of its micro-batches, and a diverged run is ended."""

from __future__ import annotations

import gc
import os
import pty
import sys
import time
from contextlib import suppress

import pytest
import torch

from research.benchmark import exits, summary


@pytest.fixture
def progress():
    yield summary.Progress(tokens_per_step=10, uncounted_steps=1, budget_s=2, clock=time.perf_counter)
    gc.enable()
    gc.unfreeze()


def test_every_loss_is_kept_and_a_run_that_diverges_is_ended(progress, capsys):
    progress.read(1, 0.0, [torch.tensor(3.0)])
    progress.read(2, 0.5, [torch.tensor(1.0), torch.tensor(4.0)])
    assert progress.curve == [(0.0, 3.0), (0.5, 2.5)]
    with pytest.raises(SystemExit) as ended:
        progress.read(3, 0.6, [torch.tensor(float("nan")), torch.tensor(2.0)])  # not the last micro-batch
    assert ended.value.code == exits.EXIT_DIVERGED
    assert "step 3 is nan" in capsys.readouterr().err


def test_a_log_gets_a_line_now_and_then_that_tells_the_mean_loss_since_the_last_one(progress, capsys):
    for step, loss in enumerate((8.0, 2.0, 3.0, 4.0, 5.0), 1):
        progress.read(step, 0.1 * step, [torch.tensor(loss)])
        progress.show(step, 0.009 * step)  # of 2 s of training: a line is due every 0.02 s
    progress.end(5, 0.0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["1", "4", "5"]
    assert [line.partition("loss")[2].split()[0] for line in lines] == ["8.0000", "3.0000", "5.0000"]
    assert lines[-1].endswith("0 s left")


def test_a_terminal_gets_one_line_that_rewrites_itself(monkeypatch):
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        progress = summary.Progress(tokens_per_step=10, uncounted_steps=0, budget_s=2, clock=time.perf_counter)
        progress.curve.append((0.0, 3.0))
        progress.show(1, 0.5)
        progress.end(2, 0.0)
        monkeypatch.undo()
    shown = b""
    with suppress(OSError):  # the end of what a terminal shows that nobody writes to any more
        while piece := os.read(master, 4096):
            shown += piece
    os.close(master)
    gc.enable()
    assert shown.count(b"\rstep") == 2
    assert shown.count(b"\n") == 1


def test_a_curve_is_thinned_to_means_of_stretches():
    curve = [(i / 250, float(i)) for i in range(250)]
    points = summary.thinned(curve)
    assert len(points) == 84
    assert points[0] == (0.004, 1.0)


def test_memory_that_does_not_suffice_names_the_value_to_set(capsys):
    def main():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8 GiB\nand more")

    with pytest.raises(SystemExit) as ended:
        exits.run_training(main, 8)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    first = "CUDA out of memory. Tried to allocate 8 GiB"
    assert said == f"CUDA out of memory: set DEVICE_BATCH_SIZE = 4 in train.py; it is 8. {first}\n"


def test_a_batch_that_does_not_divide_says_which_do(capsys):
    with pytest.raises(SystemExit):
        exits.check_settings(2**11, 24, 256, 128, 32)
    assert "6,144 and 12,288 are" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        exits.check_settings(2**11, 8, 256, 100, 32)
    assert "WIDTH = 100 must be a multiple" in capsys.readouterr().err
