"""The train.py that the rounds of docs/benchmark.md measured, all that was tried behind constants, to run it again.

    python scripts/race.py NAME=docs/history/record.py:KEY=VALUE;KEY=VALUE

Trains a small GPT for a fixed time on one device and prints val_bpb, bits per byte, lower is better.

Notable:
- rotary positions, QK norm, squared ReLU, value embeddings with gates, residual scalars, sliding windows, logit softcap
- Muon (polar express, NorMuon) for the block matrices, which are stored stacked; AdamW for the rest
- schedules run on the elapsed fraction of the budget; the first steps, which compile, are not counted
"""

import gc
import math
import sys
import time
from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F

import prepare
from prepare import DEVICE, MAX_SEQ_LEN, PROFILE, SEED, TIME_BUDGET, Tokenizer, evaluate_bpb, make_dataloader

# ---------------------------------------------------------------------------------------------------------------
# Settings. The pocket profile runs the same model, small.

OFFICIAL = PROFILE.name == "official"
T = MAX_SEQ_LEN

# Model
DEPTH = 9 if OFFICIAL else 4
WIDTH = 640 if OFFICIAL else 128
HEAD_DIM = 128 if OFFICIAL else 32
MLP_RATIO = 4
WINDOW_PATTERN = "SSSSL"  # repeated over the layers; the last is always L
SHORT_WINDOW = T // 8  # tokens an S layer sees; an L layer sees all
ROPE_BASE = 200_000
NORM = "rms"  # rms or layer, both without weights
QK_LAYERNORM_SHARE = 0.0  # of q and k's norm; the rest is RMS
QK_SCALE = 1.0  # on top of 1/sqrt(HEAD_DIM)
GATE_CHANNELS = 32  # of the block input, read by the value embeddings' gates
SOFTCAP = 15.0
INIT_SCALE = 0.68  # of sqrt(3 / WIDTH), the bound of the uniform initial weights
RESIDUAL_INIT = 1.0  # per layer: x = RESIDUAL * x + X0 * normed embedding
X0_INIT = 0.05
NGRAMS = ()  # lengths of the hashed n-grams that have embeddings, added to every block's input
NGRAM_ROWS = 2**17 if OFFICIAL else 2**12  # embeddings a length
NGRAM_INIT = 0.1  # per layer, the embeddings' factor
NGRAMS_IN_X0 = False  # add them to the embedding that every block's input gets a share of, not to each by itself
XSA = 0  # last layers that take out of each attention output its component along the token's own value
ATTENTION_GATES = False  # scale each head's output by a gate that reads the block input
ROPE_SHARE = 1.0  # of the frequencies, the fast ones first, that rotate
VALUE_EVERY = 2  # layers, counted from the last, to a value embedding
SMEAR = False  # add the previous token's embedding, gated
BACKOUT = False  # subtract a share of the middle layer's output at the end
CONV = 0  # tokens before each one that a filter a channel adds to what attention reads (Primer, Canon layers)
CONV_MLP = 0  # the same for what the MLP reads
SHIFT = 0  # channels of what attention and MLP read that come from the token before
SKIPS = False  # add the first half's outputs to the second half's inputs, last to first

# Optimizer
TOTAL_BATCH_SIZE = 2**18 if OFFICIAL else 2**11  # tokens a step
DEVICE_BATCH_SIZE = 128 if OFFICIAL else 8  # rows a forward
EMBEDDING_LR = 0.9  # Adam rates are for a width of 768 and scale with its inverse square root
UNEMBEDDING_LR = 0.005
SCALAR_LR = 0.5
MATRIX_LR = 0.04
MATRIX_WD = 0.2  # decays to 0 over the budget
UNEMBEDDING_WD = 0.01
EMBEDDING_WD = 0.001
NGRAM_LR = 0.5
NGRAM_WD = 0.001
NGRAM_BETAS = (0.8, 0.95)
VALUE_EMBEDDING_WD = 0.003
CONV_LR = 0.01
TABLE_DTYPE = None  # of the stored embeddings, None for the compute type
VALUE_LR_SHARE = 1.0  # of EMBEDDING_LR, for value embeddings
MOMENTUM_END = None  # Muon's momentum falls to this while the rates fall
COSINE_WD = False  # in place of a linear fall of the matrices' weight decay
ADAM_BETAS = (0.8, 0.95)
X0_BETAS = (0.96, 0.95)
MUON_BETA2 = 0.95
MUON_MOMENTUM = (0.85, 0.95)  # from, to
MUON_MOMENTUM_STEPS = 200
MUON_STEPS = 5  # polar-express iterations, at most 5
WARMUP = 0.0  # fraction of the budget
WARMDOWN = 0.75
FINAL_LR_FRACTION = 0.05

# Machine
ATTENTION = "auto"  # or one of ATTENTIONS below
COMPILE = OFFICIAL and DEVICE.type == "cuda"  # elsewhere compiling costs longer than the budget
DTYPE = torch.bfloat16 if DEVICE.type == "cuda" else torch.float32
UNCOUNTED_STEPS = 11 if COMPILE else 1  # compilation and warm-up
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "B200": 2250e12, "4090": 165e12}  # dense bf16


def compiled(function):
    return torch.compile(function, dynamic=False) if COMPILE else function


def operator(schema, results):
    """Makes a function one node of the compiled graph; results says the shapes that it gives."""

    def make(function):
        made = torch.library.custom_op(f"record::{function.__name__}", function, mutates_args=(), schema=schema)
        made.register_fake(results)
        return made

    return make


# ---------------------------------------------------------------------------------------------------------------
# Attention: causal, each query sees itself and the `window` keys before it. q, k, v, out: (B, T, H, D)

SCALE = QK_SCALE * HEAD_DIM**-0.5


def sdpa_attention(windows):
    """torch's own, with an explicit mask for windows. Runs everywhere; the others are checked against it."""
    behind = torch.arange(T, device=DEVICE)[:, None] - torch.arange(T, device=DEVICE)
    masks = {w: (behind >= 0) & (behind <= w) for w in windows if w < T}

    def attend(q, k, v, window):
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        if window >= T:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=SCALE).transpose(1, 2)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=masks[window], scale=SCALE).transpose(1, 2)

    return attend


