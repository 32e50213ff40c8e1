"""Ends a program that cannot go on: one clear line on stderr, and an exit code that says what kind of end it is."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import torch

EXIT_NO_DATA, EXIT_PROBE_FAILED, EXIT_DIVERGED = 3, 4, 5


def stop(message: str, code: int = 1) -> NoReturn:
    """End the program with one clear line on stderr."""
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    raise SystemExit(code)


def diverged(what: str) -> NoReturn:
    """End a run whose losses are no longer numbers of an ordinary size."""
    print("FAIL")
    stop(what, EXIT_DIVERGED)


@contextmanager
def explained_os_errors(doing: str) -> Iterator[None]:
    """Turn a full disk or a folder that cannot be written into one line."""
    try:
        yield
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            stop(f"no space left while {doing}: free some, or point AUTORESEARCH_HOME to another disk")
        if e.errno in (errno.EACCES, errno.EROFS):
            stop(f"not allowed to write while {doing} ({e.filename}): point AUTORESEARCH_HOME to a folder of yours")
        if e.errno in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST):
            stop(f"{doing} failed, {e.strerror} ({e.filename}): point AUTORESEARCH_HOME to a folder that can be made")
        raise


def run_training(main: Callable[[], None], rows: int) -> None:
    """Call main(); where it runs out of GPU memory, end with the DEVICE_BATCH_SIZE to set, which was `rows`."""
    try:
        main()
    except torch.OutOfMemoryError as e:
        mend = f"set DEVICE_BATCH_SIZE = {rows // 2} in train.py; it is {rows}"
        if rows == 1:
            mend = "make the model in train.py smaller; one row a forward is the least"
        stop(f"CUDA out of memory: {mend}. {str(e).splitlines()[0]}")


def check_settings(total: int, rows: int, length: int, width: int, head_dim: int) -> None:
    """End the program where a batch of `total` tokens is not whole forwards of `rows` rows, or a width not heads."""
    tokens = rows * length
    if total % tokens:
        below = max(tokens, total // tokens * tokens)
        stop(
            f"TOTAL_BATCH_SIZE = {total:,} is not a multiple of DEVICE_BATCH_SIZE * {length} = {tokens:,}: "
            f"{below:,} and {below + tokens:,} are"
        )
    if width % head_dim or head_dim % 2:
        stop(f"WIDTH = {width} must be a multiple of HEAD_DIM = {head_dim}, and HEAD_DIM even")
