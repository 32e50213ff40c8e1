"""Looks at this machine and this checkout: what a night needs, what is missing, and the command that mends it.

It changes nothing and makes no file. Torch is asked in a process of its own: the control plane never imports it.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from research.core import git
from research.core.check import Check
from research.core.contract import BRANCHES, ENV_PROFILE
from research.core.errors import ResearchError
from research.core.paths import LabPaths, machine_home
from research.core.settings import SETTINGS
from research.runs import gpu
from research.store.connect import StoreDamaged
from research.store.open import read_store

GIB = 1024.0**3
OLDEST_PYTHON = (3, 10)
"""As pyproject.toml says."""

_TORCH = (
    "import json, torch; print(json.dumps([torch.__version__, torch.version.cuda,"
    " torch.cuda.get_device_name(0) if torch.cuda.is_available() else None]))"
)
_CUDA_WORKS = "CUDA works on"
_GET_GIT = "xcode-select --install" if sys.platform == "darwin" else "sudo apt-get install git   # or as usual here"
_HOOKS = "research.agents.clients.doctor"


def examine(cwd: Path, environment: Mapping[str, str], ask: gpu.Ask = gpu.ask_nvidia_smi) -> list[Check]:
    """Everything that was looked at, in the order in which a newcomer would mend it."""
    try:
        root: Path | None = git.find_root(cwd)
        trouble = ""
    except ResearchError as error:
        root, trouble = None, str(error)
    python, torch = _python(), _torch(environment)
    cuda = torch.ok and _CUDA_WORKS in torch.say
    profile = environment.get(ENV_PROFILE) or ("official" if cuda else "pocket")
    found = [python, _uv(), torch, *_gpus(ask, environment, cuda), _memory(), _disk(root or cwd, environment)]
    found += _data(profile, environment)
    if root is None:
        fix = "cd into the repository (or: git init)" if shutil.which("git") else _GET_GIT
        return [*found, Check("git", False, trouble, fix)]
    found += [_git(root), _store(LabPaths(root)), _modal(environment)]
    return [*found, *_hooks(root, environment)]


def in_words(checks: Sequence[Check]) -> str:
    """One line a check; what is wrong with the command that mends it underneath."""
    lines = []
    for check in checks:
        lines.append(f"{'ok  ' if check.ok else 'MEND'}  {check.name:<10} {check.say}")
        if check.fix:
            lines.append(f"{'':<17}{'type' if not check.ok else 'or'}: {check.fix}")
    wrong = sum(not check.ok for check in checks)
    last = "Everything a night needs is here." if not wrong else f"{wrong} of {len(checks)} want mending."
    return "\n".join([*lines, "", last])


def _python() -> Check:
    good = sys.version_info >= OLDEST_PYTHON
    say = f"Python {platform.python_version()} at {sys.executable}"
    return Check("python", good, say, "" if good else "uv python install 3.12")


def _uv() -> Check:
    place = shutil.which("uv")
    if place is None:
        say = "uv is not on PATH; the runner starts every run with it"
        return Check("uv", False, say, "curl -LsSf https://astral.sh/uv/install.sh | sh")  # a uv environment has no pip
    return Check("uv", True, (_output([place, "--version"]) or "uv").strip())


def _output(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str | None:
    """What a command prints, None if it fails or hangs."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SETTINGS.probe_timeout_s,
            env=None if environment is None else dict(environment),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _torch(environment: Mapping[str, str]) -> Check:
    text = _output([sys.executable, "-c", _TORCH], environment)
    try:
        version, cuda, device = json.loads((text or "").strip().splitlines()[-1])
    except (ValueError, IndexError, TypeError):
        return Check("torch", False, "torch can't be imported", "uv sync")
    built = f"built for CUDA {cuda}" if cuda else "built without CUDA"
    seen = f"{_CUDA_WORKS} {device}" if device else "no CUDA device: runs use the small pocket profile"
    return Check("torch", True, f"torch {version}, {built}; {seen}")


def _gpus(ask: gpu.Ask, environment: Mapping[str, str], cuda: bool) -> list[Check]:
    devices = gpu.gpus(ask)
    if not devices:
        return [Check("gpu", True, "none (nvidia-smi finds no NVIDIA GPU); everything works, on the pocket profile")]
    names = ", ".join(f"{d.index}: {d.name}" for d in devices)
    text = ask(("--query-gpu=driver_version,memory.total,memory.free", "--format=csv,noheader")) or ""
    driver, total, free = ([part.strip() for part in text.splitlines()[0].split(",")] if text else []) or ["?"] * 3
    say = f"{names}; driver {driver}, {free} of {total} free on the first"
    if not cuda:
        fix = "uv sync --reinstall-package torch"
        return [Check("gpu", False, f"{say}; but torch does not see it (driver too old, or torch without CUDA)", fix)]
    busy = gpu.crowd(gpu.chosen(devices, environment))
    if busy:
        fix = "nvidia-smi --query-compute-apps=pid,name,used_memory --format=csv"
        return [Check("gpu", False, f"{say}; {busy}, so runs are slower", fix)]
    return [Check("gpu", True, say)]


