"""Finds the category of an edit by the words of its identifiers, and by where in the program it is.

Identifiers are split into whole words (EMBEDDING_LR is "embedding" and "lr", MuonAdamW "muon" and "adam"), and the
strongest word decides what the identifier is: a learning rate of the embedding is a matter of the optimizer. What
differs between the old and the new form counts most, then the function that holds it, then what both forms share.

optimizer: rates, betas, momentum, schedules, weight decay, clipping. architecture: depth, width, MLP, activations,
embeddings, residuals, initial weights, the output head. attention: windows, rotary positions, queries and keys, heads,
kernels. batch: batch sizes, accumulation, the loader. normalization: norms and their place. regularization: dropout,
label smoothing, stochastic depth, z-loss (weight decay is the optimizer's). simplification: something removed and
nothing new in its place. mixed: two categories or more, none with a clear majority; or nothing to recognize.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import lru_cache

from research.code.ast_diff import Difference, names_that_differ

CATEGORIES = ("optimizer", "architecture", "attention", "batch", "normalization", "regularization")
"""The kinds of change, in the order that decides between equals."""
SIMPLIFICATION, MIXED = "simplification", "mixed"

_WORDS = """
4 optimizer lr wd warmup warmdown cooldown beta betas beta1 beta2 weight-decay learning-rate clip-grad grad-clip
4 optimizer grad-norm lr-scale ema decay anneal
3 optimizer muon adam adamw momentum nesterov optimizer optim sgd lion shampoo soap orthogonalize newton ns schedule
3 optimizer scheduler lrm polar-express exp-avg
2 optimizer rate grad grads denom eps update
1 optimizer step steps progress
5 regularization dropout drop-path droppath label-smoothing stochastic-depth z-loss zloss mixup layer-drop layerdrop
5 regularization attention-dropout attn-dropout
4 regularization regularization regularizer regularize penalty smoothing
4 batch batch-size microbatch grad-accum accum accumulate accumulation grad-accum-steps dataloader loader batch-ramp
4 batch buffer-size
3 batch batch batches prefetch seq-len sequence-len
1 batch epoch epochs tokens
4 normalization layer-norm layernorm rms-norm rmsnorm batch-norm qk-norm group-norm norm-eps post-norm pre-norm
4 normalization qk-layernorm
3 normalization norm normalize normalization
4 attention window windows rope rotary rotate sdpa flash fa3 fa4 flex attend softmax-scale kv gqa mqa alibi sliding
4 attention head-dim num-heads n-head n-heads n-kv qk-scale scaled-dot
3 attention attn attention qk heads causal mask
2 attention q k v head query queries keys
4 architecture mlp-ratio softcap depth width n-layer n-embd lm-head aspect-ratio value-embedding value-embeddings
4 architecture model-dim
3 architecture mlp ffn fc relu gelu silu swiglu tanh residual resid skip embed embeds embedding embeddings unembedding
3 architecture wte x0 ve init gate gates activation expert experts moe layers hidden lambdas tie head
2 architecture dim block blocks model transformer linear values sigmoid
1 architecture layer std
"""
"""Strength, category, and words that mean it: 4 settles the category whatever else is in the statement, 1 is a hint."""
_STRENGTH = {
    tuple(phrase.split("-")): (int(strength), category)
    for strength, category, *phrases in map(str.split, _WORDS.strip().splitlines())
    for phrase in phrases
}
_MAX_WORDS = max(map(len, _STRENGTH))
_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NUMBERED = re.compile(r"[a-z]+\d+|[A-Z]+\d+")
"""Matches a word that ends in a number: x0, BETA2 and fa3 are one word each."""

SCOPE_WEIGHT = 0.6
"""Weight of the surrounding function against that of what differs, 1: it decides where the difference says nothing."""
SHARED_WEIGHT = 0.4  # weight of what both forms of an edited statement share
MIN_MAJORITY = 0.6  # share of the statements from which one category is that of the whole change


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of an identifier in lower case, split at _ and at case changes."""
    words: list[str] = []
    for part in name.replace("AdamW", "Adam").split("_"):
        words += [part.lower()] if _NUMBERED.fullmatch(part) else map(str.lower, _SPLIT.findall(part))
    return tuple(words)


@lru_cache(maxsize=8192)
def _meaning(name: str) -> tuple[int, str]:
    """Return strength and category of an identifier's strongest word; (0, "") without one.

    Longer phrases come first; of single words that are equally strong the last one decides, as in English.
    """
    words = words_of(name)
    best = (0, "")
    for length in range(min(_MAX_WORDS, len(words)), 0, -1):
        for start in range(len(words) - length + 1):
            found = _STRENGTH.get(words[start : start + length])
            if found is None and length == 1:
                found = _STRENGTH.get((words[start].removesuffix("s"),))
            if found and found[0] >= best[0] + (length == 1 and best[0] > 0 and start < len(words) - 1):
                best = found
    return best


def category_of_name(name: str) -> str:
    """Return the category of a change of what an identifier names, "" where its words say nothing."""
    return _meaning(name)[1]


def category_of(found: Difference) -> str:
    """Return the category of a change, "" for no change."""
    items = [(old.scope, *names_that_differ(old, new)) for old, new in found.edited]
    items += [(one.scope, one.names, ()) for one in (*found.removed, *found.added)]
    if not items:
        return ""
    adds = found.added or any(not Counter(new.names) < Counter(old.names) for old, new in found.edited)
    if found.removed and not adds:
        return SIMPLIFICATION
    votes = Counter(filter(None, (_category(*item) for item in items)))
    category, count = votes.most_common(1)[0] if votes else (MIXED, 0)
    return category if count >= MIN_MAJORITY * votes.total() else MIXED


def _category(scope: str, differing: Sequence[str], shared: Sequence[str]) -> str:
    """Return the category that one edited, added or removed statement alone would have, "" for none.

    Args:
        scope: The function that holds it.
        differing: Identifiers that only one of its forms has, or all of an added or removed one.
        shared: Identifiers that both forms have.
    """
    votes: dict[str, float] = defaultdict(float)
    for weight, names in ((1.0, differing), (SHARED_WEIGHT, shared)):
        strongest: dict[str, int] = {}
        for strength, category in map(_meaning, names):
            strongest[category] = max(strongest.get(category, 0), strength)
        for category, strength in strongest.items():
            votes[category] += weight * strength
    for part in scope.strip("<>").split("."):
        strength, category = _meaning(part)
        votes[category] += SCOPE_WEIGHT * strength
    best = max(CATEGORIES, key=lambda category: votes[category])
    return best if votes[best] > 0 else ""
