"""Lists the ideas that synthetic landscapes are made of: names, categories and sizes. Every effect is drawn.

The names are those of a small language model's training script, so that a planner reads what it reads in a real night.
No name says anything about an effect: a policy that prefers a name learns nothing that holds on the next landscape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["knob", "switch", "removal"]
"""A number; something to add; something that the baseline has and that can be taken out."""


@dataclass(frozen=True)
class Entry:
    """One idea of the catalogue.

    Attributes:
        name: The constant or the feature.
        category: One of the six.
        kind: A knob, a switch or a removal.
        start: A knob's value in the baseline.
        factor: What one step multiplies a knob's value by.
        size_gb: Memory that one step up (or switching on) adds, in GiB, before randomising.
        size_m: Parameters that it adds, in millions.
    """

    name: str
    category: str
    kind: Kind
    start: float = 1.0
    factor: float = 1.25
    size_gb: float = 0.0
    size_m: float = 0.0


def _knob(category: str, name: str, start: float, factor: float, size_gb: float = 0.0, size_m: float = 0.0) -> Entry:
    return Entry(name, category, "knob", start, factor, size_gb, size_m)


CATALOGUE = (
    _knob("optimizer", "MATRIX_LR", 0.04, 1.25),
    _knob("optimizer", "EMBEDDING_LR", 0.6, 1.3),
    _knob("optimizer", "UNEMBEDDING_LR", 0.004, 1.3),
    _knob("optimizer", "SCALAR_LR", 0.5, 1.5),
    _knob("optimizer", "WARMDOWN_RATIO", 0.5, 1.15),
    _knob("optimizer", "FINAL_LR_FRACTION", 0.02, 1.8),
    _knob("optimizer", "MUON_MOMENTUM", 0.95, 1.01),
    _knob("optimizer", "ADAM_BETA2", 0.95, 1.01),
    Entry("cautious_updates", "optimizer", "switch"),
    Entry("lookahead_average", "optimizer", "switch", size_gb=1.0),
    Entry("sign_update_for_scalars", "optimizer", "switch"),
    Entry("per_group_betas", "optimizer", "switch"),
    Entry("momentum_warmup", "optimizer", "removal"),
    _knob("architecture", "DEPTH", 8, 1.12, 3.5, 6.0),
    _knob("architecture", "ASPECT_RATIO", 64, 1.12, 3.0, 5.0),
    _knob("architecture", "MLP_RATIO", 4.0, 1.12, 1.5, 3.0),
    _knob("architecture", "INIT_SCALE", 1.0, 1.2),
    Entry("gated_mlp", "architecture", "switch", size_gb=2.0, size_m=4.0),
    Entry("parallel_blocks", "architecture", "switch", size_gb=-1.0),
    Entry("previous_token_smear", "architecture", "switch", size_gb=0.5),
    Entry("bigram_embedding", "architecture", "switch", size_gb=2.0, size_m=8.0),
    Entry("value_embedding_gate", "architecture", "removal", size_gb=1.0, size_m=2.0),
    Entry("residual_scalars", "architecture", "removal"),
    _knob("attention", "HEAD_DIM", 128, 1.25, 0.8),
    _knob("attention", "ROPE_BASE", 10_000, 2.0),
    _knob("attention", "SHORT_WINDOW", 1024, 0.7, -0.8),
    _knob("attention", "QUERY_SCALE", 1.0, 1.08),
    Entry("query_key_norm_before_rope", "attention", "switch"),
    Entry("grouped_queries", "attention", "switch", size_gb=-1.5, size_m=-2.0),
    Entry("attention_sink", "attention", "switch"),
    Entry("window_pattern", "attention", "removal", size_gb=-1.0),
    _knob("batch", "TOTAL_BATCH", 524_288, 0.7),
    _knob("batch", "DEVICE_BATCH", 64, 1.25, 6.0),
    _knob("batch", "BATCH_WARMUP_STEPS", 10, 1.6),
    Entry("sequence_length_schedule", "batch", "switch", size_gb=-2.0),
    Entry("loss_weighted_documents", "batch", "switch", size_gb=0.5),
    Entry("gradient_accumulation", "batch", "removal", size_gb=-4.0),
    _knob("normalization", "NORM_EPSILON", 1e-6, 4.0),
    _knob("normalization", "EMBEDDING_NORM_SCALE", 1.0, 1.15),
    Entry("learned_norm_gain", "normalization", "switch", size_m=0.1),
    Entry("post_norm", "normalization", "switch"),
    Entry("norm_on_values", "normalization", "switch", size_gb=0.7),
    Entry("embedding_norm", "normalization", "removal"),
    _knob("regularization", "WEIGHT_DECAY", 0.2, 1.4),
    _knob("regularization", "EMBEDDING_DECAY", 0.001, 2.0),
    _knob("regularization", "LOGIT_CAP", 15.0, 1.25),
    Entry("dropout", "regularization", "switch", size_gb=1.0),
    Entry("z_loss", "regularization", "switch", size_gb=0.8),
    Entry("label_smoothing", "regularization", "switch"),
    Entry("decay_mask", "regularization", "removal"),
    Entry("logit_softcap", "regularization", "removal"),
)
"""Twenty-four knobs, nineteen switches and eight removals; a landscape takes about forty of them."""
