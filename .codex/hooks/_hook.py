"""What the five hooks share: finding the package, and never getting in the agent's way. Parses on Python 3.8."""
# ruff: noqa: UP031, UP036
# Those rules ask for what only newer Pythons have; this file must run on older ones, to say that they are too old.

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def note(event, text):
    """Adds to hooks.log, if that is possible at all."""
    import time

    folder = os.path.join(ROOT, "results", "discovery")
    try:
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "hooks.log"), "a") as file:
            file.write("%s %s: %s\n" % (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), event, text.rstrip()))
    except OSError:
        pass


def run(event):
    """Hands one call over; whatever happens, the process ends with 0 and at most one JSON object."""
    if sys.version_info < (3, 10):
        note(event, "python3 is %d.%d; the hooks need 3.10 and did nothing" % sys.version_info[:2])
        return
    try:
        sys.path[0] = ROOT
        from research.agents.hooks.entry import run as answer

        answer(event, ROOT)
    except BaseException:
        import traceback

        note(event, traceback.format_exc())
