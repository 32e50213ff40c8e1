"""Trains a small GPT for a fixed time on one device and prints val_bpb, bits per byte, lower is better.

    uv run train.py

This is the one file an experiment edits: everything in it is fair game as long as it ends within the budget and the
score is the model's own. prepare.py is fixed: data, tokenizer, loader, scoring.

Notable:
- rotary positions, QK norm, squared ReLU, sliding windows, gated outputs and value embeddings, hashed pair embeddings
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
GATE_CHANNELS = 32  # of the block input, read by the gates of value embeddings and attention outputs
OUTPUT_GATES = True  # scale each head's output by a gate (Qiu et al. 2025)
PAIR_ROWS = 2**15 if OFFICIAL else 2**10  # embeddings of (token before, token), shared by a hash; 0 for none
PAIR_INIT = 0.1  # per layer, the factor of the pair's embedding in the block's input
SOFTCAP = 15.0
INIT_SCALE = 0.68  # of sqrt(3 / WIDTH), the bound of the uniform initial weights
RESIDUAL_INIT = 1.0  # per layer: x = RESIDUAL * x + X0 * normed embedding
X0_INIT = 0.05

# Optimizer
TOTAL_BATCH_SIZE = 2**17 if OFFICIAL else 2**11  # tokens a step
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
        made = torch.library.custom_op(f"train::{function.__name__}", function, mutates_args=(), schema=schema)
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


def norm(x, layer_share=float(NORM == "layer")):
    """RMS norm, layer norm or a mixture of the two over the last dimension, without weights."""
    rms = F.rms_norm(x, x.shape[-1:])
    return rms if layer_share == 0 else (1 - layer_share) * rms + layer_share * F.layer_norm(x, x.shape[-1:])


if COMPILE:
    import triton
    import triton.language as tl

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


def rotate(x, cos, sin):
    """Rotary positions (Su 2021) on x (B, T, H, D): the two halves of D are the planes' axes."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1)


lookup = Lookup.apply if COMPILE else F.embedding


def window_of(layer):
    return SHORT_WINDOW if WINDOW_PATTERN[layer % len(WINDOW_PATTERN)] == "S" and layer < DEPTH - 1 else T


def has_value_embedding(layer):
    return layer % 2 == (DEPTH - 1) % 2


