"""The page on the local network: one file, read only, at an address that has to be known, and only by our names."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from research.agents.night.state import FACT, NightLimits, NightState
from research.core.paths import LabPaths
from research.report.serve import CannotServe, PageServer, open_page
from research.report.write import live_page
from research.store.db import Store
from tests.support.labkit import Kit
from tests.support.nightkit import make_night_kit


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PageServer]:
    """A server of a page that says "first"."""
    page = tmp_path / "report.html"
    page.write_text("first")
    (tmp_path / "secret").write_text("no")
    server = PageServer(page, 0)
    yield server
    server.close()


def ask(server: PageServer, method: str = "GET", path: str | None = None, host: str | None = None) -> tuple[int, str]:
    """The status and the body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    path = path if path is not None else "/" + server.address.split("/", 3)[3]
    connection.request(method, path, headers={"Host": host or f"localhost:{server.server_port}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_page_is_read_anew(server: PageServer, tmp_path: Path):
    assert ask(server) == (200, "first")
    (tmp_path / "report.html").write_text("second")
    assert ask(server) == (200, "second")
    assert ask(server, "HEAD") == (200, "")
    (tmp_path / "report.html").unlink()
    assert ask(server) == (404, "")


def test_nothing_else_is_shown(server: PageServer):
    token = server.address.split("/")[3]
    assert len(token) >= 16
    for path in ("/", "/secret", f"/{token}", f"/{token}/secret", f"/{token}/../secret", f"/{token[:-1]}/"):
        assert ask(server, path=path) == (404, "")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_sent(server: PageServer, method: str):
    assert ask(server, method)[0] == 405


def test_only_our_own_names_are_answered(server: PageServer):
    assert ask(server, host=f"127.0.0.1:{server.server_port}")[0] == 200
    assert ask(server, host="localhost:1")[0] == 200  # the other end of a tunnel
    assert ask(server, host="localhost")[0] == 200  # which has no number where it is port 80
    assert ask(server, host=f"{socket.gethostname()}:{server.server_port}")[0] == 200
    for host in ("evil.example", f"evil.example:{server.server_port}", ":1", "localhost.evil.example:1"):
        assert ask(server, host=host) == (403, "")


def test_a_port_that_is_taken(server: PageServer, tmp_path: Path):
    with pytest.raises(CannotServe, match=f"Port {server.server_port} can't be used"):
        PageServer(tmp_path / "report.html", server.server_port)


def test_without_a_browser_one_is_told_how_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    told = open_page(tmp_path / "report.html")
    assert told.startswith("No browser could be opened here (no display?).")
    assert "uv run research report --serve" in told


def test_the_verb_shows_the_page_until_ctrl_c(kit: Kit):
    assert kit.research("report", "--port", "1").code == 2
    command = [sys.executable, "-m", "research", "report", "--serve", "--port", "0"]
    process = subprocess.Popen(command, cwd=kit.root, env=kit.environment, stdout=subprocess.PIPE, text=True)
    words = []
    for line in process.stdout:
        words.append(line)
        if "http://localhost" in line:
            break
    assert "they leave this machine" in "".join(words)
    (address,) = [line.strip() for line in words if line.startswith("  http")]
    place, path = address.removeprefix("http://").split("/", 1)
    connection = http.client.HTTPConnection("127.0.0.1", int(place.rpartition(":")[2]), timeout=10)
    connection.request("GET", f"/{path}", headers={"Host": "localhost:1"})
    assert "No runs yet" in connection.getresponse().read().decode()
    connection.close()
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(10) == 0
    process.stdout.close()


def test_a_night_shows_its_page_while_it_goes_on(tmp_path: Path):
    kit = make_night_kit(tmp_path)
    told = kit.printed("night", "--backend", "scripted", "--max-runs", "2", "--serve")
    assert told.code == 0
    assert "http://" in told.out


def test_the_page_is_written_while_the_night_goes_on(tmp_path: Path):
    """What lies there when the end is notified was written after the last run, before the night was over."""
    kit = make_night_kit(tmp_path)
    page = kit.root / "results" / "report.html"
    copy = f"cp {page} {tmp_path / 'then.html'}"
    assert kit.printed("night", "--backend", "scripted", "--max-runs", "3", "--notify", copy).code == 0
    then = (tmp_path / "then.html").read_text()
    assert "</strong> 3 of 3 runs" in then
    assert "data-live" in then
    assert "data-live" not in page.read_text()


def test_a_page_that_cannot_be_written_ends_no_night(tmp_path: Path):
    kit = make_night_kit(tmp_path)
    (kit.root / "results" / "report.html").mkdir(parents=True)
    told = kit.printed("night", "--backend", "scripted", "--max-runs", "2")
    assert told.out.count("The morning page was not written") == 1
    assert "   2  " in told.out


def test_a_night_whose_first_run_was_interrupted_says_nothing_of_a_page(tmp_path: Path):
    """The page comes with the first run that ends."""
    said: list[str] = []
    state = NightState(
        "n", "autoresearch/try", "builtin", "scripted", 0, 1, "2026-01-02T03:04:05Z", NightLimits(3), runs=1
    )
    with Store(None) as store:
        store.set_fact(FACT, state.to_json())
        live_page(LabPaths(tmp_path), said.append)(store)
    assert said == []
