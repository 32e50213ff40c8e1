"""Lists the coding clients that can edit train.py, each in a file of its own that fills in Client of base.py."""

from __future__ import annotations

from collections.abc import Mapping

from research.agents.clients.base import Client
from research.agents.clients.claude import CLAUDE, ENV_PROJECT
from research.agents.clients.codex import CODEX

CLIENTS: dict[str, Client] = {client.name: client for client in (CODEX, CLAUDE)}
"""The clients by name."""


def client_of(environment: Mapping[str, str]) -> Client:
    """Return the client that started a hook: Claude Code names the project's folder to its hooks, Codex does not."""
    return CLAUDE if environment.get(ENV_PROJECT) else CODEX
