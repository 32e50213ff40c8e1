"""Train a small GPT for a fixed time on one device and print val_bpb, bits per byte, lower is better.

    uv run train.py

This is the one file an experiment edits: everything in it is fair game as long as it ends within the budget and the
score is the model's own. prepare.py and research/benchmark are fixed: data, tokenizer, loader, scoring, kernels.

Notable:
- rotary positions, QK norm, squared ReLU, sliding windows, gated heads and value embeddings, filters over the last few
  tokens, embeddings of pairs of tokens; targets further ahead teach at first
- Muon (polar express, NorMuon) for the block matrices, which are stored stacked; AdamW for the rest
- kernels.NAME(...) is one Triton kernel on a GPU, and the plain lines that stand under that name in
  research/benchmark/kernels.py elsewhere: to compute something else, write plain lines here in place of the call
- a parameter is declared once, where it is used: its shape, its initial values and how it is trained
- schedules run on the elapsed fraction of the budget; the first steps, which compile, are not counted
"""

import math
from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F

import prepare
from prepare import DEVICE, MAX_SEQ_LEN, PROFILE, TIME_BUDGET, Tokenizer, clock, evaluate_bpb, initial, make_dataloader
from research.benchmark import attention, exits, kernels
from research.benchmark.summary import Progress

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
SOFTCAP = 15.0
INIT_SCALE = 0.68  # of sqrt(3 / WIDTH), the bound of the uniform initial weights
RESIDUAL_INIT = 1.0  # per layer: x = RESIDUAL * x + X0 * normed embedding
X0_INIT = 0.05
KEY_INIT_SHARE = 0.5  # of its query weights in a head's first key weights: at first it looks at tokens like its own

# Optimizer
TOTAL_BATCH_SIZE = 2**17 if OFFICIAL else 2**11  # tokens a step
DEVICE_BATCH_SIZE = 64 if OFFICIAL else 8  # rows a forward, on a GPU of 40 GB or more
EMBEDDING_LR = 0.9  # Adam rates are for a width of 768 and scale with its inverse square root
UNEMBEDDING_LR = 0.005
SCALAR_LR = 0.005  # of the factors of residual stream and pairs
X0_LR = 0.025  # at 0.5 the first gradient's sign threw X0 to -5 or +3, a different one for each seed
MATRIX_LR = 0.03
MATRIX_WD = 0.2  # decays to 0 over the budget
UNEMBEDDING_WD = 0.01
EMBEDDING_WD = 0.001
VALUE_EMBEDDING_WD = 0.003
PAIR_LR = 0.5
PAIR_WD = 0.001
ADAM_BETAS = (0.8, 0.95)
X0_BETAS = (0.96, 0.95)
FILTER_LR = 0.01
MUON_BETA2 = 0.95
MUON_MOMENTUM = (0.85, 0.95)  # from, to
MUON_MOMENTUM_STEPS = 200
MUON_STEPS = 5  # polar-express iterations, at most 5
WARMUP = 0.0  # fraction of the budget
WARMDOWN = 0.75
FINAL_LR_FRACTION = 0.05

# Machine
ATTENTION = "auto"  # or fa3, fa4, flex, sdpa
COMPILE = OFFICIAL and DEVICE.type == "cuda"  # elsewhere compiling costs longer than the budget
FUSED = COMPILE  # Triton kernels, where they do what their plain functions do, and faster
DTYPE = torch.bfloat16 if OFFICIAL and DEVICE.type == "cuda" else torch.float32
UNCOUNTED_STEPS = 11 if COMPILE else 1  # compilation and warm-up
ROWS = prepare.fitting_rows(DEVICE_BATCH_SIZE)  # a smaller GPU takes fewer rows a forward, and more forwards a step
exits.check_settings(TOTAL_BATCH_SIZE, ROWS, T, WIDTH, HEAD_DIM)


def compiled(function):
    return torch.compile(function, dynamic=False) if COMPILE else function


# ---------------------------------------------------------------------------------------------------------------
# Parameters. Those of one kind are one tensor, stacked over the layers: cast once, their gradients stacked, and updated
# together. They are fp32, or small steps, weight decay and the sum of several forwards' gradients would be lost to
# rounding; the forward casts them.

