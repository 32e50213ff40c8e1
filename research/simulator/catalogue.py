"""Lists the ideas that synthetic landscapes are made of: names, categories and sizes. Every effect is drawn.

The names are those of a small language model's training script, so that a planner reads what it reads in a real night.
No name says anything about an effect: a policy that prefers a name learns nothing that holds on the next landscape.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["knob", "switch", "removal"]
"""A number; something to add; something that the baseline has and that can be taken out."""


class Entry(NamedTuple):
    """One idea of the catalogue: a constant or a feature."""

    category: str
    name: str
    kind: Kind
    start: float = 1.0  # a knob's value in the baseline
    factor: float = 1.25  # what one step multiplies a knob's value by
    size_gb: float = 0.0  # memory that one step up, or switching on, adds, in GiB, before randomising
    size_m: float = 0.0  # parameters that it adds, in millions


CATALOGUE = (
    Entry("optimizer", "MATRIX_LR", "knob", 0.04, 1.25),
    Entry("optimizer", "EMBEDDING_LR", "knob", 0.6, 1.3),
    Entry("optimizer", "UNEMBEDDING_LR", "knob", 0.004, 1.3),
    Entry("optimizer", "SCALAR_LR", "knob", 0.5, 1.5),
    Entry("optimizer", "WARMDOWN_RATIO", "knob", 0.5, 1.15),
    Entry("optimizer", "FINAL_LR_FRACTION", "knob", 0.02, 1.8),
    Entry("optimizer", "MUON_MOMENTUM", "knob", 0.95, 1.01),
    Entry("optimizer", "ADAM_BETA2", "knob", 0.95, 1.01),
    Entry("optimizer", "cautious_updates", "switch"),
    Entry("optimizer", "lookahead_average", "switch", size_gb=1.0),
    Entry("optimizer", "sign_update_for_scalars", "switch"),
    Entry("optimizer", "per_group_betas", "switch"),
    Entry("optimizer", "momentum_warmup", "removal"),
    Entry("architecture", "DEPTH", "knob", 8, 1.12, 3.5, 6.0),
    Entry("architecture", "ASPECT_RATIO", "knob", 64, 1.12, 3.0, 5.0),
    Entry("architecture", "MLP_RATIO", "knob", 4.0, 1.12, 1.5, 3.0),
    Entry("architecture", "INIT_SCALE", "knob", 1.0, 1.2),
    Entry("architecture", "gated_mlp", "switch", size_gb=2.0, size_m=4.0),
    Entry("architecture", "parallel_blocks", "switch", size_gb=-1.0),
    Entry("architecture", "previous_token_smear", "switch", size_gb=0.5),
    Entry("architecture", "bigram_embedding", "switch", size_gb=2.0, size_m=8.0),
    Entry("architecture", "value_embedding_gate", "removal", size_gb=1.0, size_m=2.0),
    Entry("architecture", "residual_scalars", "removal"),
    Entry("attention", "HEAD_DIM", "knob", 128, 1.25, 0.8),
    Entry("attention", "ROPE_BASE", "knob", 10_000, 2.0),
    Entry("attention", "SHORT_WINDOW", "knob", 1024, 0.7, -0.8),
    Entry("attention", "QUERY_SCALE", "knob", 1.0, 1.08),
    Entry("attention", "query_key_norm_before_rope", "switch"),
    Entry("attention", "grouped_queries", "switch", size_gb=-1.5, size_m=-2.0),
    Entry("attention", "attention_sink", "switch"),
    Entry("attention", "window_pattern", "removal", size_gb=-1.0),
    Entry("batch", "TOTAL_BATCH", "knob", 524_288, 0.7),
    Entry("batch", "DEVICE_BATCH", "knob", 64, 1.25, 6.0),
    Entry("batch", "BATCH_WARMUP_STEPS", "knob", 10, 1.6),
    Entry("batch", "sequence_length_schedule", "switch", size_gb=-2.0),
    Entry("batch", "loss_weighted_documents", "switch", size_gb=0.5),
    Entry("batch", "gradient_accumulation", "removal", size_gb=-4.0),
    Entry("normalization", "NORM_EPSILON", "knob", 1e-6, 4.0),
    Entry("normalization", "EMBEDDING_NORM_SCALE", "knob", 1.0, 1.15),
    Entry("normalization", "learned_norm_gain", "switch", size_m=0.1),
    Entry("normalization", "post_norm", "switch"),
    Entry("normalization", "norm_on_values", "switch", size_gb=0.7),
    Entry("normalization", "embedding_norm", "removal"),
    Entry("regularization", "WEIGHT_DECAY", "knob", 0.2, 1.4),
    Entry("regularization", "EMBEDDING_DECAY", "knob", 0.001, 2.0),
    Entry("regularization", "LOGIT_CAP", "knob", 15.0, 1.25),
    Entry("regularization", "dropout", "switch", size_gb=1.0),
    Entry("regularization", "z_loss", "switch", size_gb=0.8),
    Entry("regularization", "label_smoothing", "switch"),
    Entry("regularization", "decay_mask", "removal"),
    Entry("regularization", "logit_softcap", "removal"),
)
"""Twenty-four knobs, nineteen switches and eight removals; a landscape takes about forty of them."""
