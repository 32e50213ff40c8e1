"""Turns HUP, INT and TERM into a request to end the run, so that output and record are kept."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class Signals:
    """A context in which HUP, INT and TERM are caught; one that was ignored before (nohup) stays ignored."""

    def __init__(self) -> None:
        self._asked: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self._asked = self._asked or number

    def requested(self) -> int | None:
        """Return the first signal that came, None before."""
        return self._asked

    def wait(self, seconds: float) -> int | None:
        """Sleep up to that long, less when a signal arrives."""
        until = time.monotonic() + seconds
        while self._asked is None and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
        return self._asked
