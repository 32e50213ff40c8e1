"""Lists the ideas that synthetic landscapes are made of: names, categories and sizes. Every effect is drawn.

The names are those of a small language model's training script, so that a planner sees what it sees in a real night.
Names and effects are independent: a policy that prefers a name learns nothing that holds on the next landscape.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["knob", "switch", "removal"]
"""The kind of an idea: a number; a feature to add; a feature of the baseline to take out."""


class CatalogueEntry(NamedTuple):
    """One idea of the catalogue: a constant or a feature."""

    category: str
    name: str
    kind: Kind
    start: float = 1.0  # a knob's value in the baseline
    factor: float = 1.25  # factor of a knob's value for one step
    size_gb: float = 0.0  # memory that one step up, or switching on, adds, in GiB, before randomising
    size_m: float = 0.0  # parameters that the same adds, in millions


CATALOGUE = (
    CatalogueEntry("optimizer", "MATRIX_LR", "knob", 0.04, 1.25),
    CatalogueEntry("optimizer", "EMBEDDING_LR", "knob", 0.6, 1.3),
    CatalogueEntry("optimizer", "UNEMBEDDING_LR", "knob", 0.004, 1.3),
    CatalogueEntry("optimizer", "SCALAR_LR", "knob", 0.5, 1.5),
    CatalogueEntry("optimizer", "WARMDOWN_RATIO", "knob", 0.5, 1.15),
    CatalogueEntry("optimizer", "FINAL_LR_FRACTION", "knob", 0.02, 1.8),
    CatalogueEntry("optimizer", "MUON_MOMENTUM", "knob", 0.95, 1.01),
    CatalogueEntry("optimizer", "ADAM_BETA2", "knob", 0.95, 1.01),
    CatalogueEntry("optimizer", "cautious_updates", "switch"),
    CatalogueEntry("optimizer", "lookahead_average", "switch", size_gb=1.0),
    CatalogueEntry("optimizer", "sign_update_for_scalars", "switch"),
    CatalogueEntry("optimizer", "per_group_betas", "switch"),
    CatalogueEntry("optimizer", "momentum_warmup", "removal"),
    CatalogueEntry("architecture", "DEPTH", "knob", 8, 1.12, 3.5, 6.0),
    CatalogueEntry("architecture", "ASPECT_RATIO", "knob", 64, 1.12, 3.0, 5.0),
    CatalogueEntry("architecture", "MLP_RATIO", "knob", 4.0, 1.12, 1.5, 3.0),
    CatalogueEntry("architecture", "INIT_SCALE", "knob", 1.0, 1.2),
    CatalogueEntry("architecture", "gated_mlp", "switch", size_gb=2.0, size_m=4.0),
    CatalogueEntry("architecture", "parallel_blocks", "switch", size_gb=-1.0),
    CatalogueEntry("architecture", "previous_token_smear", "switch", size_gb=0.5),
    CatalogueEntry("architecture", "bigram_embedding", "switch", size_gb=2.0, size_m=8.0),
    CatalogueEntry("architecture", "value_embedding_gate", "removal", size_gb=1.0, size_m=2.0),
    CatalogueEntry("architecture", "residual_scalars", "removal"),
    CatalogueEntry("attention", "HEAD_DIM", "knob", 128, 1.25, 0.8),
    CatalogueEntry("attention", "ROPE_BASE", "knob", 10_000, 2.0),
    CatalogueEntry("attention", "SHORT_WINDOW", "knob", 1024, 0.7, -0.8),
    CatalogueEntry("attention", "QUERY_SCALE", "knob", 1.0, 1.08),
    CatalogueEntry("attention", "query_key_norm_before_rope", "switch"),
    CatalogueEntry("attention", "grouped_queries", "switch", size_gb=-1.5, size_m=-2.0),
    CatalogueEntry("attention", "attention_sink", "switch"),
    CatalogueEntry("attention", "window_pattern", "removal", size_gb=-1.0),
    CatalogueEntry("batch", "TOTAL_BATCH", "knob", 524_288, 0.7),
    CatalogueEntry("batch", "DEVICE_BATCH", "knob", 64, 1.25, 6.0),
    CatalogueEntry("batch", "BATCH_WARMUP_STEPS", "knob", 10, 1.6),
    CatalogueEntry("batch", "sequence_length_schedule", "switch", size_gb=-2.0),
    CatalogueEntry("batch", "loss_weighted_documents", "switch", size_gb=0.5),
    CatalogueEntry("batch", "gradient_accumulation", "removal", size_gb=-4.0),
    CatalogueEntry("normalization", "NORM_EPSILON", "knob", 1e-6, 4.0),
    CatalogueEntry("normalization", "EMBEDDING_NORM_SCALE", "knob", 1.0, 1.15),
    CatalogueEntry("normalization", "learned_norm_gain", "switch", size_m=0.1),
    CatalogueEntry("normalization", "post_norm", "switch"),
    CatalogueEntry("normalization", "norm_on_values", "switch", size_gb=0.7),
    CatalogueEntry("normalization", "embedding_norm", "removal"),
    CatalogueEntry("regularization", "WEIGHT_DECAY", "knob", 0.2, 1.4),
    CatalogueEntry("regularization", "EMBEDDING_DECAY", "knob", 0.001, 2.0),
    CatalogueEntry("regularization", "LOGIT_CAP", "knob", 15.0, 1.25),
    CatalogueEntry("regularization", "dropout", "switch", size_gb=1.0),
    CatalogueEntry("regularization", "z_loss", "switch", size_gb=0.8),
    CatalogueEntry("regularization", "label_smoothing", "switch"),
    CatalogueEntry("regularization", "decay_mask", "removal"),
    CatalogueEntry("regularization", "logit_softcap", "removal"),
)
"""Twenty-four knobs, nineteen switches and eight removals; a landscape takes about forty of them."""
