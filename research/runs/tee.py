"""Hands a command's output on as it comes: into the run's log and to our own stdout, neither of which may stop it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import BinaryIO


class Tee:
    """Writes every chunk to a log file and to a stream at once.

    Args:
        log: The file; None writes to the stream only.
        stream: Usually our stdout.
    """

    def __init__(self, log: Path | None, stream: BinaryIO) -> None:
        self._file = log.open("wb", buffering=0) if log else None
        self._stream: BinaryIO | None = stream
        self.log_problem = ""
        """Why the log is not whole, "" if it is."""

    def write(self, data: bytes) -> None:
        """Hands a chunk on; a full disk or a closed pipe is noted and does not stop the run."""
        if self._file is not None:
            try:
                view = memoryview(data)
                while view:
                    view = view[self._file.write(view) :]
            except OSError as error:
                self.log_problem = self.log_problem or str(error.strerror)
        if self._stream is not None:
            try:
                self._stream.write(data)
                self._stream.flush()
            except (BrokenPipeError, ValueError):
                self._stream = None  # nobody reads any more; the log in the folder continues
            except OSError as error:
                self.log_problem = self.log_problem or str(error.strerror)

    def close(self) -> None:
        """Closes the log."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
