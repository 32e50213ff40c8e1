"""Times the kernels against the plain functions that they stand for, forward and backward, on a GPU.

    AUTORESEARCH_PROFILE=official uv run scripts/bench_kernels.py

Prints milliseconds of both for one forward's tokens at train.py's shape, in turns, the plain functions compiled as
train.py compiles them, and their ratio. Take GPU and shape into account: what is faster on one need not be on another.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("AUTORESEARCH_PROFILE", "official")

import torch  # noqa: E402

from research.benchmark import kernels  # noqa: E402

WARM_UP, CALLS = 3, 10  # calls before a timing, and in one: a call takes 0.1 to 10 ms, an event's clock ticks in 0.5 us


def both_ways(function: Callable, inputs: tuple) -> Callable[[], None]:
    """Return a call of a function and its backward, with gradients of ones."""
    wanted = [x for x in inputs if torch.is_tensor(x) and x.requires_grad]
    ones: list[torch.Tensor] = []

    def call() -> None:
        out = function(*inputs)
        out = out if isinstance(out, tuple) else (out,)
        if not ones:
            ones.extend(map(torch.ones_like, out))
        torch.autograd.grad(out, wanted, ones)

    return call


def milliseconds(call: Callable[[], None]) -> float:
    """Of one call, on the GPU's clock."""
    for _ in range(WARM_UP):
        call()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(CALLS):
        call()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / CALLS


def inputs_of_kernels() -> dict[str, tuple]:
    """Return what each kernel is called with, at train.py's own shape."""
    import train as t

    rows, tokens, hidden = t.DEVICE_BATCH_SIZE, t.DEVICE_BATCH_SIZE * t.T, t.MLP_RATIO * t.WIDTH
    vocabulary, shape = t.PROFILE.vocab_size, (rows, t.T, t.HEADS)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=t.DEVICE, dtype=t.DTYPE, requires_grad=True)

    frequency = 1 / torch.arange(1, vocabulary + 1, device=t.DEVICE)  # Zipf's, as in text
    ids = torch.multinomial(frequency, tokens, replacement=True).view(rows, t.T)
    x, head, ahead = some(tokens, t.WIDTH), some(vocabulary, t.WIDTH), torch.tensor(t.AHEAD, device=t.DEVICE)
    qkv = some(rows, t.T, 3, t.HEADS, t.HEAD_DIM), *t.rotary(), some(*shape), some(*shape, t.HEAD_DIM)
    found = {
        "mlp": (x, some(hidden, t.WIDTH), some(t.WIDTH, hidden)),
        "qkv": qkv,
        "head_loss": (x, head, ids, ahead, t.SOFTCAP),
        "embedding": (ids, head),
    }
    return found | ({"norm_filter": (x.view(rows, t.T, -1), some(t.FILTER, t.WIDTH))} if t.FILTER else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("bench_kernels: there is no CUDA device here; the kernels are tested without one by uv run pytest")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, median of {arguments.rounds} rounds")
    print(f"{'':<12} {'plain ms':>9} {'kernel ms':>9}  ratio (min to max)")
    for what, inputs in inputs_of_kernels().items():
        one = getattr(kernels, what)
        calls = both_ways(torch.compile(one.plain, dynamic=False), inputs), both_ways(one.fused, inputs)
        times = [tuple(map(milliseconds, calls)) for _ in range(arguments.rounds)]
        ratios = [a / b for a, b in times]
        a, b = (statistics.median(column) for column in zip(*times, strict=True))
        low, high = min(ratios), max(ratios)
        print(f"{what:<12} {a:9.3f} {b:9.3f}  {statistics.median(ratios):5.2f} ({low:.2f} to {high:.2f})", flush=True)


if __name__ == "__main__":
    main()
