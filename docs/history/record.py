"""train.py with what is being tried for it behind constants, each off by default, for the races of docs/benchmark.md.

    python scripts/race.py NAME=docs/history/record.py:KEY=VALUE;KEY=VALUE

With every option off it is train.py. Options of earlier rounds are in this file at the commits that their rows of
record.jsonl name.

Notable:
- rotary positions, QK norm, squared ReLU, sliding windows, gated heads and value embeddings, filters over the last few
  tokens, embeddings of pairs of tokens; targets further ahead teach at first
- Muon (polar express, NorMuon) for the block matrices, which are stored stacked; AdamW for the rest
- Triton kernels (fused_...) stand in for plain_... functions where they give the same: edit the plain ones
- schedules run on the elapsed fraction of the budget; the first steps, which compile, are not counted
"""

import math
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
DEPTH = 7 if OFFICIAL else 4
WIDTH = 640 if OFFICIAL else 128
HEAD_DIM = 128 if OFFICIAL else 32
MLP_RATIO = 4
WINDOW_PATTERN = "SSSSL"  # repeated over the layers; the last is always L
SHORT_WINDOW = T // 8  # tokens an S layer sees; an L layer sees all
ROPE_BASE = 200_000
NORM = "rms"  # rms or layer, both without weights
QK_LAYERNORM_SHARE = 0.0  # of q and k's norm; the rest is RMS
QK_SCALE = 1.5 if OFFICIAL else 1.0  # on top of 1/sqrt(HEAD_DIM)
GATE_CHANNELS = 32  # of the block input, read by gates
OUT_GATES = True  # scale each head's output by a gate that reads the block input (Qiu et al. 2025)
FILTER = 3  # tokens before each one that a filter a channel adds to what attention and MLP read
PAIR_ROWS = 2**15 if OFFICIAL else 2**11  # embeddings of hashed pairs of tokens
AHEAD = (0.5, 0.25)  # weights at first of the losses on the tokens one and two further on (Gloeckle et al. 2024)
NO_ATTENTION = ()  # layers that are an MLP alone, of those without value embeddings; MFU then says too much
SKIPS = False  # add the first half's outputs to the second half's inputs, last to first
SOFTCAP = 15.0
INIT_SCALE = 0.68  # of sqrt(3 / WIDTH), the bound of the uniform initial weights
RESIDUAL_INIT = 1.0  # per layer: x = RESIDUAL * x + X0 * normed embedding
X0_INIT = 0.05

# Optimizer
TOTAL_BATCH_SIZE = 2**17 if OFFICIAL else 2**11  # tokens a step
HALF_UNTIL = 0.0  # fraction of the budget with half as many (two forwards at least): tokens/s then says too much
DEVICE_BATCH_SIZE = 64 if OFFICIAL else 8  # rows a forward
EMBEDDING_LR = 0.9  # Adam rates are for a width of 768 and scale with its inverse square root
UNEMBEDDING_LR = 0.005
SCALAR_LR = 0.5
MATRIX_LR = 0.03
MATRIX_WD = 0.2  # decays to 0 over the budget
UNEMBEDDING_WD = 0.01
EMBEDDING_WD = 0.001
VALUE_EMBEDDING_WD = 0.003
PAIR_LR = 0.5
PAIR_WD = 0.001
ADAM_BETAS = (0.8, 0.95)
X0_BETAS = (0.96, 0.95)
FILTER_LR = 0.01  # of skips too
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
FUSED = COMPILE  # Triton kernels, where they do what the plain functions do
TUNED = False  # let the compiler try other tilings of its own kernels, which takes it a minute or two more
DTYPE = torch.bfloat16 if DEVICE.type == "cuda" else torch.float32
UNCOUNTED_STEPS = 11 if COMPILE else 1  # compilation and warm-up
prepare.check_settings(TOTAL_BATCH_SIZE, DEVICE_BATCH_SIZE, WIDTH, HEAD_DIM)
if TUNED:
    import torch._inductor.config

    torch._inductor.config.coordinate_descent_tuning = True