HEADS = WIDTH // HEAD_DIM
ADAM_SCALE = (WIDTH / 768) ** -0.5  # of the rates of embeddings and head
BOUND = INIT_SCALE * math.sqrt(3 / WIDTH)  # of uniform initial values


def adam(values, lr, wd=0.0, betas=ADAM_BETAS):
    """Return a parameter of any shape that AdamW trains, with a rate, a weight decay and betas of its own."""
    p = nn.Parameter(values)
    p.rule = (lr, wd, betas)
    return p


def muon(values):
    """Return a parameter of stacked matrices (..., rows, cols) that Muon trains."""
    p = nn.Parameter(values)
    p.rule = "muon"
    return p


def zeros(*shape):
    return torch.zeros(shape, device=DEVICE)


def per_layer(p):
    """Return a stacked parameter in the forward's precision, one tensor a layer."""
    return p.to(DTYPE).unbind(0)


# ---------------------------------------------------------------------------------------------------------------
# Layers. A module holds what all layers have of one part. Its forward, called once a step, casts the weights and
# returns the function of one layer: layer(i, x) -> what is added to the residual stream, both (B, T, C). So a new
# weight needs lines in its module only: declare it, cast it, use it. A comment at a kernel says what it computes.


def window_of(layer):
    return SHORT_WINDOW if WINDOW_PATTERN[layer % len(WINDOW_PATTERN)] == "S" and layer < DEPTH - 1 else T


def has_value_embedding(layer):
    return layer % 2 == (DEPTH - 1) % 2


VALUED = [layer for layer in range(DEPTH) if has_value_embedding(layer)]


def norm(x, layer_share=float(NORM == "layer")):
    """RMS norm, layer norm or a mixture of the two over the last dimension, without weights."""
    rms = F.rms_norm(x, x.shape[-1:])
    return rms if layer_share == 0 else (1 - layer_share) * rms + layer_share * F.layer_norm(x, x.shape[-1:])


def read(x, taps):
    """Return what attention and MLP read: x (B, T, C) normed, and filtered by taps (FILTER, C) over tokens before."""
    if taps is None:
        return norm(x)
    if NORM == "rms":
        return kernels.norm_filter(x, taps)  # the next line
    return kernels.causal_filter(norm(x), taps)  # x plus the sum over j of taps[j] times the token j + 1 before


def rotary():
    """Return cos and sin of the positions' angles, (T, 1, D/2) each."""
    frequencies = ROPE_BASE ** (-torch.arange(0, HEAD_DIM, 2, device=DEVICE).float() / HEAD_DIM)
    angles = torch.outer(torch.arange(T, device=DEVICE).float(), frequencies)[:, None, :]
    return angles.cos().to(DTYPE), angles.sin().to(DTYPE)


def split_heads(qkv, cos, sin, gate, value):
    """qkv (B, T, 3, H, D), gate (B, T, H) and value (B, T, H, D) or None -> q, k rotated and normed, v (B, T, H, D)"""
    if QK_LAYERNORM_SHARE == 0:
        return kernels.qkv(qkv, cos, sin, gate, value)  # the next lines
    q, k, v = qkv.unbind(2)
    q, k = (norm(kernels.rotate(z, cos, sin), QK_LAYERNORM_SHARE) for z in (q, k))
    return q, k, v if value is None else v + gate.unsqueeze(-1) * value


def gate_of(h, weights):
    """h (B, T, C), weights (H, GATE_CHANNELS) -> a factor a head, (B, T, H), 1 where the weights are zero"""
    return 2 * torch.sigmoid(F.linear(h[..., :GATE_CHANNELS], weights))


