"""Lists the coding clients that can edit train.py, each in a folder of its own behind the protocol of base.py."""

from __future__ import annotations

from collections.abc import Mapping

from research.agents.clients.base import Client
from research.agents.clients.codex.client import CODEX

CLIENTS: dict[str, Client] = {CODEX.name: CODEX}
"""The clients by name."""


def client_of(environment: Mapping[str, str]) -> Client:
    """Return the client that started a hook. A second client is recognised here, by its variables."""
    return CODEX
