"""train.py from outside: what it prints, what it leaves behind, and how it ends when something is wrong."""

from __future__ import annotations

import gc
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from research.core import contract
from scripts import race
from tests.benchmark.conftest import ROOT, run
from tests.support.trainer import load_train

TRAIN = ROOT / "train.py"

# A training script as other people write it against the public names: no report(), its own summary.
FOREIGN = """
import os, torch, torch.nn.functional as F
from prepare import DATA_DIR, TOKENIZER_DIR, MAX_SEQ_LEN, TIME_BUDGET, Tokenizer, make_dataloader, evaluate_bpb

tokenizer = Tokenizer.from_directory()
V = tokenizer.get_vocab_size()
assert os.path.exists(DATA_DIR) and os.path.exists(TOKENIZER_DIR)

class Bigram(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(V, V)
    def forward(self, idx, targets=None, reduction="mean"):
        logits = self.table(idx).float()
        if targets is None:
            return logits
        return F.cross_entropy(logits.view(-1, V), targets.view(-1), reduction=reduction)

model = Bigram()
loader = make_dataloader(tokenizer, 4, MAX_SEQ_LEN, "train")
x, y, epoch = next(loader)
model(x, y).backward()
model.eval()
print("---")
print(f"val_bpb:          {evaluate_bpb(model, tokenizer, 32):.6f}")
"""


def summary_of(output: str) -> list[tuple[str, str]]:
    lines = output.splitlines()
    at = len(lines) - lines[::-1].index(contract.SUMMARY_MARK)
    return [(key, value.strip()) for key, _, value in (line.partition(":") for line in lines[at:])]


def clean_clone(folder: Path) -> Path:
    """Make a repository of what a run needs, with one commit."""
    clone = folder / "clone"
    clone.mkdir()
    for name in ("train.py", "prepare.py", ".gitignore", "research/__init__.py"):
        (clone / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "research" / "benchmark", clone / "research" / "benchmark", ignore=skipped)
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "start"]):
        subprocess.run(["git", *command], cwd=clone, check=True)
    return clone


@pytest.mark.long
def test_a_run_by_hand_in_a_clean_clone_prints_its_summary_and_leaves_its_score(environment, tmp_path):
    clone = clean_clone(tmp_path)
    del environment["AUTORESEARCH_RUN_DIR"], environment["PYTHONPATH"]
    done = run(clone / "train.py", environment | {"AUTORESEARCH_SEED": "7"}, cwd=clone)
    assert done.returncode == contract.EXIT_SCORED, done.stderr
    assert "\r" not in done.stdout
    assert "audit" not in done.stdout
    assert "seed 7" in done.stdout
    (folder,) = (clone / "results" / "runs").iterdir()
    assert folder.name.startswith("hand-")
    assert {p.name for p in folder.iterdir()} == {contract.SCORE_FILE, "train.py"}
    assert (folder / "train.py").read_bytes() == TRAIN.read_bytes()
    summary = summary_of(done.stdout)
    assert tuple(key for key, _ in summary) == contract.PUBLIC_KEYS + contract.OWN_KEYS
    values = dict(summary)
    score = json.loads((folder / contract.SCORE_FILE).read_text())
    assert values["val_bpb"] == f"{score['val_bpb']:.6f}"
    assert values["contract"] == score["contract"]
    assert score["contract"].startswith("custom2-")
    assert values["causal_check"] == values["loss_check"] == contract.PASS
    assert score["schema"] == contract.SCORE_SCHEMA
    assert score["status"] == contract.SCORED
    assert score["seed"] == 7
    assert score["data"]["epochs"] > 0
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, capture_output=True, text=True).stdout.strip()
    assert score["commit"] == head
    reported = score["reported"]
    assert reported["summary"]["num_steps"] == values["num_steps"]
    assert reported["loss_curve"]
    assert (reported["attention"], reported["kernels"]) == ("sdpa", [])
    assert {"embedding", "attention.qkvo", "mlp.w_in", "head"} < set(reported["initial_values"])


def test_a_foreign_train_py_runs_and_is_scored(environment, tmp_path):
    script = tmp_path / "foreign.py"
    script.write_text(FOREIGN)
    done = run(script, environment)
    assert done.returncode == 0, done.stderr
    score = json.loads((tmp_path / "run" / "score.json").read_text())
    assert dict(summary_of(done.stdout))["val_bpb"] == f"{score['val_bpb']:.6f}"
    assert score["seed"] == contract.DEFAULT_SEED
    assert "reported" not in score


@pytest.mark.parametrize("module", ["prepare", "research.core.files"])
def test_windows_gets_one_line(environment, module):
    code = f"import sys; sys.modules['fcntl'] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Windows can't run this: install WSL (wsl --install), and run it there\n"


CHANGES = """
import os, prepare
for name, value in (("EVAL_TOKENS", 4096), ("EVAL_TOKENS", prepare.EVAL_TOKENS)):
    prepare.EVAL_TOKENS = value
    try:
        prepare.evaluate_bpb(object(), None, 32)
    except SystemExit as end:
        print(end.code)
    os.environ["AUTORESEARCH_TIME_BUDGET"] = "7"
"""


