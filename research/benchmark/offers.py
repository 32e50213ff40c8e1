"""Finds the attention and the kernels that are worth using on a card: they agree with plain PyTorch, and are faster.

    python -m research.benchmark.offers ROWS FILE ITEM...     times items into a JSON file, for find()

It is done once for a card, a torch and these files, at a fixed shape that no experiment moves, in a process of its own
that an optional kernel may crash. The result is kept in AUTORESEARCH_HOME/offered and is a part of the contract.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from research.benchmark import attention, kernels
from research.benchmark.cards import Card
from research.benchmark.process import one_at_a_time, write_atomically

WIDTH, HEAD_DIM, MLP_RATIO, LENGTH, VOCABULARY, TAPS = 640, 128, 4, 2048, 8192, 3
AHEAD, SOFTCAP = (0.5, 0.25), 15.0
WINDOWS = (256, 2048)  # tokens; the sum of their times decides
AGREEING_ROWS = 2
WORTH = 1.02  # times as fast as what it replaces, from which something is used: repeats differ by one per cent
WARM_UP, CALLS, ROUNDS = 3, 10, 5  # calls before a timing, and in one: a call takes 0.1 to 10 ms
LIMIT_S = 300.0  # of one process: compiling takes five seconds an item, cold
PACKAGES = ("flash-attn-3", "flash-attn-4", "nvidia-cutlass-dsl", "triton")  # another version is another result

Times = dict[str, Any]
"""Milliseconds forward and backward by item (`attention fa4`, `kernel mlp`), or a text that says why there are none."""


@dataclass(frozen=True)
class Offer:
    """The attention and the kernels that a run may use."""

    attention: tuple[str, ...]  # names, the best first
    kernels: tuple[str, ...]  # names
    times: Mapping[str, Any] = field(default_factory=dict)  # Times as they were measured


PLAIN = Offer(("sdpa",), ())


def find(card: Card, root: Path) -> Offer:
    """Return the offer for a card, from the folder of the profile, or measured now and kept there.

    On a machine that is new for every run, where measuring takes too long, all that is installed is offered untimed.
    """
    if os.environ.get("AUTORESEARCH_SEALED"):
        fitting = sorted(one.name for one in kernels.KERNELS if card.capability >= one.capability)
        return Offer(attention.installed(), tuple(fitting))
    known = _conditions(card)
    name = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]
    file = root / "offered" / f"{name}.json"
    with one_at_a_time(file.parent):
        if not (times := _read(file).get("times")):
            times = _measure(card, file)
            write_atomically(file, json.dumps({**known, "times": times}, indent=1) + "\n")
    return decide(times)


def decide(times: Times) -> Offer:
    """Return the offer by these times: attention from the fastest on, and kernels faster than plain PyTorch.

    An attention has one time, a kernel two, plain PyTorch's and its own; torch's own attention is there in any case.
    """
    ways = {item.split()[1]: ms for item, ms in times.items() if isinstance(ms, float)}
    ways.setdefault("sdpa", math.inf)
    near = [name for name in attention.WAYS if name in ways and ways[name] <= WORTH * min(ways.values())]
    order = (near[0], *sorted(ways.keys() - near[:1], key=lambda name: ways[name]))
    worth = (item.split()[1] for item, ms in times.items() if isinstance(ms, list) and ms[0] >= WORTH * ms[1])
    return Offer(order, tuple(sorted(worth)), times)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _conditions(card: Card) -> dict[str, Any]:
    """Return the conditions that a measurement depends on."""
    digest = hashlib.sha256()
    for name in ("attention.py", "kernels.py", "offers.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
    versions = {"torch": torch.__version__, **{name: _version(name) for name in PACKAGES}}
    known = {"card": card.name, "rows": card.rows(), "versions": versions, "benchmark": digest.hexdigest()}
    return {**known, "attention": attention.installed()}


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


# Measuring, in processes of their own


def _measure(card: Card, file: Path) -> Times:
    """Return the times of all items. One that crashes its process is passed over, and the rest timed in another."""
    print(f"timing attention and kernels on {card.name}, once: about a minute", flush=True)
    draft = file.with_suffix(".part")
    left = [f"attention {name}" for name in attention.installed()] + [f"kernel {one.name}" for one in kernels.KERNELS]
    times: Times = {}
    while left:
        draft.unlink(missing_ok=True)
        command = [sys.executable, "-m", "research.benchmark.offers", str(card.rows()), str(draft), *left]
        home = Path(__file__).resolve().parents[2]
        paths = os.pathsep.join(filter(None, [str(home), os.environ.get("PYTHONPATH")]))
        try:
            done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, timeout=LIMIT_S, check=False)
            end = f"it ended its process with exit code {done.returncode}"
        except subprocess.TimeoutExpired:
            end = f"it was not done after {LIMIT_S:.0f} s"
        found = _read(draft)
        times |= found
        left = [item for item in left if item not in found]
        if left:
            times[left[0]] = end
            print(f"{left[0]}: {end}", flush=True)
            left = left[1:]
    draft.unlink(missing_ok=True)
    return times


def main(rows: int, file: Path, items: list[str]) -> None:
    """Time items, and write all times so far after each."""
    times: Times = {}
    for item in items:
        kind, name = item.split()
        try:
            times[item] = _time_attention(name, rows) if kind == "attention" else _time_kernel(name, rows)
        except Exception as e:  # any failure of something optional
            times[item] = f"{type(e).__name__}: {(str(e).splitlines() or [''])[0][:150]}"
        torch._dynamo.reset()
        torch.cuda.empty_cache()
        print(f"{item}: {_in_words(times[item])}", flush=True)
        write_atomically(file, json.dumps(times))


def _in_words(value: object) -> str:
    if isinstance(value, list):
        return f"{value[1]:.3f} ms, plain PyTorch {value[0]:.3f} ms"
    return f"{value:.3f} ms" if isinstance(value, float) else str(value)


def _time_attention(name: str, rows: int) -> float:
    """Return the milliseconds of an attention, forward and backward, over all windows."""
    total, scale = 0.0, HEAD_DIM**-0.5
    device = torch.device("cuda")
    attend = attention.WAYS[name](WINDOWS, scale, LENGTH, device)
    plain = attention.sdpa(WINDOWS, scale, LENGTH, device)
    for window in WINDOWS:
        few, many = ([_some(n, LENGTH, WIDTH // HEAD_DIM, HEAD_DIM) for _ in range(3)] for n in (AGREEING_ROWS, rows))
        function = torch.compile(attend, dynamic=False)
        kernels.check_agreement(function, plain, [*few, window])
        total += statistics.median(_milliseconds(_both_ways(function, (*many, window))) for _ in range(ROUNDS))
    return total


def _time_kernel(name: str, rows: int) -> list[float]:
    """Return the milliseconds of a plain function and of its kernel, forward and backward, timed in turns."""
    one = next(one for one in kernels.KERNELS if one.name == name)
    if reason := kernels.why_not(one, dict(_inputs(AGREEING_ROWS))[name]):
        raise kernels.Disagreement(reason)
    inputs = dict(_inputs(rows))[name]
    calls = [_both_ways(torch.compile(function, dynamic=False), tuple(inputs)) for function in (one.plain, one.fused)]
    times = [[_milliseconds(call) for call in calls] for _ in range(ROUNDS)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def _some(*shape: int) -> torch.Tensor:
    """Return random values, as large as those of training."""
    spread = min(1.0, 10 / shape[-1] ** 0.5)
    return (torch.randn(shape, device="cuda", dtype=torch.bfloat16) * spread).requires_grad_()


def _inputs(rows: int) -> Iterator[tuple[str, list[Any]]]:
    """Yield each kernel's name and what it is called with, at the shape of the published train.py."""
    tokens, heads, hidden = rows * LENGTH, WIDTH // HEAD_DIM, MLP_RATIO * WIDTH
    frequency = 1 / torch.arange(1, VOCABULARY + 1, device="cuda")  # Zipf's, as in text
    ids = torch.multinomial(frequency, tokens, replacement=True).view(rows, LENGTH)
    angle = torch.rand(LENGTH, 1, HEAD_DIM // 2, device="cuda") * 6
    cos, sin = angle.cos().bfloat16(), angle.sin().bfloat16()
    gate, value = _some(rows, LENGTH, heads), _some(rows, LENGTH, heads, HEAD_DIM)
    head, ahead = _some(VOCABULARY, WIDTH), torch.tensor(AHEAD, device="cuda")
    yield "mlp", [_some(tokens, WIDTH), _some(hidden, WIDTH), _some(WIDTH, hidden)]
    yield "qkv", [_some(rows, LENGTH, 3, heads, HEAD_DIM), cos, sin, gate, value]
    yield "head_loss", [_some(tokens, WIDTH), head, ids, ahead, SOFTCAP]
    yield "embedding", [ids, head]
    yield "norm_filter", [_some(rows, LENGTH, WIDTH), _some(TAPS, WIDTH)]


def _both_ways(function: Callable[..., Any], inputs: tuple[Any, ...]) -> Callable[[], None]:
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


def _milliseconds(call: Callable[[], None]) -> float:
    """Return the milliseconds of one call, on the GPU's clock."""
    for _ in range(WARM_UP):
        call()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(CALLS):
        call()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end)) / CALLS


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
