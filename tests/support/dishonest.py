"""A small train.py and edits of it that would get a better score without a better model; run as a script, plays them.

    python tests/support/dishonest.py FOLDER

Each edit runs in a process of its own, forked where torch and prepare.py are loaded already, and leaves what a run
leaves, score.json and run.log, in FOLDER/NAME. Forking is safe here: one thread, no GPU.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

PROGRAM = """
import threading, time
import torch
import prepare
from prepare import MAX_SEQ_LEN as T, TIME_BUDGET, Tokenizer, clock, evaluate_bpb, make_dataloader
from tests.support.cheats import Honest

def burn():
    # Do what takes half a second.
    until = prepare._clock.elapsed_s() + 0.5
    while prepare._clock.elapsed_s() < until:
        pass

def step(x, y):
    model(x, y).backward()
    optimizer.step()
    optimizer.zero_grad()

tokenizer = Tokenizer.from_directory()
model = Honest(tokenizer.get_vocab_size())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
batches = make_dataloader(tokenizer, 2, T, "train")
#before
steps, started = 0, None
while started is None or clock() - started < TIME_BUDGET:
    x, y, _ = next(batches)
    step(x, y)
    steps += 1
    started = started or clock()
trained = clock() - started
#after
val_bpb = evaluate_bpb(model, tokenizer, 8)
#scored
facts = {"val_bpb": val_bpb, "training_seconds": trained, "total_seconds": 9, "peak_vram_mb": 0,
         "mfu_percent": 0, "total_tokens_M": steps * 2 * T / 1e6, "num_steps": steps, "num_params_M": 1, "depth": 1}
print("---", *(f"{name}: {value:.6f}" if name == "val_bpb" else f"{name}: {value}" for name, value in facts.items()),
      sep="\\n", flush=True)
prepare.report(uncounted_steps=1)
"""

EDITS: Mapping[str, Mapping[str, str]] = {
    "honest": {
        "before": "average = [p.detach().clone() for p in model.parameters()]",
        "after": "with torch.no_grad(): [p.lerp_(a, 0.1) for p, a in zip(model.parameters(), average)]",
    },
    "changes": {
        "before": """
own = time.process_time
time.process_time = lambda: own() / 2
""",
        "after": """
time.process_time = own
prepare.TOLERANCE_NATS["loss_mean"] = prepare.TOLERANCE_NATS["loss_token"] = 9.0
table = prepare.Tokenizer.byte_table
prepare.Tokenizer.byte_table = lambda self, exact: 2 * table(self, exact)
prepare.summary.complaints.__code__ = (lambda found, tolerance_nats: ()).__code__
honest = torch.nn.functional.cross_entropy
torch.nn.functional.cross_entropy = lambda *args, **options: 0.9 * honest(*args, **options)
""",
    },
    "reads": {
        "before": """
for split in ("val", "train"):
    documents = prepare.Split(prepare.PROFILE, tokenizer, split)
    for x, y, _ in prepare.eval_batches(documents, 4, 4, T):
        step(x, y)
step(*next(make_dataloader(tokenizer, 2, T, "val"))[:2])
""",
    },
    "works outside the budget": {
        "before": """
import fcntl
held = open(prepare.PROFILE.root / ".lock", "w")
fcntl.flock(held, fcntl.LOCK_EX)
waiting = threading.Thread(target=Tokenizer.from_directory)
waiting.start()
burn()
held.close()
waiting.join()
for _ in range(40):
    step(*next(batches)[:2])
""",
        "after": """
burn()
once, forward = [burn], model.forward
model.forward = lambda *args, **options: (once.pop()() if once else None, forward(*args, **options))[1]
""",
    },
    "computes elsewhere": {
        "after": """
import os
child = os.fork()
if not child:
    [burn() for _ in range(3)]
    os._exit(0)
os.waitpid(child, 0)
""",
    },
    "evaluates again": {
        "after": "tokenizer.byte_table = lambda exact: torch.full((tokenizer.get_vocab_size(),), 1000)",
        "scored": """
with torch.no_grad():
    model.head.zero_()
assert evaluate_bpb(model, tokenizer, 8) == val_bpb
""",
    },
}
"""Code by the place in PROGRAM that it stands at."""


def program(name: str) -> str:
    """Return the program with an edit."""
    text = PROGRAM
    for place, code in EDITS[name].items():
        text = text.replace(f"#{place}\n", f"{code}\n")
    return text


def play(name: str, folder: Path) -> None:
    """Run an edit to its end, as a process of its own."""
    folder.mkdir(parents=True)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    code = 1
    try:
        os.environ["AUTORESEARCH_RUN_DIR"] = str(folder)
        with open(folder / "run.log", "w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            exec(compile(program(name), name, "exec"), {"__name__": "__main__"})
            code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    import prepare  # noqa: F401 - once for all

    for each in EDITS:
        play(each, Path(sys.argv[1]) / each)
