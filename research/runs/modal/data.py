"""Names the local data by its content, and seals it in a volume that no run can write to.

A digest over every file's size, hash and time of change is the folder's name in the volume: other data is another
folder, the same data is found again, and a half-made upload is never taken for a whole one, since the manifest is
committed together with the files.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from research.core.errors import ConfigurationError
from research.runs.modal.wrapper import LIST_FILE, TIMES_FILE

MANIFEST_FILE = ".manifest.json"
HASHES_FILE = ".sha256-cache.json"  # in $AUTORESEARCH_HOME
DIGEST_CHARS = 32
"""Hex digits of a digest used as a folder's name: 128 bits."""
CHUNK_BYTES = 1 << 20

OFFICIAL_ROOTS = ("data", "tokenizer", "tokens")
POCKET_ROOTS = ("pocket",)
PREPARE = "Type: uv run prepare.py --profile"
HF_REPOSITORIES = ("models--kernels-community--flash-attn3", "models--varunneal--flash-attention-3")
"""The FlashAttention 3 builds that train.py may ask the kernel hub for, as the Hugging Face cache names them."""

TRAINING_SHARD = re.compile(r"shard_(\d{5})\b")
HELD_OUT_SHARDS = (6541, 6542)  # audit and validation: they make the metric, so they are hashed again in the sandbox
UNFINISHED = (".tmp", ".part", ".incomplete", ".etag", ".lock")


@dataclass(frozen=True)
class Entry:
    """One file: its local path, its path in the volume's folder, size, sha256, time of change."""

    source: Path
    path: str
    size: int
    sha256: str
    mtime_ns: int


@dataclass(frozen=True)
class Manifest:
    """Everything that is sealed together.

    Attributes:
        entries: By path.
        digest: Names the folder in the volume.
        check_list: Text of the list that the sandbox hashes again; its own sha256 is check_sha256.
        times: Text of the list of files whose time of change is restored in the sandbox.
    """

    entries: tuple[Entry, ...]
    digest: str
    check_list: str
    check_sha256: str
    times: str

    @property
    def total_bytes(self) -> int:
        """Size of all files together."""
        return sum(e.size for e in self.entries)

    @property
    def text(self) -> bytes:
        """The manifest as it is stored: the same bytes mean the same files."""
        rows = {e.path: [e.size, e.sha256, e.mtime_ns] for e in self.entries}
        return json.dumps(rows, sort_keys=True, separators=(",", ":")).encode()


def home_from(env: Mapping[str, str]) -> Path:
    """$AUTORESEARCH_HOME, by default ~/.cache/autoresearch."""
    return Path(env.get("AUTORESEARCH_HOME") or "~/.cache/autoresearch").expanduser().absolute()


def hf_hub_from(env: Mapping[str, str]) -> Path:
    """The local Hugging Face hub cache."""
    if env.get("HF_HUB_CACHE"):
        return Path(env["HF_HUB_CACHE"]).expanduser().absolute()
    return Path(env.get("HF_HOME") or "~/.cache/huggingface").expanduser().absolute() / "hub"


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and not path.name.endswith(UNFINISHED) and path.is_file():
            yield path


def home_files(home: Path, profile: str) -> tuple[tuple[Path, str], ...]:
    """The data of a profile: (local path, path in the sandbox's $AUTORESEARCH_HOME), without unfinished files.

    Raises:
        ConfigurationError: there is none.
    """
    roots = POCKET_ROOTS if profile == "pocket" else OFFICIAL_ROOTS
    found = [(path, path.relative_to(home).as_posix()) for root in roots for path in _walk(home / root)]
    needed = ("pocket/data/", "pocket/tokenizer/") if profile == "pocket" else ("data/", "tokenizer/")
    for start in needed:
        if not any(name.startswith(start) for _, name in found):
            command = f"{PREPARE} {profile}"
            raise ConfigurationError(f"There is no {start.rstrip('/')} in {home}.", command)
    return tuple(found)


def hf_files(hub: Path) -> tuple[tuple[Path, str], ...]:
    """The kernels in the local Hugging Face cache; blobs are left out, snapshots are followed to them."""
    found = []
    for name in HF_REPOSITORIES:
        for part in ("refs", "snapshots"):
            found += [(p, f"hub/{p.relative_to(hub).as_posix()}") for p in _walk(hub / name / part)]
    return tuple(found)


def decides_metric(path: str) -> bool:
    """Whether a file has a say in what a run scores, other than as training data."""
    shard = TRAINING_SHARD.search(path)
    return shard is None or int(shard[1]) in HELD_OUT_SHARDS


