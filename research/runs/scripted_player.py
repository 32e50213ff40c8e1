"""Plays one scripted outcome in place of train.py: the same lines, files and exits, in milliseconds.

Run as a script by the scripted backend, with the outcome as JSON in its only argument. Standard library only.
"""

import json
import os
import signal
import sys
import time


def main() -> int:
    """Plays the outcome."""
    play = json.loads(sys.argv[1])
    print(f"scripted: {play['kind']}", flush=True)
    for step in range(play["steps"]):
        print(f"step {step:05d} loss 3.{step % 100:02d}", flush=True)
        time.sleep(play["step_s"])
    if play["score"]:
        path = os.path.join(os.environ["AUTORESEARCH_RUN_DIR"], "score.json")
        with open(path + ".part", "w") as file:
            json.dump(play["score"], file)
        os.replace(path + ".part", path)
    print(play["text"], end="", flush=True)
    if play["kind"] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    while play["kind"] == "timeout":
        time.sleep(1)
    return int(play["exit"])


if __name__ == "__main__":
    sys.exit(main())