def pair_rows(tokens):
    """Rows of the pairs that end at each token, in the pairs' table: tokens (B, T) -> (B, T)."""
    pair = tokens * 1_000_003 + F.pad(tokens, (1, 0))[:, :-1] + 1
    return (pair * 2_654_435_761 >> 16) % PAIR_ROWS


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

        self.embedding = normal(vocab_size, WIDTH, sd=1.0, dtype=DTYPE)
        self.values = nn.Parameter(uniform(vocab_size, value_layers * WIDTH).to(DTYPE))  # all layers' in one lookup
        self.head = normal(vocab_size, WIDTH, sd=0.001)
        self.attention = uniform(layers, 4, WIDTH, WIDTH)  # q, k, v, out
        self.mlp_in = uniform(layers, MLP_RATIO * WIDTH, WIDTH)
        self.mlp_out = full(0, layers, WIDTH, MLP_RATIO * WIDTH)
        self.gates = full(0, value_layers, heads, GATE_CHANNELS)
        self.output_gates = full(0, layers if OUTPUT_GATES else 0, heads, GATE_CHANNELS)
        self.pairs = nn.Parameter(torch.zeros(PAIR_ROWS, WIDTH, device=DEVICE, dtype=DTYPE))
        self.pair_factors = full(PAIR_INIT, layers if PAIR_ROWS else 0)
        self.residual = full(RESIDUAL_INIT, layers)
        self.x0 = full(X0_INIT, layers)
        with torch.no_grad():
            self.attention[:, 3] = 0

        frequencies = ROPE_BASE ** (-torch.arange(0, HEAD_DIM, 2, device=DEVICE).float() / HEAD_DIM)
        angles = torch.outer(torch.arange(T, device=DEVICE).float(), frequencies)[:, None, :]  # (T, 1, D/2)
        self.register_buffer("cos", angles.cos().to(DTYPE), persistent=False)
        self.register_buffer("sin", angles.sin().to(DTYPE), persistent=False)

    def forward(self, tokens, targets=None, reduction="mean"):
        """tokens, targets (B, T) int64: losses in nats reduced as asked, or without targets logits (B, T, V) fp32."""
        B = tokens.size(0)
        heads = WIDTH // HEAD_DIM
        x0 = x = norm(lookup(tokens, self.embedding))  # (B, T, C)
        values = iter(lookup(tokens, self.values).view(B, T, -1, heads, HEAD_DIM).unbind(2))
        pairs = lookup(pair_rows(tokens), self.pairs) if PAIR_ROWS else None
        gates, output_gates = iter(self.gates.to(DTYPE).unbind(0)), self.output_gates.to(DTYPE)
        attention, mlp_in, mlp_out = (w.to(DTYPE).unbind(0) for w in (self.attention, self.mlp_in, self.mlp_out))
        for i in range(DEPTH):
            x = self.residual[i] * x + self.x0[i] * x0
            if PAIR_ROWS:
                x = x + self.pair_factors[i] * pairs
            h = norm(x)
            q, k, v = F.linear(h, attention[i][:3].flatten(0, 1)).view(B, T, 3, heads, HEAD_DIM).unbind(2)
            if has_value_embedding(i):
                gate = 2 * torch.sigmoid(F.linear(h[..., :GATE_CHANNELS], next(gates)))  # (B, T, H)
                v = v + gate.unsqueeze(-1) * next(values)
            q, k = (norm(rotate(z, self.cos, self.sin), QK_LAYERNORM_SHARE) for z in (q, k))
            y = self.attend(q, k, v, window_of(i))
            if OUTPUT_GATES:
                y = y * (2 * torch.sigmoid(F.linear(h[..., :GATE_CHANNELS], output_gates[i]))).unsqueeze(-1)
            x = x + F.linear(y.reshape(B, T, WIDTH), attention[i][3])
            x = x + F.linear(F.relu(F.linear(norm(x), mlp_in[i])).square(), mlp_out[i])
        x = norm(x)
        head = self.head.to(DTYPE)
        if COMPILE and torch.is_grad_enabled() and targets is not None and reduction == "mean":
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
            (model.values, EMBEDDING_LR * adam_scale, VALUE_EMBEDDING_WD, ADAM_BETAS),
            (model.head, UNEMBEDDING_LR * adam_scale, UNEMBEDDING_WD, ADAM_BETAS),
            (model.residual, SCALAR_LR * 0.01, 0.0, ADAM_BETAS),
            (model.x0, SCALAR_LR, 0.0, X0_BETAS),
            (model.pairs, PAIR_LR * adam_scale, EMBEDDING_WD, ADAM_BETAS),
            (model.pair_factors, SCALAR_LR * 0.01, 0.0, ADAM_BETAS),
        ]
        self.muon = [model.attention, model.mlp_in, model.mlp_out, model.gates, model.output_gates]
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
            if p.grad is None:  # nothing uses it
                continue
            settings = (self.steps, lr * lr_scale, wd, *betas, 1e-10)
            adam_update(p, p.grad, m, v, *map(scalar, settings))
            p.grad = None
        momentum = MUON_MOMENTUM[0] + (MUON_MOMENTUM[1] - MUON_MOMENTUM[0]) * min(1, self.steps / MUON_MOMENTUM_STEPS)
        for p, (buffer, second) in zip(self.muon, self.muon_state, strict=True):
            if p.grad is None:
                continue
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

    pending = None

    def push(self, loss):
        """Starts reading this step's loss and returns the last one's, None at first."""
        if DEVICE.type != "cuda":
            return loss.item()
        before, read = self.pop(), torch.cuda.Event()
        self.pending = torch.empty((), pin_memory=True).copy_(loss, non_blocking=True), read
        read.record()
        return before

    def pop(self):
        if self.pending is None:
            return None
        (host, read), self.pending = self.pending, None
        read.synchronize()
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
        optimizer.step(learning_rate_scale(fraction), 1 - fraction)
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
            prepare.check_loss(step, before)
            counted = step - UNCOUNTED_STEPS
            curve.append((fraction, before))
            progress.show(step, elapsed, before, max(0, counted) * TOTAL_BATCH_SIZE / elapsed if counted > 0 else 0.0)
        if elapsed >= TIME_BUDGET:
            break
    last = lagged.pop()
    synchronize()
    elapsed = time.perf_counter() - started
    last = before if last is None else last
    prepare.check_loss(step, last)
    counted = step - UNCOUNTED_STEPS
    progress.show(step, elapsed, last, counted * TOTAL_BATCH_SIZE / elapsed, last=True)
    return elapsed, step, curve


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
        loss_curve=curve,
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