def flex_attention(windows):
    """FlexAttention (Dong et al. 2024): blocks outside the window are skipped. Needs torch.compile to be fast."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def mask_of(window):
        def visible(b, h, q, k):
            return (q >= k) & (q - k <= window)

        return create_block_mask(visible, None, None, T, T, device=DEVICE)

    masks = {w: mask_of(w) for w in windows}

    def attend(q, k, v, window):
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        return flex_attention(q, k, v, block_mask=masks[window], scale=SCALE).transpose(1, 2)

    return attend


def fa3_attention(windows):
    """FlashAttention-3 (Shah et al. 2024) for Hopper: the operators of its own package, else the kernel hub's."""
    try:
        import flash_attn_3._C  # noqa: F401  (registers torch.ops.flash_attn_3)
    except ImportError:
        from kernels import get_kernel

        hub = get_kernel("kernels-community/flash-attn3", revision=FA3_REVISION)

        def attend(q, k, v, window):
            left = window if window < T else -1
            out = hub.flash_attn_func(q, k, v, softmax_scale=SCALE, causal=True, window_size=(left, 0))
            return out[0] if isinstance(out, tuple) else out

        return attend

    fa3 = torch.ops.flash_attn_3

    @operator(
        "(Tensor q, Tensor k, Tensor v, int window) -> (Tensor, Tensor)",
        lambda q, k, v, window: (q.new_empty(q.shape), q.new_empty(q[..., 0].mT.shape, dtype=torch.float32)),
    )
    def fa3_forward(q, k, v, window):
        out = fa3.fwd(q, k, v, softmax_scale=SCALE, is_causal=True, window_size_left=window, window_size_right=0,
                      num_splits=1, pack_gqa=False)  # fmt: skip
        return out[0], out[1]

    @operator(
        "(Tensor dy, Tensor q, Tensor k, Tensor v, Tensor y, Tensor lse, int window) -> (Tensor, Tensor, Tensor)",
        lambda dy, q, k, v, *_: tuple(t.new_empty(t.shape) for t in (q, k, v)),
    )
    def fa3_backward(dy, q, k, v, y, lse, window):
        grads = tuple(t.new_empty(t.shape) for t in (q, k, v))
        fa3.bwd(dy.contiguous(), q, k, v, y, lse, *grads, softmax_scale=SCALE, is_causal=True,
                window_size_left=window, window_size_right=0)  # fmt: skip
        return grads

    def save(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:3], *output)
        ctx.window = inputs[3]

    def differentiate(ctx, dy, _):
        return *fa3_backward(dy, *ctx.saved_tensors, ctx.window), None

    fa3_forward.register_autograd(differentiate, setup_context=save)
    return lambda q, k, v, window: fa3_forward(q, k, v, window if window < T else -1)[0]


ATTENTIONS = {  # fastest first
    "fa3": fa3_attention,
    "flex": flex_attention,
    "sdpa": sdpa_attention,
}
FA3_REVISION = "cdde5f42030606c40df258eebc1d73216b117e93"  # kernels-community/flash-attn3
ATTENTION_TOLERANCE = 0.02  # relative error of outputs and gradients; rounding to bf16 gives 0.003 to 0.006


