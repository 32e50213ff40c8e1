"""Downloads the shards of the public data set over HTTP, each whole or not at all, whatever the network does."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from research.benchmark.corpus import AUDIT_SHARD, VAL_SHARD, BadShard, check_shard, shard_name
from research.benchmark.exits import explained_os_errors, stop

if TYPE_CHECKING:
    import requests

# The public data set karpathy/climbmix-400b-shuffle. HF_ENDPOINT names a mirror, as everywhere.
HF_ENDPOINT = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
BASE_URL = f"{HF_ENDPOINT}/datasets/karpathy/climbmix-400b-shuffle/resolve/main"
MAX_TRAIN_SHARDS = 6541  # 0 to 6540

ATTEMPTS = 6  # tries a shard, each going on where the last broke off
BACKOFF_S = 1.0  # wait after the first failure; doubles with each further one
TIMEOUT_S = (10, 30)  # seconds to connect, and without a byte before a stalled stream is dropped
CHUNK_BYTES = 1 << 20
HOPELESS = {401, 403, 404, 410}  # answers that another try will not change

Advance = Callable[[int, "int | None"], None]
"""A function of the bytes that have come, and of how many there will be, None where the server does not say."""


class Hopeless(Exception):
    """The server refuses in a way that another try will not change."""


def fetch_once(session: requests.Session, url: str, part: Path, advance: Advance) -> None:
    """Append the missing part of `url` to `part`; raise where the connection or the answer fails."""
    import requests

    etag_file = part.with_name(part.name + ".etag")
    have = part.stat().st_size if part.exists() else 0
    etag = etag_file.read_text() if have and etag_file.exists() else ""
    # Without the tag a file that changed meanwhile would be stitched from two versions.
    headers = {"Range": f"bytes={have}-", "If-Range": etag} if etag else {}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        if answer.status_code in HOPELESS:
            raise Hopeless(f"the server answers {answer.status_code} {answer.reason}")
        if answer.status_code == 416:
            part.unlink()
            raise requests.ConnectionError("the server has less than was already fetched; starting over")
        answer.raise_for_status()
        resumed = answer.status_code == 206
        if not resumed:
            have = 0
            etag_file.write_text(answer.headers.get("ETag", ""))
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        advance(have, total)
        with open(part, "ab" if resumed else "wb") as f:
            for chunk in answer.iter_content(CHUNK_BYTES):
                f.write(chunk)
                have += len(chunk)
                advance(have, total)
    if total is not None and have != total:
        raise requests.ConnectionError(f"the stream ended after {have} of {total} bytes")


def download_shard(
    index: int,
    directory: Path,
    advance: Advance = lambda have, total: None,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """Fetch one official shard into `directory` unless a good one is there; return None, or why it failed."""
    import requests

    target = directory / shard_name(index)
    part = target.with_name(target.name + ".part")
    try:
        check_shard(target)
        return None
    except BadShard:  # or there is none
        target.unlink(missing_ok=True)
    reason = ""
    with requests.Session() as session:
        for attempt in range(ATTEMPTS):
            if attempt:
                sleep(BACKOFF_S * 2 ** (attempt - 1) * random.uniform(0.8, 1.2))
            try:
                fetch_once(session, f"{BASE_URL}/{target.name}", part, advance)
                check_shard(part)
                os.replace(part, target)
                part.with_name(part.name + ".etag").unlink(missing_ok=True)
                return None
            except Hopeless as e:
                return str(e)
            except BadShard as e:
                part.unlink(missing_ok=True)
                reason = f"what came is {e}"
            except requests.RequestException as e:
                reason = f"{type(e).__name__}: {str(e)[:120]}"
    return f"{reason} ({ATTEMPTS} tries)"


def download(data_dir: Path, num_shards: int, workers: int) -> None:
    """Download what is missing of the official shards, -1 for all of training; end the program naming what failed."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    data_dir.mkdir(parents=True, exist_ok=True)
    wanted = [VAL_SHARD, AUDIT_SHARD, *range(MAX_TRAIN_SHARDS if num_shards == -1 else num_shards)]
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), disable=not sys.stdout.isatty()) as progress:

        def work(index: int) -> tuple[int, str | None]:
            task = progress.add_task(shard_name(index), total=None)
            try:
                with explained_os_errors(f"downloading {shard_name(index)}"):
                    why = download_shard(
                        index, data_dir, lambda have, total: progress.update(task, completed=have, total=total)
                    )
            finally:
                progress.remove_task(task)
            print(f"{shard_name(index)}: {why or 'ok'}", flush=True)
            return index, why

        with ThreadPoolExecutor(max_workers=workers) as pool:
            failed = {index: why for index, why in pool.map(work, wanted) if why}
    if failed:
        names = "; ".join(f"{shard_name(i)}: {why}" for i, why in sorted(failed.items()))
        stop(f"{len(failed)} of {len(wanted)} shards could not be had ({names}). What came is kept: run it again")


def parse_arguments(profiles: Sequence[str], default: str) -> argparse.Namespace:
    """Return the arguments that prepare.py was called with."""
    parser = argparse.ArgumentParser(description="Make the data and the tokenizer of the benchmark.")
    parser.add_argument("--profile", choices=profiles, help=f"default: {default} (this machine's)")
    parser.add_argument("--num-shards", type=int, default=10, help="official training shards, -1 for all (default 10)")
    parser.add_argument("--download-workers", type=int, default=8, help="shards fetched at a time (default 8)")
    parser.add_argument("--source", type=Path, metavar="DIR", help="build from *.parquet, *.txt, *.txt.xz in DIR")
    parser.add_argument("--force", action="store_true", help="with --source: replace the data that is there")
    parser.add_argument("--contract", action="store_true", help="print the contract that a run would have now, as JSON")
    arguments = parser.parse_args()
    if arguments.num_shards != -1 and not 1 <= arguments.num_shards <= MAX_TRAIN_SHARDS:
        parser.error(f"--num-shards takes 1 to {MAX_TRAIN_SHARDS}, or -1 for all")
    if arguments.download_workers < 1:
        parser.error("--download-workers takes 1 or more")
    if arguments.force and not arguments.source:
        parser.error("--force goes with --source DIR")
    return arguments
