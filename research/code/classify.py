"""Which kind of change an edit is: a table of what words mean, and where in the program the edit sits.

Identifiers are split into whole words (EMBEDDING_LR is "embedding" and "lr", MuonAdamW "muon" and "adam"), and the
word that says most decides what the identifier is: a learning rate of the embedding is a matter of the optimizer.
What differs between the old and the new form counts most, then the function that holds it, then what stands beside it.

optimizer: rates, betas, momentum, schedules, weight decay, clipping. architecture: depth, width, MLP, activations,
embeddings, residuals, initial weights, the output head. attention: windows, rotary positions, queries and keys, heads,
kernels. batch: batch sizes, accumulation, the loader. normalization: norms and where they stand. regularization:
dropout, label smoothing, stochastic depth, z-loss (weight decay is the optimizer's). simplification: something removed
and nothing new in its place. mixed: two kinds or more, none of them the clear majority; or nothing to recognize.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from research.code.ast_diff import Statement, difference_of_names

KINDS = (
    "optimizer",
    "architecture",
    "attention",
    "batch",
    "normalization",
    "regularization",
    "simplification",
    "mixed",
)
"""Every kind, in the order that decides between equals."""

_WORDS: dict[str, dict[int, str]] = {
    # How much a word says: 4 settles it whatever stands beside it, 1 is a hint.
    "optimizer": {
        4: "lr wd warmup warmdown cooldown beta betas beta1 beta2 weight-decay learning-rate clip-grad grad-clip"
        " grad-norm lr-scale ema decay anneal",
        3: "muon adam adamw momentum nesterov optimizer optim sgd lion shampoo soap orthogonalize newton ns"
        " schedule scheduler lrm polar-express exp-avg",
        2: "rate grad grads denom eps update",
        1: "step steps progress",
    },
    "regularization": {
        5: "dropout drop-path droppath label-smoothing stochastic-depth z-loss zloss mixup layer-drop layerdrop"
        " attention-dropout attn-dropout",
        4: "regularization regularizer regularize penalty smoothing",
    },
    "batch": {
        4: "batch-size microbatch grad-accum accum accumulate accumulation grad-accum-steps dataloader loader"
        " batch-ramp buffer-size",
        3: "batch batches prefetch seq-len sequence-len",
        1: "epoch epochs tokens",
    },
    "normalization": {
        4: "layer-norm layernorm rms-norm rmsnorm batch-norm qk-norm group-norm norm-eps post-norm pre-norm"
        " qk-layernorm",
        3: "norm normalize normalization",
    },
    "attention": {
        4: "window windows rope rotary rotate sdpa flash fa3 fa4 flex attend softmax-scale kv gqa mqa alibi sliding"
        " head-dim num-heads n-head n-heads n-kv qk-scale scaled-dot",
        3: "attn attention qk heads causal mask",
        2: "q k v head query queries keys",
    },
    "architecture": {
        4: "mlp-ratio softcap depth width n-layer n-embd lm-head aspect-ratio value-embedding value-embeddings"
        " model-dim",
        3: "mlp ffn fc relu gelu silu swiglu tanh residual resid skip embed embeds embedding embeddings unembedding"
        " wte x0 ve init gate gates activation expert experts moe layers hidden lambdas tie head",
        2: "dim block blocks model transformer linear values sigmoid",
        1: "layer std",
    },
}
_STRENGTH: dict[tuple[str, ...], tuple[int, str]] = {
    tuple(phrase.split("-")): (strength, kind)
    for kind, levels in _WORDS.items()
    for strength, text in levels.items()
    for phrase in text.split()
}
_LONGEST = max(map(len, _STRENGTH))
_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_SCOPE_WEIGHT = 0.6
"""What the surrounding function says, against what differs: less, but it decides where the difference says nothing."""
_CONTEXT_WEIGHT = 0.4
"""What stands unchanged beside the difference."""
_MAJORITY = 0.6
"""Share of the votes that makes one kind the kind of the whole change."""


@lru_cache(maxsize=8192)
def words_of(name: str) -> tuple[str, ...]:
    """The words of an identifier, in lower case: split at _, at case changes, and before digits of their own."""
    words: list[str] = []
    for part in name.split("_"):
        if re.fullmatch(r"[a-z]+\d+|[A-Z]+\d+", part):  # x0, BETA2, fa3
            words.append(part.lower())
        else:
            words += [word.lower() for word in _SPLIT.findall(part.replace("AdamW", "Adam"))]
    return tuple(words)


@lru_cache(maxsize=8192)
def meaning(name: str) -> tuple[int, str]:
    """How much an identifier says, and of which kind it speaks; (0, "") if it says nothing."""
    words = words_of(name)
    best = (0, "")
    for length in range(min(_LONGEST, len(words)), 0, -1):
        for start in range(len(words) - length + 1):
            found = _STRENGTH.get(words[start : start + length])
            if found is None and length == 1:
                found = _STRENGTH.get((words[start].removesuffix("s"),))
            if found and found[0] >= best[0] + (length == 1 and best[0] > 0 and start < len(words) - 1):
                best = found
    return best


@dataclass(frozen=True)
class Item:
    """One edited, added or removed statement.

    Attributes:
        scope: The function that holds it.
        differs: Identifiers that only one of its forms has, or all of an added or removed one.
        beside: Identifiers that both forms have.
        is_edit: Whether both forms are there.
        brings: Whether the child reads or holds something there that the parent does not.
    """

    scope: str
    differs: tuple[str, ...]
    beside: tuple[str, ...]
    is_edit: bool
    brings: bool

    @classmethod
    def of_pair(cls, old: Statement, new: Statement) -> Item:
        """An edited statement."""
        differs, beside = difference_of_names(old, new)
        less = Counter(new.names) < Counter(old.names)
        return cls(old.scope, differs, beside, True, not less)

    @classmethod
    def of_one(cls, one: Statement, is_new: bool) -> Item:
        """An added or removed statement."""
        return cls(one.scope, one.names, (), False, is_new)

    def vote(self) -> str:
        """The kind that this statement speaks for, "" if it says nothing."""
        votes = dict.fromkeys((*KINDS, ""), 0.0)
        for weight, names in ((1.0, self.differs), (_CONTEXT_WEIGHT, self.beside)):
            strongest: Counter[str] = Counter()
            for name in names:
                strength, kind = meaning(name)
                strongest[kind] = max(strongest[kind], strength)
            for kind, strength in strongest.items():
                votes[kind] += weight * strength
        for part in self.scope.strip("<>").split("."):
            strength, kind = meaning(part)
            votes[kind] += _SCOPE_WEIGHT * strength
        best = max(KINDS, key=lambda kind: votes[kind])
        return best if votes[best] > 0 else ""


def kind_of(items: Sequence[Item]) -> str:
    """The kind of a change, "" for none."""
    if not items:
        return ""
    if _only_removes(items):
        return "simplification"
    votes = Counter(filter(None, (item.vote() for item in items)))
    if not votes:
        return "mixed"
    kind, count = votes.most_common(1)[0]
    return kind if count >= _MAJORITY * sum(votes.values()) else "mixed"


def _only_removes(items: Iterable[Item]) -> bool:
    """Whether statements are gone and nothing new stands anywhere: what was edited reads less than before."""
    removed = [item for item in items if not item.is_edit and not item.brings]
    return bool(removed) and not any(item.brings for item in items)