def choose_attention(windows):
    """(name, attend): on CUDA the first that can be had and agrees with torch's own, elsewhere torch's own."""
    if not COMPILE:
        return "sdpa", sdpa_attention(windows)
    q, k, v, dy = torch.randn(4, 1, T, WIDTH // HEAD_DIM, HEAD_DIM, device=DEVICE).to(DTYPE)
    reference = sdpa_attention(windows)

    def answers(attend, window):
        inputs = [t.clone().requires_grad_() for t in (q, k, v)]
        out = attend(*inputs, window)
        return [out, *torch.autograd.grad(out, inputs, dy)]

    for name, make in ATTENTIONS.items():
        if ATTENTION not in ("auto", name):
            continue
        try:
            attend = make(windows)
            for window in windows:
                got = answers(compiled(attend), window)
                wanted = answers(reference, window)
                error = max((g - w).norm().item() / w.norm().item() for g, w in zip(got, wanted, strict=True))
                if not error <= ATTENTION_TOLERANCE:
                    raise ValueError(f"its answers differ from torch's own by {error:.3f}")
            return name, attend
        except Exception as e:  # any failure of an optional kernel means the next one
            print(f"attention {name} is not used: {type(e).__name__}: {str(e).splitlines()[0][:150] if str(e) else ''}")
    prepare.stop(f"no attention works here (ATTENTION = {ATTENTION!r}; one of auto, {', '.join(ATTENTIONS)})")


# ---------------------------------------------------------------------------------------------------------------
# Model


def norm(x):
    if NORM == "layer":
        return F.layer_norm(x, (x.size(-1),))
    return F.rms_norm(x, (x.size(-1),))


def qk_norm(x):
    if QK_LAYERNORM_SHARE == 0:
        return F.rms_norm(x, (x.size(-1),))
    rms, layer = F.rms_norm(x, (x.size(-1),)), F.layer_norm(x, (x.size(-1),))
    return (1 - QK_LAYERNORM_SHARE) * rms + QK_LAYERNORM_SHARE * layer


if COMPILE:
    import triton
    import triton.language as tl
    from triton.tools.tensor_descriptor import TensorDescriptor

    @triton.jit
    def load(at, mask):
        return tl.load(at, mask=mask, other=0.0).to(tl.float32)

    @triton.jit
    def sum_rows_kernel(grad, order, starts, out, width, BLOCK: tl.constexpr, ROWS: tl.constexpr):
        """out[token] = the sum of the rows of grad (N, width) where that token stood; order sorts rows by token."""
        token, columns = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        begin, end = tl.load(starts + token), tl.load(starts + token + 1)
        total = tl.zeros((BLOCK,), dtype=tl.float32)
        for at in range(begin, end, ROWS):
            rows = at + tl.arange(0, ROWS)
            where = tl.load(order + rows, mask=rows < end, other=0)
            inside = (rows < end)[:, None] & (columns < width)[None, :]
            total += tl.sum(load(grad + where[:, None] * width + columns[None, :], inside), axis=0)
        tl.store(out + token * width + columns, total, mask=columns < width)

    @operator("(Tensor grad, Tensor rows, int count) -> Tensor", lambda g, _, n: g.new_empty(n, g.size(-1)))
    def embedding_gradient(grad, rows, count):
        """Sorted sums instead of atomic additions, which the frequent rows make slow. grad (B, T, C) -> (count, C)."""
        ordered, order = rows.flatten().sort()
        starts = torch.searchsorted(ordered, torch.arange(count + 1, device=grad.device))
        width = grad.size(-1)
        out = grad.new_empty(count, width)
        grid = (count, triton.cdiv(width, 128))
        sum_rows_kernel[grid](grad.contiguous(), order, starts, out, width, 128, 16, num_warps=1)
        return out

    @triton.jit
    def qkv_kernel(
        qkv, cos, sin, gates, values, q, k, v, dqkv, dgates, dvalues, rows, values_stride, T: tl.constexpr,
        HEADS: tl.constexpr, HALF: tl.constexpr, VALUED: tl.constexpr, BACKWARD: tl.constexpr, ROWS: tl.constexpr,
    ):  # fmt: skip
        """A row is a head of a token: q, k rotated and divided by their RMS, v + gate * value. Backward q, k and v
        hold their gradients."""
        row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, HALF)[None, :]
        token, inside = row // HEADS, (row < rows)[:, None]
        head = (row % HEADS)[:, None] * (2 * HALF) + column
        packed = token.to(tl.int64)[:, None] * (6 * HEADS * HALF) + head
        alone = row.to(tl.int64)[:, None] * (2 * HALF) + column
        angle = (token % T)[:, None] * HALF + column
        c, s = load(cos + angle, inside), load(sin + angle, inside)
        for part in tl.static_range(2):
            at, to = packed + part * (2 * HEADS * HALF), (q if part == 0 else k) + alone
            a, b = load(qkv + at, inside), load(qkv + at + HALF, inside)
            scale = tl.rsqrt(tl.sum(a * a + b * b, axis=1) / (2 * HALF) + 1e-7)[:, None]
            if BACKWARD:
                x, y = load(to, inside), load(to + HALF, inside)
                x, y = x * c - y * s, x * s + y * c
                along = tl.sum(x * a + y * b, axis=1)[:, None] / (2 * HALF) * scale * scale
                x, y = (x - along * a) * scale, (y - along * b) * scale
                to = dqkv + at
            else:
                x, y = (a * c + b * s) * scale, (b * c - a * s) * scale
            tl.store(to, x, mask=inside)
            tl.store(to + HALF, y, mask=inside)
        gate, dgate = load(gates + row, row < rows)[:, None] if VALUED else 0.0, tl.zeros((ROWS,), dtype=tl.float32)
        for half in tl.static_range(2):
            at, to = packed + 4 * HEADS * HALF + half * HALF, alone + half * HALF
            x = load(v + to if BACKWARD else qkv + at, inside)
            if VALUED:
                value = load(values + token.to(tl.int64)[:, None] * values_stride + head + half * HALF, inside)
                if BACKWARD:
                    dgate += tl.sum(x * value, axis=1)
                    tl.store(dvalues + to, gate * x, mask=inside)
                else:
                    x += gate * value
            tl.store(dqkv + at if BACKWARD else v + to, x, mask=inside)
        if VALUED and BACKWARD:
            tl.store(dgates + row, dgate, mask=row < rows)

    def call_qkv_kernel(qkv, cos, sin, gate, value, q, k, v, dqkv=None, dgate=None, dvalue=None):
        B, length, _, heads, dim = qkv.shape
        rows, stride = B * length * heads, 0 if value is None else value.stride(1)
        qkv_kernel[(triton.cdiv(rows, 16),)](
            qkv, cos, sin, gate, value, q, k, v, dqkv, dgate, dvalue, rows, stride, length, heads, dim // 2,
            value is not None, dqkv is not None, 16,
        )  # fmt: skip

    @operator(
        "(Tensor qkv, Tensor cos, Tensor sin, Tensor? gate, Tensor? value) -> (Tensor, Tensor, Tensor)",
        lambda qkv, *_: tuple(qkv.new_empty(qkv[:, :, 0].shape) for _ in range(3)),
    )
    def qkv_forward(qkv, *rest):
        out = tuple(qkv.new_empty(qkv[:, :, 0].shape) for _ in range(3))
        call_qkv_kernel(qkv, *rest, *out)
        return out

    def qkv_gradients(dq, dk, dv, qkv, cos, sin, gate, value):
        return tuple(qkv.new_empty(0 if t is None else t.shape) for t in (qkv, gate, value))

    @operator(
        "(Tensor dq, Tensor dk, Tensor dv, Tensor qkv, Tensor cos, Tensor sin, Tensor? gate, Tensor? value)"
        " -> (Tensor, Tensor, Tensor)",
        qkv_gradients,
    )
    def qkv_backward(dq, dk, dv, *rest):
        out = qkv_gradients(dq, dk, dv, *rest)
        call_qkv_kernel(*rest, dq.contiguous(), dk.contiguous(), dv.contiguous(), *out)
        return out

    @triton.jit
    def loss_kernel(logits, targets, losses, gradients, V: tl.constexpr, CAP: tl.constexpr, BLOCK: tl.constexpr):
        """One row of logits: the loss after the soft cap, and its gradient with respect to what stands before it."""
        row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
        target = tl.load(targets + row)
        x = load(logits + row * V + column, column < V)
        share = 1.0 / (1.0 + tl.exp2(x * (-2 * 1.4426950408889634 / CAP)))
        powers = tl.exp2((share - 1) * (2 * 1.4426950408889634 * CAP))  # at most 1, so no maximum is needed
        powers = tl.where(column < V, powers, 0.0) if V < BLOCK else powers
        total = tl.sum(powers, axis=0)
        own = tl.load(logits + row * V + target).to(tl.float32)
        tl.store(losses + row, tl.log(total) - 2 * CAP * (tl.sigmoid(own * (2 / CAP)) - 1))
        gradient = (powers * (1 / total) - tl.where(column == target, 1.0, 0.0)) * (4 * share * (1 - share))
        tl.store(gradients + row * V + column, gradient, mask=column < V)

    @operator(
        "(Tensor logits, Tensor targets) -> (Tensor, Tensor)",
        lambda x, _: (x.new_empty(x.size(0), dtype=torch.float32), torch.empty_like(x)),
    )
    def loss_and_gradient(logits, targets):
        (rows, vocab_size), gradients = logits.shape, torch.empty_like(logits)
        losses = torch.empty(rows, dtype=torch.float32, device=logits.device)
        block = triton.next_power_of_2(vocab_size)
        loss_kernel[(rows,)](logits, targets, losses, gradients, vocab_size, SOFTCAP, block, num_warps=16)
        return losses, gradients

    @triton.jit
    def relu_squared_kernel(
        left, right, before, out, rows, columns, inner, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
        PROGRAMS: tl.constexpr, FORWARD: tl.constexpr, ROOT: tl.constexpr,
    ):  # fmt: skip
        """out = relu(left @ right^T)^2, or (left @ right) times that function's slope, 2 * sqrt(before)."""
        across = tl.cdiv(columns, BN)
        done = tl.program_id(0) - PROGRAMS
        for tile in tl.range(tl.program_id(0), tl.cdiv(rows, BM) * across, PROGRAMS, flatten=True):
            m, n = tile // across * BM, tile % across * BN
            total = tl.zeros((BM, BN), dtype=tl.float32)
            for step in range(tl.cdiv(inner, BK)):
                other = right.load([n, step * BK]).T if FORWARD else right.load([step * BK, n])
                total = tl.dot(left.load([m, step * BK]), other, total)
            done += PROGRAMS  # the tile's place computed anew, so that the next tile's loads can start before
            m, n = done // across * BM, done % across * BN
            halves = tl.split(tl.permute(tl.reshape(total, (BM, 2, BN // 2)), (0, 2, 1)))
            for half in tl.static_range(2):
                x, at = halves[half], n + half * (BN // 2)
                if FORWARD:
                    x = tl.maximum(x, 0.0)
                    if not ROOT:
                        before.store([m, at], x.to(out.dtype))
                    x = x * x
                else:
                    slope = before.load([m, at]).to(tl.float32)
                    x *= 2 * (tl.sqrt(slope) if ROOT else slope)
                out.store([m, at], x.to(out.dtype))

    def call_relu_squared_kernel(left, right, before, out, forward):
        (BM, BN, BK), block = (128, 256, 64), TensorDescriptor.from_tensor
        programs = torch.cuda.get_device_properties(left.device).multi_processor_count
        relu_squared_kernel[(programs,)](
            block(left, [BM, BK]), block(right, [BN, BK] if forward else [BK, BN]), block(before, [BM, BN // 2]),
            block(out, [BM, BN // 2]), *out.shape, left.size(1), BM, BN, BK, programs, forward, True,
            num_warps=8, num_stages=4 if forward else 3,
        )  # fmt: skip
        return out

    @triton.jit
    def filter_kernel(
        x, taps, out, dy, dtaps, rows, T: tl.constexpr, C: tl.constexpr, N: tl.constexpr, BACKWARD: tl.constexpr,
        TILES: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        """out[t] = u[t] + sum of taps[j] * u[t - 1 - j], u being x (rows, C) over its RMS. Backward out is the gradient
        of x, and dtaps (programs, N, C) are sums over a program's rows."""
        column, which = tl.arange(0, BLOCK)[None, :], tl.arange(0, 4)[:, None]
        totals = tl.zeros((4, BLOCK), dtype=tl.float32)
        for tile in range(TILES):
            row = ((tl.program_id(0) * TILES + tile) * ROWS + tl.arange(0, ROWS))[:, None]
            at, inside = row.to(tl.int64) * C + column, (row < rows) & (column < C)
            u = load(x + at, inside)
            scale = tl.rsqrt(tl.sum(u * u, axis=1) / C + 1e-7)[:, None]
            u *= scale
            result = load(dy + at, inside) if BACKWARD else u
            for j in tl.static_range(N):
                tap = load(taps + j * C + column, column < C)
                if BACKWARD:
                    after = load(dy + at + (j + 1) * C, inside & (row % T < T - 1 - j))
                    result += tap * after
                    totals += tl.where(which == j, tl.sum(u * after, axis=0)[None, :], 0.0)
                else:
                    before = load(x + at - (j + 1) * C, inside & (row % T > j))
                    result += tap * before * tl.rsqrt(tl.sum(before * before, axis=1) / C + 1e-7)[:, None]
            if BACKWARD:
                result = scale * (result - u * (tl.sum(result * u, axis=1) / C)[:, None])
            tl.store(out + at, result, mask=inside)
        if BACKWARD:
            to = dtaps + (tl.program_id(0) * N + which) * C + column
            tl.store(to, totals, mask=(which < N) & (column < C))

    FILTER_TILES, FILTER_ROWS = 16, 2

    def call_filter_kernel(x, taps, out, dy=None, dtaps=None):
        (B, length, width), n = x.shape, taps.size(0)
        grid = (triton.cdiv(B * length, FILTER_TILES * FILTER_ROWS),)
        filter_kernel[grid](x, taps, out, dy, dtaps, B * length, length, width, n, dy is not None, FILTER_TILES,
                            FILTER_ROWS, triton.next_power_of_2(width), num_warps=1)  # fmt: skip

    @operator("(Tensor x, Tensor taps) -> Tensor", lambda x, taps: torch.empty_like(x))
    def filter_forward(x, taps):
        out = torch.empty_like(x)
        call_filter_kernel(x, taps, out)
        return out

    def filter_results(dy, x, taps):
        programs = -(-x.size(0) * x.size(1) // (FILTER_TILES * FILTER_ROWS))
        return torch.empty_like(x), x.new_empty(programs, *taps.shape, dtype=torch.float32)

    @operator("(Tensor dy, Tensor x, Tensor taps) -> (Tensor, Tensor)", filter_results)
    def filter_backward(dy, x, taps):
        dx, dtaps = filter_results(dy, x, taps)
        call_filter_kernel(x, taps, dx, dy.contiguous(), dtaps)
        return dx, dtaps

    @operator("(Tensor x, Tensor w) -> Tensor", lambda x, w: x.new_empty(x.size(0), w.size(0)))
    def relu_squared(x, w):
        """relu(x @ w^T)^2: x (M, K), w (N, K) -> (M, N)"""
        out = x.new_empty(x.size(0), w.size(0))
        return call_relu_squared_kernel(x, w, out, out, True)

    @operator("(Tensor dy, Tensor w, Tensor out) -> Tensor", lambda dy, w, out: torch.empty_like(out))
    def relu_squared_backward(dy, w, out):
        """dy (M, K), w (K, N) and relu_squared's out (M, N) -> the gradient before it (M, N)"""
        return call_relu_squared_kernel(dy.contiguous(), w, out, torch.empty_like(out), False)


class Lookup(torch.autograd.Function):
    """Embedding lookup: tokens (B, T), table (V, C) -> (B, T, C)."""

    @staticmethod
    def forward(ctx, tokens, table):
        ctx.save_for_backward(tokens)
        ctx.vocab_size = table.size(0)
        return F.embedding(tokens, table)

    @staticmethod
    def backward(ctx, grad):
        return None, embedding_gradient(grad, *ctx.saved_tensors, ctx.vocab_size)


class AttentionInputs(torch.autograd.Function):
    """plain_attention_inputs in one kernel each way."""

    @staticmethod
    def forward(ctx, qkv, cos, sin, gate, value):
        ctx.save_for_backward(qkv, cos, sin, gate, value)
        return qkv_forward(qkv, cos, sin, gate, value)

    @staticmethod
    def backward(ctx, dq, dk, dv):
        saved = ctx.saved_tensors
        dqkv, dgate, dvalue = qkv_backward(dq, dk, dv, *saved)
        return (dqkv, None, None, None, None) if saved[4] is None else (dqkv, None, None, dgate, dvalue)


class MLP(torch.autograd.Function):
    """plain_mlp, whose matrix products apply the squared ReLU and its slope to what they write."""

    @staticmethod
    def forward(ctx, x, w_in, w_out):
        h = relu_squared(x, w_in)
        ctx.save_for_backward(x, h, w_in, w_out)
        return h @ w_out.T

    @staticmethod
    def backward(ctx, dy):
        x, h, w_in, w_out = ctx.saved_tensors
        dh = relu_squared_backward(dy, w_out, h)
        return dh @ w_in, dh.T @ x, dy.T @ h


class HeadLoss(torch.autograd.Function):
    """Mean of plain losses; the gradient is computed with them, so the logits are read once."""

    @staticmethod
    def forward(ctx, x, head, targets):
        losses, gradients = loss_and_gradient(x @ head.T, targets)
        ctx.save_for_backward(x, head, gradients)
        return losses.mean()

    @staticmethod
    def backward(ctx, dy):
        x, head, gradients = ctx.saved_tensors
        scale = dy / x.size(0)
        return (gradients @ head) * scale.to(x.dtype), (gradients.T @ x) * scale.to(x.dtype), None


class Exclusive(torch.autograd.Function):
    """Attention outputs y (B, T, H, D) without their part along the own values v, times gate (B, T, H) or None.

    Written out because autograd would keep intermediate results as large as y.
    """

    @staticmethod
    def forward(ctx, y, v, gate):
        ctx.save_for_backward(y, v, gate)
        share = dot(y, v) / (dot(v, v) + 1e-6)
        out = y.float() - share * v.float()
        return (out if gate is None else out * gate.unsqueeze(-1).float()).to(y.dtype)

    @staticmethod
    def backward(ctx, dy):
        y, v, gate = ctx.saved_tensors
        norm2, dy, y32, v32 = dot(v, v) + 1e-6, dy.float(), y.float(), v.float()
        share, dgate = dot(y, v) / norm2, None
        if gate is not None:
            dgate = (dy * (y32 - share * v32)).sum(-1).to(gate.dtype)
            dy = dy * gate.unsqueeze(-1).float()
        along = dot(dy, v) / norm2
        dv = (2 * share * v32 - y32) * along - share * dy
        return (dy - along * v32).to(y.dtype), dv.to(v.dtype), dgate


def dot(a, b):
    """Over the last dimension, kept, in fp32."""
    return (a.float() * b.float()).sum(-1, keepdim=True)


class Filter(torch.autograd.Function):
    """RMS norm and filter in one kernel each way."""

    @staticmethod
    def forward(ctx, x, taps):
        ctx.save_for_backward(x, taps)
        return filter_forward(x, taps)

    @staticmethod
    def backward(ctx, dy):
        dx, dtaps = filter_backward(dy, *ctx.saved_tensors)
        return dx, dtaps.sum(0).to(dy.dtype)


def rotate(x, cos, sin):
    """Rotary positions (Su 2021) on x (B, T, H, D): the two halves of D are the planes' axes."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1)


def plain_attention_inputs(qkv, cos, sin, gate, value):
    """qkv (B, T, 3, H, D), gate (B, T, H) and value (B, T, H, D) or None -> q, k, v (B, T, H, D)"""
    q, k, v = qkv.unbind(2)
    q, k = (qk_norm(rotate(z, cos, sin)) for z in (q, k))
    return q, k, v if value is None else v + gate.unsqueeze(-1) * value


def plain_mlp(x, w_in, w_out):
    return F.linear(F.relu(F.linear(x, w_in)).square(), w_out)


def flipped_attention_inputs(qkv, cos, sin, gate, value):
    """plain_attention_inputs on q and k at once and without cat, which the compiler turns into fewer passes."""
    qk, v = qkv[:, :, :2], qkv[:, :, 2]
    halves = qk_norm(qk).unflatten(-1, (2, -1))  # (B, T, 2, H, 2, D/2)
    cos, sin = cos[:, None, :, None], torch.stack((sin, -sin), dim=-2)[:, None]  # (T, 1, 1, 1 or 2, D/2)
    q, k = (halves * cos + halves.flip(-2) * sin).flatten(-2).unbind(2)
    return q, k, v if value is None else v + gate.unsqueeze(-1) * value


FLIPPED = False
FUSED_QKV = COMPILE and QK_LAYERNORM_SHARE == 0 and HEAD_DIM & (HEAD_DIM - 1) == 0
FUSED_MLP = COMPILE
FUSED_LOSS = COMPILE
lookup = Lookup.apply if COMPILE else F.embedding
attention_inputs = AttentionInputs.apply if FUSED_QKV else plain_attention_inputs
if FLIPPED:
    attention_inputs = flipped_attention_inputs
mlp = MLP.apply if FUSED_MLP else plain_mlp


def ngram_rows(tokens):
    """Rows of the n-grams that end at each token: tokens (B, T) -> (B, T) for each length, equal grams equal rows."""
    for i, length in enumerate(NGRAMS):
        gram = tokens
        for back in range(1, length):
            gram = gram * 1_000_003 + F.pad(tokens, (back, 0))[:, :-back] + 1
        yield (gram * 2_654_435_761 >> 16) % NGRAM_ROWS + i * NGRAM_ROWS


FUSED_FILTER = COMPILE and NORM == "rms"


def read(x, taps):
    """What a layer reads of x (B, T, C): it normed, and the tokens before, times taps (N, C), a causal filter."""
    if FUSED_FILTER and len(taps):
        return Filter.apply(x, taps)
    x = norm(x)
    if SHIFT:
        return torch.cat((F.pad(x[..., :SHIFT], (0, 0, 1, 0))[:, :-1], x[..., SHIFT:]), dim=-1)
    before = (F.pad(x, (0, 0, back, 0))[:, :-back] for back in range(1, len(taps) + 1))
    return x + sum(tap * y for tap, y in zip(taps, before, strict=True)) if len(taps) else x


def window_of(layer):
    return SHORT_WINDOW if WINDOW_PATTERN[layer % len(WINDOW_PATTERN)] == "S" and layer < DEPTH - 1 else T


def has_value_embedding(layer):
    return layer % VALUE_EVERY == (DEPTH - 1) % VALUE_EVERY


class GPT(nn.Module):
    """Weights of one kind are one stacked tensor: cast once, their gradients stacked, and updated together."""

    def __init__(self, vocab_size, attend):
        super().__init__()
        self.attend = attend
        heads, layers = WIDTH // HEAD_DIM, DEPTH
        value_layers = sum(map(has_value_embedding, range(layers)))
        bound = INIT_SCALE * math.sqrt(3 / WIDTH)

        def uniform(*shape):
            return nn.Parameter(torch.empty(*shape, device=DEVICE).uniform_(-bound, bound))

        def normal(*shape, sd, dtype=torch.float32):
            return nn.Parameter((torch.randn(*shape, device=DEVICE) * sd).to(dtype))

        def full(value, *shape):
            return nn.Parameter(torch.full(shape, float(value), device=DEVICE))

        table_dtype = TABLE_DTYPE or DTYPE
        self.embedding = normal(vocab_size, WIDTH, sd=1.0, dtype=table_dtype)
        self.values = nn.Parameter(uniform(vocab_size, value_layers * WIDTH).to(table_dtype))  # one lookup for all
        self.head = normal(vocab_size, WIDTH, sd=0.001)
        self.attention = uniform(layers, 4, WIDTH, WIDTH)  # q, k, v, out
        self.mlp_in = uniform(layers, MLP_RATIO * WIDTH, WIDTH)
        self.mlp_out = full(0, layers, WIDTH, MLP_RATIO * WIDTH)
        self.gates = full(0, value_layers, heads, GATE_CHANNELS)
        self.out_gates = full(0, layers if ATTENTION_GATES else 0, heads, GATE_CHANNELS)
        self.residual = full(RESIDUAL_INIT, layers)
        self.ngrams = nn.Parameter(torch.zeros(len(NGRAMS) * NGRAM_ROWS, WIDTH, device=DEVICE, dtype=DTYPE))
        self.ngram_factors = full(NGRAM_INIT, layers)
        self.smear = full(0, 1 + 24)
        self.backout = full(0.2, 1)
        self.taps, self.mlp_taps = full(0, layers, CONV, WIDTH), full(0, layers, CONV_MLP, WIDTH)
        self.skips = full(0, layers if SKIPS else 0)
        self.x0 = full(X0_INIT, layers)
        with torch.no_grad():
            self.attention[:, 3] = 0

        frequencies = ROPE_BASE ** (-torch.arange(0, HEAD_DIM, 2, device=DEVICE).float() / HEAD_DIM / ROPE_SHARE)
        frequencies[round(HEAD_DIM / 2 * ROPE_SHARE) :] = 0
        angles = torch.outer(torch.arange(T, device=DEVICE).float(), frequencies)[:, None, :]  # (T, 1, D/2)
        self.register_buffer("cos", angles.cos().to(DTYPE), persistent=False)
        self.register_buffer("sin", angles.sin().to(DTYPE), persistent=False)

    def forward(self, tokens, targets=None, reduction="mean"):
        """tokens, targets (B, T) int64: losses in nats reduced as asked, or without targets logits (B, T, V) fp32."""
        B = tokens.size(0)
        heads = WIDTH // HEAD_DIM
        x0 = x = norm(lookup(tokens, self.embedding.to(DTYPE)))  # (B, T, C)
        if SMEAR:
            gate = self.smear[0].to(DTYPE) * torch.sigmoid(F.linear(x[..., :24], self.smear[None, 1:].to(DTYPE)))
            x0 = x = x + gate * F.pad(x, (0, 0, 1, 0))[:, :-1]
        grams = sum(lookup(rows, self.ngrams) for rows in ngram_rows(tokens))
        if NGRAMS and NGRAMS_IN_X0:
            x0 = x = x0 + self.ngram_factors[0] * grams
        values = iter(lookup(tokens, self.values.to(DTYPE)).view(B, T, -1, heads, HEAD_DIM).unbind(2))
        gates, out_gates = iter(self.gates.to(DTYPE).unbind(0)), self.out_gates.to(DTYPE)
        attention, mlp_in, mlp_out = (w.to(DTYPE).unbind(0) for w in (self.attention, self.mlp_in, self.mlp_out))
        taps, mlp_taps = self.taps.to(DTYPE), self.mlp_taps.to(DTYPE)
        skips = []
        for i in range(DEPTH):
            if SKIPS and i > (DEPTH - 1) / 2:
                x = x + self.skips[i] * skips.pop()
            x = self.residual[i] * x + self.x0[i] * x0
            if NGRAMS and not NGRAMS_IN_X0:
                x = x + self.ngram_factors[i] * grams
            if BACKOUT and i == DEPTH // 2 + 1:
                middle = x
            h = read(x, taps[i])
            qkv = F.linear(h, attention[i][:3].flatten(0, 1)).view(B, T, 3, heads, HEAD_DIM)
            gate = value = None
            if has_value_embedding(i):
                gate, value = 2 * torch.sigmoid(F.linear(h[..., :GATE_CHANNELS], next(gates))), next(values)
            q, k, v = attention_inputs(qkv, self.cos, self.sin, gate, value)
            y = self.attend(q, k, v, window_of(i))
            gate = 2 * torch.sigmoid(F.linear(h[..., :GATE_CHANNELS], out_gates[i])) if ATTENTION_GATES else None
            if i >= DEPTH - XSA:
                y = Exclusive.apply(y, v, gate)
            elif ATTENTION_GATES:
                y = y * gate.unsqueeze(-1)
            x = x + F.linear(y.reshape(B, T, WIDTH), attention[i][3])
            x = x + mlp(read(x, mlp_taps[i]).flatten(0, 1), mlp_in[i], mlp_out[i]).view_as(x)
            if SKIPS and i < (DEPTH - 1) / 2:
                skips.append(x)
        if BACKOUT:
            x = x - self.backout[0] * middle
        x = norm(x)
        head = self.head.to(DTYPE)
        if FUSED_LOSS and torch.is_grad_enabled() and targets is not None and reduction == "mean":
            return HeadLoss.apply(x.flatten(0, 1), head, targets.flatten())
        logits = F.linear(x, head).float()
        # SOFTCAP * tanh(logits / SOFTCAP) up to a constant, which a softmax does not see, and cheaper.
        logits = 2 * SOFTCAP * torch.sigmoid(logits * (2 / SOFTCAP))
        if targets is None:
            return logits
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), reduction=reduction)

    def flops_per_token(self):
        """Forward and backward: 6 a matrix weight, and attention's 12 * width * window a layer."""
        matrices = sum(p.numel() for p in (self.attention, self.mlp_in, self.mlp_out, self.gates, self.head))
        return 6 * matrices + sum(12 * WIDTH * window_of(i) for i in range(DEPTH))


# ---------------------------------------------------------------------------------------------------------------
# Optimizer. Hyperparameters reach the compiled updates as 0-dim tensors: a new value is no reason to compile again.

# Polar Express (Amsel et al. 2025): the quintics of five steps, safety factor 1.02.
POLAR_EXPRESS = [
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
]


def orthogonalize(g):
    """The orthogonal factor of matrices g (N, rows, cols), by polynomial iterations in low precision."""
    x = g.to(DTYPE)
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in POLAR_EXPRESS[:MUON_STEPS]:
        s = x @ x.mT
        x = a * x + (b * s + c * (s @ s)) @ x
    return x.mT if tall else x


@compiled
def muon_update(p, g, momentum_buffer, second, lr, wd, momentum, beta2):
    """Muon (Jordan 2024) with Nesterov momentum, NorMuon (Li et al. 2025) and cautious weight decay.

    p, g, momentum_buffer: (N, rows, cols); second: (N, rows, 1) or (N, 1, cols), the shorter way to average.
    """
    momentum_buffer.lerp_(g, 1 - momentum)
    u = orthogonalize(g.lerp(momentum_buffer, momentum)).float()
    # NorMuon: divide each row (or column) by its running RMS, and keep the whole matrix's norm.
    average = -1 if second.size(-1) == 1 else -2
    mean_square = u.square().mean(dim=average, keepdim=True)
    second.lerp_(mean_square, 1 - beta2)
    scale = second.clamp_min(1e-10).rsqrt()
    before = mean_square.sum(dim=(-2, -1), keepdim=True).sqrt()
    after = (mean_square * scale.square()).sum(dim=(-2, -1), keepdim=True).sqrt()
    u = u * scale * (before / after.clamp_min(1e-10))
    p.sub_(lr * u + lr * wd * p * (u * p >= 0))


@compiled
def adam_update(p, g, m, v, step, lr, wd, beta1, beta2, eps):
    """AdamW (Loshchilov and Hutter 2019) on a tensor of any shape; the moments are fp32 whatever p is."""
    g = g.float()
    m.lerp_(g, 1 - beta1)
    v.lerp_(g.square(), 1 - beta2)
    corrected = (v / (1 - beta2**step)).sqrt() + eps
    p.copy_(p.float() * (1 - lr * wd) - lr / (1 - beta1**step) * m / corrected)


class Optimizer:
    """Muon for the block matrices, AdamW for the rest, each parameter with its own settings."""

    def __init__(self, model):
        adam_scale = (WIDTH / 768) ** -0.5
        self.adam = [  # parameter, rate, weight decay, betas
            (model.embedding, EMBEDDING_LR * adam_scale, EMBEDDING_WD, ADAM_BETAS),
            (model.values, EMBEDDING_LR * VALUE_LR_SHARE * adam_scale, VALUE_EMBEDDING_WD, ADAM_BETAS),
            (model.head, UNEMBEDDING_LR * adam_scale, UNEMBEDDING_WD, ADAM_BETAS),
            (model.residual, SCALAR_LR * 0.01, 0.0, ADAM_BETAS),
            (model.x0, SCALAR_LR, 0.0, X0_BETAS),
        ]
        if NGRAMS:
            self.adam.append((model.ngrams, NGRAM_LR * adam_scale, NGRAM_WD, NGRAM_BETAS))
            self.adam.append((model.ngram_factors, SCALAR_LR * 0.01, 0.0, ADAM_BETAS))
        if SMEAR:
            self.adam.append((model.smear, SCALAR_LR * 0.4, 0.0, ADAM_BETAS))
        if BACKOUT:
            self.adam.append((model.backout, SCALAR_LR * 0.4, 0.0, ADAM_BETAS))
        for used, p in ((CONV, model.taps), (CONV_MLP, model.mlp_taps), (SKIPS, model.skips)):
            if used:
                self.adam.append((p, CONV_LR, 0.0, ADAM_BETAS))
        self.muon = [model.attention, model.mlp_in, model.mlp_out, model.gates]
        if ATTENTION_GATES:
            self.muon.append(model.out_gates)
        self.moments = [tuple(torch.zeros_like(p, dtype=torch.float32) for _ in range(2)) for p, *_ in self.adam]
        self.muon_state = []
        for p in self.muon:
            rows, cols = p.shape[-2:]
            stack = p.numel() // (rows * cols)
            second = (stack, rows, 1) if rows >= cols else (stack, 1, cols)
            self.muon_state.append((torch.zeros(stack, rows, cols, device=DEVICE), torch.zeros(second, device=DEVICE)))
        self.steps = 0

    @torch.no_grad()
    def step(self, lr_scale, wd_scale):
        """One update; lr_scale multiplies all rates, wd_scale the matrices' weight decay."""
        self.steps += 1
        scalar = partial(torch.tensor, dtype=torch.float32)
        for (p, lr, wd, betas), (m, v) in zip(self.adam, self.moments, strict=True):
            settings = (self.steps, lr * lr_scale, wd, *betas, 1e-10)
            adam_update(p, p.grad, m, v, *map(scalar, settings))
            p.grad = None
        momentum = MUON_MOMENTUM[0] + (MUON_MOMENTUM[1] - MUON_MOMENTUM[0]) * min(1, self.steps / MUON_MOMENTUM_STEPS)
        if MOMENTUM_END is not None and lr_scale < 1:
            momentum = MOMENTUM_END + (momentum - MOMENTUM_END) * lr_scale
        for p, (buffer, second) in zip(self.muon, self.muon_state, strict=True):
            lr = MATRIX_LR * lr_scale * max(1, p.size(-2) / p.size(-1)) ** 0.5
            settings = (lr, MATRIX_WD * wd_scale, momentum, MUON_BETA2)
            muon_update(p.view_as(buffer), p.grad.view_as(buffer), buffer, second, *map(scalar, settings))
            p.grad = None


def learning_rate_scale(progress):
    """Warm-up, plateau, linear warm-down to FINAL_LR_FRACTION; progress is the elapsed fraction of the budget."""
    if progress < WARMUP:
        return progress / WARMUP
    left = min(1.0, (1 - progress) / WARMDOWN) if WARMDOWN else 1.0
    return left + (1 - left) * FINAL_LR_FRACTION


# ---------------------------------------------------------------------------------------------------------------
# Training


class Progress:
    """What a person sees: one line that rewrites itself on a terminal, else a plain line every few seconds."""

    def __init__(self):
        self.tty = sys.stdout.isatty()
        self.every = 0.5 if self.tty else 5.0
        self.due = 0.0

    def show(self, step, elapsed, loss, tokens_per_s, last=False):
        now = time.perf_counter()
        if now < self.due and not last:
            return
        self.due = now + self.every
        left = max(0.0, TIME_BUDGET - elapsed)
        line = (
            f"step {step:5d} {100 * min(1, elapsed / TIME_BUDGET):5.1f} %  loss {loss:7.4f}  "
            f"{tokens_per_s:11,.0f} tok/s  {left:4.0f} s left"
        )
        print(f"\r{line}" if self.tty else line, end="" if self.tty and not last else "\n", flush=True)


class LaggedLoss:
    """The loss of the step before, read without making the GPU wait for the host."""

    def __init__(self):
        self.pending = None

    def push(self, loss):
        """Starts reading this step's loss and returns the last one's, None at first."""
        if DEVICE.type != "cuda":
            return loss.item()
        before = self.pop()
        host = torch.empty((), pin_memory=True).copy_(loss, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self.pending = (host, event)
        return before

    def pop(self):
        if self.pending is None:
            return None
        host, event = self.pending
        self.pending = None
        event.synchronize()
        return host.item()


def synchronize():
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def check_settings():
    tokens = DEVICE_BATCH_SIZE * T
    if TOTAL_BATCH_SIZE % tokens:
        below = max(tokens, TOTAL_BATCH_SIZE // tokens * tokens)
        prepare.stop(
            f"TOTAL_BATCH_SIZE = {TOTAL_BATCH_SIZE:,} is not a multiple of DEVICE_BATCH_SIZE * {T} = {tokens:,}: "
            f"{below:,} and {below + tokens:,} are"
        )
    if WIDTH % HEAD_DIM or HEAD_DIM % 2:
        prepare.stop(f"WIDTH = {WIDTH} must be a multiple of HEAD_DIM = {HEAD_DIM}, and HEAD_DIM even")
    if not 1 <= MUON_STEPS <= len(POLAR_EXPRESS):
        prepare.stop(f"MUON_STEPS = {MUON_STEPS} must be 1 to {len(POLAR_EXPRESS)}")


def diverged(step, loss):
    print("FAIL")
    what = f"the loss at step {step} is {loss:.4g}: training diverged; lower the learning rates"
    prepare.stop(what, prepare.EXIT_DIVERGED)


def train(model, optimizer, batches):
    """Trains until the budget is spent. Returns counted seconds, steps in all, and the loss curve."""
    accumulate = TOTAL_BATCH_SIZE // (DEVICE_BATCH_SIZE * T)
    forward = compiled(model)
    progress, lagged, curve = Progress(), LaggedLoss(), []
    started = time.perf_counter()  # moved to the end of the last uncounted step
    elapsed, step = 0.0, 0
    while True:
        for _ in range(accumulate):
            x, y, _ = next(batches)
            loss = forward(x, y)
            (loss / accumulate).backward()
        fraction = min(1.0, elapsed / TIME_BUDGET)
        decay = 0.5 + 0.5 * math.cos(math.pi * fraction) if COSINE_WD else 1 - fraction
        optimizer.step(learning_rate_scale(fraction), decay)
        before = lagged.push(loss.detach())
        step += 1
        if step == 1:
            gc.collect()
            gc.freeze()  # a collection in the middle of a step costs half a second
            gc.disable()
        if step <= UNCOUNTED_STEPS:
            synchronize()
            started = time.perf_counter()
        elapsed = time.perf_counter() - started
        if before is not None:
            if not before <= 100:
                diverged(step, before)
            counted = step - UNCOUNTED_STEPS
            curve.append((fraction, before))
            progress.show(step, elapsed, before, max(0, counted) * TOTAL_BATCH_SIZE / elapsed if counted > 0 else 0.0)
        if elapsed >= TIME_BUDGET:
            break
    last = lagged.pop()
    synchronize()
    elapsed = time.perf_counter() - started
    last = before if last is None else last
    if not last <= 100:
        diverged(step, last)
    counted = step - UNCOUNTED_STEPS
    progress.show(step, elapsed, last, counted * TOTAL_BATCH_SIZE / elapsed, last=True)
    return elapsed, step, curve


def thinned(curve, points=100):
    """About `points` (fraction, loss) pairs, each the mean of its stretch of steps."""
    size = max(1, math.ceil(len(curve) / points))
    stretches = [curve[i : i + size] for i in range(0, len(curve), size)]
    return [tuple(round(sum(c) / len(s), 5) for c in zip(*s, strict=True)) for s in stretches]


def main():
    check_settings()
    begin = time.perf_counter()
    torch.manual_seed(SEED)
    torch.set_float32_matmul_precision("high")
    tokenizer = Tokenizer.from_directory()
    attention, attend = choose_attention(sorted({window_of(i) for i in range(DEPTH)}))
    model = GPT(tokenizer.get_vocab_size(), attend)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{PROFILE.name} profile on {prepare.device_class()}, seed {SEED}, attention {attention}")
    print(f"{DEPTH} layers of {WIDTH}, {parameters / 1e6:.1f} M parameters, {TIME_BUDGET} s of training", flush=True)
    batches = make_dataloader(tokenizer, DEVICE_BATCH_SIZE, T, "train")
    optimizer = Optimizer(model)
    ready = time.perf_counter()
    seconds, steps, curve = train(model, optimizer, batches)
    trained = time.perf_counter()
    peak_mb = prepare.peak_vram_mb()
    batches.close()
    gc.enable()

    model.eval()
    val_bpb = evaluate_bpb(compiled(model), tokenizer, DEVICE_BATCH_SIZE)
    end = time.perf_counter()

    counted = steps - UNCOUNTED_STEPS
    peak_flops = next((f for name, f in PEAK_FLOPS.items() if name in prepare.device_class()), 0)
    flops = model.flops_per_token() * counted * TOTAL_BATCH_SIZE / seconds
    summary = {
        "val_bpb": f"{val_bpb:.6f}",
        "training_seconds": f"{seconds:.1f}",
        "total_seconds": f"{end - begin:.1f}",
        "peak_vram_mb": f"{peak_mb:.1f}",
        "mfu_percent": f"{100 * flops / peak_flops if peak_flops else 0:.2f}",
        "total_tokens_M": f"{steps * TOTAL_BATCH_SIZE / 1e6:.1f}",
        "num_steps": str(steps),
        "num_params_M": f"{parameters / 1e6:.1f}",
        "depth": str(DEPTH),
    }
    own = prepare.report(
        uncounted_steps=UNCOUNTED_STEPS,
        summary=summary,
        attention=attention,
        tokens_per_s=round(counted * TOTAL_BATCH_SIZE / seconds),
        phases_s={
            "start": round(ready - begin, 3),
            "uncounted_steps": round(trained - ready - seconds, 3),
            "training": round(seconds, 3),
            "evaluation": round(end - trained, 3),
        },
        loss_curve=thinned(curve),
    )
    print("---")
    for key, value in (summary | own).items():
        print(f"{key + ':':<17} {value}")


if __name__ == "__main__":
    try:
        main()
    except torch.OutOfMemoryError as e:
        first_line = str(e).splitlines()[0]
        prepare.stop(f"CUDA out of memory: lower DEVICE_BATCH_SIZE ({DEVICE_BATCH_SIZE}) in train.py. {first_line}")
