"""Lists the backends, one line each; a backend is imported when it is used, so that none needs another's packages."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from research.core.errors import UsageError
from research.runs.backend import Backend

DEFAULT_BACKEND = "local"
DEFAULT_GPU = "H100"
"""The GPU that a remote backend is asked for without --gpu: the public benchmark's."""


@dataclass(frozen=True)
class BackendEntry:
    """The place of a backend in the code, and what has to be known of it before it is imported."""

    module: str
    attribute: str  # name of its class
    is_remote: bool = True  # whether --gpu chooses its device; else this machine's own is used

    def load(self) -> type[Backend]:
        """Import the backend's class."""
        found: type[Backend] = getattr(importlib.import_module(self.module), self.attribute)
        return found


BACKENDS = {
    "local": BackendEntry("research.runs.local", "LocalBackend", is_remote=False),
    "modal": BackendEntry("research.runs.modal.backend", "ModalBackend"),
    "scripted": BackendEntry("research.runs.scripted", "ScriptedBackend", is_remote=False),
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
    """Check whether --gpu chooses a backend's device; False for an unknown backend."""
    return name in BACKENDS and BACKENDS[name].is_remote