class Attention(nn.Module):
    """Causal attention: a query sees its window of keys; gates scale the value embeddings, and each head's output."""

    def __init__(self, vocab_size, attend):
        super().__init__()
        self.attend = attend
        self.qkvo = muon(initial.uniform("attention", (4, WIDTH, WIDTH), BOUND, layers=range(DEPTH)))
        query, key = self.qkvo.data[:, 0], self.qkvo.data[:, 1]
        key.copy_(KEY_INIT_SHARE * query + (1 - KEY_INIT_SHARE**2) ** 0.5 * key)  # as large as before (Trockman 2023)
        self.qkvo.data[:, 3] = 0  # the out-projection: a new layer adds nothing
        values = initial.uniform("values", (vocab_size, WIDTH), BOUND, layers=VALUED)
        values = values.transpose(0, 1).flatten(1)  # (V, layers * C): all layers' in one lookup
        self.values = adam(values, EMBEDDING_LR * ADAM_SCALE, VALUE_EMBEDDING_WD)
        self.gates = muon(zeros(len(VALUED), HEADS, GATE_CHANNELS))
        self.out_gates = muon(zeros(DEPTH, HEADS, GATE_CHANNELS)) if OUT_GATES else None
        self.taps = adam(zeros(DEPTH, FILTER, WIDTH), FILTER_LR) if FILTER else None
        self.cos, self.sin = rotary()

    def forward(self, tokens):
        values = kernels.embedding(tokens, self.values.to(DTYPE)).unflatten(-1, (-1, HEADS, HEAD_DIM)).unbind(2)
        gates, qkvo = per_layer(self.gates), per_layer(self.qkvo)
        out_gates = per_layer(self.out_gates) if OUT_GATES else None
        taps = per_layer(self.taps) if FILTER else [None] * DEPTH

        def layer(i, x):
            h = read(x, taps[i])
            qkv = F.linear(h, qkvo[i][:3].flatten(0, 1)).unflatten(-1, (3, HEADS, HEAD_DIM))
            gate = value = None
            if has_value_embedding(i):
                gate, value = gate_of(h, gates[VALUED.index(i)]), values[VALUED.index(i)]
            q, k, v = split_heads(qkv, self.cos, self.sin, gate, value)
            y = self.attend(q, k, v, window_of(i))  # (B, T, H, D)
            if OUT_GATES:
                y = y * gate_of(h, out_gates[i]).unsqueeze(-1)
            return F.linear(y.flatten(2), qkvo[i][3])

        return layer


class MLP(nn.Module):
    """Two matrices with a squared ReLU between them."""

    def __init__(self):
        super().__init__()
        self.w_in = muon(initial.uniform("mlp_in", (MLP_RATIO * WIDTH, WIDTH), BOUND, layers=range(DEPTH)))
        self.w_out = muon(zeros(DEPTH, WIDTH, MLP_RATIO * WIDTH))
        self.taps = adam(zeros(DEPTH, FILTER, WIDTH), FILTER_LR) if FILTER else None

    def forward(self):
        w_in, w_out = per_layer(self.w_in), per_layer(self.w_out)
        taps = per_layer(self.taps) if FILTER else [None] * DEPTH

        def layer(i, x):
            h = read(x, taps[i]).flatten(0, 1)
            y = kernels.mlp(h, w_in[i], w_out[i])  # F.linear(F.relu(F.linear(h, w_in[i])).square(), w_out[i])
            return y.view_as(x)

        return layer


# ---------------------------------------------------------------------------------------------------------------
# Model


def hashed_pairs(tokens):
    """Return the row of the pair that ends at each token (B, T): equal pairs have equal rows."""
    pairs = tokens * 1_000_003 + F.pad(tokens, (1, 0))[:, :-1] + 1
    return (pairs * 2_654_435_761 >> 16) % PAIR_ROWS


