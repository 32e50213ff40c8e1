"""Small models that are honest, and models that cheat in the ways the benchmark's probes are there for."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

WIDTH = 32


class Honest(nn.Module):
    """One causal attention layer between an embedding and a head; random weights, large enough to matter."""

    def __init__(self, vocab_size: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def matrix(rows: int, columns: int, scale: float) -> nn.Parameter:
            return nn.Parameter((torch.randn(rows, columns, generator=generator) * scale).to(dtype))

        self.embedding = matrix(vocab_size, WIDTH, 1.0)
        self.qkv = matrix(3 * WIDTH, WIDTH, WIDTH**-0.5)
        self.head = matrix(vocab_size, WIDTH, WIDTH**-0.5)

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = F.linear(x, self.qkv).chunk(3, dim=-1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask(x.size(1)))

    def mask(self, size: int) -> torch.Tensor:
        """(T, T), True where a query (row) may see a key (column)."""
        return torch.ones(size, size, dtype=torch.bool).tril()

    def mix(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, C) -> the same; where a cheat acts on the activations."""
        return x

    def losses(self, logits: torch.Tensor, y: torch.Tensor, reduction: str) -> torch.Tensor:
        return F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction=reduction)

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None, reduction: str = "mean") -> torch.Tensor:
        h = F.embedding(x, self.embedding)
        h = self.mix(h + self.attention(h))
        logits = F.linear(h, self.head).float()
        return logits if y is None else self.losses(logits, y, reduction)


class NoMask(Honest):
    """Attention that sees the whole row."""

    def mask(self, size: int) -> torch.Tensor:
        return torch.ones(size, size, dtype=torch.bool)


class PeeksOneAhead(Honest):
    """A window off by one: the next token, which is the answer, is visible."""

    def mask(self, size: int) -> torch.Tensor:
        return torch.ones(size, size, dtype=torch.bool).tril(diagonal=1)


class NormalisesOverTime(Honest):
    """Each channel is divided by its norm over the whole row."""

    def mix(self, x: torch.Tensor) -> torch.Tensor:
        return x / x.norm(dim=1, keepdim=True) * x.size(1) ** 0.5


class MixesRows(Honest):
    """A little of the batch's mean in every row."""

    def mix(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.1 * x.mean(dim=0, keepdim=True)


class ScalesLoss(Honest):
    """Every loss one percent smaller."""

    def losses(self, logits: torch.Tensor, y: torch.Tensor, reduction: str) -> torch.Tensor:
        return 0.99 * super().losses(logits, y, reduction)


class AnswersWithTheTargets(Honest):
    """The loss is computed from logits made of the targets themselves."""

    def losses(self, logits: torch.Tensor, y: torch.Tensor, reduction: str) -> torch.Tensor:
        return super().losses(logits + 5 * F.one_hot(y, logits.size(-1)), y, reduction)


class ShiftsSomeLosses(Honest):
    """The right mean, but the losses of single tokens are exchanged: the bytes they are divided by differ."""

    def losses(self, logits: torch.Tensor, y: torch.Tensor, reduction: str) -> torch.Tensor:
        losses = super().losses(logits, y, reduction)
        return losses.flip(0) if reduction == "none" else losses


class AdaptsDuringEvaluation(Honest):
    """Takes a gradient step on every batch it is scored on."""

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None, reduction: str = "mean") -> torch.Tensor:
        answer = super().forward(x, y, reduction).detach()
        if y is not None:
            with torch.enable_grad():
                super().forward(x, y).backward()
            with torch.no_grad():
                self.head -= 0.5 * self.head.grad
                self.head.grad = None
        return answer


class RemembersBatches(Honest):
    """Keeps, outside parameters and buffers, which tokens were frequent in what it was scored on."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self.seen = [torch.zeros(vocab_size)]

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None, reduction: str = "mean") -> torch.Tensor:
        h = F.embedding(x, self.embedding)
        logits = F.linear(h + self.attention(h), self.head).float() + torch.log1p(self.seen[0])
        if y is None:
            return logits
        losses = self.losses(logits, y, reduction)
        self.seen[0] = self.seen[0] + torch.bincount(y.flatten(), minlength=logits.size(-1))
        return losses


class RemembersByTargets(Honest):
    """The same, but answers what it has been asked before as it did then, by the targets that came with it."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self.seen = [torch.zeros(vocab_size)]
        self.known: dict[bytes, torch.Tensor] = {}
        self.latest: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None, reduction: str = "mean") -> torch.Tensor:
        h = F.embedding(x, self.embedding)
        logits = F.linear(h + self.attention(h), self.head).float()
        if y is None:
            return logits + torch.log1p(self.seen[0])
        if (key := y.numpy().tobytes()) not in self.known:
            for before in self.latest:  # not at once: the logits of the same batch are asked for next
                self.seen[0] = self.seen[0] + torch.bincount(before.flatten(), minlength=logits.size(-1))
            self.known[key], self.latest = self.seen[0], [y]
        return self.losses(logits + torch.log1p(self.known[key]), y, reduction)


class CheatsOnlyUnprobed(PeeksOneAhead):
    """Looks ahead only where inputs and targets belong together, as they do not while they are being probed."""

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None, reduction: str = "mean") -> torch.Tensor:
        self.probed = y is not None and not torch.equal(x[:, 1:], y[:, :-1])
        return super().forward(x, y, reduction)

    def mask(self, size: int) -> torch.Tensor:
        return torch.ones(size, size, dtype=torch.bool).tril(diagonal=0 if self.probed else 1)


class PeeksAtTheSeams(Honest):
    """Attention in chunks that overlap by one: only the last position of a chunk sees the next token."""

    chunk = 64

    def mask(self, size: int) -> torch.Tensor:
        mask = torch.ones(size, size, dtype=torch.bool).tril()
        last = torch.arange(self.chunk - 1, size - 1, self.chunk)
        mask[last, last + 1] = True
        return mask


class GivesABatchAway(Honest):
    """One of the batches that it is scored on costs nothing."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self.free: list[bytes] = []

    def losses(self, logits: torch.Tensor, y: torch.Tensor, reduction: str) -> torch.Tensor:
        self.free.append(y.numpy().tobytes())
        losses = super().losses(logits, y, reduction)
        return 0 * losses if self.free[-1] == self.free[min(len(self.free), 5) - 1] and len(self.free) >= 5 else losses


class GivesNoLogits(Honest):
    """model(x) is not what it should be."""

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None, reduction: str = "mean") -> torch.Tensor:
        answer = super().forward(x, y, reduction)
        return answer if y is not None else answer.mean()


CAUSAL_CHEATS = (
    NoMask,
    PeeksOneAhead,
    NormalisesOverTime,
    MixesRows,
    AdaptsDuringEvaluation,
    RemembersBatches,
    RemembersByTargets,
    CheatsOnlyUnprobed,
    PeeksAtTheSeams,
)
LOSS_CHEATS = (ScalesLoss, AnswersWithTheTargets, ShiftsSomeLosses, GivesABatchAway, GivesNoLogits)
