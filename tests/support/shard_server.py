"""A local HTTP server of parquet shards that can fail in every way a download fails in practice."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq


def shard_bytes(texts: list[str], column: str = "text") -> bytes:
    """A parquet file with one column of text."""
    out = io.BytesIO()
    pq.write_table(pa.table({column: texts}), out, row_group_size=100)
    return out.getvalue()


@dataclass
class Shelf:
    """What the server has, how it misbehaves, and what it was asked.

    Attributes:
        files: Path to content.
        faults: Path to the faults of its next requests, in order: "404", "500", "stall", "truncate" (says the whole
            length, sends half), "short" (sends half and says so), "close" (drops the connection in the middle).
        requests: (path, Range header or "") of every request.
        ranges: Whether ranges are honoured.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    ranges: bool = True
    etag: str = '"one"'


def handler_for(shelf: Shelf) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            shelf.requests.append((self.path, wanted))
            faults = shelf.faults.get(self.path, [])
            fault = faults.pop(0) if faults else ""
            if fault in ("404", "500"):
                self.send_error(int(fault))
                return
            if self.path not in shelf.files:
                self.send_error(404)
                return
            body = shelf.files[self.path]
            first = 0
            if wanted and shelf.ranges and self.headers.get("If-Range", shelf.etag) == shelf.etag:
                first = int(wanted.removeprefix("bytes=").rstrip("-"))
            if first > len(body):
                self.send_error(416)
                return
            rest = body[first:]
            self.send_response(206 if first else 200)
            self.send_header("ETag", shelf.etag)
            half = rest[: len(rest) // 2]
            self.send_header("Content-Length", str(len(half) if fault == "short" else len(rest)))
            self.end_headers()
            if fault == "stall":
                self.wfile.write(half)
                self.wfile.flush()
                time.sleep(3)
                self.close_connection = True
            elif fault in ("truncate", "close", "short"):
                self.wfile.write(half)
                self.close_connection = fault != "short"
            else:
                self.wfile.write(rest)

        def log_message(self, *args: object) -> None:
            pass

    return Handler


class QuietServer(ThreadingHTTPServer):
    """Clients of these tests hang up in the middle on purpose."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def serving(shelf: Shelf) -> Iterator[str]:
    """Runs the server on a free port of the loopback address; yields its base URL."""
    server = QuietServer(("127.0.0.1", 0), handler_for(shelf))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