class GPT(nn.Module):
    def __init__(self, vocab_size, attend):
        super().__init__()
        values = initial.normal("embedding", (vocab_size, WIDTH), sd=1.0)
        self.embedding = adam(values, EMBEDDING_LR * ADAM_SCALE, EMBEDDING_WD)
        self.pairs = adam(zeros(PAIR_ROWS, WIDTH), PAIR_LR * ADAM_SCALE, PAIR_WD) if PAIR_ROWS else None
        self.pair_factor = adam(zeros() + 0.1, SCALAR_LR) if PAIR_ROWS else None
        self.residual = adam(zeros(DEPTH) + RESIDUAL_INIT, SCALAR_LR)
        self.x0 = adam(zeros(DEPTH) + X0_INIT, X0_LR, betas=X0_BETAS)
        self.attention = Attention(vocab_size, attend)
        self.mlp = MLP()
        values = initial.normal("head", (vocab_size, WIDTH), sd=0.001)
        self.head = adam(values, UNEMBEDDING_LR * ADAM_SCALE, UNEMBEDDING_WD)
        self.ahead = torch.tensor(AHEAD, device=DEVICE)

    def forward(self, tokens, targets=None, reduction="mean"):
        """Return losses in nats of targets (B, T), reduced as asked, or without targets logits (B, T, V) fp32."""
        x0 = norm(kernels.embedding(tokens, self.embedding.to(DTYPE)))  # (B, T, C)
        if PAIR_ROWS:
            x0 = x0 + self.pair_factor * kernels.embedding(hashed_pairs(tokens), self.pairs.to(DTYPE))
        x, attn, mlp = x0, self.attention(tokens), self.mlp()
        for i in range(DEPTH):
            x = self.residual[i] * x + self.x0[i] * x0
            x = x + attn(i, x)
            x = x + mlp(i, x)
        x, head = norm(x), self.head.to(DTYPE)
        if targets is None:
            return kernels.capped_logits(x, head, SOFTCAP)
        x = x.flatten(0, 1)  # (N, C), N = B * T
        if torch.is_grad_enabled() and reduction == "mean":
            # The cross-entropy below, with the gradient of the losses on tokens further ahead added to its own.
            return kernels.head_loss(x, head, targets, self.ahead, SOFTCAP)
        return F.cross_entropy(kernels.capped_logits(x, head, SOFTCAP), targets.flatten(), reduction=reduction)

    def flops_per_token(self):
        """Return those of forward and backward: 6 a matrix weight, and attention's 12 * width * window a layer."""
        matrices = self.attention.qkvo, self.attention.gates, self.mlp.w_in, self.mlp.w_out, self.head
        return 6 * sum(p.numel() for p in matrices) + sum(12 * WIDTH * window_of(i) for i in range(DEPTH))


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
    """Return the orthogonal factor of matrices g (N, rows, cols), by polynomial iterations in low precision."""
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
    """AdamW (Loshchilov and Hutter 2019) on a tensor of any shape."""
    m.lerp_(g, 1 - beta1)
    v.lerp_(g.square(), 1 - beta2)
    corrected = (v / (1 - beta2**step)).sqrt() + eps
    p.mul_(1 - lr * wd).sub_(lr / (1 - beta1**step) * m / corrected)


class Optimizer:
    """Muon for stacked matrices, AdamW for the rest, each parameter as it was declared."""

    def __init__(self, model):
        self.adam, self.muon, self.steps = [], [], 0
        for name, p in model.named_parameters():
            rule = getattr(p, "rule", None)
            if rule is None:
                prepare.stop(f"no group of the optimizer holds {name}: declare it with adam(...) or muon(...)")
            elif rule == "muon":
                rows, cols = p.shape[-2:]
                stack = p.numel() // (rows * cols)
                second = (stack, rows, 1) if rows >= cols else (stack, 1, cols)
                self.muon.append((p, zeros(stack, rows, cols), zeros(*second)))
            else:
                self.adam.append((p, torch.zeros_like(p), torch.zeros_like(p), rule))

    @torch.no_grad()
    def step(self, lr_scale, wd_scale):
        """Update all parameters; lr_scale multiplies all rates, wd_scale the matrices' weight decay."""
        self.steps += 1
        scalar = partial(torch.tensor, dtype=torch.float32)
        for p, m, v, (lr, wd, betas) in self.adam:
            settings = (self.steps, lr * lr_scale, wd, *betas, 1e-10)
            adam_update(p, p.grad, m, v, *map(scalar, settings))
            p.grad = None
        momentum = MUON_MOMENTUM[0] + (MUON_MOMENTUM[1] - MUON_MOMENTUM[0]) * min(1, self.steps / MUON_MOMENTUM_STEPS)
        for p, buffer, second in self.muon:
            lr = MATRIX_LR * lr_scale * max(1, p.size(-2) / p.size(-1)) ** 0.5
            settings = (lr, MATRIX_WD * wd_scale, momentum, MUON_BETA2)
            muon_update(p.view_as(buffer), p.grad.view_as(buffer), buffer, second, *map(scalar, settings))
            p.grad = None


# ---------------------------------------------------------------------------------------------------------------
# Schedules; progress is the elapsed fraction of the budget


