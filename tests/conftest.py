"""What every test may rely on: Ctrl-C and a closed terminal end the processes that tests start, and none compiles anew.

Also the order of the tests: ruff and mypy, the long ones, groups that share a fixture, the others as they come.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import hypothesis
import pytest

# A busy machine makes no test fail.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

# A shell that starts the tests in the background hands SIGINT on as ignored, nohup SIGHUP, and children inherit that.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

# Settings of the shell that starts the tests are not theirs.
for name in [name for name in os.environ if name.startswith("AUTORESEARCH_")]:
    del os.environ[name]

# The tests start thousands of processes. Where bytecode must not be written, each of them would compile all that it
# imports, which is most of its work: it is written all the same, to a place of the tests' own.
if sys.dont_write_bytecode:
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).resolve().parent.parent / ".pytest_cache" / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix


def pytest_xdist_auto_num_workers() -> int:
    """Start a worker more than there are processors: many tests wait for a process or for a lock."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, or else one worker would still be busy with it when the others have nothing left."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    if item.path.name == "test_house.py":
        return 0
    return next((place for place, name in enumerate(("long", "xdist_group"), 1) if item.get_closest_marker(name)), 3)
