#!/usr/bin/env python3
"""The older spelling of ``run_experiment.py --backend modal``: the same options, the same command after ``--``.

python scripts/modal_gpu.py --gpu H100 --timeout 10 -- uv run train.py > run.log 2>&1
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

    sys.exit(main(["--backend", "modal", *sys.argv[1:]]))
