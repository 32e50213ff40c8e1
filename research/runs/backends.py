"""Lists the backends, one line each; a backend is imported when asked for, so that none needs another's packages."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from research.core.errors import UsageError
from research.runs.backend import Backend

DEFAULT_BACKEND = "local"
DEFAULT_GPU = "H100"
"""What --gpu asks a remote backend for: the public benchmark's GPU."""


@dataclass(frozen=True)
class Entry:
    """Where a backend is, and what is asked of it before it is imported."""

    module: str
    attribute: str  # its class
    is_remote: bool = True  # whether --gpu chooses its device; else this machine's own is used
    package: str = ""  # that it imports: the runner starts over with the project's own Python where it is missing

    def load(self) -> type[Backend]:
        """Import the class."""
        found: type[Backend] = getattr(importlib.import_module(self.module), self.attribute)
        return found


BACKENDS = {
    "local": Entry("research.runs.local", "LocalBackend", is_remote=False),
    "modal": Entry("research.runs.modal.backend", "ModalBackend", package="modal"),
    "scripted": Entry("research.runs.scripted", "ScriptedBackend", is_remote=False),
}


def make_backend(name: str, environment: Mapping[str, str]) -> Backend:
    """Make the backend of that name; raise ConfigurationError if what it needs is not installed.

    Raises:
        UsageError: if there is none.
    """
    if name not in BACKENDS:
        raise UsageError(f"There is no backend {name!r}.", f"Use one of: {', '.join(BACKENDS)}.")
    return BACKENDS[name].load()(environment)


def is_remote(name: str) -> bool:
    """Check whether --gpu means something for a backend; it does not for one that nobody knows."""
    return name in BACKENDS and BACKENDS[name].is_remote
