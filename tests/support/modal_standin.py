"""A Modal of one's own on the loopback: the real client talks gRPC to it, its sandboxes are local processes.

It shows how the backend behaves when the service fails; it proves nothing about how the real service fails. Try it by
hand: `cd tests && uv run python -m support.modal_standin -- COMMAND` runs COMMAND with a client that is pointed here.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from grpclib.server import Server
from support.modal_containers import Container
from support.modal_faults import FOREVER, Counts, Faults
from support.modal_service import Service, servicer


class StandIn:
    """The server in a thread of its own; use it as a context manager."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.counts = Counts()
        self.port = 0
        self._folder = tempfile.TemporaryDirectory(prefix="modal-standin-", ignore_cleanup_errors=True)
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.service = Service(self.faults, self.counts, Path(self._folder.name))

    def __enter__(self) -> StandIn:
        self._thread.start()
        assert self._ready.wait(10), "the stand-in does not start"
        return self

    def __exit__(self, *exc: object) -> None:
        self.end_all()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._folder.cleanup()

    @property
    def env(self) -> dict[str, str]:
        """What points the real client here, and away from anybody's account."""
        return {
            "MODAL_SERVER_URL": f"http://127.0.0.1:{self.port}",
            "MODAL_TOKEN_ID": "ak-standin",
            "MODAL_TOKEN_SECRET": "as-standin",
            "MODAL_CONFIG_PATH": str(Path(self._folder.name) / "no-such-config.toml"),
        }

    @property
    def containers(self) -> list[Container]:
        """Every sandbox that was made, oldest first."""
        return list(self.service.containers.values())

    def reset(self) -> None:
        """Back to a service without faults, sandboxes or files; the port stays."""
        self.end_all()
        for field in dataclasses.fields(Faults):
            setattr(self.faults, field.name, getattr(Faults(), field.name))
        self.counts.calls.clear()
        self.counts.blocks_put = 0
        for kept in (self.service.containers, self.service.volumes, self.service.made, self.service.bytes.blocks):
            kept.clear()

    def end_all(self) -> None:
        """Ends every sandbox."""
        for container in self.containers:
            container.remove()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = Server([servicer(self.service)])

        async def begin() -> None:
            await self.service.bytes.start()
            await server.start("127.0.0.1", 0)
            self.port = server._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            self._ready.set()

        self._loop.run_until_complete(begin())
        self._loop.run_forever()

        async def finish() -> None:
            server.close()
            await self.service.bytes.stop()
            others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self._loop.run_until_complete(finish())
        self._loop.close()


def main() -> int:
    """Runs a command with a client that is pointed at a stand-in; --fault NAME=VALUE plays a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=VALUE", help="a field of Faults")
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args()
    with StandIn() as standin:
        for fault in asked.fault:
            name, _, value = fault.partition("=")
            old = getattr(Faults(), name)
            new: object = value if isinstance(old, str) else float(value) if isinstance(old, float) else int(value)
            setattr(standin.faults, name, FOREVER if value == str(FOREVER) else new)
        return subprocess.run(asked.command, env=os.environ | standin.env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
