"""Defines ways to compute causal attention, which agree with torch's own; which one is the fastest depends on the card.

A way is made for a set of windows: way(windows, scale, length, device) returns attend(q, k, v, window), where q, k, v
and the result are (B, T, H, D), and a query sees itself and the `window` keys before it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F

from research.benchmark.exits import stop
from research.benchmark.kernels import check_agreement, operator

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]


def sdpa(windows: Sequence[int], scale: float, length: int, device: torch.device) -> Attend:
    """Return torch's own attention, with an explicit mask for windows: it runs everywhere, and checks the others."""
    behind = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)
    masks = {w: (behind >= 0) & (behind <= w) for w in windows if w < length}

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int) -> torch.Tensor:
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        mask = masks.get(window)
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None, scale=scale).transpose(1, 2)

    return attend


def flex(windows: Sequence[int], scale: float, length: int, device: torch.device) -> Attend:
    """Return FlexAttention (Dong et al. 2024), which skips blocks outside the window and needs torch.compile."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def mask_of(window: int) -> Any:
        def seen(b: Any, h: Any, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            return (q >= k) & (q - k <= window)

        return create_block_mask(seen, None, None, length, length, device=device)

    masks = {w: mask_of(w) for w in windows}

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int) -> torch.Tensor:
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        return flex_attention(q, k, v, block_mask=masks[window], scale=scale).transpose(1, 2)

    return attend


@operator(lambda dy, q, k, v, *_: tuple(t.new_empty(t.shape) for t in (q, k, v)))
def fa3_backward(dy, q, k, v, window: int, scale: float, y, lse, /, dq, dk, dv):  # type: ignore[no-untyped-def]
    torch.ops.flash_attn_3.bwd(
        dy.contiguous(), q, k, v, y, lse, dq, dk, dv, softmax_scale=scale, is_causal=True,
        window_size_left=window, window_size_right=0,
    )  # fmt: skip


@operator(
    lambda q, k, v, *_: (q.new_empty(q.shape), q.new_empty(q[..., 0].mT.shape, dtype=torch.float32)),
    lambda dy, _, *kept: (*fa3_backward(dy, *kept), None, None),
)
def fa3_forward(q, k, v, window: int, scale: float, /, y, _lse):  # type: ignore[no-untyped-def]
    lse = torch.ops.flash_attn_3.fwd(
        q, k, v, out=y, softmax_scale=scale, is_causal=True, window_size_left=window, window_size_right=0,
        num_splits=1, pack_gqa=False,
    )[1]  # fmt: skip
    _lse.copy_(lse)


def fa3(windows: Sequence[int], scale: float, length: int, device: torch.device) -> Attend:
    """Return FlashAttention-3 (Shah et al. 2024), for Hopper alone, where somebody has built and installed it."""
    import flash_attn_3._C  # noqa: F401  (registers torch.ops.flash_attn_3)

    return lambda q, k, v, window: fa3_forward(q, k, v, window if window < length else -1, scale)


@operator(lambda dy, q, k, v, *_: tuple(t.new_empty(t.shape) for t in (q, k, v)))
def fa4_backward(dy, q, k, v, window: int, scale: float, y, lse, /, dq, dk, dv):  # type: ignore[no-untyped-def]
    from flash_attn.cute import interface

    left = None if window < 0 else window
    interface._flash_attn_bwd(
        q, k, v, y, dy.contiguous(), lse, scale, True, window_size_left=left, window_size_right=0, dq=dq, dk=dk, dv=dv
    )


@operator(
    lambda q, k, v, *_: (q.new_empty(q.shape), q.new_empty(q[..., 0].mT.shape, dtype=torch.float32)),
    lambda dy, _, *kept: (*fa4_backward(dy, *kept), None, None),
)
def fa4_forward(q, k, v, window: int, scale: float, /, y, _lse):  # type: ignore[no-untyped-def]
    from flash_attn.cute import interface

    left = None if window < 0 else window
    interface._flash_attn_fwd(
        q, k, v, softmax_scale=scale, causal=True, window_size_left=left, window_size_right=0, out=y, lse=_lse
    )


def fa4(windows: Sequence[int], scale: float, length: int, device: torch.device) -> Attend:
    """Return FlashAttention-4 (Zadouri et al. 2026), for Hopper and later: the extra `hopper` of this project."""
    import flash_attn.cute.interface  # noqa: F401  (a missing package is noticed here, not in the compiled graph)

    warnings.filterwarnings("ignore", message="Argument aux_data", category=UserWarning)  # of its compiler, every time
    return lambda q, k, v, window: fa4_forward(q, k, v, window if window < length else -1, scale)


WAYS = {"fa3": fa3, "fa4": fa4, "flex": flex, "sdpa": sdpa}  # of equally fast ones the first is taken
MODULES = {"fa3": "flash_attn_3", "fa4": "flash_attn.cute"}


def installed() -> tuple[str, ...]:
    """Return the names of the ways whose package is here."""

    def is_here(module: str) -> bool:
        try:
            return find_spec(module) is not None
        except (ImportError, ValueError):
            return False

    return tuple(name for name in WAYS if name not in MODULES or is_here(MODULES[name]))


def choose(
    names: Sequence[str], windows: Sequence[int], scale: float, qkv: torch.Tensor, compiled: Callable[[Attend], Attend]
) -> tuple[str, Attend]:
    """Return the name and the function of the first of these ways that agrees with torch's own; that needs no check.

    qkv (3, B, T, H, D) has the shape and kind of training's; compiled() compiles a function.
    """
    length, device = qkv.size(2), qkv.device
    plain = sdpa(windows, scale, length, device)
    inputs = [t.detach().clone().requires_grad_() for t in qkv]
    for name in names:
        if name == "sdpa":
            return name, plain
        try:
            attend = WAYS[name](windows, scale, length, device)
            for window in windows:
                check_agreement(compiled(attend), plain, [*inputs, window])
            return name, attend
        except Exception as e:  # any failure of an optional kernel means the next one
            print(f"attention {name} is not used: {type(e).__name__}: {(str(e).splitlines() or [''])[0][:150]}")
    stop(f"ATTENTION = {names[-1]!r} does not work here: set it to auto, or to another of {', '.join(WAYS)}")
