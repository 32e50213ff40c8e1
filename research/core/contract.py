"""The names that the benchmark, the runner and every reader of their files agree on: the one home of each.

Nothing here runs anything. train.py, prepare.py and research/benchmark do not import it, so that a contract's
fingerprint covers all that a score depends on; a test holds their names and codes against these.
"""

from __future__ import annotations

from typing import Final

# Environment variables

ENV_HOME: Final = "AUTORESEARCH_HOME"  # where data and tokenizers live; default ~/.cache/autoresearch
ENV_PROFILE: Final = "AUTORESEARCH_PROFILE"  # one of PROFILES
PROFILES: Final = ("official", "pocket")
ENV_SEED: Final = "AUTORESEARCH_SEED"  # the only source of a run's seed
ENV_TIME_BUDGET: Final = "AUTORESEARCH_TIME_BUDGET"  # seconds of counted training
ENV_RUN_DIR: Final = "AUTORESEARCH_RUN_DIR"  # the folder of this run, set by the runner

DEFAULT_SEED: Final = 42
MAX_SEED: Final = 2**63 - 1  # the memory and torch take no larger one

# The summary block that train.py prints after a line "---"

SUMMARY_MARK: Final = "---"
PUBLIC_KEYS: Final = (
    "val_bpb", "training_seconds", "total_seconds", "peak_vram_mb", "mfu_percent", "total_tokens_M", "num_steps",
    "num_params_M", "depth",
)  # fmt: skip
"""The nine lines of the public contract, in their order."""
INTEGER_KEYS: Final = frozenset({"num_steps", "depth"})
OWN_KEYS: Final = ("val_bpb_exact", "epochs", "contract", "causal_check", "loss_check", "uncounted_seconds")
"""Names of our own lines, after the nine. val_bpb_exact, epochs and uncounted_seconds are numbers, the others words."""
CHECK_KEYS: Final = ("causal_check", "loss_check")
PASS: Final = "pass"
FAIL: Final = "fail"

# Exit codes of train.py

EXIT_SCORED: Final = 0
EXIT_NO_DATA: Final = 3
EXIT_PROBE_FAILED: Final = 4
EXIT_DIVERGED: Final = 5

# Exit codes of the runner, where they are not the command's own; 128+N where signal N ended a run

RUNNER_EXITS: Final = {
    "refused": 3, "capacity": 69, "infrastructure": 75, "configuration": 78, "stopped": 80, "timeout": 124,
}  # fmt: skip

# Git

BRANCHES: Final = "autoresearch/"
"""Beginning of the names of branches for experiments; only these are planned for and moved."""

CLIENT_SETTINGS: Final = (".codex", ".claude")
"""Folders of the coding clients' settings, which start the hooks; a test holds them equal to those of CLIENTS."""
PROTECTED: Final = (
    "prepare.py", "research", "scripts", "pyproject.toml", "AGENTS.md", "CLAUDE.md", "program.md", *CLIENT_SETTINGS,
)  # fmt: skip
"""The benchmark, the harness and what agents are told, as names at the top of the repository. Agents do not change them
while experiments run; no run starts with a change of them that is not committed, or with another content than the
baseline's."""

# Files of a run

HAND_PREFIX: Final = "hand-"
"""Beginning of the names under results/runs of folders whose runs were made by hand, without the runner."""
SCORE_FILE: Final = "score.json"
SCORE_SCHEMA: Final = "autoresearch.score/1"
RUN_LOG: Final = "run.log"
SCORED: Final = "scored"
PROBE_FAILED: Final = "probe_failed"
