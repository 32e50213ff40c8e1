"""Causal attention, by the fastest way that can be had here and agrees with torch's own.

A way is made for a set of windows: make(windows, scale, length) gives attend(q, k, v, window), q, k, v and the result
(B, T, H, D), in which a query sees itself and the `window` keys before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from research.benchmark.exits import stop
from research.benchmark.kernels import check_agreement, operator

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]


def sdpa(windows: Sequence[int], scale: float, length: int, device: torch.device) -> Attend:
    """torch's own, with an explicit mask for windows. Runs everywhere; the others are checked against it."""
    behind = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)
    masks = {w: (behind >= 0) & (behind <= w) for w in windows if w < length}

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int) -> torch.Tensor:
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        mask = masks.get(window)
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None, scale=scale).transpose(1, 2)

    return attend


def flex(windows: Sequence[int], scale: float, length: int, device: torch.device) -> Attend:
    """FlexAttention (Dong et al. 2024): blocks outside the window are skipped. Needs torch.compile to be fast."""
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


FA3_REVISION = "cdde5f42030606c40df258eebc1d73216b117e93"  # kernels-community/flash-attn3


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
    """FlashAttention-3 (Shah et al. 2024) for Hopper: the operators of its own package, else the kernel hub's."""
    try:
        import flash_attn_3._C  # noqa: F401  (registers torch.ops.flash_attn_3)
    except ImportError:
        return fa3_of_hub(scale, length)
    return lambda q, k, v, window: fa3_forward(q, k, v, window if window < length else -1, scale)


def fa3_of_hub(scale: float, length: int) -> Attend:
    """FlashAttention-3 from the kernel hub, which the extra `hopper` of this project can fetch."""
    from kernels import get_kernel

    hub = get_kernel("kernels-community/flash-attn3", revision=FA3_REVISION)

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int) -> torch.Tensor:
        left = window if window < length else -1
        out = hub.flash_attn_func(q, k, v, softmax_scale=scale, causal=True, window_size=(left, 0))
        return out[0] if isinstance(out, tuple) else out

    return attend


FAST = {"fa3": fa3, "flex": flex}  # fastest first


def choose(
    wanted: str, windows: Sequence[int], scale: float, qkv: torch.Tensor, compiled: Callable[[Attend], Attend]
) -> tuple[str, Attend]:
    """Return the name and the function of the fastest attention that agrees with torch's own here.

    Args:
        wanted: "auto", or the name of the only one that may be taken: fa3, flex, or sdpa, which is taken unchecked.
        windows: The windows that it will be called with.
        scale: Factor of the products of q and k.
        qkv: (3, B, T, H, D) of the shape and kind that training has.
        compiled: Compiles a function.
    """
    length, device = qkv.size(2), qkv.device
    plain = sdpa(windows, scale, length, device)
    if wanted == "sdpa":
        return wanted, plain
    inputs = [t.detach().clone().requires_grad_() for t in qkv]
    candidates = {name: make for name, make in FAST.items() if wanted in ("auto", name)}
    for name, make in candidates.items():
        try:
            attend = make(windows, scale, length, device)
            for window in windows:
                check_agreement(compiled(attend), plain, [*inputs, window])
            return name, attend
        except Exception as e:  # any failure of an optional kernel means the next one
            print(f"attention {name} is not used: {type(e).__name__}: {(str(e).splitlines() or [''])[0][:150]}")
    if wanted != "auto":
        stop(f"ATTENTION = {wanted!r} does not work here: set it to auto, or to another of {', '.join(FAST)}, sdpa")
    return "sdpa", plain