def _memory() -> Check:
    free = _free_memory_bytes()
    if free is None:
        return Check("memory", True, "free memory is not known on this system")
    good = free >= SETTINGS.low_memory_bytes
    say = f"{free / GIB:.1f} GiB of memory free"
    return Check("memory", good, say, "" if good else "ps aux --sort=-rss | head   # and end what you can spare")


def _free_memory_bytes() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _disk(root: Path, environment: Mapping[str, str]) -> Check:
    places = {"here": root, "data": _existing(machine_home(environment))}
    if closed := next((place for place in _written(root) if not os.access(place, os.W_OK | os.X_OK)), None):
        what = "can't be written to" if closed.is_dir() else "is no folder"
        return Check(
            "disk", False, f"{closed} {what}: nothing could be recorded", f"ls -ld {closed}; mount | grep ' ro'"
        )
    free = {name: shutil.disk_usage(place).free for name, place in places.items()}
    good = min(free.values()) >= SETTINGS.low_disk_bytes
    say = f"{free['here'] / GIB:.1f} GiB of disk free here, {free['data'] / GIB:.1f} where data lies"
    return Check("disk", good, say, "" if good else f"du -xh -d2 {root} | sort -h | tail")


def _written(root: Path) -> tuple[Path, ...]:
    """The folders that runs and the memory are written to, as far as they are there."""
    paths = LabPaths(root)
    return tuple(dict.fromkeys(_existing(place) for place in (paths.runs, paths.discovery)))


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _data(profile: str, environment: Mapping[str, str]) -> list[Check]:
    """Data and tokenizer of the profile that a run would get; the pocket profile makes both itself."""
    home = machine_home(environment)
    root = home if profile == "official" else home / profile
    shards = sorted(path.name for path in (root / "data").glob("shard_*.parquet"))
    tokenizer = (root / "tokenizer" / "tokenizer.json").is_file()
    own = profile == "pocket"
    later = "; the first run makes it in seconds" if own else ""
    held_out = {"shard_06542.parquet": "validation", "shard_06541.parquet": "audit"}
    lacking = [what for name, what in held_out.items() if name not in shards]
    lacking += [] if any(name not in held_out for name in shards) else ["training"]
    if lacking:
        data = Check("data", own, f"{profile}: no text yet for {', '.join(lacking)}{later}", "uv run prepare.py")
    else:
        data = Check("data", True, f"{profile}: {len(shards)} shards in {root / 'data'}")
    if tokenizer:
        return [data, Check("tokenizer", True, f"{profile}: {root / 'tokenizer'}")]
    return [data, Check("tokenizer", own, f"{profile}: no tokenizer yet{later}", "uv run prepare.py")]


def _git(root: Path) -> Check:
    try:
        head, busy, changed = git.head(root), git.unfinished(root), git.changed_files(root)
    except ResearchError as error:
        return Check("git", False, error.what, error.next)
    where = f"{head.branch or 'detached'} at {head.commit[:7] if head.commit else 'no commit yet'}"
    if busy:
        return Check("git", False, f"{where}; in the middle of a {busy}", f"git {busy} --abort   # or finish it")
    if head.commit is None:
        return Check("git", False, where, "git add -A && git commit -m 'begin'")
    if changed:
        fix = "git commit -am 'what it is'   # or: git stash"
        names = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        return Check("git", False, f"{where}; not committed: {names}. Runs of what differs are refused", fix)
    if not head.branch.startswith(BRANCHES):
        say = f"{where}; clean. Experiments belong on a branch of their own (night makes one)"
        return Check("git", True, say, "git checkout -b autoresearch/mine")
    return Check("git", True, f"{where}; clean")


def _store(paths: LabPaths) -> Check:
    if not paths.memory.exists():
        return Check("memory.db", True, "nothing recorded yet")
    try:
        with read_store(paths) as store:
            runs, waiting = len(store.runs()), len(store.open_runs())
    except StoreDamaged as error:
        return Check("memory.db", False, error.what, "uv run research record   # it is rebuilt from results/runs")
    except ResearchError as error:
        return Check("memory.db", False, error.what, error.next)
    size = paths.memory.stat().st_size / 1024**2
    tail = f", {waiting} in flight or left open" if waiting else ""
    return Check("memory.db", True, f"{runs} runs, {size:.1f} MiB, sound{tail}")


def _modal(environment: Mapping[str, str]) -> Check:
    """Whether there is a token, not what it is: nobody reads it here."""
    config = Path(environment.get("MODAL_CONFIG_PATH") or "~/.modal.toml").expanduser()
    if environment.get("MODAL_TOKEN_ID") and environment.get("MODAL_TOKEN_SECRET"):
        return Check("modal", True, "a token is in the environment")
    if config.is_file():
        return Check("modal", True, f"a token is in {config}")
    return Check("modal", True, "no token: only --backend modal needs one", "uv run modal setup")


def _hooks(root: Path, environment: Mapping[str, str]) -> list[Check]:
    """What the agent's room has to say about its hooks, if it has."""
    try:
        checks: Callable[[Path, Mapping[str, str]], list[Check]] = importlib.import_module(_HOOKS).checks
        return list(checks(root, environment))
    except (ImportError, AttributeError):
        return []
    except (OSError, ResearchError, ValueError) as error:
        return [Check("hooks", False, f"they could not be looked at: {error}", "git status .codex")]