def learning_rate_scale(progress):
    """Return the factor of all rates: warm-up, plateau, linear warm-down to FINAL_LR_FRACTION."""
    if progress < WARMUP:
        return progress / WARMUP
    left = min(1.0, (1 - progress) / WARMDOWN) if WARMDOWN else 1.0
    return left + (1 - left) * FINAL_LR_FRACTION


def ahead_weights(progress):
    """Return the weights of targets ahead: they leave one after another, the last first, each fading at its time."""
    left = (len(AHEAD) + 1) * (1 - progress) - 1
    return [weight * min(1.0, max(0.0, left - i)) for i, weight in enumerate(AHEAD)]


# ---------------------------------------------------------------------------------------------------------------
# Training


def choose_attention(windows):
    """Return the name and the function of the attention: attend(q, k, v, window), q, k, v (B, T, H, D)."""
    qkv = torch.randn(3, 1, T, HEADS, HEAD_DIM, device=DEVICE, dtype=DTYPE)
    scale = QK_SCALE * HEAD_DIM**-0.5
    names = prepare.offer().attention if ATTENTION == "auto" else [ATTENTION]
    return attention.choose(names if COMPILE else ["sdpa"], windows, scale, qkv, compiled)


def train(model, optimizer, batches):
    """Train until the budget is spent. Return counted seconds, steps in all, and the loss curve."""
    accumulate = TOTAL_BATCH_SIZE // (ROWS * T)
    forward = compiled(model)
    progress = Progress(TOTAL_BATCH_SIZE, UNCOUNTED_STEPS, TIME_BUDGET, clock)
    started, elapsed, step = clock(), 0.0, 0
    while elapsed < TIME_BUDGET:
        losses = []
        for _ in range(accumulate):
            x, y, _ = next(batches)
            loss = forward(x, y)
            (loss / accumulate).backward()
            losses.append(loss.detach())
        fraction = elapsed / TIME_BUDGET
        optimizer.step(learning_rate_scale(fraction), 1 - fraction)
        step += 1
        model.ahead.copy_(torch.tensor(ahead_weights(fraction)), non_blocking=True)
        progress.read(step, fraction, losses)
        if step <= UNCOUNTED_STEPS:
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()
            started = clock()
        elapsed = clock() - started
        progress.show(step, elapsed)
    return progress.end(step, started), step, progress.curve


def main():
    if not 1 <= MUON_STEPS <= len(POLAR_EXPRESS):
        prepare.stop(f"MUON_STEPS = {MUON_STEPS} must be 1 to {len(POLAR_EXPRESS)}")
    begin = clock()
    torch.manual_seed(prepare.SEED)
    torch.set_float32_matmul_precision("high")
    tokenizer = Tokenizer.from_directory()
    name, attend = choose_attention(sorted({window_of(i) for i in range(DEPTH)}))
    model = GPT(tokenizer.get_vocab_size(), attend)
    initial.record(model)
    if FUSED:
        kernels.check(model, tokenizer.get_vocab_size(), T, DEVICE, prepare.offer().kernels)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"attention {name}, kernels {', '.join(kernels.used()) or 'none'}")
    print(f"{PROFILE.name} profile on {prepare.device_class()}, seed {prepare.SEED}")
    print(f"{DEPTH} layers of {WIDTH}, {parameters / 1e6:.1f} M parameters, {TIME_BUDGET} s of training", flush=True)
    batches = make_dataloader(tokenizer, ROWS, T, "train")
    optimizer = Optimizer(model)
    ready = clock()
    seconds, steps, curve = train(model, optimizer, batches)
    trained = clock()
    peak_mb = prepare.peak_vram_mb()
    batches.close()

    model.eval()
    val_bpb = evaluate_bpb(compiled(model), tokenizer, ROWS)
    prepare.summarize(
        val_bpb, parameters=parameters, depth=DEPTH, attention=name, steps=steps, uncounted_steps=UNCOUNTED_STEPS,
        tokens_per_step=TOTAL_BATCH_SIZE, flops_per_token=model.flops_per_token(), training_s=seconds,
        marks=(begin, ready, trained, clock()), peak_mb=peak_mb, loss_curve=curve,
    )  # fmt: skip


if __name__ == "__main__":
    exits.run_training(main, DEVICE_BATCH_SIZE)
