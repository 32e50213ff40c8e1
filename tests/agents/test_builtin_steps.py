"""Every choice that the built-in agent can make in our train.py builds a model and takes a training step on it."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import islice
from pathlib import Path

from research.agents.builtin.proposal import EditContext, choice_ideas, off_ideas
from research.agents.builtin.source import Source
from tests.support.purenight import OURS, PureNight

STEP = """
import os, sys
os.environ["AUTORESEARCH_PROFILE"] = "pocket"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
for path in sys.argv[2:]:
    space = {"__name__": "train", "__file__": path}
    exec(compile(open(path, "rb").read(), path, "exec"), space)
    torch.manual_seed(0)
    windows = sorted({space["window_of"](i) for i in range(space["DEPTH"])})
    model = space["GPT"](64, space["choose_attention"](windows)[1])
    optimizer = space["Optimizer"](model)
    tokens = torch.randint(64, (1, space["T"]))
    model(tokens, tokens).backward()
    optimizer.step(space["learning_rate_scale"](0.9), 0.1)
    after = model(tokens, tokens).item()
    print(path, "ok" if after == after else "nan", flush=True)
"""


def test_every_choice_and_every_part_switched_off_trains(tmp_path: Path):
    night = PureNight()
    context = EditContext(night.memory(), night.read_source, Source(night.base, "pocket"), random.Random(0))
    texts = {
        draft.content
        for idea in [*choice_ideas(context), *off_ideas(context)]
        for draft in islice(idea.drafts, 1)
        if "_WD " not in draft.what  # weight decays reach the updates as any other number
    }
    paths = [tmp_path / f"train{number}.py" for number in range(len(texts))]
    for path, text in zip(paths, sorted(texts), strict=True):
        path.write_bytes(text)
    command = [sys.executable, "-c", STEP, str(OURS.parent), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok\n") == len(paths) > 15, done.stdout
