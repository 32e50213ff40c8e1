"""What every test may rely on: Ctrl-C means Ctrl-C to the processes that tests start."""

from __future__ import annotations

import signal

# A shell that starts the tests in the background hands SIGINT on as ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