def test_a_train_py_that_changes_its_contract_is_not_scored(environment, tmp_path):
    script = tmp_path / "foreign.py"
    script.write_text(CHANGES)
    done = run(script, environment)
    assert done.stdout.split() == ["1", "1"], done.stderr
    end = "a run is scored under the contract that it was launched under"
    assert done.stderr.splitlines() == [
        f"train.py changed prepare.EVAL_TOKENS: {end}", f"train.py changed AUTORESEARCH_TIME_BUDGET: {end}",
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------
# The model and its optimizer, in this process

TINY = {"DEPTH": "2", "T": "32", "PAIR_ROWS": "64"}


def model_of(train, vocab_size=61):
    torch.manual_seed(0)
    return train.GPT(vocab_size, train.choose_attention(sorted({train.window_of(i) for i in range(train.DEPTH)}))[1])


def test_what_can_be_switched_off_starts_as_nothing():
    """New options multiply by one or add nothing, whatever the other weights are; then all are trained."""
    losses, untrained = [], []
    for constants in ({"OUT_GATES": "False", "PAIR_ROWS": "0", "AHEAD": "()", "FILTER": "0"}, {}):
        train = load_train(TRAIN, TINY | constants)
        model = model_of(train)
        new = ("out_gates", "pair", "taps")
        torch.manual_seed(1)
        with torch.no_grad():
            for name, p in model.named_parameters():
                if not any(word in name for word in new):
                    p.add_(torch.randn_like(p) * 0.02)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        x, y = torch.randint(0, 61, (2, 2, train.T))
        loss = model(x, y)
        loss.backward()
        train.Optimizer(model).step(1.0, 1.0)
        losses.append(f"{loss.item():.5f}")
        untrained.append([name for name, p in model.named_parameters() if torch.equal(p, before[name])])
    assert losses[0] == losses[1]
    assert untrained == [[], ["pair_factor"]]  # the factor of embeddings that are zero at first


def test_divergence_ends_in_exit_5(capsys, request):
    request.addfinalizer(gc.enable)
    batch = {"TOTAL_BATCH_SIZE": "128", "DEVICE_BATCH_SIZE": "2"}  # two micro-batches
    train = load_train(TRAIN, TINY | batch | {"SOFTCAP": "float('nan')"})
    model = model_of(train)
    batches = ((x, x, 1) for x in itertools.repeat(torch.zeros(2, train.T, dtype=torch.long)))
    with pytest.raises(SystemExit) as ended:
        train.train(model, train.Optimizer(model), batches)
    gc.unfreeze()
    assert ended.value.code == contract.EXIT_DIVERGED
    said = capsys.readouterr()
    assert said.out == "FAIL\n"
    assert "the loss at step 1 is nan: training diverged" in said.err


@pytest.mark.parametrize("recipe", ["baseline", "fork", "published"])
def test_other_peoples_recipes_are_constants_of_it(recipe):
    recipes = json.loads((ROOT / "docs" / "recipes.json").read_text())
    sizes = {"DEPTH": "2", "WIDTH": "64", "HEAD_DIM": "32", "T": "32"}
    batch = {"TOTAL_BATCH_SIZE": "64", "DEVICE_BATCH_SIZE": "2"}
    train = load_train(TRAIN, recipes[recipe] | sizes | batch)
    model = model_of(train)
    optimizer = train.Optimizer(model)
    x, y = torch.randint(0, 61, (2, 2, train.T), generator=torch.Generator().manual_seed(1))
    losses = []
    for _ in range(3):
        losses.append(model(x, y))
        losses[-1].backward()
        optimizer.step(1.0, 1.0)
    assert losses[2] < losses[0]


def test_a_parameter_that_the_optimizer_would_not_train_is_named(capsys):
    train = load_train(TRAIN, TINY)
    model = model_of(train)
    model.mlp.gain = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(SystemExit):
        train.Optimizer(model)
    said = capsys.readouterr().err
    assert said == "no group of the optimizer holds mlp.gain: declare it with adam(...) or muon(...)\n"


def test_parts_that_change_leave_the_initial_values_of_the_others_alone():
    hashes = {}
    for name, constants in {"base": {}, "deeper": {"DEPTH": "4"}, "wider": {"MLP_RATIO": "2"}}.items():
        train = load_train(TRAIN, TINY | constants)
        model = model_of(train)
        train.initial.record(model)
        hashes[name] = dict(train.initial.hashes)
        if name == "deeper":
            deeper = model
        elif name == "base":
            base = model
    changed = {name for name in hashes["base"] if hashes["base"][name] != hashes["wider"][name]}
    assert changed == {"mlp.w_in", "mlp.w_out"}
    assert hashes["base"]["embedding"] == hashes["deeper"]["embedding"]
    assert torch.equal(base.attention.qkvo, deeper.attention.qkvo[:2])
    assert torch.equal(base.attention.values[:, :128], deeper.attention.values[:, :128])  # layer 1's, of 1 and 3


def test_what_is_too_small_for_the_forwards_precision_is_not_lost_in_the_parameters():
    train = load_train(TRAIN, TINY | {"DTYPE": "torch.bfloat16"})
    model = model_of(train)
    x, y = torch.randint(0, 61, (2, 2, train.T))
    model(x, y).backward()
    assert {(p.dtype, p.grad.dtype) for p in model.parameters()} == {(torch.float32, torch.float32)}
    p, zero = model.embedding, torch.zeros_like(model.embedding)
    before = p.detach().clone()
    settings = [torch.tensor(value) for value in (1.0, 0.9, 0.001, 0.8, 0.95, 1e-10)]  # half an ulp of bf16 is 0.002
    with torch.no_grad():
        for _ in range(10):
            train.adam_update(p, zero, zero.clone(), zero.clone(), *settings)
    assert torch.allclose(p, before * (1 - 0.0009) ** 10)


def test_a_race_gives_other_peoples_scripts_its_seed_and_reads_their_summary(tmp_path):
    source = "torch.manual_seed(42)\ntorch.cuda.manual_seed(42)\ntorch.manual_seed(SEED)\n"
    assert race.with_seed(source, 7) == source.replace("42", "7")
    log = tmp_path / "run.log"
    log.write_text("step 1\n---\nval_bpb:          0.99\nnum_steps:        785\n")
    assert race.printed(log) == {"val_bpb": "0.99", "num_steps": "785"}
