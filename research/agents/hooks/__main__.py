"""Starts one hook: python -I research/agents/hooks/__main__.py NAME, with the client's payload on stdin.

Whatever goes wrong is a line in hooks.log; the process ends with 0 and at most one JSON object on stdout. This file
runs on Pythons that are too old for the rest, to say so.
"""

import gc
import os
import sys

gc.disable()  # a hook lives for a tenth of a second: looking for garbage would be a tenth of that
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
LOG_BYTES = 1000000
"""Size at which hooks.log is started anew; the one before is kept as hooks.log.1."""


def log(name: str, text: str) -> None:
    """Add a line to hooks.log, if it can be written."""
    import time

    path = os.path.join(ROOT, "results", "discovery", "hooks.log")
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.exists(path) and os.path.getsize(path) > LOG_BYTES:
            os.replace(path, path + ".1")
        with open(path, "a", encoding="utf-8", errors="replace") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {name}: {text.rstrip()}\n")
    except OSError:
        pass


def refuse_old_python(name: str) -> None:
    """Log that this Python is too old, and tell the agent once, when its session starts."""
    import json

    what = f"python3 is {sys.version_info[0]}.{sys.version_info[1]}; the hooks need 3.10 and did nothing"
    log(name, what)
    if name == "session_start" and not os.environ.get("AUTORESEARCH_DRIVEN"):
        cure = "Tell the person to type `uv sync`, which makes .venv, where hooks find a newer one."
        context = {"hookEventName": "SessionStart", "additionalContext": f"Autoresearch: {what}. {cure}"}
        print(json.dumps({"hookSpecificOutput": context}), flush=True)


def main(name: str) -> None:
    """Run one hook."""
    if sys.version_info < (3, 10):  # noqa: UP036
        refuse_old_python(name)
        return
    try:
        sys.path.insert(0, ROOT)
        from research.agents.hooks.entry import run

        run(name, ROOT, lambda text: log(name, text))
    except BaseException:
        import traceback

        log(name, traceback.format_exc())


if __name__ == "__main__":
    main(sys.argv[1])
    os._exit(0)  # everything is written and closed; taking the interpreter down would be another tenth of the time
