"""The command lines that people and agents are asked to type next, each spelled once."""

from __future__ import annotations

from research.core.contract import DEFAULT_SEED


def launch_command(options: str, seed: int | None = None) -> str:
    """Return the line that launches train.py in the work tree, with the runner's options and a seed but the usual.

    uv brings the project's own Python: `python` is missing on many machines, and `python3` may be too old.
    """
    if seed not in (None, DEFAULT_SEED):
        options = f"{options} --seed {seed}"
    return f"uv run python scripts/run_experiment.py {options} -- uv run train.py > run.log 2>&1"


def replicate_command(commit: str, options: str = "") -> str:
    """Returns the line that measures a commit with another seed, with the verb's options."""
    return " ".join(filter(None, ["uv run research replicate", commit[:12], options]))
