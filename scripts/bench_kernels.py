"""Times train.py's kernels against the plain functions that they stand for, forward and backward, on a GPU.

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

WARM_UP, CALLS = 3, 10  # calls before a timing, and in one: a call takes 0.1 to 10 ms, an event's clock ticks in 0.5 us


def both_ways(function: Callable, inputs: tuple, extra: tuple = ()) -> Callable[[], None]:
    """Calls a function and its backward once, with gradients of ones."""
    wanted = [x for x in inputs if x.requires_grad]
    ones: list[torch.Tensor] = []

    def call() -> None:
        out = function(*inputs, *extra)
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


def pairs() -> dict[str, tuple[Callable, Callable, tuple, tuple]]:
    """{what: (plain function, kernel, inputs, further arguments)} at train.py's own shape."""
    import train as t

    if not t.FUSED:
        sys.exit("bench_kernels: train.py's kernels are off (FUSED): they need CUDA and the official profile")
    rows, tokens, hidden = t.DEVICE_BATCH_SIZE, t.DEVICE_BATCH_SIZE * t.T, t.MLP_RATIO * t.WIDTH
    vocabulary = t.PROFILE.vocab_size
    x, shape = t.some(tokens, t.WIDTH), (rows, t.T, t.HEADS)
    frequency = 1 / torch.arange(1, vocabulary + 1, device=t.DEVICE)  # Zipf's, as in text
    ids = torch.multinomial(frequency, tokens, replacement=True).view(rows, t.T)
    head, ahead = t.some(vocabulary, t.WIDTH), torch.tensor(t.AHEAD, device=t.DEVICE)
    qkv, gate, value = t.some(*shape[:2], 3, t.HEADS, t.HEAD_DIM), t.some(*shape), t.some(*shape, t.HEAD_DIM)
    found = {
        "MLP": (t.plain_mlp, t.fused_mlp, (x, t.some(hidden, t.WIDTH), t.some(t.WIDTH, hidden)), ()),
        "q k v": (t.plain_qkv, t.fused_qkv, (qkv, *t.rotary(), gate, value), ()),
        "loss": (t.plain_head_loss, t.fused_head_loss, (x, head), (ids.flatten(), ahead)),
        "embedding": (lambda w, i: t.F.embedding(i, w), lambda w, i: t.fused_lookup(i, w), (head,), (ids,)),
    }
    if t.FILTER:
        found["filter"] = (t.plain_read, t.fused_read, (x.view(rows, t.T, -1), t.some(t.FILTER, t.WIDTH)), ())
    return {what: (torch.compile(plain, dynamic=False), *rest) for what, (plain, *rest) in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("bench_kernels: there is no CUDA device here; the kernels are tested without one by uv run pytest")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, median of {arguments.rounds} rounds")
    print(f"{'':<10} {'plain ms':>9} {'kernel ms':>9}  ratio (min to max)")
    for what, (plain, kernel, inputs, extra) in pairs().items():
        calls = both_ways(plain, inputs, extra), both_ways(kernel, inputs, extra)
        times = [tuple(map(milliseconds, calls)) for _ in range(arguments.rounds)]
        ratios = [a / b for a, b in times]
        a, b = (statistics.median(column) for column in zip(*times, strict=True))
        low, high = min(ratios), max(ratios)
        print(f"{what:<10} {a:9.3f} {b:9.3f}  {statistics.median(ratios):5.2f} ({low:.2f} to {high:.2f})", flush=True)


if __name__ == "__main__":
    main()
