"""Asks nvidia-smi about the GPUs here: which one a run gets, who else uses it, and whether it was throttled."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from subprocess import DEVNULL

from research.benchmark.cards import CAPABILITY, ROWS, Card
from research.core import contract
from research.core.settings import SETTINGS

CARD_FACT = "gpu_uuid"
"""Name of the run's fact that names its GPU; two of one kind differ in speed by a percent."""

Ask = Callable[[tuple[str, ...]], str | None]
"""A function that runs nvidia-smi with arguments and returns its output, None where it is missing or hangs."""

_FORMAT = "--format=csv,noheader,nounits"
_LISTING = ("--query-gpu=index,uuid,name,memory.used,memory.total,compute_cap", _FORMAT)
_REASONS = ("--query-gpu=clocks_event_reasons.active", _FORMAT)
_THROTTLED = 0x4 | 0x8 | 0x20 | 0x40 | 0x80  # the reasons that hold the clock down against the load (NVML's values)
_FOREIGN_MB = 1024.0  # memory in use before we start; a display takes some hundred MB, a training run gigabytes


@dataclass(frozen=True)
class Gpu:
    """One GPU; None stands for what nvidia-smi does not know."""

    index: str
    uuid: str
    name: str
    used_mb: float  # memory in use, in MiB
    total_mb: float | None = None  # in MiB
    capability: tuple[int, int] | None = None  # compute capability, as (9, 0)

    def _card(self) -> Card:
        gib = self.total_mb / 1024 if self.total_mb is not None else math.inf
        return Card(self.name, gib, self.capability or CAPABILITY)

    def is_small(self) -> bool:
        """Check whether it has less memory than the cards that the usual time limit was made for."""
        return self._card().rows() < ROWS[0][1]

    def why_not_official(self) -> str:
        """Return in a sentence why it can't run the official profile, "" if it can or where that is not known."""
        return self._card().why_not_official()


def ask_nvidia_smi(arguments: tuple[str, ...]) -> str | None:
    """Return the output of nvidia-smi, None where it is missing or does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    limit_s = SETTINGS.nvidia_smi_timeout_s
    try:
        said = subprocess.check_output([program, *arguments], stdin=DEVNULL, stderr=DEVNULL, timeout=limit_s)
    except (OSError, subprocess.SubprocessError):
        return None
    return said.decode("utf-8", "replace")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def list_gpus(ask: Ask = ask_nvidia_smi) -> tuple[Gpu, ...]:
    """List the machine's GPUs, () without any."""
    found = []
    for line in (ask(_LISTING) or "").splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) < 4:
            continue
        index, uuid, name, used, total, version, *_ = [*parts, "", ""]
        capability = re.fullmatch(r"(\d+)\.(\d+)", version)
        known = (int(capability[1]), int(capability[2])) if capability else None
        found.append(Gpu(index, uuid, name, _number(used) or 0.0, _number(total), known))
    return tuple(found)


def visible_gpus(devices: tuple[Gpu, ...], environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the devices that CUDA_VISIBLE_DEVICES leaves, in its order; CUDA ends it at the first unknown name."""
    names = environment.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return devices
    found = []
    for word in (name.strip() for name in names.split(",")):
        match = next((one for one in devices if word and (one.index == word or one.uuid.startswith(word))), None)
        if match is None:
            break
        found.append(match)
    return tuple(found)


def choose_gpu(devices: tuple[Gpu, ...], environment: Mapping[str, str]) -> Gpu | None:
    """Return the GPU that a run gets: the first that CUDA_VISIBLE_DEVICES names, else the first."""
    return next(iter(visible_gpus(devices, environment)), None)


def profile_of(device: Gpu | None) -> str:
    """Return the profile that a run gets with a device, where AUTORESEARCH_PROFILE names none."""
    return contract.PROFILES[0 if device and not device.why_not_official() else 1]


def contention(device: Gpu | None) -> str:
    """Return a sentence on who uses the device before we start, "" if it is free."""
    if device is None or device.used_mb <= _FOREIGN_MB:
        return ""
    return f"{device.used_mb:.0f} MiB of GPU {device.index} ({device.name}) are in use by others"


class ThrottleWatch:
    """Samples in a thread whether one GPU is throttled, until finish()."""

    def __init__(self, device: Gpu | None, ask: Ask = ask_nvidia_smi, every_s: float = SETTINGS.sample_every_s) -> None:
        self._device, self._ask, self._every_s = device, ask, every_s
        self._over = threading.Event()
        self._samples: list[bool] = []
        self._thread = threading.Thread(target=self._sample, name="gpu-watch", daemon=True)
        if device is not None:
            self._thread.start()

    def _sample(self) -> None:
        assert self._device is not None
        while not self._over.wait(self._every_s):
            reasons = (self._ask((*_REASONS, "-i", self._device.uuid)) or "").strip()
            if re.fullmatch("0x[0-9a-fA-F]+", reasons):
                self._samples.append(bool(int(reasons, 16) & _THROTTLED))

    def finish(self) -> dict[str, str]:
        """Stop sampling; return the share of throttled samples, as facts of the run."""
        self._over.set()
        if self._device is not None:
            self._thread.join(SETTINGS.nvidia_smi_timeout_s)
        if not self._samples:
            return {}
        share = sum(self._samples) / len(self._samples)
        facts = {"throttled_share": f"{share:.2f}"}
        return {**facts, "throttled": "yes"} if share >= SETTINGS.throttle_fraction else facts
