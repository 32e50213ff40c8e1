"""Serves one file, the morning page, to the local network: read only, at an address that cannot be guessed."""

from __future__ import annotations

import hmac
import os
import secrets
import socket
import sys
import threading
import webbrowser
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from research.core.errors import ResearchError
from research.core.settings import SETTINGS

_ANYWHERE = ("192.0.2.1", 9)  # an address that is reserved for documentation; asking for the route to it sends nothing


class CannotServe(ResearchError):
    """The port can't be used."""


class PageServer(ThreadingHTTPServer):
    """A server of one file, read anew for every request, in a thread of its own, until it is closed.

    Without a port it takes the usual one, or a free one if that is taken.

    Raises:
        CannotServe: if the port asked for can't be used.
    """

    daemon_threads = True

    def __init__(self, page: Path, port: int | None = None) -> None:
        self.page = page
        self.path = f"/{secrets.token_urlsafe(12)}/"
        try:
            super().__init__(("0.0.0.0", SETTINGS.serve_port if port is None else port), _Handler)
        except (OSError, OverflowError) as error:
            if port is not None:
                raise CannotServe(
                    f"Port {port} can't be used: {error}.", "Leave --port away, or name another."
                ) from None
            super().__init__(("0.0.0.0", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Return the address to type into a browser."""
        return f"http://{_own_address()}:{self.server_port}{self.path}"

    def close(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()

    def in_words(self) -> str:
        """Return in words where the page is, who can see it, and how else to reach it, on a terminal with a QR code."""
        port = self.server_port
        lines = [
            "Until Ctrl-C the page is shown to everybody on your network who has this address. The differences of",
            "train.py are on it, so they leave this machine:",
            "",
            f"  {self.address}",
            "",
            *([*_qr_code(self.address), ""] if sys.stdout.isatty() else []),
            "Not reachable from your phone? Through ssh, from where you sit:",
            f"  ssh -N -L {port}:localhost:{port} {socket.gethostname()}",
            f"  and open http://localhost:{port}{self.path}",
        ]
        return "\n".join(lines)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing, since a phone that goes out of reach is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = 10.0  # seconds: nobody keeps a thread busy by sending nothing

    def do_GET(self) -> None:
        """Send the page if the request has its address and names this machine."""
        if not self._is_own_host():
            return self._send(403)
        if not hmac.compare_digest(self.path.split("?")[0].encode(), self.server.path.encode()):
            return self._send(404)
        try:
            content, changed = self.server.page.read_bytes(), self.server.page.stat().st_mtime
        except OSError:
            return self._send(404)
        return self._send(200, content, {"Last-Modified": formatdate(changed, usegmt=True)})

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self._send(405, more={"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _is_own_host(self) -> bool:
        """Return whether the request names this machine, so that no other site can read the page by its own name."""
        name = self.headers.get("Host", "").partition(":")[0].lower()
        mine = socket.gethostname().lower()
        return name in (self.connection.getsockname()[0], "localhost", mine, f"{mine}.local")

    def _send(self, status: int, content: bytes = b"", more: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Connection": "close",
        }
        for name, value in (headers | (more or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing, since a night writes to the terminal."""


def open_page(page: Path) -> str:
    """Open the page in a browser; return "", or how to look at it where there is no browser."""
    has_screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if has_screen or os.environ.get("BROWSER"):
        try:
            if webbrowser.open(page.as_uri()):
                return ""
        except webbrowser.Error:
            pass
    return (
        "No browser could be opened here (no display?). Copy the file to a machine that has one, or look at it from a"
        " phone or another computer: uv run research report --serve"
    )


def _own_address() -> str:
    """Return this machine's address on its network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(_ANYWHERE)
            return str(asking.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _qr_code(text: str) -> list[str]:
    """Return a QR code in half blocks, dark on light whatever the terminal's colours."""
    import segno

    rows = [list(row) for row in segno.make_qr(text, error="l").matrix_iter(border=2)]
    rows += [[0] * len(rows[0])] * (len(rows) % 2)
    lines = []
    for above, below in zip(rows[::2], rows[1::2], strict=True):
        letters = "".join(" ▄▀█"[2 * bool(a) + bool(b)] for a, b in zip(above, below, strict=True))
        lines.append(f"  \x1b[38;5;16;48;5;231m{letters}\x1b[0m")
    return lines