def compiled(function):
    return torch.compile(function, dynamic=False) if COMPILE else function


# ---------------------------------------------------------------------------------------------------------------
# Attention: causal, each query sees itself and the `window` keys before it. q, k, v, out: (B, T, H, D)

SCALE, HEADS = QK_SCALE * HEAD_DIM**-0.5, WIDTH // HEAD_DIM


def sdpa_attention(windows, scale=SCALE):
    """torch's own, with an explicit mask for windows. Runs everywhere; the others are checked against it."""
    behind = torch.arange(T, device=DEVICE)[:, None] - torch.arange(T, device=DEVICE)
    masks = {w: (behind >= 0) & (behind <= w) for w in windows if w < T}

    def attend(q, k, v, window):
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        mask = masks.get(window)
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None, scale=scale).transpose(1, 2)

    return attend


ATTENTIONS = prepare.FAST_ATTENTIONS | {"sdpa": sdpa_attention}  # fastest first


def choose_attention(windows):
    """(name, attend): on CUDA the first that can be had and agrees with torch's own, elsewhere torch's own."""
    plain = sdpa_attention(windows)
    if not COMPILE:
        return "sdpa", plain
    wanted = {name: partial(make, windows, SCALE) for name, make in ATTENTIONS.items() if ATTENTION in ("auto", name)}
    qkv = some(3, 1, T, HEADS, HEAD_DIM)
    return prepare.choose("attention", wanted, plain, qkv, [(w,) for w in windows], compiled)


# ---------------------------------------------------------------------------------------------------------------
# Model


def norm(x, layer_share=float(NORM == "layer")):
    """RMS norm, layer norm or a mixture of the two over the last dimension, without weights."""
    rms = F.rms_norm(x, x.shape[-1:])
    return rms if layer_share == 0 else (1 - layer_share) * rms + layer_share * F.layer_norm(x, x.shape[-1:])


