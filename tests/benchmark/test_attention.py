"""FlashAttention-3 by a package that stands in for its own on a CPU: what wraps its operators is ours, and would
otherwise be run on a GPU alone. FlexAttention has no backward on a CPU."""

from __future__ import annotations

import sys

import pytest
import torch

from research.benchmark import attention

# The package's interface as attention.py calls it, with plain arithmetic behind it.
LIBRARY = torch.library.Library("flash_attn_3", "DEF")
OPTIONS = "float softmax_scale, bool is_causal, int window_size_left, int window_size_right"
LIBRARY.define(
    f"fwd(Tensor q, Tensor k, Tensor v, *, Tensor(a!) out, {OPTIONS}, int num_splits, bool pack_gqa) -> Tensor[]"
)
LIBRARY.define(
    "bwd(Tensor dy, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, Tensor(a!) dq, Tensor(b!) dk, "
    f"Tensor(c!) dv, *, {OPTIONS}) -> ()"
)
off_by = {"keys": 0}  # how many keys more than its window the stand-in sees


def scores(q, k, scale, causal, left, right):
    assert causal
    assert right == 0
    behind = torch.arange(q.size(1))[:, None] - torch.arange(k.size(1))
    seen = (behind >= 0) & ((behind <= left + off_by["keys"]) if left >= 0 else True)
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


LIBRARY.impl("fwd", fwd, "CPU")
LIBRARY.impl("bwd", bwd, "CPU")


# FlashAttention-4's functions as attention.py calls them.
FA4 = """
from torch.ops import flash_attn_3

def options(scale, causal, left, right):
    left = -1 if left is None else left
    return dict(softmax_scale=scale, is_causal=causal, window_size_left=left, window_size_right=right)

def _flash_attn_fwd(q, k, v, *, softmax_scale, causal, window_size_left, window_size_right, out, lse):
    given = options(softmax_scale, causal, window_size_left, window_size_right)
    lse.copy_(flash_attn_3.fwd(q, k, v, out=out, **given, num_splits=1, pack_gqa=False)[1])

def _flash_attn_bwd(q, k, v, out, dout, lse, scale, causal, *, window_size_left, window_size_right, dq, dk, dv):
    given = options(scale, causal, window_size_left, window_size_right)
    flash_attn_3.bwd(dout, q, k, v, out, lse, dq, dk, dv, **given)
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Packages flash_attn_3 and flash_attn.cute that can be imported."""
    for name, text in {"flash_attn_3/_C": "", "flash_attn/cute/__init__": "", "flash_attn/cute/interface": FA4}.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("flash_attn")]:
        del sys.modules[name]


def choose(*names: str, compiled=lambda f: f):
    return attention.choose(names, [8, 32], 0.3, torch.randn(3, 2, 32, 2, 16), compiled)


@pytest.mark.long
@pytest.mark.parametrize("way", ["fa3", "fa4"])
def test_flash_attention_agrees_with_torchs_own_results_and_gradients(package, way):
    assert attention.installed() == ("fa3", "fa4", "flex", "sdpa")
    name, attend = choose(way, compiled=lambda f: torch.compile(f, backend="aot_eager"))
    assert name == way
    assert attend(*torch.randn(3, 1, 32, 2, 16), 8).shape == (1, 32, 2, 16)


def test_attention_that_differs_is_not_taken(package, capsys, monkeypatch):
    monkeypatch.setitem(off_by, "keys", -1)
    with pytest.raises(SystemExit):
        choose("fa3")
    said = capsys.readouterr()
    assert "attention fa3 is not used: Disagreement: its answers differ from the plain function's by" in said.out
    assert "ATTENTION = 'fa3' does not work here: set it to auto, or to another of fa3, fa4, flex, sdpa" in said.err


def test_where_no_fast_attention_can_be_had_torchs_own_is_taken_and_the_others_say_why_not(capsys):
    assert attention.installed() == ("flex", "sdpa")
    name, attend = choose("fa3", "fa4", "sdpa")
    assert name == "sdpa"
    assert attend(*torch.randn(3, 1, 32, 2, 16), 8).shape == (1, 32, 2, 16)
    assert capsys.readouterr().out.count("is not used: ModuleNotFoundError: No module named 'flash_attn") == 2


def test_torchs_own_attention_sees_its_window_alone():
    q, k, v = torch.randn(3, 1, 32, 2, 16, dtype=torch.float64)
    attend = attention.sdpa([4, 32], 0.25, 32, q.device)
    k[:, 10] += 1
    before = attend(q, k, v, 4)
    k[:, 10] += 1
    moved = (attend(q, k, v, 4) - before).abs().amax((0, 2, 3)) > 0
    assert moved.nonzero().flatten().tolist() == [10, 11, 12, 13, 14]
