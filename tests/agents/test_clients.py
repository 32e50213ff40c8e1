"""A coding client is a file, its name in CLIENTS, and its settings: all else takes clients from there."""

from __future__ import annotations

import re

import pytest

from research.agents.clients import CLIENTS, client_of
from research.agents.clients.base import Client
from research.core.contract import CLIENT_SETTINGS
from research.core.settings import SETTINGS
from tests.support.codexkit import EVENT_MODULES
from tests.support.labkit import CHECKOUT


def test_the_settings_of_every_client_are_protected():
    assert sorted(client.settings.split("/")[0] for client in CLIENTS.values()) == sorted(CLIENT_SETTINGS)


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_the_settings_of_every_client_start_the_five_hooks(client: Client):
    text = (CHECKOUT / client.settings).read_text()
    assert text.count(".codex/hooks/hook.sh") >= len(EVENT_MODULES)
    assert all(re.search(rf"hook\b.* {hook}\b", text) for hook in EVENT_MODULES.values())


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_the_waits_for_a_run_whose_session_is_lost_outlast_it(client: Client):
    """The loop ends after so many turns in which nothing happened, and the client may end the run with it."""
    (wait_s,) = re.findall(r"`sleep (\d+)`", client.rejoining)
    assert int(wait_s) * SETTINGS.stuck_continuations > SETTINGS.small_gpu_timeout_minutes * 60


def test_a_hook_knows_its_client_by_its_variable():
    """Two without a variable, or with the same, could not be told apart."""
    assert len({client.hook_variable for client in CLIENTS.values()}) == len(CLIENTS)
    for client in CLIENTS.values():
        assert client_of({client.hook_variable: "/here"}) is client
    assert client_of({}).hook_variable == ""


def test_of_two_variables_the_last_client_listed_counts():
    """Some clients also set the variables of those whose hooks they can run."""
    everything = {client.hook_variable: "/here" for client in CLIENTS.values()}
    assert client_of(everything) is list(CLIENTS.values())[-1]


@pytest.mark.parametrize("name", ["codex", "claude"])
def test_only_its_own_file_names_a_client(name: str):
    """A list elsewhere, which names these two, would leave out the next client; a path such as .codex is fine."""
    own = CHECKOUT / "research/agents/clients" / f"{name}.py"
    word = re.compile(rf"(?<![\w./]){name}\b")
    for path in sorted((CHECKOUT / "research").rglob("*.py")):
        assert path == own or not word.search(path.read_text()), f"{path.relative_to(CHECKOUT)} names {name}"
