"""train.py from outside: what it prints, what it leaves behind, and how it ends when something is wrong."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from research.core import contract
from scripts.race import with_constants

ROOT = Path(__file__).resolve().parents[2]

# A training script as other people write it against the public names: no report(), its own summary.
FOREIGN = """
import torch, torch.nn.functional as F
from prepare import MAX_SEQ_LEN, TIME_BUDGET, Tokenizer, make_dataloader, evaluate_bpb

tokenizer = Tokenizer.from_directory()
V = tokenizer.get_vocab_size()

class Bigram(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(V, V)
    def forward(self, idx, targets=None, reduction="mean"):
        logits = self.table(idx).float()
        if targets is None:
            return logits
        return SCALE * F.cross_entropy(logits.view(-1, V), targets.view(-1), reduction=reduction)

model = Bigram()
loader = make_dataloader(tokenizer, 4, MAX_SEQ_LEN, "train")
x, y, epoch = next(loader)
model(x, y).backward()
model.eval()
print("---")
print(f"val_bpb:          {evaluate_bpb(model, tokenizer, 32):.6f}")
"""


LOAD = """
import importlib.util, sys, torch

def load(path):
    spec = importlib.util.spec_from_file_location(path.split("/")[-1][:-3], path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

modules = [load(path) for path in sys.argv[1:]]
"""

# train.py's kernels by Triton's interpreter, traced as torch.compile does, against the same model without them.
MODELS = """
def run(train):
    torch.manual_seed(0)
    model = train.GPT(500, train.sdpa_attention(sorted({train.window_of(i) for i in range(train.DEPTH)})))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.02)
    x, y = torch.randint(0, 500, (2, 2, train.T))
    loss = train.compiled(model)(x, y)
    loss.backward()
    return [loss.detach(), *(p.grad for p in model.parameters())]

for got, wanted in zip(*map(run, modules), strict=True):
    # The floor is for gradients that all but cancel, such as 1e-5 for a residual factor.
    assert (got - wanted).norm() <= 1e-5 * wanted.norm() + 1e-8, (got, wanted)
print("equal")
"""

# New options multiply by one or add nothing, whatever the other weights are; then all are trained.
FIRST_LOSSES = """
names = [name for name, _ in modules[0].GPT(500, None).named_parameters()]
for train in modules:
    torch.manual_seed(0)
    model = train.GPT(500, train.sdpa_attention(sorted({train.window_of(i) for i in range(train.DEPTH)})))
    torch.manual_seed(1)
    before = dict(model.named_parameters())
    with torch.no_grad():
        for name in names:
            before[name].add_(torch.randn_like(before[name]) * 0.02)
    x, y = torch.randint(0, 500, (2, 2, train.T))
    loss = model(x, y)
    loss.backward()
    before = {name: p.detach().clone() for name, p in before.items()}
    train.Optimizer(model).step(1.0, 1.0)
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    print(f"{loss.item():.5f}", *still)
"""


@pytest.fixture
def environment(pocket_home: Path, tmp_path: Path) -> dict[str, str]:
    """A machine without a GPU, the pocket data ready, two seconds to train."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AUTORESEARCH_")}
    return kept | {
        "AUTORESEARCH_HOME": str(pocket_home),
        "AUTORESEARCH_PROFILE": "pocket",
        "AUTORESEARCH_TIME_BUDGET": "2",
        "AUTORESEARCH_RUN_DIR": str(tmp_path / "run"),
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(ROOT),
    }


def run(script: Path, environment: dict[str, str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script)]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=240)


def variant(tmp_path: Path, old: str, new: str) -> Path:
    """A copy of train.py with one piece of text replaced."""
    source = (ROOT / "train.py").read_text()
    assert source.count(old) == 1
    path = tmp_path / "train.py"
    path.write_text(source.replace(old, new))
    return path


def summary_of(output: str) -> list[tuple[str, str]]:
    lines = output.splitlines()
    at = len(lines) - lines[::-1].index(contract.SUMMARY_MARK)
    return [(key, value.strip()) for key, _, value in (line.partition(":") for line in lines[at:])]


