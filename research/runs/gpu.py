"""Asks nvidia-smi about the GPUs here: which one a run gets, who else uses it, and whether it was throttled."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from research.core import contract
from research.core.settings import SETTINGS

Ask = Callable[[tuple[str, ...]], str | None]
"""Runs nvidia-smi with these arguments; None where there is none, or it does not answer."""

_FORMAT = "--format=csv,noheader,nounits"
_LISTING = ("--query-gpu=index,uuid,name,memory.used,memory.total,compute_cap", _FORMAT)
_LISTING_OLD = ("--query-gpu=index,uuid,name,memory.used,memory.total", _FORMAT)  # drivers before 470
_SAMPLE = "--query-gpu=clocks.sm,power.draw,temperature.gpu,clocks_event_reasons.active,utilization.gpu"
_SAMPLE_OLD = "--query-gpu=clocks.sm,power.draw,temperature.gpu,clocks_throttle_reasons.active,utilization.gpu"

# Bits of the active reasons that mean that the clock was held down against the load (NVML's own values).
_THROTTLED = 0x4 | 0x8 | 0x20 | 0x40 | 0x80
_FOREIGN_MB = 1024.0  # memory in use before we start; a display takes some hundred MB, a training run gigabytes


@dataclass(frozen=True)
class Gpu:
    """One device: its index and uuid, its name, memory in use and in all in MiB, its compute capability if known."""

    index: str
    uuid: str
    name: str
    used_mb: float
    total_mb: float | None = None
    capability: tuple[int, int] | None = None

    def is_small(self) -> bool:
        """Says whether it has less memory than those that the usual time limit was made for."""
        return self.total_mb is not None and self.total_mb < 1024 * contract.SEEN_SHARE * contract.LARGE_CARD_GB

    def why_not_official(self) -> str:
        """Says in a sentence why it can't run the official profile, "" if it can or where that is not known."""
        if self.capability is not None and self.capability < contract.LEAST_CAPABILITY:
            return f"{self.name} has no bf16, which the official profile computes in"
        if self.total_mb is not None and self.total_mb < 1024 * contract.SEEN_SHARE * contract.LEAST_CARD_GB:
            gib = f"{self.total_mb / 1024:.1f} GiB"
            return f"{self.name} has {gib} of memory; the official profile needs {contract.LEAST_CARD_GB} GB"
        return ""


@dataclass(frozen=True)
class Observed:
    """What was seen of the device during a run."""

    device: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def ask_nvidia_smi(arguments: tuple[str, ...]) -> str | None:
    """Calls nvidia-smi once."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SETTINGS.nvidia_smi_timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def list_gpus(ask: Ask = ask_nvidia_smi) -> tuple[Gpu, ...]:
    """Lists the machine's GPUs, () without any."""
    found = []
    for line in (ask(_LISTING) or ask(_LISTING_OLD) or "").splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) < 4:
            continue
        index, uuid, name, used, total, version, *_ = [*parts, "", ""]
        capability = re.fullmatch(r"(\d+)\.(\d+)", version)
        known = (int(capability[1]), int(capability[2])) if capability else None
        found.append(Gpu(index, uuid, name, _number(used) or 0.0, _number(total), known))
    return tuple(found)


def choose_gpu(devices: tuple[Gpu, ...], environment: Mapping[str, str]) -> Gpu | None:
    """Returns the GPU that a run gets: the first that CUDA_VISIBLE_DEVICES names, else the first."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return devices[0] if devices else None
    first = visible.split(",")[0].strip()
    if not first:
        return None
    return next((d for d in devices if d.index == first or d.uuid.startswith(first)), None)


def profile_of(device: Gpu | None) -> str:
    """Returns the profile that a run gets with a device, where AUTORESEARCH_PROFILE names none."""
    return contract.PROFILES[0 if device and not device.why_not_official() else 1]


def contention(device: Gpu | None) -> str:
    """Describes in a sentence who else uses the device before we start, "" if it is free."""
    if device is None or device.used_mb <= _FOREIGN_MB:
        return ""
    return f"{device.used_mb:.0f} MiB of GPU {device.index} ({device.name}) are in use by others"


class Watch:
    """Samples one GPU in a thread until finish()."""

    def __init__(self, device: Gpu | None, ask: Ask = ask_nvidia_smi, every_s: float = SETTINGS.sample_every_s) -> None:
        self._device, self._ask, self._every_s = device, ask, every_s
        self._over = threading.Event()
        self._samples: list[tuple[float | None, ...]] = []
        self._thread: threading.Thread | None = None
        if device is not None:
            self._thread = threading.Thread(target=self._sample, name="gpu-watch", daemon=True)
            self._thread.start()

    def _sample(self) -> None:
        assert self._device is not None
        query = _SAMPLE
        while not self._over.wait(self._every_s):
            rest = ("--format=csv,noheader,nounits", "-i", self._device.uuid)
            text = self._ask((query, *rest))
            if text is None and query == _SAMPLE:
                query = _SAMPLE_OLD  # drivers before 535 know the field by its older name
                text = self._ask((query, *rest))
            parts = [part.strip() for part in (text or "").split(",")]
            if len(parts) == 5:
                reasons = float(int(parts[3], 16)) if parts[3].startswith("0x") else None
                self._samples.append((*(_number(p) for p in parts[:3]), reasons, _number(parts[4])))

    def finish(self) -> Observed:
        """Stops sampling and says what was seen."""
        self._over.set()
        if self._thread is None or self._device is None:
            return Observed()
        self._thread.join(SETTINGS.nvidia_smi_timeout_s)
        facts = {"gpu": self._device.name, "gpu_samples": str(len(self._samples))}
        for place, name in ((0, "sm_clock_mhz"), (1, "power_w"), (2, "temperature_c"), (4, "utilization_percent")):
            values = [value for sample in self._samples if (value := sample[place]) is not None]
            if values:
                facts[name] = f"{statistics.median(values):g} ({min(values):g} to {max(values):g})"
        reasons = [int(sample[3]) for sample in self._samples if sample[3] is not None]
        if reasons:
            share = sum(1 for reason in reasons if reason & _THROTTLED) / len(reasons)
            facts["throttled_share"] = f"{share:.2f}"
            if share >= SETTINGS.throttle_fraction:
                facts["throttled"] = "yes"
        return Observed(self._device.name, facts)
