"""FlashAttention-3 in train.py, by a package that stands in for its own on a CPU: what wraps its operators is ours, and
would otherwise be run on a GPU alone. FlexAttention has no backward on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# The package's interface as train.py calls it, with plain arithmetic behind it.
STAND_IN = """
import torch

library = torch.library.Library("flash_attn_3", "DEF")
options = "float softmax_scale, bool is_causal, int window_size_left, int window_size_right"
ways = f"{options}, int num_splits, bool pack_gqa"
library.define(f"fwd(Tensor q, Tensor k, Tensor v, *, Tensor(a!) out, {ways}) -> Tensor[]")
made = "Tensor(a!) dq, Tensor(b!) dk, Tensor(c!) dv"
library.define(f"bwd(Tensor dy, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, {made}, *, {options}) -> ()")

def scores(q, k, scale, causal, left, right):
    assert causal and right == 0
    behind = torch.arange(q.size(1))[:, None] - torch.arange(k.size(1))
    seen = (behind >= 0) & ((behind <= left) if left >= 0 else True)
    return (torch.einsum("bqhd,bkhd->bhqk", q, k) * scale).masked_fill(~seen, -torch.inf)

def fwd(q, k, v, *, out, softmax_scale, is_causal, window_size_left, window_size_right, num_splits, pack_gqa):
    s = scores(q, k, softmax_scale, is_causal, window_size_left, window_size_right)
    out.copy_(torch.einsum("bhqk,bkhd->bqhd", s.softmax(-1), v))
    return [torch.empty(0), s.logsumexp(-1)]

def bwd(dy, q, k, v, out, lse, dq, dk, dv, *, softmax_scale, is_causal, window_size_left, window_size_right):
    s = scores(q, k, softmax_scale, is_causal, window_size_left, window_size_right)
    shares = (s - lse[..., None]).exp()
    dshares = torch.einsum("bqhd,bkhd->bhqk", dy, v)
    ds = shares * (dshares - (dy * out).sum(-1).mT[..., None]) * softmax_scale
    dq.copy_(torch.einsum("bhqk,bkhd->bqhd", ds, k))
    dk.copy_(torch.einsum("bhqk,bqhd->bkhd", ds, q))
    dv.copy_(torch.einsum("bhqk,bqhd->bkhd", shares, dy))

library.impl("fwd", fwd, "CPU")
library.impl("bwd", bwd, "CPU")
"""

CHOSEN = """
import sys, torch, prepare, train
train.COMPILE, train.ATTENTION, train.compiled = True, sys.argv[1], lambda f: torch.compile(f, backend="aot_eager")
print(train.choose_attention([train.T // 4, train.T])[0])
"""


def chosen(name: str, folder: Path, pocket_home: Path) -> str:
    """What train.py says when it may choose this attention alone."""
    settings = {"AUTORESEARCH_PROFILE": "pocket", "AUTORESEARCH_HOME": str(pocket_home), "CUDA_VISIBLE_DEVICES": ""}
    environment = os.environ | settings | {"PYTHONPATH": f"{folder}:{ROOT}"}
    command = [sys.executable, "-c", CHOSEN, name]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=240)
    return done.stdout.strip() + done.stderr


def package(folder: Path, source: str) -> None:
    (folder / "flash_attn_3").mkdir()
    (folder / "flash_attn_3" / "__init__.py").touch()
    (folder / "flash_attn_3" / "_C.py").write_text(source)


def test_flash_attention_3_agrees_with_torchs_own_results_and_gradients(tmp_path, pocket_home):
    package(tmp_path, STAND_IN)
    assert chosen("fa3", tmp_path, pocket_home) == "fa3"


def test_attention_that_differs_is_not_taken(tmp_path, pocket_home):
    assert STAND_IN.count("behind <= left") == 1
    package(tmp_path, STAND_IN.replace("behind <= left", "behind < left"))
    said = chosen("fa3", tmp_path, pocket_home)
    assert said.startswith("attention fa3 is not used: ValueError: its answers differ from the reference's by")
    assert "no attention works here (fa3)" in said
