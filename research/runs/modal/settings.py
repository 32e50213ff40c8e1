"""Holds every name, limit and price of the Modal backend, with its reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from research.core.errors import ConfigurationError

ENV_APP: Final = "AUTORESEARCH_MODAL_APP_NAME"
ENV_DATA_VOLUME: Final = "AUTORESEARCH_MODAL_DATA_VOLUME_NAME"
ENV_HF_VOLUME: Final = "AUTORESEARCH_MODAL_HF_VOLUME_NAME"
ENV_USD_PER_HOUR: Final = "AUTORESEARCH_MODAL_USD_PER_HOUR"  # price of one sandbox hour, all in, instead of the table

DEFAULT_APP: Final = "autoresearch-gpu-runner"

APP_DIR: Final = "/app"  # where the shipped commit lies in the sandbox
HOME_MOUNT: Final = "/root/.cache/autoresearch"  # the sealed data
HF_MOUNT: Final = "/root/.cache/huggingface"  # the sealed kernels
VENV_DIR: Final = "/.uv/.venv"  # where Image.uv_sync puts the environment

UV_VERSION: Final = "0.13.9"  # inside the image: the version that the UV_* switches were tried with
FALLBACK_PYTHON: Final = "3.12"  # of the image where .python-version names none that Modal takes

CPU_CORES: Final = 8  # physical ones: unset, the loader shares about four, and a timed metric depends on neighbours
MEMORY_GIB: Final = 32  # of the host: the data and torch.compile's workers need about half of it
MAX_SANDBOX_S: Final = 24 * 3600  # the longest life Modal gives a sandbox
CLIENT_QUEUE_S: Final = 21 * 60.0  # how long the client itself waits for a GPU: the bound without --queue-timeout


@dataclass(frozen=True)
class Limits:
    """The limits of waiting, in seconds, and of attempts."""

    tick_s: float = 0.1  # between two looks at the stream: the age of a line when it is shown
    poll_s: float = 2.0  # between two questions whether the sandbox lives: only an end without its mark waits for that
    back_off_s: float = 0.5  # first pause after a control-plane error; doubles with each further one
    back_off_max_s: float = 5.0  # longest such pause: an outage of minutes is asked about a dozen times a minute
    call_s: float = 120.0  # one control-plane call but building, uploading and queueing; the client retries inside it
    build_s: float = 1800.0  # building the image: a cold one with torch takes 3 to 6 minutes
    upload_s: float = 3600.0  # uploading one large file, or all small ones: 2.5 GB over 10 Mbit/s take half of it
    first_bytes_s: float = 45.0
    """Uploading a few bytes, after which the storage counts as out of reach: the client tries them six times, and the
    blocks of a file for more than eight minutes without a word."""
    start_s: float = 180.0  # from the container to the command: a large image is pulled, the data is hashed
    kill_after_s: float = 10.0  # from the polite end of a command at its time limit to the forced one
    grace_s: float = 20.0  # beyond that, until the sandbox is ended from here
    guard_s: float = 60.0  # life of the sandbox beyond all that: the last guard when the launcher is gone
    drain_s: float = 10.0  # reading on after the sandbox's end, for lines still on their way
    reopen_s: float = 1.0  # before a broken log stream is opened again
    abandon_s: float = 10.0  # asking for the end of a sandbox, and looking for one whose creation was cut short
    cancel_s: float = 2.0  # for a call that was given up to leave the network: it takes milliseconds
    attempts: int = 2  # sandboxes per run; a second one only when the first died before the command began

    def sandbox_s(self, timeout_s: float) -> int:
        """Return the life of a sandbox, in seconds, for a command that may take timeout_s."""
        return int(timeout_s + self.start_s + self.kill_after_s + self.grace_s + self.guard_s + 0.5)


UPLOAD_ADVICE: Final = (
    "Look whether a proxy or firewall here stops HTTPS uploads to storage hosts, and at https://status.modal.com; "
    "then type the same command again."
)
LOCK_ADVICE: Final = "An index that uv.lock names may be out of Modal's reach: move uv.lock away."

LIMITS: Final = Limits()


class Names(NamedTuple):
    """The names of the app and the volumes at Modal."""

    app: str
    data_volume: str
    hf_volume: str


def names_from(env: Mapping[str, str]) -> Names:
    """Return the names that the environment gives; an empty variable counts as unset."""
    app = env.get(ENV_APP) or DEFAULT_APP
    data_volume = env.get(ENV_DATA_VOLUME) or f"{app}-autoresearch-cache-v2"
    return Names(app, data_volume, env.get(ENV_HF_VOLUME) or f"{app}-hf-cache-v2")


GPU_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+-]*!?(:[1-9][0-9]?)?")

GPU_USD_PER_HOUR: Final[Mapping[str, float]] = {  # modal.com/pricing as third parties quoted it in May and June 2026
    "T4": 0.59,
    "L4": 0.80,
    "A10": 1.10,
    "A10G": 1.10,
    "L40S": 1.95,
    "A100": 2.10,
    "A100-40GB": 2.10,
    "A100-80GB": 2.50,
    "RTX-PRO-6000": 3.03,
    "H100": 3.95,
    "H200": 4.54,
    "B200": 6.25,
    "B200+": 6.25,
}
HOST_USD_PER_HOUR: Final = 3 * 3600 * (CPU_CORES * 0.0000131 + MEMORY_GIB * 0.00000222)
"""Cores and memory beside the GPU: a sandbox's core costs three times a function's, and so, for want of a quote, does
its memory."""


def gpu_request(asked: str) -> str:
    """Return the GPU that Modal is asked for: the user's word, but "H100!" for H100, which alone may be served an H200.

    Raises:
        ConfigurationError: the word cannot be a GPU's name.
    """
    if not GPU_NAME.fullmatch(asked):
        raise ConfigurationError(f"{asked!r} is no name of a GPU.", "Type --gpu H100, or another name Modal lists.")
    name, colon, count = asked.partition(":")
    return ("H100!" if name.upper() == "H100" else name) + colon + count


def usd_per_hour(gpu: str, env: Mapping[str, str]) -> float | None:
    """Return the price of a sandbox hour with this GPU, all in; None where the table does not know it.

    Raises:
        ConfigurationError: the user's own price is no number.
    """
    if own := env.get(ENV_USD_PER_HOUR):
        try:
            price = float(own)
        except ValueError:
            price = -1.0
        if not 0 <= price < float("inf"):
            raise ConfigurationError(f"{ENV_USD_PER_HOUR}={own!r} is no price.", "Set it to dollars an hour, as 5.9.")
        return price
    name, _, count = gpu.upper().partition(":")
    each = GPU_USD_PER_HOUR.get(name.rstrip("!"))
    return None if each is None else each * int(count or 1) + HOST_USD_PER_HOUR


def cost_usd(seconds: float, gpu: str, env: Mapping[str, str]) -> float | None:
    """Estimate the cost of a sandbox that lived that many seconds; None without a price."""
    hourly = usd_per_hour(gpu, env)
    return None if hourly is None else round(hourly * seconds / 3600, 4)
