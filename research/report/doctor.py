"""Checks this machine and this checkout for everything that a night needs, and names the command that mends it.

It changes nothing, makes no file, and answers in a second: torch, which takes seconds to import, is only read on disk,
and coding agents are asked only on request.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from research.agents import autonomy
from research.agents.clients.doctor import check_clients, check_hooks, version_said
from research.benchmark.cards import ROWS
from research.core import git
from research.core.check import Check
from research.core.commands import first_commit_command
from research.core.contract import BRANCHES, ENV_PROFILE
from research.core.errors import ResearchError
from research.core.interpreter import GET_UV
from research.core.paths import LabPaths, machine_home
from research.core.settings import SETTINGS
from research.core.text import count_of, first_few
from research.runs import gpu
from research.runs.backends import BACKENDS
from research.runs.requirements import check_environment, other_home
from research.store.connect import StoreDamaged
from research.store.open import read_store

GIB = 1024.0**3
_GET_GIT = "xcode-select --install" if sys.platform == "darwin" else "sudo apt-get install git   # or as usual here"
_HELD_OUT = {"shard_06542.parquet": "validation", "shard_06541.parquet": "audit"}


def ask_driver() -> tuple[int, int] | None:
    """Return the version of CUDA that NVIDIA's driver runs, None without a driver or a device."""
    count, version = ctypes.c_int(), ctypes.c_int()
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
        failed = failed or driver.cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return None if failed or not count.value else (version.value // 1000, version.value % 1000 // 10)


def examine(
    cwd: Path,
    environment: Mapping[str, str],
    clients: bool = False,
    ask: gpu.Ask = gpu.ask_nvidia_smi,
    driver: Callable[[], tuple[int, int] | None] = ask_driver,
) -> list[Check]:
    """Return all checks, in the order in which a newcomer would mend them; coding agents are asked on request."""
    python = Check("python", True, f"Python {platform.python_version()} at {sys.executable}")
    torch, has_cuda = _torch(driver())
    devices = gpu.list_gpus(ask)
    device = gpu.choose_gpu(devices, environment)
    runs_official = has_cuda and not (device and device.why_not_official())
    profile = environment.get(ENV_PROFILE) or ("official" if runs_official else "pocket")
    found = [python, _uv(environment), torch, _gpu(ask, devices, device, environment, has_cuda), _memory()]
    try:
        root = git.find_root(cwd)
    except ResearchError as error:
        fix = "cd into the repository (or: git init)" if shutil.which("git") else _GET_GIT
        return [*found, _disk(cwd, environment), *_data(profile, environment), Check("git", False, error.what, fix)]
    found += [_disk(root, environment), *_data(profile, environment), _git(root), _author(root)]
    found += _store(LabPaths(root))
    found += filter(None, (entry.load().examine(environment) for entry in BACKENDS.values()))
    found += check_hooks(root, environment)
    if clients:
        try:
            return [*found, *check_clients(root, environment)]
        except (OSError, ValueError, ResearchError) as error:
            return [*found, Check("clients", False, f"they could not be asked: {error}", "git status .codex .claude")]
    say = "not asked, which takes seconds; to see whether they are installed and run our hooks:"
    return [*found, Check("clients", True, f"{say} uv run research doctor --clients")]


def in_words(checks: Sequence[Check]) -> str:
    """Return a line for each check, and the command that mends it underneath."""
    lines = []
    for check in checks:
        lines.append(f"{'ok  ' if check.ok else 'MEND'}  {check.name:<10} {check.say}")
        if check.fix:
            lines.append(f"{'':<17}{'if you want it' if check.ok else 'type'}: {check.fix.removeprefix('Type: ')}")
    wrong = sum(not check.ok for check in checks)
    last = "Everything a night needs is here." if not wrong else f"{wrong} of {len(checks)} want mending."
    return "\n".join([*lines, "", last])


def _uv(environment: Mapping[str, str]) -> Check:
    if (place := shutil.which("uv")) is None:
        return Check("uv", False, "uv is not on PATH; the runner starts every run with it", GET_UV)
    say = version_said(place, environment)
    return Check("uv", True, say) if say else Check("uv", False, f"{place} does not start", "uv self update")


def _torch(driver: tuple[int, int] | None) -> tuple[Check, bool]:
    """Return the check of torch, and whether it can use a GPU: a driver runs CUDA up to its own major version."""
    spec = importlib.util.find_spec("torch")
    try:
        text = Path(spec.origin if spec and spec.origin else "").with_name("version.py").read_text("utf-8")
    except (OSError, ValueError):
        return Check("torch", False, "torch is not installed", "uv sync"), False
    version = re.search(r"__version__ = '([^']+)'", text)
    cuda = re.search(r"^cuda\b.*= '([\d.]+)'", text, re.MULTILINE)
    built = f"built for CUDA {cuda[1]}" if cuda else "built without CUDA"
    good = bool(cuda and driver and driver[0] >= int(cuda[1].split(".")[0]))
    seen = "no CUDA device: runs use the small pocket profile"
    if driver:
        seen = "a CUDA device is here" if good else f"the driver runs CUDA {driver[0]}.{driver[1]} at most"
    return Check("torch", True, f"torch {version[1] if version else 'of unknown version'}, {built}; {seen}"), good


def _gpu(
    ask: gpu.Ask, devices: Sequence[gpu.Gpu], device: gpu.Gpu | None, environment: Mapping[str, str], has_cuda: bool
) -> Check:
    if not devices:
        return Check("gpu", True, "none (nvidia-smi finds no NVIDIA GPU); everything works, on the pocket profile")
    names = ", ".join(f"{gpu.index}: {gpu.name}" for gpu in devices)
    driver = (ask(("--query-gpu=driver_version", "--format=csv,noheader")) or "").strip().partition("\n")[0]
    one = device or devices[0]
    say = f"{names}; driver {driver or 'unknown'}, {one.used_mb:.0f} MiB of GPU {one.index} in use"
    if not has_cuda:
        fix = "uv sync --reinstall-package torch"
        return Check("gpu", False, f"{say}; but torch can't use it (driver too old, or torch without CUDA)", fix)
    if device and (why := device.why_not_official()):
        if environment.get(ENV_PROFILE) == "official":
            return Check("gpu", False, f"{say}; {why}", f"unset {ENV_PROFILE}   # runs then use the pocket profile")
        return Check("gpu", True, f"{say}; {why}: runs use the pocket profile")
    if device and device.is_small() and environment.get(ENV_PROFILE) != "pocket":
        minutes = f"{SETTINGS.small_gpu_timeout_minutes:g} minutes"
        say += f"; below {ROWS[0][0]} GB a forward takes fewer rows, and a run may take {minutes}"
    if busy := gpu.contention(device):
        fix = "nvidia-smi --query-compute-apps=pid,name,used_memory --format=csv"
        return Check("gpu", False, f"{say}; {busy}, so runs are slower", fix)
    return Check("gpu", True, say)


def _memory() -> Check:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found is None:
        return Check("memory", True, "free memory is not known on this system")
    free = int(found[1]) * 1024
    fix = "ps aux --sort=-rss | head   # and end what you can spare" if free < SETTINGS.low_memory_bytes else ""
    return Check("memory", not fix, f"{free / GIB:.1f} GiB of memory free", fix)


def _disk(root: Path, environment: Mapping[str, str]) -> Check:
    home = machine_home(environment)
    for place in map(_existing, (LabPaths(root).runs, LabPaths(root).discovery, home)):
        if not _is_writable(place):
            what = "can't be written to" if place.is_dir() else "is no folder"
            fix = other_home(home) if place == _existing(home) else f"ls -ld {place}; mount | grep '(ro'"
            return Check("disk", False, f"{place} {what}: nothing could be recorded", fix)
    results = _existing(LabPaths(root).runs)
    free = {place: shutil.disk_usage(place).free for place in (results, _existing(home))}
    fullest = min(free, key=lambda place: free[place])
    say = f"{free[results] / GIB:.1f} GiB of disk free for results, {free[_existing(home)] / GIB:.1f} where data lies"
    fix = f"du -xh -d2 {fullest} | sort -h | tail" if free[fullest] < SETTINGS.low_disk_bytes else ""
    return Check("disk", not fix, say, fix)


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _is_writable(place: Path) -> bool:
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


def _data(profile: str, environment: Mapping[str, str]) -> list[Check]:
    """Check data and tokenizer of the profile that a run would get; the pocket profile makes both itself."""
    try:
        check_environment(environment)
    except ResearchError as error:  # train.py and prepare.py would end with it at once
        return [Check("environment", False, error.what, f"unset {error.what.partition('=')[0]}")]
    home, is_own = machine_home(environment), profile == "pocket"
    root = home if profile == "official" else home / profile
    later = "; the first run makes it in seconds" if is_own else ""
    make = "uv run prepare.py" if _is_writable(_existing(home)) else other_home(home)
    shards = {path.name for path in (root / "data").glob("shard_*.parquet")}
    missing = [what for name, what in _HELD_OUT.items() if name not in shards]
    missing += [] if shards - set(_HELD_OUT) else ["training"]
    data = Check("data", True, f"{profile}: {len(shards)} shards in {root / 'data'}")
    if missing:
        data = Check("data", is_own, f"{profile}: no text yet for {', '.join(missing)}{later}", make)
    tokenizer = Check("tokenizer", True, f"{profile}: {root / 'tokenizer'}")
    if not (root / "tokenizer" / "tokenizer.json").is_file():
        tokenizer = Check("tokenizer", is_own, f"{profile}: no tokenizer yet{later}", make)
    return [data, tokenizer]


def _git(root: Path) -> Check:
    try:
        head, busy, changed = git.head(root), git.unfinished(root), git.changed_files(root)
    except ResearchError as error:
        return Check("git", False, error.what, error.next)
    where = f"{head.branch or 'detached'} at {head.commit[:7] if head.commit else 'no commit yet'}"
    if busy:
        return Check("git", False, f"{where}; in the middle of a {busy}", f"{git.how_to_abort(busy)}   # or finish it")
    if head.commit is None:
        return Check("git", False, where, first_commit_command(root))
    if changed:
        fix = git.how_to_clean(root)
        names = ", ".join(first_few(changed, 3))
        return Check("git", False, f"{where}; not committed: {names}. Runs of what differs are refused", fix)
    if not head.branch.startswith(BRANCHES):
        say = f"{where}; clean. Experiments belong on a branch of their own (night makes one)"
        return Check("git", True, say, f"git checkout -b {git.free_branch(root, BRANCHES + 'mine')}")
    return Check("git", True, f"{where}; clean")


def _author(root: Path) -> Check:
    """Check whether git knows an author; where it does not, nights and orders to agents name one."""
    if not shutil.which("git") or not git.author(root):
        return Check("author", True, "git knows who commits")
    say = "git knows no author; a night's agent commits as autoresearch, and orders to agents name it"
    return Check("author", True, say, "git config user.name NAME && git config user.email ADDRESS")


def _store(paths: LabPaths) -> list[Check]:
    """Check the memory, and the switch of autonomous continuation."""
    if not paths.memory.exists():
        return [Check("memory.db", True, "nothing recorded yet")]
    try:
        with read_store(paths) as store:
            runs, waiting, switch = len(store.runs()), len(store.open_runs()), autonomy.load(store)
    except StoreDamaged as error:
        return [Check("memory.db", False, error.what, "uv run research record   # it is rebuilt from results/runs")]
    except ResearchError as error:
        return [Check("memory.db", False, error.what, error.next)]
    size = paths.memory.stat().st_size / 1024**2
    tail = f", {waiting} in flight or left open" if waiting else ""
    found = [Check("memory.db", True, f"{count_of(runs, 'run')}, {size:.1f} MiB, sound{tail}")]
    if switch.enabled:
        say = f"the loop is on, {autonomy.limits_in_words(switch)}; agents go on by themselves until it is turned off"
        return [*found, Check("autonomy", True, say, "uv run research autonomy off")]
    return [*found, Check("autonomy", True, f"the loop is off ({switch.reason})")]
