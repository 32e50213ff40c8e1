"""Backends by name, imported when asked for: the local one works without any package installed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from research.core.errors import UsageError
from research.runs.backend import Backend

_HOMES = {
    "local": ("research.runs.local", "LocalBackend"),
    "modal": ("research.runs.modal.backend", "ModalBackend"),
    "scripted": ("research.runs.scripted", "ScriptedBackend"),
}

BACKENDS = tuple(_HOMES)


def make_backend(name: str, environment: Mapping[str, str]) -> Backend:
    """The backend of that name.

    Raises:
        UsageError: if there is none.
        ConfigurationError: if what it needs is not installed.
    """
    if name not in _HOMES:
        raise UsageError(f"There is no backend {name!r}.", f"Use one of: {', '.join(_HOMES)}.")
    module, attribute = _HOMES[name]
    backend: Backend = getattr(importlib.import_module(module), attribute)(environment)
    return backend