if FUSED:
    import triton
    import triton.language as tl
    from triton.tools.tensor_descriptor import TensorDescriptor

    MULTIPROCESSORS = torch.cuda.get_device_properties(DEVICE).multi_processor_count if DEVICE.type == "cuda" else 1

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

    @prepare.operator(lambda grad, _, count: grad.new_empty(count, grad.size(-1)))
    def embedding_gradient(grad, rows, count: int, /, out):
        """Sorted sums instead of atomic additions, which the frequent rows make slow. grad (B, T, C) -> (count, C)."""
        ordered, order = rows.flatten().sort()
        starts = torch.searchsorted(ordered, torch.arange(count + 1, device=grad.device))
        grid, width = (count, triton.cdiv(grad.size(-1), 128)), grad.size(-1)
        sum_rows_kernel[grid](grad.contiguous(), order, starts, out, width, 128, 16, num_warps=1)

    @prepare.operator(
        lambda tokens, table: table.new_empty(*tokens.shape, table.size(1)),
        lambda dy, tokens, table, _: (None, embedding_gradient(dy, tokens, table.size(0))),
    )
    def fused_lookup(tokens, table, /, out):
        torch.index_select(table, 0, tokens.flatten(), out=out.view(-1, table.size(1)))

    @triton.jit
    def loss_kernel(
        logits, targets, ahead, losses, gradients, T: tl.constexpr, V: tl.constexpr, CAP: tl.constexpr,
        BLOCK: tl.constexpr, AHEAD: tl.constexpr,
    ):  # fmt: skip
        """One row of logits: the loss after the soft cap, and the gradient with respect to what stands before it, of
        the losses on targets ahead too."""
        row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
        target = tl.load(targets + row)
        x = load(logits + row * V + column, column < V)
        share = 1.0 / (1.0 + tl.exp2(x * (-2 * 1.4426950408889634 / CAP)))
        powers = tl.exp2((share - 1) * (2 * 1.4426950408889634 * CAP))  # at most 1, so no maximum is needed
        powers = tl.where(column < V, powers, 0.0) if V < BLOCK else powers
        total = tl.sum(powers, axis=0)
        own = tl.load(logits + row * V + target).to(tl.float32)
        tl.store(losses + row, tl.log(total) - 2 * CAP * (tl.sigmoid(own * (2 / CAP)) - 1))
        powers *= 1 / total
        gradient = powers - tl.where(column == target, 1.0, 0.0)
        for i in tl.static_range(AHEAD):
            there = row % T < T - 1 - i
            further, weight = tl.load(targets + row + 1 + i, there, other=0), tl.where(there, tl.load(ahead + i), 0.0)
            gradient += weight * (powers - tl.where(column == further, 1.0, 0.0))
        tl.store(gradients + row * V + column, gradient * (4 * share * (1 - share)), mask=column < V)

    def head_loss_backward(dy, _, x, head, targets, ahead, loss, gradients):
        scale = (dy / x.size(0)).to(x.dtype)
        return (gradients @ head) * scale, (gradients.T @ x) * scale, None, None

    @prepare.operator(
        lambda x, head, *_: (x.new_empty((), dtype=torch.float32), x.new_empty(x.size(0), head.size(0))),
        head_loss_backward,
    )
    def fused_head_loss(x, head, targets, ahead, /, loss, _gradients):
        """The gradient is computed with the losses, so the logits are read once."""
        logits, losses = x @ head.T, x.new_empty(x.size(0), dtype=torch.float32)
        sizes = T, head.size(0), SOFTCAP, triton.next_power_of_2(head.size(0)), ahead.size(0)
        loss_kernel[(x.size(0),)](logits, targets, ahead, losses, _gradients, *sizes, num_warps=16)
        loss.copy_(losses.mean())

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

    @prepare.operator(
        lambda _q, _k, _v, x, _cos, _sin, *rest: tuple(x.new_empty(0 if t is None else t.shape) for t in (x, *rest))
    )
    def qkv_backward(dq, dk, dv, qkv, cos, sin, gate, value, /, dqkv, dgate, dvalue):
        grads = (t.contiguous() for t in (dq, dk, dv))
        call_qkv_kernel(qkv, cos, sin, gate, value, *grads, dqkv, dgate, dvalue)

    def fused_qkv_backward(dq, dk, dv, qkv, cos, sin, gate, value, *_):
        dqkv, dgate, dvalue = qkv_backward(dq, dk, dv, qkv, cos, sin, gate, value)
        return dqkv, None, None, *((None, None) if value is None else (dgate, dvalue))

    @prepare.operator(lambda x, *_: tuple(x.new_empty(x[:, :, 0].shape) for _ in range(3)), fused_qkv_backward)
    def fused_qkv(qkv, cos, sin, gate, value, /, q, k, v):
        call_qkv_kernel(qkv, cos, sin, gate, value, q, k, v)

    @triton.jit
    def relu_squared_kernel(
        left, right, before, out, rows, columns, inner, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
        PROGRAMS: tl.constexpr, FORWARD: tl.constexpr,
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
                    x = x * x
                else:
                    x *= 2 * tl.sqrt(before.load([m, at]).to(tl.float32))
                out.store([m, at], x.to(out.dtype))

    def call_relu_squared_kernel(left, right, before, out, forward):
        (BM, BN, BK), block = (128, 256, 64), TensorDescriptor.from_tensor
        relu_squared_kernel[(MULTIPROCESSORS,)](
            block(left, [BM, BK]), block(right, [BN, BK] if forward else [BK, BN]), block(before, [BM, BN // 2]),
            block(out, [BM, BN // 2]), *out.shape, left.size(1), BM, BN, BK, MULTIPROCESSORS, forward,
            num_warps=8, num_stages=4 if forward else 3,
        )  # fmt: skip

    @prepare.operator(lambda dy, w, h: torch.empty_like(h))
    def relu_squared_backward(dy, w, h, /, out):
        """dy (N, C), w (C, 4C), h = relu(x)^2 (N, 4C) -> the gradient of x (N, 4C)"""
        call_relu_squared_kernel(dy.contiguous(), w, h, out, False)

    def mlp_backward(dy, _, x, w_in, w_out, out, h):
        dh = relu_squared_backward(dy, w_out, h)
        return dh @ w_in, dh.T @ x, dy.T @ h

    @prepare.operator(
        lambda x, w_in, w_out: (x.new_empty(x.size(0), w_out.size(0)), x.new_empty(x.size(0), w_in.size(0))),
        mlp_backward,
    )
    def fused_mlp(x, w_in, w_out, /, out, _h):
        """The MLP, whose matrix products apply the squared ReLU and its slope to what they write."""
        call_relu_squared_kernel(x, w_in, _h, _h, True)
        torch.mm(_h, w_out.T, out=out)

    @triton.jit
    def filter_kernel(
        x, taps, out, dy, dtaps, rows, T: tl.constexpr, C: tl.constexpr, N: tl.constexpr, BACKWARD: tl.constexpr,
        TILES: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, MANY: tl.constexpr,
    ):  # fmt: skip
        """out[t] = u[t] + sum of taps[j] * u[t - 1 - j], u being x (rows, C) over its RMS. Backward out is the gradient
        of x, and dtaps (programs, N, C) are sums over a program's rows."""
        column, which = tl.arange(0, BLOCK)[None, :], tl.arange(0, MANY)[:, None]
        totals = tl.zeros((MANY, BLOCK), dtype=tl.float32)
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

    def call_filter_kernel(x, taps, out, dy=None, dtaps=None):
        (B, length, width), n, power = x.shape, taps.size(0), triton.next_power_of_2
        sizes = B * length, length, width, n, dy is not None, 16, 2, power(width), power(n)
        filter_kernel[(triton.cdiv(B * length, 32),)](x, taps, out, dy, dtaps, *sizes, num_warps=1)

    @prepare.operator(lambda dy, x, taps: (torch.empty_like(x), x.new_empty(-(-x[..., 0].numel() // 32), *taps.shape)))
    def filter_backward(dy, x, taps, /, dx, dtaps):
        call_filter_kernel(x, taps, dx, dy.contiguous(), dtaps)

    def read_backward(dy, x, taps, _):
        dx, dtaps = filter_backward(dy, x, taps)
        return dx, dtaps.sum(0)

    @prepare.operator(lambda x, taps: torch.empty_like(x), read_backward)
    def fused_read(x, taps, /, out):
        call_filter_kernel(x, taps, out)


def rotate(x, cos, sin):
    """Rotary positions (Su 2021) on x (B, T, H, D): the two halves of D are the planes' axes."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1)


def plain_qkv(qkv, cos, sin, gate, value):
    """qkv (B, T, 3, H, D), gate (B, T, H) and value (B, T, H, D) or None -> q, k, v (B, T, H, D)"""
    q, k, v = qkv.unbind(2)
    q, k = (norm(rotate(z, cos, sin), QK_LAYERNORM_SHARE) for z in (q, k))
    return q, k, v if value is None else v + gate.unsqueeze(-1) * value


def plain_mlp(x, w_in, w_out):
    """x (N, C), w_in (4C, C), w_out (C, 4C) -> (N, C)"""
    return F.linear(F.relu(F.linear(x, w_in)).square(), w_out)


def plain_read(x, taps):
    """What a layer reads of x (B, T, C): it normed, and the tokens before times taps (N, C), a causal filter."""
    x = norm(x)
    return x + sum(tap * F.pad(x, (0, 0, j + 1, 0))[:, : -j - 1] for j, tap in enumerate(taps))


def capped_logits(x, head):
    """SOFTCAP * tanh(logits / SOFTCAP) up to a constant, which a softmax does not see, and cheaper."""
    return 2 * SOFTCAP * torch.sigmoid(F.linear(x, head).float() * (2 / SOFTCAP))


def plain_head_loss(x, head, targets, ahead):
    """x (N, C), head (V, C), targets (N) -> the mean loss in nats. Its gradient is also that of the losses on the
    tokens further on, times their weights ahead."""
    logits = capped_logits(x, head)
    loss = F.cross_entropy(logits, targets)
    for i, weight in enumerate(ahead):
        further = F.pad(targets.view(-1, T)[:, i + 1 :], (0, i + 1), value=-100).flatten()  # cross_entropy skips -100
        more = F.cross_entropy(logits, further, reduction="sum") / len(targets)
        loss = loss + weight * (more - more.detach())
    return loss


def ahead_weights(progress):
    """Targets further on leave one after another, the last first, at equal times; each fades before it is gone."""
    left = (len(AHEAD) + 1) * (1 - progress) - 1
    return [weight * min(1.0, max(0.0, left - i)) for i, weight in enumerate(AHEAD)]


def hashed_pairs(tokens):
    """The row of the pair that ends at each token (B, T): equal pairs have equal rows."""
    pairs = tokens * 1_000_003 + F.pad(tokens, (1, 0))[:, :-1] + 1
    return (pairs * 2_654_435_761 >> 16) % PAIR_ROWS


def rotary():
    """cos and sin of the positions' angles, (T, 1, D/2) each."""
    frequencies = ROPE_BASE ** (-torch.arange(0, HEAD_DIM, 2, device=DEVICE).float() / HEAD_DIM)
    angles = torch.outer(torch.arange(T, device=DEVICE).float(), frequencies)[:, None, :]
    return angles.cos().to(DTYPE), angles.sin().to(DTYPE)


def agreeing(name, plain, kernel, *inputs):
    """The kernel where it does what the plain function does, else that: so it is enough to edit the plain one."""
    return prepare.choose(name, {"kernel": kernel}, plain, inputs, otherwise=plain)[1] if FUSED else plain


some = partial(torch.randn, device=DEVICE, dtype=DTYPE, requires_grad=True)
x, hidden, taps = some(T, WIDTH), MLP_RATIO * WIDTH, some(FILTER, WIDTH)
qkv, gate, value = some(1, T, 3, HEADS, HEAD_DIM), some(1, T, HEADS), some(1, T, HEADS, HEAD_DIM)
head, targets = 10 * some(512, WIDTH) / WIDTH**0.5, torch.arange(T, device=DEVICE) % 512
ahead = torch.tensor(AHEAD, device=DEVICE)
mlp = agreeing("MLP", plain_mlp, lambda: fused_mlp, x, some(hidden, WIDTH), some(WIDTH, hidden))
attention_inputs = agreeing("q k v", plain_qkv, lambda: fused_qkv, qkv, *rotary(), gate, value)
read = agreeing("norm and filter", plain_read, lambda: fused_read, x[None], taps) if FILTER else plain_read
head_loss = agreeing("loss", plain_head_loss, lambda: fused_head_loss, x, head, targets, ahead)
lookup = fused_lookup if FUSED else F.embedding
del x, hidden, taps, qkv, gate, value, head, targets, ahead


def window_of(layer):
    return SHORT_WINDOW if WINDOW_PATTERN[layer % len(WINDOW_PATTERN)] == "S" and layer < DEPTH - 1 else T


def has_value_embedding(layer):
    return layer % 2 == (DEPTH - 1) % 2


class GPT(nn.Module):
    """Weights of one kind are one stacked tensor: cast once, their gradients stacked, and updated together."""

    def __init__(self, vocab_size, attend):
        super().__init__()
        self.attend = attend
        value_layers = sum(map(has_value_embedding, range(DEPTH)))
        bound = INIT_SCALE * math.sqrt(3 / WIDTH)

        def uniform(*shape):
            return nn.Parameter(torch.empty(*shape, device=DEVICE).uniform_(-bound, bound))

        def normal(*shape, sd, dtype=torch.float32):
            return nn.Parameter((torch.randn(*shape, device=DEVICE) * sd).to(dtype))

        def full(value, *shape):
            return nn.Parameter(torch.full(shape, float(value), device=DEVICE))

        self.embedding = normal(vocab_size, WIDTH, sd=1.0, dtype=DTYPE)
        self.values = nn.Parameter(uniform(vocab_size, value_layers * WIDTH).to(DTYPE))  # all layers' in one lookup
        self.head = normal(vocab_size, WIDTH, sd=0.001)
        self.attention = uniform(DEPTH, 4, WIDTH, WIDTH)  # q, k, v, out
        self.mlp_in = uniform(DEPTH, MLP_RATIO * WIDTH, WIDTH)
        self.mlp_out = full(0, DEPTH, WIDTH, MLP_RATIO * WIDTH)
        self.gates = full(0, value_layers, HEADS, GATE_CHANNELS)
        self.out_gates = full(0, DEPTH, HEADS, GATE_CHANNELS) if OUT_GATES else None
        self.pairs = normal(PAIR_ROWS, WIDTH, sd=0.0, dtype=DTYPE) if PAIR_ROWS else None
        self.pair_factor = nn.Parameter(torch.tensor(0.1, device=DEVICE)) if PAIR_ROWS else None
        self.skips = full(0, DEPTH) if SKIPS else None
        self.taps = full(0, DEPTH, 2, FILTER, WIDTH)  # of what attention and MLP read
        self.residual = full(RESIDUAL_INIT, DEPTH)
        self.x0 = full(X0_INIT, DEPTH)
        self.attention.data[:, 3] = 0

        self.cos, self.sin = rotary()
        self.ahead = torch.tensor(AHEAD, device=DEVICE)

    def forward(self, tokens, targets=None, reduction="mean"):
        """tokens, targets (B, T) int64: losses in nats reduced as asked, or without targets logits (B, T, V) fp32."""
        x0 = norm(lookup(tokens, self.embedding))  # (B, T, C)
        x = x0 = x0 + self.pair_factor * lookup(hashed_pairs(tokens), self.pairs) if PAIR_ROWS else x0
        values = iter(lookup(tokens, self.values).unflatten(-1, (-1, HEADS, HEAD_DIM)).unbind(2))
        gates, taps = iter(self.gates.to(DTYPE).unbind(0)), self.taps.to(DTYPE)
        attention, mlp_in, mlp_out = (w.to(DTYPE).unbind(0) for w in (self.attention, self.mlp_in, self.mlp_out))
        out_gates, kept = self.out_gates.to(DTYPE) if OUT_GATES else None, []
        for i in range(DEPTH):
            if SKIPS and i > (DEPTH - 1) / 2:
                x = x + self.skips[i] * kept.pop()
            x = self.residual[i] * x + self.x0[i] * x0
            if i not in NO_ATTENTION:
                h = read(x, taps[i, 0])
                qkv = F.linear(h, attention[i][:3].flatten(0, 1)).unflatten(-1, (3, HEADS, HEAD_DIM))
                gate = value = None
                if has_value_embedding(i):
                    gate, value = 2 * torch.sigmoid(F.linear(h[..., :GATE_CHANNELS], next(gates))), next(values)
                q, k, v = attention_inputs(qkv, self.cos, self.sin, gate, value)
                y = self.attend(q, k, v, window_of(i))
                if OUT_GATES:
                    y = y * (2 * torch.sigmoid(F.linear(h[..., :GATE_CHANNELS], out_gates[i]))).unsqueeze(-1)
                x = x + F.linear(y.flatten(2), attention[i][3])
            x = x + mlp(read(x, taps[i, 1]).flatten(0, 1), mlp_in[i], mlp_out[i]).view_as(x)
            if SKIPS and i < (DEPTH - 1) / 2:
                kept.append(x)
        x, head = norm(x), self.head.to(DTYPE)
        if targets is None:
            return capped_logits(x, head)
        if torch.is_grad_enabled() and reduction == "mean":
            return head_loss(x.flatten(0, 1), head, targets.flatten(), self.ahead)
        return F.cross_entropy(capped_logits(x.flatten(0, 1), head), targets.flatten(), reduction=reduction)

    def flops_per_token(self):
        """Forward and backward: 6 a matrix weight, and attention's 12 * width * window a layer."""
        matrices = sum(p.numel() for p in (self.attention, self.mlp_in, self.mlp_out, self.gates, self.head))
        return 6 * matrices + sum(12 * WIDTH * window_of(i) for i in range(DEPTH))


# ---------------------------------------------------------------------------------------------------------------
# Optimizer. Hyperparameters reach the compiled updates as 0-dim tensors: a new value is no reason to compile again.

POLAR_EXPRESS = [  # Amsel et al. 2025: the quintics of five steps, safety factor 1.02
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
            (model.values, EMBEDDING_LR * adam_scale, VALUE_EMBEDDING_WD, ADAM_BETAS),
            (model.head, UNEMBEDDING_LR * adam_scale, UNEMBEDDING_WD, ADAM_BETAS),
            (model.residual, SCALAR_LR * 0.01, 0.0, ADAM_BETAS),
            (model.x0, SCALAR_LR, 0.0, X0_BETAS),
            *([(model.taps, FILTER_LR, 0.0, ADAM_BETAS)] if FILTER else []),
            *([(model.pairs, PAIR_LR * adam_scale, PAIR_WD, ADAM_BETAS)] if PAIR_ROWS else []),
            *([(model.pair_factor, SCALAR_LR * 0.01, 0.0, ADAM_BETAS)] if PAIR_ROWS else []),
        ]
        self.adam += [(model.skips, FILTER_LR, 0.0, ADAM_BETAS)] if SKIPS else []
        self.muon = [model.attention, model.mlp_in, model.mlp_out, model.gates]
        self.muon = [*self.muon, *([model.out_gates] if OUT_GATES else [])]
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


def train(model, optimizer, batches):
    """Trains until the budget is spent. Returns counted seconds, steps in all, and the loss curve."""
    most = TOTAL_BATCH_SIZE // (DEVICE_BATCH_SIZE * T)
    forward = compiled(model)
    watch = prepare.Watch(TOTAL_BATCH_SIZE, UNCOUNTED_STEPS)
    started, elapsed, step = time.perf_counter(), 0.0, 0
    while elapsed < TIME_BUDGET:
        accumulate = most // 2 if elapsed < HALF_UNTIL * TIME_BUDGET else most
        for _ in range(accumulate):
            x, y, _ = next(batches)
            loss = forward(x, y)
            (loss / accumulate).backward()
        fraction = elapsed / TIME_BUDGET
        optimizer.step(learning_rate_scale(fraction), 1 - fraction)
        step += 1
        model.ahead.copy_(torch.tensor(ahead_weights(fraction)), non_blocking=True)
        watch.read(step, fraction, loss.detach())
        if step <= UNCOUNTED_STEPS:
            prepare.synchronize()
            started = time.perf_counter()
        elapsed = time.perf_counter() - started
        watch.show(step, elapsed)
    return watch.end(step, started), step, watch.curve


def main():
    if not 1 <= MUON_STEPS <= len(POLAR_EXPRESS):
        prepare.stop(f"MUON_STEPS = {MUON_STEPS} must be 1 to {len(POLAR_EXPRESS)}")
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

    model.eval()
    val_bpb = evaluate_bpb(compiled(model), tokenizer, DEVICE_BATCH_SIZE)
    prepare.summarize(
        val_bpb, parameters=parameters, depth=DEPTH, attention=attention, steps=steps, uncounted_steps=UNCOUNTED_STEPS,
        tokens_per_step=TOTAL_BATCH_SIZE, flops_per_token=model.flops_per_token(), training_seconds=seconds,
        marks=(begin, ready, trained, time.perf_counter()), peak_mb=peak_mb, loss_curve=curve,
    )  # fmt: skip


if __name__ == "__main__":
    prepare.run(main, DEVICE_BATCH_SIZE)
