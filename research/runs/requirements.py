"""Checks that this machine has what a run needs; a check that fails raises ConfigurationError with what to type."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from research.core.contract import ENV_HOME, ENV_PROFILE, ENV_SEED, ENV_TIME_BUDGET, MAX_SEED, PROFILES
from research.core.errors import ConfigurationError
from research.core.interpreter import GET_UV
from research.core.paths import machine_home
from research.core.settings import SETTINGS


def check_disk(folder: Path) -> None:
    """Check that there is room for the run's files."""
    free = shutil.disk_usage(folder).free
    if free < SETTINGS.min_free_bytes:
        what = f"Only {free / 2**20:.0f} MiB are free at {folder}; a run needs {SETTINGS.min_free_bytes / 2**20:.0f}."
        raise ConfigurationError(what, "Free some disk space and start again.")


def check_environment(environment: Mapping[str, str]) -> None:
    """Check the variables with which train.py would crash, which would then count against the candidate."""
    profile, budget, seed = (environment.get(name, "") for name in (ENV_PROFILE, ENV_TIME_BUDGET, ENV_SEED))
    if profile not in ("", *PROFILES):
        raise _unusable(f"{ENV_PROFILE}={profile} is no profile", " or ".join(PROFILES))
    if budget and not _is_seconds(budget):
        raise _unusable(f"{ENV_TIME_BUDGET}={budget} is no number of seconds above 0", "one")
    if seed and not (seed.isdecimal() and int(seed) <= MAX_SEED):
        raise _unusable(f"{ENV_SEED}={seed} is no seed", "a whole number from 0")


def _unusable(what: str, better: str) -> ConfigurationError:
    return ConfigurationError(f"{what}.", f"Set it to {better}, or unset it.")


def _is_seconds(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def check_uv(environment: Mapping[str, str]) -> None:
    """Check that uv, which starts every run, is on PATH, or where its installers put it."""
    places = [environment.get("PATH") or os.defpath, *map(os.path.expanduser, ("~/.local/bin", "~/.cargo/bin"))]
    if shutil.which("uv", path=os.pathsep.join(places)) is None:
        raise ConfigurationError("uv, which starts every run, is not installed.", f"Type: {GET_UV}")


def other_home(home: Path) -> str:
    """Write the line that points AUTORESEARCH_HOME to another folder than one that can't be used."""
    usual = machine_home({})
    return f"export {ENV_HOME}={usual if home != usual else '/var/tmp/autoresearch'}"


def check_home(home: Path) -> None:
    """Check that the folder for data and tokenizers can be made, can be written to and has room."""
    unset = "" if home == machine_home({}) else ", or unset it"
    step = f"{other_home(home)}, or name another folder that can be written to and has room{unset}."
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"{ENV_HOME}={home} can't be used ({error.strerror or error})."
        raise ConfigurationError(what, f"Type: {step}") from None
    if not os.access(home, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{ENV_HOME}={home} can't be written to.", f"Type: {step}")
    try:
        check_disk(home)
    except ConfigurationError as full:
        raise ConfigurationError(full.what, f"Free some there. Or type: {step}") from None


def check_data(home: Path, profile: str) -> None:
    """Check for the official profile's data and tokenizer; the pocket profile makes its own."""
    check_home(home)
    if profile != "official":
        return
    has_data = any((home / "data").glob("*.parquet"))
    if not has_data or not (home / "tokenizer" / "tokenizer.json").is_file():
        missing = "tokenizer" if has_data else "data"
        what = f"The {missing} of the official profile is missing in {home}."
        raise ConfigurationError(what, "Type: uv run prepare.py")
