"""Plays one scripted outcome in place of train.py: the same lines, files and exits, in milliseconds.

Run as a script by the scripted backend, with the outcome as JSON in its only argument. Standard library only.
"""

import hashlib
import json
import os
import signal
import sys
import time
from typing import Any

ERRORS = {
    "oom": ("torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 0 bytes free."),
    "assertion": ("AssertionError", "TOTAL_BATCH_SIZE must be a multiple of 131072"),
    "import": ("ModuleNotFoundError", "No module named 'flash_attn'"),
    "shape": ("RuntimeError", "mat1 and mat2 shapes cannot be multiplied (64x512 and 640x512)"),
    "error": ("KeyError", "'lr'"),
}


def write_score(play: dict[str, Any], status: str) -> None:
    """Leaves score.json as prepare.py would."""
    folder = os.environ["AUTORESEARCH_RUN_DIR"]
    with open(os.path.join(folder, "train.py"), "rb") as file:
        source = file.read()
    value = play["val_bpb"] if status == "scored" else None
    score = {
        "schema": "autoresearch.score/1",
        "status": status,
        "val_bpb": value,
        "val_bpb_exact": value,
        "audit_bpb": value,
        "audit_bpb_exact": value,
        "contract": play["contract"],
        "device": {"class": "scripted"},
        "seed": int(os.environ["AUTORESEARCH_SEED"]),
        "train_py_sha256": hashlib.sha256(source).hexdigest(),
        "commit": None,
        "started_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "peak_vram_mb": play["peak_vram_mb"],
    }
    path = os.path.join(folder, "score.json")
    with open(path + ".part", "w") as file:
        json.dump(score, file)
    os.replace(path + ".part", path)


def summary(play: dict[str, Any]) -> None:
    """Prints the summary block."""
    values = {
        "val_bpb": f"{play['val_bpb']:.6f}",
        "training_seconds": "1.0",
        "total_seconds": "1.5",
        "peak_vram_mb": f"{play['peak_vram_mb']:.1f}",
        "mfu_percent": "0.00",
        "total_tokens_M": "0.1",
        "num_steps": "10",
        "num_params_M": f"{play['params_m']:.1f}",
        "depth": "4",
        "contract": play["contract"],
        "causal_check": "pass",
        "loss_check": "pass",
    }
    print("---")
    for key, value in values.items():
        print(f"{key + ':':<18}{value}")


def main() -> int:
    """Plays the outcome."""
    play = json.loads(sys.argv[1])
    kind = play["kind"]
    print(f"scripted: {kind}", flush=True)
    for step in range(play["steps"]):
        print(f"step {step:05d} loss 3.{step % 100:02d}", flush=True)
        time.sleep(play["step_s"])
    if kind == "score":
        write_score(play, "scored")
        summary(play)
        return 0
    if kind == "probe":
        write_score(play, "probe_failed")
        print(f"---\ncausal_check: fail\nloss_check: pass\ncontract: {play['contract']}")
        return 4
    if kind == "nan":
        print("FAIL")
        return 5
    if kind == "no_data":
        print("the data is missing: uv run prepare.py", file=sys.stderr)
        return 3
    if kind == "killed":
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "timeout":
        while True:
            time.sleep(1)
    name, message = ERRORS[kind]
    print("Traceback (most recent call last):", file=sys.stderr)
    print(f'  File "train.py", line {play["line"]}, in <module>', file=sys.stderr)
    print(play["says"] or f"{name}: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