def test_a_run_prints_its_summary_and_leaves_its_score(environment, tmp_path):
    done = run(ROOT / "train.py", environment)
    assert done.returncode == contract.EXIT_SCORED, done.stderr
    assert "\r" not in done.stdout
    assert "audit" not in done.stdout
    summary = summary_of(done.stdout)
    assert tuple(key for key, _ in summary) == contract.PUBLIC_KEYS + contract.OWN_KEYS
    values = dict(summary)
    score = json.loads((tmp_path / "run" / contract.SCORE_FILE).read_text())
    assert values["val_bpb"] == f"{score['val_bpb']:.6f}"
    assert values["contract"] == score["contract"]
    assert score["contract"].startswith("custom2-")
    assert values["causal_check"] == values["loss_check"] == contract.PASS
    assert score["schema"] == contract.SCORE_SCHEMA
    assert score["status"] == contract.SCORED
    assert score["seed"] == contract.DEFAULT_SEED
    assert score["reported"]["summary"]["num_steps"] == values["num_steps"]
    assert score["reported"]["loss_curve"]
    assert score["data"]["epochs"] > 0
    assert score["clock"]["suspicious"] is False
    assert (tmp_path / "run" / "train.py").read_bytes() == (ROOT / "train.py").read_bytes()


def test_the_seed_is_the_environments_alone(environment, tmp_path):
    environment["AUTORESEARCH_SEED"] = "7"
    done = run(ROOT / "train.py", environment)
    assert "seed 7" in done.stdout
    assert json.loads((tmp_path / "run" / "score.json").read_text())["seed"] == 7


def test_a_terminal_gets_one_line_that_rewrites_itself(environment):
    master, slave = pty.openpty()
    child = subprocess.Popen([sys.executable, "train.py"], cwd=ROOT, env=environment, stdout=slave, stderr=slave)
    os.close(slave)
    output = b""
    while True:
        try:
            output += os.read(master, 4096)
        except OSError:  # the other end is closed
            break
    os.close(master)
    assert child.wait() == 0
    assert b"\rstep" in output
    assert b"s left" in output


def test_a_foreign_train_py_runs_and_is_scored(environment, tmp_path):
    script = tmp_path / "foreign.py"
    script.write_text(FOREIGN.replace("SCALE", "1.0"))
    done = run(script, environment)
    assert done.returncode == 0, done.stderr
    score = json.loads((tmp_path / "run" / "score.json").read_text())
    assert dict(summary_of(done.stdout))["val_bpb"] == f"{score['val_bpb']:.6f}"
    assert "reported" not in score


def test_a_foreign_train_py_that_cheats_ends_in_exit_4(environment, tmp_path):
    script = tmp_path / "foreign.py"
    script.write_text(FOREIGN.replace("SCALE", "0.99"))
    done = run(script, environment)
    assert done.returncode == contract.EXIT_PROBE_FAILED
    assert dict(summary_of(done.stdout))["loss_check"] == contract.FAIL
    assert "val_bpb" not in done.stdout


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("prepare.EVAL_TOKENS", "import prepare; prepare.EVAL_TOKENS = 4096"),
        ("AUTORESEARCH_TIME_BUDGET", "import os; os.environ['AUTORESEARCH_TIME_BUDGET'] = '7'"),
    ],
)
def test_a_train_py_that_changes_its_contract_is_not_scored(environment, tmp_path, what, change):
    script = tmp_path / "foreign.py"
    script.write_text(f"{change}\n{FOREIGN.replace('SCALE', '1.0')}")
    done = run(script, environment)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"train.py changed {what}: a run is scored under")
    assert "val_bpb" not in done.stdout


def test_a_run_by_hand_gets_a_folder_of_its_own(environment, tmp_path):
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("train.py", "prepare.py", ".gitignore"):
        (clone / name).write_bytes((ROOT / name).read_bytes())
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "start"]):
        subprocess.run(["git", *command], cwd=clone, check=True)
    del environment["AUTORESEARCH_RUN_DIR"]
    assert run(clone / "train.py", environment, clone).returncode == 0
    (folder,) = (clone / "results" / "runs").iterdir()
    assert folder.name.startswith("hand-")
    assert {p.name for p in folder.iterdir()} == {"score.json", "train.py"}
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, capture_output=True, text=True).stdout.strip()
    assert json.loads((folder / "score.json").read_text())["commit"] == head


def test_missing_data_ends_in_exit_3_and_names_the_command(environment, tmp_path):
    environment |= {"AUTORESEARCH_PROFILE": "official", "AUTORESEARCH_HOME": str(tmp_path / "empty")}
    done = run(ROOT / "train.py", environment)
    assert done.returncode == contract.EXIT_NO_DATA
    assert "run uv run prepare.py" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_profile_is_one_clear_line(environment):
    environment["AUTORESEARCH_PROFILE"] = "huge"
    done = run(ROOT / "train.py", environment)
    assert done.returncode == contract.EXIT_ERROR
    assert done.stderr.splitlines() == [
        "unknown profile 'huge': set AUTORESEARCH_PROFILE (or --profile) to official or pocket"
    ]


