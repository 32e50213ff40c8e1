"""Says where the time of a training step goes: a script's own steps under torch's profiler, by kind of kernel.

    uv run scripts/profile_steps.py                 train.py as it is
    uv run scripts/profile_steps.py --set FUSED=False --set DEPTH=9
    uv run scripts/profile_steps.py --script other.py --steps 20

Steps that compile are left out. Nothing is scored or recorded.
"""

from __future__ import annotations

import argparse
import atexit
import re
import runpy
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402

from scripts import race  # noqa: E402

KINDS = {
    "our kernels": r"^(sum_rows|loss|qkv|relu_squared|filter)_kernel",
    "attention": r"flash|fmha|attention|attn",
    "matrix products": r"gemm|cublas|cutlass|nvjet|matmul|::mm|::addmm|::bmm|linear|splitk",
    "made by the compiler": r"^triton_",
    "copies and fills": r"copy|memcpy|memset|fill|cat",
}
"""Kinds by patterns of a kernel's name; the first that matches counts."""
SHOWN = 12  # single kernels that are listed


def load(script: Path, settings: dict[str, str]) -> SimpleNamespace:
    """Return what a training script defines, with other constants, without training."""
    if not settings:
        return SimpleNamespace(**runpy.run_path(str(script), run_name="profiled"))
    place = tempfile.mkdtemp()  # removed at the end, since the compiler reads a function's lines from its file
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    changed = Path(place) / script.name
    changed.write_text(race.with_constants(script.read_text(), settings))
    return load(changed, {})


def ms_by_kernel(script: SimpleNamespace, steps: int) -> Counter[str]:
    """Return the milliseconds that each kernel takes of a step, as the mean of some steps after those that compile."""
    vocabulary = (tokenizer := script.Tokenizer.from_directory()).get_vocab_size()
    name, attend = script.choose_attention(sorted({script.window_of(i) for i in range(script.DEPTH)}))
    model = script.GPT(vocabulary, attend)
    if script.FUSED:
        script.kernels.check(model, vocabulary, script.T, script.DEVICE, script.prepare.offer().kernels)
    print(f"{script.TOTAL_BATCH_SIZE:,} tokens a step, attention {name}, kernels {script.kernels.used()}")
    batches = script.make_dataloader(tokenizer, script.ROWS, script.T, "train")
    optimizer, forward = script.Optimizer(model), script.compiled(model)

    def step() -> None:
        for _ in range(script.TOTAL_BATCH_SIZE // (script.ROWS * script.T)):
            x, y, _ = next(batches)
            forward(x, y).backward()
        optimizer.step(1.0, 1.0)

    for _ in range(script.UNCOUNTED_STEPS):
        step()
    on_gpu = script.DEVICE.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as profiled:
        for _ in range(steps):
            step()
        if on_gpu:
            torch.cuda.synchronize()
    batches.close()
    ms: Counter[str] = Counter()
    for event in profiled.key_averages():
        ms[event.key] += (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e3 / steps
    return ms


def kind_of(name: str) -> str:
    """Return the kind of a kernel."""
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, name, re.I)), "the rest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", type=Path, default=ROOT / "train.py", help="default: train.py")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another constant")
    parser.add_argument("--steps", type=int, default=10, help="steps under the profiler")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    ms = ms_by_kernel(load(arguments.script, dict(one.split("=", 1) for one in arguments.set)), arguments.steps)
    kinds: Counter[str] = Counter()
    for name, spent in ms.items():
        kinds[kind_of(name)] += spent
    total = sum(ms.values())
    print(f"{total:.1f} ms of kernels a step, mean of {arguments.steps}")
    for title, rows in (("by kind", kinds.most_common()), ("the longest", ms.most_common(SHOWN))):
        print(f"\n{title}")
        for name, spent in rows:
            print(f"{spent:9.2f} ms {spent / total:6.1%}  {name[:90]}")


if __name__ == "__main__":
    main()
