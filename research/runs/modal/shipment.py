"""What is uploaded for a run: the files of one commit, the image they need, and the data under a name of its content.

Never the work tree as it lies there: it holds secrets, results and files that somebody is writing. The data's folder
in the volume is named by a digest over every file's size, hash and time of change: other data is another folder, the
same data is found again, and a half-made upload is never taken for a whole one, since the manifest is uploaded after
all other files.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from research.core import git
from research.core.contract import ENV_PROFILE
from research.core.errors import ConfigurationError
from research.core.files import read_json, write_json
from research.core.paths import machine_home
from research.runs.modal import settings
from research.runs.modal.client import Cloud, CloudError
from research.runs.modal.stream import LIST_FILE, TIMES_FILE

LOCK_FILE: Final = "uv.lock"
PROJECT_FILE: Final = "pyproject.toml"
PYTHON_ASKED: Final = re.compile(r"\s*(?:cpython-)?(3\.(?:1[1-9]|[2-9]\d))\b")
"""What .python-version must say to be followed: Modal 1.7 refuses images with a Python older than 3.11."""

MANIFEST_FILE: Final = ".manifest.json"
PROBE_FILE: Final = ".probe"
HASHES_FILE: Final = ".sha256-cache.json"  # in $AUTORESEARCH_HOME
DIGEST_CHARS: Final = 32  # hex digits of a folder's name: 128 bits
LARGE_BYTES: Final = 64 << 20  # from which a file is uploaded alone and its arrival is told: a minute on a slow line

OFFICIAL_ROOTS: Final = ("data", "tokenizer", "tokens")
HF_REPOSITORIES: Final = ("models--kernels-community--flash-attn3", "models--varunneal--flash-attention-3")
"""The FlashAttention 3 builds that train.py may ask the kernel hub for, as the Hugging Face cache names them."""

TRAINING_SHARD: Final = re.compile(r"shard_(\d{5})\b")
HELD_OUT_SHARDS: Final = (6541, 6542)  # audit and validation make the metric: they are hashed again in the sandbox
UNFINISHED: Final = (".tmp", ".part", ".incomplete", ".etag", ".lock")

# ---------------------------------------------------------------------------------------------------------------
# The commit and its image


@dataclass(frozen=True)
class Tree:
    """The files of a commit, and what decides how their image is built."""

    folder: Path
    label: str  # "commit <hash>", or "work tree <hash of its tracked files>"
    size: str  # files and megabytes, for people
    python: str  # the image's version, as "3.11"
    packages: str  # where they come from, for people
    is_locked: bool  # whether uv.lock is there
    image_key: str  # the same key means the same image


def pack(root: Path, commit: str | None, folder: Path) -> Tree:
    """Fill an empty folder with a commit's files, or without one the tracked files as they lie, and uv.lock.

    Raises:
        GitError: git does not know the commit, or fails.
        ConfigurationError: the commit has no pyproject.toml.
    """
    shipped = commit or git.snapshot(root)
    # tar keeps the commit's time: Modal refuses files that look younger than the start of its build.
    subprocess.run(["tar", "-x", "-C", str(folder)], input=git.archive(root, shipped), check=True)
    lock, project, version = (folder / name for name in (LOCK_FILE, PROJECT_FILE, ".python-version"))
    if not lock.exists() and (root / LOCK_FILE).is_file():
        shutil.copyfile(root / LOCK_FILE, lock)
        os.utime(lock, (0, 0))
    if not project.is_file():
        raise ConfigurationError(f"The commit has no {PROJECT_FILE}.", "Commit one: the image is built from it.")
    asked = PYTHON_ASKED.match(version.read_text(encoding="utf-8")) if version.is_file() else None
    python = asked[1] if asked else settings.FALLBACK_PYTHON
    parts = (python, settings.UV_VERSION, *(hash_file(path) for path in (project, lock) if path.exists()))
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Tree(
        folder,
        label=f"commit {commit}" if commit else f"work tree {shipped[:12]}",
        size=f"{len(sizes)} files, {sum(sizes) / 1e6:.1f} MB",
        python=python,
        is_locked=lock.exists(),
        packages="uv.lock" if lock.exists() else "no uv.lock: the pins of pyproject.toml, resolved in the image",
        image_key=hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12],
    )


# ---------------------------------------------------------------------------------------------------------------
# The data: which files, and their hashes


@dataclass(frozen=True)
class Entry:
    """One file: its local path and state, its path in the volume's folder, its sha256."""

    source: Path
    stat: os.stat_result
    path: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Files that are put into a volume together."""

    volume: str
    mount: str  # where their folder is mounted in the sandbox, read-only
    entries: tuple[Entry, ...]

    @property
    def size(self) -> str:
        """Say how many files and gigabytes there are."""
        return f"{len(self.entries)} files, {sum(e.stat.st_size for e in self.entries) / 1e9:.2f} GB"

    @cached_property
    def own_files(self) -> dict[str, bytes]:
        """Return what is stored beside the files: the list of what the sandbox hashes again, the times of change to
        restore (prepare.py knows a shard that is tokenized already by its time), and last the manifest of all.
        """
        checked = [f"{e.sha256}  {e.path}\n" for e in self.entries if decides_metric(e.path)]
        ns = {e.path: e.stat.st_mtime_ns for e in self.entries}
        timed = [path for path in ns if "data" in path.split("/")[:-1]]
        times = [f"{ns[path] // 10**9}.{ns[path] % 10**9:09d} {path}\n" for path in timed]
        rows = {e.path: [e.stat.st_size, e.sha256, ns[e.path]] for e in self.entries}
        manifest = json.dumps(rows, sort_keys=True, separators=(",", ":"))
        texts = {LIST_FILE: "".join(checked), TIMES_FILE: "".join(times), MANIFEST_FILE: manifest}
        return {name: text.encode() for name, text in texts.items()}

    @property
    def check_sha256(self) -> str:
        """Return the hash of the list of what the sandbox hashes again."""
        return hashlib.sha256(self.own_files[LIST_FILE]).hexdigest()

    @property
    def digest(self) -> str:
        """Return the name of the folder in the volume."""
        return hashlib.sha256(b"\0".join(self.own_files.values())).hexdigest()[:DIGEST_CHARS]


def manifests(env: Mapping[str, str]) -> tuple[Manifest, ...]:
    """Hash what the sandbox needs of this machine: the data, and the kernels if they are here.

    Raises:
        ConfigurationError: there is no data, or a file cannot be shipped.
    """
    names, home = settings.names_from(env), machine_home(env)
    data = home_files(home, env.get(ENV_PROFILE) or "official")
    kernels = hf_files(hf_hub_from(env))
    known = read_json(home / HASHES_FILE) or {}
    found = [manifest_of(data, known, names.data_volume, settings.HOME_MOUNT)]
    if kernels:
        found.append(manifest_of(kernels, known, names.hf_volume, settings.HF_MOUNT))
    with suppress(OSError):
        write_json(home / HASHES_FILE, known)
    return tuple(found)


def hf_hub_from(env: Mapping[str, str]) -> Path:
    """Return the local Hugging Face hub cache."""
    if env.get("HF_HUB_CACHE"):
        return Path(env["HF_HUB_CACHE"]).expanduser().absolute()
    return Path(env.get("HF_HOME") or "~/.cache/huggingface").expanduser().absolute() / "hub"


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and not path.name.endswith(UNFINISHED) and path.is_file():
            yield path


def home_files(home: Path, profile: str) -> list[tuple[Path, str]]:
    """List the data of a profile: (local path, path in the sandbox's $AUTORESEARCH_HOME), without unfinished files.

    Raises:
        ConfigurationError: there is none.
    """
    roots = ("pocket",) if profile == "pocket" else OFFICIAL_ROOTS
    found = [(path, path.relative_to(home).as_posix()) for root in roots for path in _walk(home / root)]
    for needed in ("pocket/data", "pocket/tokenizer") if profile == "pocket" else ("data", "tokenizer"):
        if not any(name.startswith(f"{needed}/") for _, name in found):
            command = f"Type: uv run prepare.py --profile {profile}"
            raise ConfigurationError(f"There is no {needed} in {home}.", command)
    return found


def hf_files(hub: Path) -> list[tuple[Path, str]]:
    """List the kernels in the local Hugging Face cache; blobs are left out, snapshots are followed to them."""
    folders = [hub / name / part for name in HF_REPOSITORIES for part in ("refs", "snapshots")]
    return [(path, f"hub/{path.relative_to(hub).as_posix()}") for folder in folders for path in _walk(folder)]


def decides_metric(path: str) -> bool:
    """Say whether a file has a say in what a run scores, other than as training data."""
    shard = TRAINING_SHARD.search(path)
    return shard is None or int(shard[1]) in HELD_OUT_SHARDS


def hash_file(path: Path) -> str:
    """Return a file's sha256, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _stamp(stat: os.stat_result) -> list[int]:
    # The time of the last change to the inode cannot be set back, unlike that of the content.
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _is_changed(entry: Entry) -> bool:
    try:
        return _stamp(entry.source.stat()) != _stamp(entry.stat)
    except OSError:
        return True


def manifest_of(files: list[tuple[Path, str]], known: dict[str, Any], volume: str, mount: str) -> Manifest:
    """Hash files that are given as (local path, path in the folder).

    Args:
        known: Hashes from before, as [stamp, sha256] by local path, so that gigabytes are not read for every run; what
            is hashed now is added.

    Raises:
        ConfigurationError: a file cannot be read, or its name cannot be listed.
    """
    entries = []
    for source, path in sorted(files, key=lambda f: f[1]):
        if re.search(r"[\\\x00-\x1f]", path):
            raise ConfigurationError(f"The name of {source} has a character that cannot be shipped.", "Rename it.")
        try:
            stat = source.stat()  # before: a file that changes meanwhile is hashed again next time
            match known.get(str(source)):
                case [stamp, str(sha256)] if stamp == _stamp(stat):
                    pass
                case _:
                    sha256 = hash_file(source)
        except OSError as error:
            raise ConfigurationError(f"{source} cannot be read ({error.strerror}).", "Mend its permissions.") from None
        known[str(source)] = [_stamp(stat), sha256]
        entries.append(Entry(source, stat, path, sha256))
    return Manifest(volume, mount, tuple(entries))


# ---------------------------------------------------------------------------------------------------------------
# The data: into its volume


async def seal(cloud: Cloud, volume: Any, manifest: Manifest, afresh: bool = False) -> None:
    """Put the files into the volume under their digest, unless they are there and nobody found them altered.

    Raises:
        CloudError: the storage takes nothing, or a file changed meanwhile.
    """
    folder = f"/{manifest.digest}"

    async def put(files: Mapping[str, Path | bytes], limit_s: float, doing: str) -> None:
        async def work() -> None:
            async with volume.batch_upload(force=True) as batch:
                for path, source in files.items():
                    batch.put_file(io.BytesIO(source) if isinstance(source, bytes) else source, path)

        await cloud.finish(work(), limit_s, doing, settings.UPLOAD_ADVICE)

    async def stored_manifest() -> bytes | None:
        try:
            return b"".join([piece async for piece in volume.read_file.aio(f"{folder}/{MANIFEST_FILE}")])
        except FileNotFoundError:
            return None

    limits = cloud.limits
    if not afresh:
        looking = "looking for the data in its volume"
        stored = await cloud.finish(stored_manifest(), limits.first_bytes_s, looking, settings.UPLOAD_ADVICE)
        if stored == manifest.own_files[MANIFEST_FILE]:
            return
    probe = {f"/{PROBE_FILE}": secrets.token_bytes(32)}  # what the storage has already, it is not sent
    await put(probe, limits.first_bytes_s, "uploading a few bytes")
    cloud.say(f"uploading what Modal does not have yet of {manifest.size}")
    targets = {f"{folder}/{e.path}": e for e in manifest.entries}
    small = {target: e.source for target, e in targets.items() if e.stat.st_size < LARGE_BYTES}
    await put(small, limits.upload_s, "uploading the data")
    for target, entry in targets.items():
        if target not in small:
            await put({target: entry.source}, limits.upload_s, "uploading the data")
            cloud.say(f"uploaded {entry.path}")
    if any(map(_is_changed, manifest.entries)):
        what = "The data changed while it was uploaded."
        raise CloudError("configuration", what, "Let prepare.py finish, then try again.")
    own = {f"{folder}/{name}": text for name, text in manifest.own_files.items()}
    await put(own, limits.upload_s, "uploading the list of the data")
