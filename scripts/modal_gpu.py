#!/usr/bin/env python3
"""The older spelling of ``run_experiment.py --backend modal``: the same options, the same command after ``--``.

uv run python scripts/modal_gpu.py --gpu H100 --timeout 10 -- uv run train.py > run.log 2>&1
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from research.core.interpreter import use_project_python  # noqa: E402

use_project_python(ROOT)

from research.lab.runner import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["--backend", "modal", *sys.argv[1:]]))