def test_a_batch_that_does_not_divide_says_which_do(environment, tmp_path):
    script = variant(tmp_path, "DEVICE_BATCH_SIZE = 64 if OFFICIAL else 8", "DEVICE_BATCH_SIZE = 24")
    done = run(script, environment)
    assert done.returncode == contract.EXIT_ERROR
    assert "24 * 256 = 6,144" in done.stderr.replace("DEVICE_BATCH_SIZE", "24")
    assert "6,144 and 12,288 are" in done.stderr


def test_divergence_ends_in_exit_5(environment, tmp_path):
    script = variant(tmp_path, "SOFTCAP = 15.0", "SOFTCAP = float('nan')")
    done = run(script, environment)
    assert done.returncode == contract.EXIT_DIVERGED
    assert "FAIL" in done.stdout
    assert "training diverged" in done.stderr


def test_out_of_memory_names_the_constant_to_lower(environment, tmp_path):
    script = tmp_path / "short_of_memory.py"
    script.write_text(
        "import prepare, runpy, torch\n"
        "def full(*_): raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 8 GiB')\n"
        "prepare.make_dataloader = full\n"
        f"runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')\n"
    )
    done = run(script, environment)
    assert done.returncode == contract.EXIT_ERROR
    assert "lower DEVICE_BATCH_SIZE (8)" in done.stderr
    assert "Traceback" not in done.stderr


FUSED = (
    ('COMPILE = OFFICIAL and DEVICE.type == "cuda"', "COMPILE = True"),
    ("torch.compile(function, dynamic=False)", 'torch.compile(function, dynamic=False, backend="aot_eager")'),
)
"""What lets Triton's interpreter run the kernels, traced, on a CPU."""


def interpreted(environment, path: Path, *changes: tuple[str, str]) -> Path:
    """A copy of train.py that runs its kernels without a GPU, with pieces of text replaced."""
    pytest.importorskip("triton")
    environment["TRITON_INTERPRET"] = "1"
    source = (ROOT / "train.py").read_text()
    for old, new in (*FUSED, *changes):
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    path.write_text(source)
    return path


def test_the_kernels_give_what_the_plain_model_gives(environment, tmp_path):
    small = "DEPTH = 7 if OFFICIAL else 4", "DEPTH = 2"  # the interpreter takes its time
    fused = interpreted(environment, tmp_path / "fused.py", small)
    (tmp_path / "plain.py").write_text((ROOT / "train.py").read_text().replace(*small))
    command = [sys.executable, "-c", LOAD + MODELS, fused, tmp_path / "plain.py"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.stdout.strip() == "equal", done.stdout + done.stderr


def test_what_can_be_switched_off_starts_as_nothing(environment, tmp_path):
    off = tmp_path / "off.py"
    nothing = {"OUT_GATES": "False", "PAIR_ROWS": "0", "AHEAD": "()"}
    off.write_text(with_constants((ROOT / "train.py").read_text(), nothing))
    command = [sys.executable, "-c", LOAD + FIRST_LOSSES, off, ROOT / "train.py"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240)
    losses, untrained = zip(*((line.split()[0], line.split()[1:]) for line in done.stdout.splitlines()), strict=True)
    assert len(losses) == 2, done.stdout
    assert losses[0] == losses[1], done.stdout
    # The factor of embeddings that are zero at first.
    assert untrained == ([], ["pair_factor"]), done.stdout + done.stderr


def test_edits_of_plain_functions_are_heard_where_kernels_stand_for_them(environment, tmp_path):
    edits = {
        "MLP": ("F.relu(F.linear(x, w_in)).square()", "F.gelu(F.linear(x, w_in))"),
        "q k v": ("b * cos - a * sin", "b * cos + a * sin"),
        "norm and filter": ("tap * F.pad", "2 * tap * F.pad"),
        "loss": ("(F.linear(x, head).float() * (2 / SOFTCAP))", "(F.linear(x, head).float() * (3 / SOFTCAP))"),
    }
    command = [sys.executable, "-c", LOAD, interpreted(environment, tmp_path / "fused.py", *edits.values())]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240)
    said = done.stdout.splitlines()
    assert len(said) == len(edits), done.stdout + done.stderr
    for line, kernel in zip(said, edits, strict=True):
        assert line.startswith(f"{kernel} kernel is not used: ValueError: its answers differ")
