"""Plays one scripted outcome in place of train.py: the same lines, files and exits, in milliseconds.

Run as a script by the scripted backend, with the outcome as JSON in its only argument. Standard library only.
"""

import json
import os
import sys
import time


def main() -> int:
    """Play the outcome."""
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
    while play["exit"] < 0:
        time.sleep(1)
    if play["exit"] > 128:
        os.kill(os.getpid(), play["exit"] - 128)
    return int(play["exit"])


if __name__ == "__main__":
    sys.exit(main())
