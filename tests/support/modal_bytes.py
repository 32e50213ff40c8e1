"""The bytes of the Modal stand-in: volumes and mounted files, and the plain HTTP they travel by."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from support.modal_faults import Counts, Faults

BLOCK_BYTES = 8 * 1024 * 1024


@dataclass
class Volume:
    """A version 2 volume: path to content."""

    id: str
    name: str
    files: dict[str, bytes] = field(default_factory=dict)

    def lay_out(self, sub_path: str, place: Path) -> None:
        """Copies a folder of the volume to a place on disk."""
        start = sub_path.strip("/") + "/" if sub_path.strip("/") else ""
        place.mkdir(parents=True, exist_ok=True)
        for path, data in self.files.items():
            if path.startswith(start):
                target = place / path[len(start) :]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)

    def take_back(self, sub_path: str, place: Path) -> None:
        """Takes in what a writable mount holds afterwards."""
        start = sub_path.strip("/") + "/" if sub_path.strip("/") else ""
        for path in place.rglob("*"):
            if path.is_file():
                self.files[start + path.relative_to(place).as_posix()] = path.read_bytes()


class Bytes:
    """Blocks and mounted files by hash, and their HTTP server.

    Args:
        faults: What to get wrong.
        counts: What was seen.
    """

    def __init__(self, faults: Faults, counts: Counts) -> None:
        self.blocks: dict[str, bytes] = {}
        self.mounted: dict[str, bytes] = {}
        self.port = 0
        self._faults = faults
        self._counts = counts
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listens on a free port of the loopback."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_put("/block/{name}", self._put_block)
        app.router.add_get("/block/{name}", self._get_block)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def url(self, name: str) -> str:
        """Return the address at which a block is put or got."""
        return f"http://127.0.0.1:{self.port}/block/{name}"

    async def _put_block(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self._faults.volume_slow_s)
        data = await request.read()
        if self._faults.play("block_put_fails"):
            return web.Response(status=503, text="try again")
        self._counts.blocks_put += 1
        self.blocks[request.match_info["name"]] = data
        return web.Response(text=hashlib.sha256(data).hexdigest())

    async def _get_block(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self._faults.volume_slow_s)
        return web.Response(body=self.blocks[request.match_info["name"]])


def empty(folder: Path) -> Path:
    """A folder with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
