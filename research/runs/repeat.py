"""Recognises a launch that would repeat a measurement: the same syntax tree of train.py, contract and seed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path

from research.core.contract import ENV_PROFILE, ENV_SEED, ENV_TIME_BUDGET
from research.core.records import Run
from research.core.settings import SETTINGS

_DATA_FOLDERS = ("data", "tokenizer", "tokens", "pocket/data", "pocket/tokenizer", "pocket/tokens")


def contract_key(
    benchmark_sha256: str, root: Path, home: Path, backend: str, gpu: str, device: str, environment: Mapping[str, str]
) -> str:
    """Return a hash of everything that decides a contract and is cheap to know before a launch.

    Runs with the same key have the same contract; runs with different keys may have the same one too.
    """
    try:
        interpreter = (root / ".venv" / "pyvenv.cfg").read_text("utf-8", "replace")
    except OSError:
        interpreter = ""
    names = (ENV_PROFILE, ENV_TIME_BUDGET, "CUDA_VISIBLE_DEVICES")
    machine = [platform.node(), str(home), _data_state(home), interpreter]
    parts = [benchmark_sha256, *(environment.get(name, "") for name in names), *machine, backend, gpu, device]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _data_state(home: Path) -> str:
    """Return a hash of names, sizes and times of this machine's data and tokenizer files; contents are not read."""
    digest = hashlib.sha256()
    # All of them have a suffix, unlike folders, whose times change with every file that is made beside them.
    for path in sorted(path for name in _DATA_FOLDERS for path in (home / name).rglob("*.*")):
        with contextlib.suppress(OSError):
            stat = path.stat()
            digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode("utf-8", "replace"))
    return digest.hexdigest()


def ask_contract(root: Path, environment: Mapping[str, str]) -> str | None:
    """Ask prepare.py for the contract; None when it has no answer (no data, no time)."""
    try:
        said = subprocess.check_output(
            ["uv", "run", "prepare.py", "--contract"],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SETTINGS.contract_query_timeout_s,
        )
        name = json.loads(said.splitlines()[-1])["contract"]
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError):
        return None
    return name if isinstance(name, str) else None


def ended_by_itself(run: Run) -> bool:
    """Check whether the command ended by itself or was stopped by its race, so that a repeat would end the same way."""
    if not run.counted:
        return False
    is_own = run.outcome in ("scored", "crash") and run.origin in ("runner", "hand")
    return run.outcome == "stopped" or (is_own and (run.child_exit or 0) < 128)


def find_repeat(
    runs: Sequence[Run], seed: int, key: str, by_key: Run | None, ask: Callable[[], str | None]
) -> tuple[Run | None, str | None]:
    """Find the finished run that a launch would only repeat, and the launch's contract as far as it is known.

    Args:
        runs: Finished runs of the same fingerprint.
        key: Contract key of the launch.
        by_key: The latest run launched under that key whose contract is known.
        ask: Asks prepare.py for the contract, which takes seconds; called only if the answer can matter.
    """
    contract = by_key.contract if by_key else None
    same = [run for run in reversed(runs) if run.seed == seed and ended_by_itself(run)]
    known = next((run for run in same if run.contract_key == key or (contract and run.contract == contract)), None)
    if known is None and contract is None and any(run.contract for run in same):
        contract = ask()
        known = next((run for run in same if contract and run.contract == contract), None)
    return known, (known.contract if known else None) or contract


def next_seed(taken: Iterable[int], first: int) -> int:
    """Return the smallest seed from the first on that no run of this configuration has used."""
    used = set(taken)
    return next(seed for seed in count(first) if seed not in used)


def seed_of(environment: Mapping[str, str], default: int) -> int:
    """Read the seed that the environment asks for."""
    text = environment.get(ENV_SEED, "")
    return int(text) if text.isdecimal() else default