# ---------------------------------------------------------------------------------------------------------------
# Hashing


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _stamp(path: Path) -> list[int]:
    # The time of the last change to the inode cannot be set back, unlike that of the content.
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


class HashCache:
    """Remembers hashes by size and times, so that gigabytes are not read before every run.

    Args:
        file: Where they are kept; one that cannot be read or written costs time, nothing else.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, list[object]] = {}
        with suppress(OSError, ValueError):
            known = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(known, dict):
                self._known = {k: v for k, v in known.items() if isinstance(v, list) and len(v) == 2}

    def sha256(self, path: Path) -> str:
        """sha256 of a file, in hex."""
        stamp = _stamp(path)
        known = self._known.get(str(path))
        if known and known[0] == stamp and isinstance(known[1], str):
            return known[1]
        digest = _sha256(path)
        self._known[str(path)] = [stamp, digest]
        return digest

    def save(self) -> None:
        """Keeps what was learned."""
        temporary = self._file.with_name(f"{self._file.name}.{os.getpid()}.tmp")
        with suppress(OSError):
            temporary.write_text(json.dumps(self._known), encoding="utf-8")
            os.replace(temporary, self._file)


def manifest_of(files: tuple[tuple[Path, str], ...], cache: HashCache) -> Manifest:
    """Hashes files.

    Args:
        files: (local path, path in the folder).
        cache: Hashes known already; saved afterwards.

    Raises:
        ConfigurationError: a file cannot be read, or its name cannot be listed.
    """
    entries = []
    for source, path in sorted(files, key=lambda f: f[1]):
        if re.search(r"[\\\x00-\x1f]", path):
            raise ConfigurationError(f"The name of {source} has a character that cannot be shipped.", "Rename it.")
        try:
            stat = source.stat()
            entries.append(Entry(source, path, stat.st_size, cache.sha256(source), stat.st_mtime_ns))
        except OSError as error:
            raise ConfigurationError(f"{source} cannot be read ({error.strerror}).", "Mend its permissions.") from None
    cache.save()
    check_list = "".join(f"{e.sha256}  {e.path}\n" for e in entries if decides_metric(e.path))
    # prepare.py knows a shard that is tokenized already by its size and time of change.
    timed = [e for e in entries if "data" in e.path.split("/")[:-1]]
    times = "".join(f"{e.mtime_ns // 10**9}.{e.mtime_ns % 10**9:09d} {e.path}\n" for e in timed)
    whole = Manifest(tuple(entries), "", check_list, hashlib.sha256(check_list.encode()).hexdigest(), times)
    digest = hashlib.sha256(whole.text + whole.check_sha256.encode()).hexdigest()[:DIGEST_CHARS]
    return Manifest(whole.entries, digest, check_list, whole.check_sha256, times)


# ---------------------------------------------------------------------------------------------------------------
# Sealing


class DataChangedError(Exception):
    """A file changed while it was uploaded."""


async def seal(volume: Any, manifest: Manifest, say: Callable[[str], None], afresh: bool = False) -> bool:
    """Puts the files into the volume under their digest, unless they are there.

    Args:
        volume: Which (a modal.Volume).
        manifest: What.
        say: Takes one line for people.
        afresh: Puts them there in any case: what is there was found altered.

    Returns:
        Whether something was uploaded.

    Raises:
        DataChangedError: a file changed meanwhile; what was uploaded is taken away again.
    """
    folder = f"/{manifest.digest}"
    try:
        stored = [piece async for piece in volume.read_file.aio(f"{folder}/{MANIFEST_FILE}")]
        if not afresh and b"".join(stored) == manifest.text:
            return False
    except FileNotFoundError:
        pass
    size = f"{len(manifest.entries)} files, {manifest.total_bytes / 1e9:.2f} GB"
    say(f"uploading what Modal does not have yet of {size}")
    before = {e.source: _stamp(e.source) for e in manifest.entries}
    async with volume.batch_upload(force=True) as batch:
        for entry in manifest.entries:
            batch.put_file(entry.source, f"{folder}/{entry.path}")
        for name, text in (
            (LIST_FILE, manifest.check_list.encode()),
            (TIMES_FILE, manifest.times.encode()),
            (MANIFEST_FILE, manifest.text),
        ):
            batch.put_file(io.BytesIO(text), f"{folder}/{name}")
    if any(_stamp(e.source) != before[e.source] or e.mtime_ns != before[e.source][1] for e in manifest.entries):
        await volume.remove_file.aio(folder, recursive=True)
        raise DataChangedError("a data file changed while it was uploaded")
    return True
