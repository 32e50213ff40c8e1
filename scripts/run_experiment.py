#!/usr/bin/env python3
"""Runs a command on this machine or at Modal and records what `uv run train.py` measured.

    python scripts/run_experiment.py --backend local -- uv run train.py > run.log 2>&1

Works with any Python from 3.10 on: it starts itself over in .venv, where `uv sync` put what judging needs.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from research.lab.environment import enter_environment

if __name__ == "__main__":
    if not enter_environment(Path(__file__).resolve().parent.parent, "numpy"):
        sys.stderr.write("[run] numpy is not installed for this Python; type: uv sync\n")
        sys.exit(78)
    from research.lab.runner import main

    sys.exit(main())
