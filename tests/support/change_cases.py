"""Sixty one-idea edits of two training scripts with the kind of change that a researcher would call them.

The labels were written before the classifier; every third case is held out: it was not looked at while tuning.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BASES = Path(__file__).resolve().parent / "bases"


@dataclass(frozen=True)
class Case:
    """One edit: the base script, pairs of old and new text (each old one occurs once), and the true kind."""

    name: str
    base: str
    kind: str
    edits: tuple[tuple[str, str], ...]

    def texts(self) -> tuple[str, str]:
        """Parent and child."""
        parent = child = (BASES / f"{self.base}.txt").read_text()
        for old, new in self.edits:
            assert child.count(old) == 1, f"{self.name}: {child.count(old)} times {old!r}"
            child = child.replace(old, new)
        return parent, child


def _lab(name: str, kind: str, *edits: tuple[str, str]) -> Case:
    return Case(name, "lab", kind, edits)


def _nano(name: str, kind: str, *edits: tuple[str, str]) -> Case:
    return Case(name, "nano", kind, edits)


CASES = (
    _lab("higher matrix rate", "optimizer", ("MATRIX_LR = 0.04", "MATRIX_LR = 0.05")),
    _lab("deeper", "architecture", ("DEPTH = 9 if OFFICIAL else 4", "DEPTH = 10 if OFFICIAL else 5")),
    _nano("half the batch", "batch", ("TOTAL_BATCH_SIZE = 2**19", "TOTAL_BATCH_SIZE = 2**18")),
    _lab("longer windows", "attention", ("SHORT_WINDOW = T // 8", "SHORT_WINDOW = T // 4")),
    _nano(
        "layer norm", "normalization", ("return F.rms_norm(x, (x.size(-1),))", "return F.layer_norm(x, (x.size(-1),))")
    ),
    _lab("slower embedding", "optimizer", ("EMBEDDING_LR = 0.9", "EMBEDDING_LR = 0.6")),
    _nano(
        "residual dropout",
        "regularization",
        ("x = x + self.mlp(norm(x))", "x = x + F.dropout(self.mlp(norm(x)), p=0.05, training=self.training)"),
    ),
    _nano("wider aspect", "architecture", ("ASPECT_RATIO = 64", "ASPECT_RATIO = 72")),
    _lab(
        "no softcap",
        "simplification",
        ("        logits = 2 * SOFTCAP * torch.sigmoid(logits * (2 / SOFTCAP))\n", ""),
        ("SOFTCAP = 15.0\n", ""),
    ),
    _lab("longer rope base", "attention", ("ROPE_BASE = 200_000", "ROPE_BASE = 50_000")),
    _lab(
        "cosine warm-down",
        "optimizer",
        (
            "    left = min(1.0, (1 - progress) / WARMDOWN) if WARMDOWN else 1.0\n",
            "    left = min(1.0, (1 - progress) / WARMDOWN) if WARMDOWN else 1.0\n"
            "    left = 0.5 - 0.5 * math.cos(math.pi * left)\n",
        ),
    ),
    _nano("gelu", "architecture", ("x = F.relu(x).square()", "x = F.gelu(x)")),
    _lab("smaller device batch", "batch", ("DEVICE_BATCH_SIZE = 128 if", "DEVICE_BATCH_SIZE = 64 if")),
    _nano("grouped queries", "attention", ("n_kv_head=num_heads,", "n_kv_head=num_heads // 2,")),
    _nano("adam betas", "optimizer", ("ADAM_BETAS = (0.8, 0.95)", "ADAM_BETAS = (0.9, 0.95)")),
    _lab("qk norm before rotation", "normalization", ("QK_NORM_FIRST = False", "QK_NORM_FIRST = True")),
    _nano(
        "label smoothing",
        "regularization",
        (
            "targets.view(-1), reduction=reduction)",
            "targets.view(-1), reduction=reduction, label_smoothing=0.02 if self.training else 0.0)",
        ),
    ),
    _lab("wider mlp", "architecture", ("MLP_RATIO = 4", "MLP_RATIO = 5")),
    _nano(
        "value embeddings out",
        "simplification",
        (
            "        if ve is not None:\n            ve = ve.view(B, T, self.n_kv_head, self.head_dim)\n"
            "            gate = 2 * torch.sigmoid(self.ve_gate(x[..., : self.ve_gate_channels]))\n"
            "            v = v + gate.unsqueeze(-1) * ve\n",
            "",
        ),
    ),
    _lab("muon momentum ramps longer", "optimizer", ("MUON_MOMENTUM_STEPS = 200", "MUON_MOMENTUM_STEPS = 400")),
    _lab(
        "z-loss",
        "regularization",
        (
            "        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), reduction=reduction)",
            "        loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), reduction=reduction)\n"
            "        z_loss = 1e-4 * logits.logsumexp(-1).square().mean()\n"
            "        return loss + z_loss if self.training and reduction == 'mean' else loss",
        ),
    ),
    _nano("all windows long", "attention", ('\nWINDOW_PATTERN = "SSSL"', '\nWINDOW_PATTERN = "L"')),
    _nano(
        "accumulate less, step more",
        "batch",
        (
            "grad_accum_steps = TOTAL_BATCH_SIZE // tokens_per_fwdbwd",
            "grad_accum_steps = max(1, TOTAL_BATCH_SIZE // tokens_per_fwdbwd // 2)",
        ),
    ),
    _lab("layer norm everywhere", "normalization", ('NORM = "rms"', 'NORM = "layer"')),
    _lab(
        "head width and depth and rate",
        "mixed",
        ("HEAD_DIM = 128 if", "HEAD_DIM = 64 if"),
        ("MATRIX_LR = 0.04", "MATRIX_LR = 0.03"),
        ("MLP_RATIO = 4", "MLP_RATIO = 3"),
    ),
    _nano("later warm-down", "optimizer", ("WARMDOWN_RATIO = 0.5", "WARMDOWN_RATIO = 0.4")),
    _lab("residual start", "architecture", ("X0_INIT = 0.05", "X0_INIT = 0.1")),
    _lab(
        "no second moment in muon",
        "simplification",
        (
            "    mean_square = u.square().mean(dim=average, keepdim=True)\n"
            "    second.lerp_(mean_square, 1 - beta2)\n"
            "    scale = second.clamp_min(1e-10).rsqrt()\n"
            "    before = mean_square.sum(dim=(-2, -1), keepdim=True).sqrt()\n"
            "    after = (mean_square * scale.square()).sum(dim=(-2, -1), keepdim=True).sqrt()\n"
            "    u = u * scale * (before / after.clamp_min(1e-10))\n",
            "",
        ),
        ("    average = -1 if second.size(-1) == 1 else -2\n", ""),
    ),
    _nano("half the heads", "attention", ("\nHEAD_DIM = 128", "\nHEAD_DIM = 256")),
    _lab("twice the batch", "batch", ("TOTAL_BATCH_SIZE = 2**18 if", "TOTAL_BATCH_SIZE = 2**19 if")),
    _nano(
        "clip gradients",
        "optimizer",
        (
            "        optimizer.step()\n",
            "        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n        optimizer.step()\n",
        ),
    ),
    _lab(
        "gelu instead of squared relu",
        "architecture",
        ("F.relu(F.linear(norm(x), mlp_in[i])).square()", "F.gelu(F.linear(norm(x), mlp_in[i]))"),
    ),
    _nano(
        "norm after the block",
        "normalization",
        ("x = x + self.mlp(norm(x))", "x = x + norm(self.mlp(norm(x)))"),
    ),
    _lab("windows pattern", "attention", ('WINDOW_PATTERN = "SSSSL"', 'WINDOW_PATTERN = "SSL"')),
    _lab(
        "stochastic depth",
        "regularization",
        (
            "        for i in range(DEPTH):\n            x = self.residual[i]",
            "        for i in range(DEPTH):\n            if self.training and i % 2 and torch.rand(()) < DROP_PATH:\n"
            "                continue\n            x = self.residual[i]",
        ),
        ("X0_INIT = 0.05\n", "X0_INIT = 0.05\nDROP_PATH = 0.05\n"),
    ),
    _nano("weight decay", "optimizer", ("WEIGHT_DECAY = 0.2", "WEIGHT_DECAY = 0.1")),
    _nano(
        "swiglu",
        "architecture",
        (
            "        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=False)\n",
            "        self.c_gate = nn.Linear(config.n_embd, 4 * config.n_embd, bias=False)\n"
            "        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=False)\n",
        ),
        (
            "        x = self.c_fc(x)\n        x = F.relu(x).square()\n",
            "        x = F.silu(self.c_gate(x)) * self.c_fc(x)\n",
        ),
    ),
    _lab("sharper queries", "attention", ("QK_SCALE = 1.0", "QK_SCALE = 1.15")),
    _lab(
        "some layer norm for q and k",
        "normalization",
        ("QK_LAYERNORM_SHARE = 0.0", "QK_LAYERNORM_SHARE = 0.25"),
    ),
    _nano(
        "rotary base by length",
        "attention",
        ("head_dim, base=10000):", "head_dim, base=100000):"),
    ),
    _lab(
        "warm-up out",
        "simplification",
        ("    if progress < WARMUP:\n        return progress / WARMUP\n", ""),
        ("WARMUP = 0.0  # fraction of the budget\n", ""),
    ),
    _nano(
        "decay also the embeddings, deeper",
        "mixed",
        ("DEPTH = 8", "DEPTH = 9"),
        ("WEIGHT_DECAY = 0.2", "WEIGHT_DECAY = 0.25"),
        ("\nDEVICE_BATCH_SIZE = 128", "\nDEVICE_BATCH_SIZE = 64"),
    ),
    _lab("second moment", "optimizer", ("MUON_BETA2 = 0.95", "MUON_BETA2 = 0.98")),
    _nano(
        "batch ramp",
        "batch",
        (
            "        for _ in range(grad_accum_steps):\n",
            "        accum_now = max(1, grad_accum_steps // 4) if step < 200 else grad_accum_steps\n"
            "        for _ in range(accum_now):\n",
        ),
        ("loss = loss / grad_accum_steps", "loss = loss / accum_now"),
    ),
    _lab("smaller start", "architecture", ("INIT_SCALE = 0.68", "INIT_SCALE = 0.5")),
    _nano(
        "unit length q and k",
        "normalization",
        ("        q, k = norm(q), norm(k)\n", "        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)\n"),
    ),
    _lab(
        "nesterov off",
        "optimizer",
        ("u = orthogonalize(g.lerp(momentum_buffer, momentum)).float()", "u = orthogonalize(momentum_buffer).float()"),
    ),
    _nano(
        "embedding dropout",
        "regularization",
        (
            "        x = self.transformer.wte(idx)\n",
            "        x = F.dropout(self.transformer.wte(idx), 0.1, self.training)\n",
        ),
    ),
    _lab("wider", "architecture", ("WIDTH = 640 if", "WIDTH = 768 if")),
    _nano(
        "tie the embeddings",
        "architecture",
        (
            "        logits = self.lm_head(x).float()\n",
            "        logits = F.linear(x, self.transformer.wte.weight).float()\n",
        ),
    ),
    _lab(
        "gate the heads",
        "attention",
        (
            "            y = self.attend(q, k, v, window_of(i))\n",
            "            y = self.attend(q, k, v, window_of(i))\n"
            "            y = y * torch.sigmoid(q.mean(-1, keepdim=True))\n",
        ),
    ),
    _nano(
        "momentum constant",
        "simplification",
        (
            '            if group["kind"] == "muon":\n                group["momentum"] = get_muon_momentum(step)\n'
            '                group["weight_decay"] = get_weight_decay(progress)\n',
            "",
        ),
    ),
    _lab("narrower gates of the value embeddings", "architecture", ("GATE_CHANNELS = 32", "GATE_CHANNELS = 12")),
    _lab(
        "rate and windows",
        "mixed",
        ("SCALAR_LR = 0.5", "SCALAR_LR = 0.3"),
        ("SHORT_WINDOW = T // 8", "SHORT_WINDOW = T // 16"),
    ),
    _nano(
        "logit cap",
        "architecture",
        ("        softcap = 15\n", "        softcap = 30\n"),
    ),
    _lab(
        "norm without mean square",
        "normalization",
        (
            '    if NORM == "layer":\n        return F.layer_norm(x, (x.size(-1),))\n'
            "    return F.rms_norm(x, (x.size(-1),))\n\n\ndef qk_norm",
            '    if NORM == "layer":\n        return F.layer_norm(x, (x.size(-1),))\n'
            "    return x / (x.abs().mean(-1, keepdim=True) + 1e-5)\n\n\ndef qk_norm",
        ),
    ),
    _nano(
        "adam eps",
        "optimizer",
        (
            'denom = (state["exp_avg_sq"] / bias2).sqrt() + group["eps"]',
            'denom = (state["exp_avg_sq"] / bias2 + group["eps"]).sqrt()',
        ),
    ),
    _lab(
        "rows by length of epoch",
        "batch",
        (
            'make_dataloader(tokenizer, DEVICE_BATCH_SIZE, T, "train")',
            'make_dataloader(tokenizer, DEVICE_BATCH_SIZE, T, "train", buffer_size=4000)',
        ),
    ),
    _nano("scale the residual", "architecture", ("self.resid_lambdas.fill_(1.0)", "self.resid_lambdas.fill_(0.9)")),
    _lab(
        "attention dropout",
        "regularization",
        (
            "            x = x + F.linear(y.reshape(B, T, WIDTH), attention[i][3])\n",
            "            y = F.dropout(y, ATTENTION_DROPOUT, self.training)\n"
            "            x = x + F.linear(y.reshape(B, T, WIDTH), attention[i][3])\n",
        ),
        ("X0_INIT = 0.05\n", "X0_INIT = 0.05\nATTENTION_DROPOUT = 0.02\n"),
    ),
)

HELD_OUT = frozenset(case.name for place, case in enumerate(CASES) if place % 3 == 2)
