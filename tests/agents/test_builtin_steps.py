"""Every form that the built-in agent can give our train.py builds a model and takes a training step on it."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from research.agents.builtin.context import Bench
from research.agents.builtin.removals import removal_ideas
from research.agents.builtin.shapes import model_ideas, schedule_ideas, word_ideas
from research.agents.builtin.text import Text
from research.core.records import Plan
from tests.support.purenight import OURS, PureNight

STEP = """
import os, sys
os.environ["AUTORESEARCH_PROFILE"] = "pocket"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
sys.path.insert(0, sys.argv[1])
import torch
for path in sys.argv[2:]:
    space = {"__name__": "train", "__file__": path}
    exec(compile(open(path, "rb").read(), path, "exec"), space)
    torch.manual_seed(0)
    windows = sorted({space["window_of"](i) for i in range(space["DEPTH"])})
    model = space["GPT"](64, space["choose_attention"](windows)[1])
    optimizer = space["Optimizer"](model)
    tokens = torch.randint(64, (1, space["T"]))
    for fraction in (0.9,):
        loss = model(tokens, tokens)
        loss.backward()
        optimizer.step(space["learning_rate_scale"](fraction), 1 - fraction)
    after = model(tokens, tokens).item()
    model.flops_per_token()
    print(path, "ok" if after == after else "nan", flush=True)
"""


@pytest.mark.parametrize("maker", [removal_ideas, schedule_ideas, word_ideas, model_ideas], ids=lambda m: m.__name__)
def test_every_form_trains(maker, tmp_path: Path):
    night = PureNight()
    plan = Plan("p", "", None, None, night.first, "experiment", "A test.")
    bench = Bench(plan, night.memory(), night.read_source, night.first, Text(night.base), "pocket")
    paths = []
    for idea in maker(bench):
        for draft in list(idea.drafts(random.Random(0)))[:2]:
            paths.append(tmp_path / f"train{len(paths)}.py")
            paths[-1].write_bytes(draft.content)
    assert paths
    command = [sys.executable, "-c", STEP, str(OURS.parent), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok\n") == len(paths), done.stdout
