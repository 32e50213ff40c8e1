"""A small repository with a stand-in train.py, a uv that is only a name, and the real runner on top of it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from research.lab.runner import main as run_command
from tests.support import inprocess
from tests.support.templates import ALONE, NAMED, commit_all, git, template

CHECKOUT = Path(__file__).resolve().parents[2]
RUNNER = CHECKOUT / "scripts" / "run_experiment.py"
CONTRACT = "official-0123456789ab"  # so that differences of a hundredth are far beyond the noise

AUDIT = "1.22456"
"""How the audit score of the first train.py begins, in any spelling."""

_HEAD = """
import hashlib, json, os, pathlib, sys, time
import prepare

SEED = 42  # changed alone, this is a repeat
VAL = {val}
"""
_ENDING = """
def score(val, status="scored"):
    folder = os.environ.get("AUTORESEARCH_RUN_DIR")
    if not folder:
        return
    text = open(__file__, "rb").read()
    audit = globals().get("_audit") or (val and round(val + 0.2345678, 7))
    value = dict(schema="autoresearch.score/1", status=status, val_bpb=val, val_bpb_exact=val, audit_bpb=audit,
        audit_bpb_exact=audit, contract=prepare.CONTRACT, seed=int(os.environ["AUTORESEARCH_SEED"]),
        device={{"class": "cpu test"}}, peak_vram_mb=2048.0, train_py_sha256=hashlib.sha256(text).hexdigest(),
        commit=None, started_utc="2026-01-02T03:04:05Z")
    part = pathlib.Path(folder, "score.json.part")
    part.write_text(json.dumps(value))
    part.replace(pathlib.Path(folder, "score.json"))


def summary(val):
    print("---")
    for key, value in dict(val_bpb=f"{{val:.6f}}", training_seconds=1.0, total_seconds=2.0, peak_vram_mb=2048.0,
            mfu_percent=0.0, total_tokens_M=0.1, num_steps=5, num_params_M=0.5, depth=2, contract=prepare.CONTRACT,
            causal_check="pass", loss_check="pass").items():
        print(f"{{key}}: {{value}}")
"""
_MODES = """

print("hello from", MODE, flush=True)
if MODE == "ok":
    score(VAL)
    summary(VAL)
elif MODE == "crash":
    raise RuntimeError("shape (3, 4) is invalid")
elif MODE == "late_crash":
    score(VAL)
    summary(VAL)
    raise KeyError("after the score")
elif MODE == "lie":
    score(VAL)
    summary(0.1)
elif MODE == "fake":
    summary(VAL)
elif MODE == "probe":
    score(None, "probe_failed")
    print("---\\ncausal_check: fail\\nloss_check: pass\\ncontract:", prepare.CONTRACT)
    sys.exit(4)
elif MODE == "diverged":
    print("FAIL")
    sys.exit(5)
elif MODE == "no_data":
    sys.exit(3)
elif MODE == "kill":
    os.kill(os.getpid(), 9)
elif MODE == "sleep":
    for i in range(600):
        print("step", i, flush=True)
        time.sleep(0.1)
    score(VAL)
    summary(VAL)
"""
_KNOBS = """\
MATRIX_LR = 0.04
WEIGHT_DECAY = 0.1
WARMDOWN = 0.5
INIT_SCALE = 1.0
DEPTH = 4
"""

# Plays what its MODE says; VAL is the score. Everything else is what a real train.py leaves.
TRAIN = _HEAD + 'MODE = "{mode}"\n{extra}\n' + _ENDING + _MODES
# Only ever scores. An agent that edits train.py takes the words that TRAIN compares its MODE with for ideas, and would
# draw "sleep" or "no_data" in one night and not in the next.
PLAIN = _HEAD + _KNOBS + "\n" + _ENDING + "\n\nscore(VAL)\nsummary(VAL)\n"

PREPARE = f'''
import json, sys
CONTRACT = "{CONTRACT}"
if __name__ == "__main__" and "--contract" in sys.argv:
    print(json.dumps({{"contract": CONTRACT, "fingerprint": {{}}}}))
'''

UV = f"""#!/bin/sh
# Stands in for uv: "uv run FILE", "uv run python FILE" and "uv run research VERB" run with this Python.
shift
[ "$1" = --project ] && shift 2
case $1 in
python) shift; exec {sys.executable} "$@" ;;
research) shift; PYTHONPATH={CHECKOUT} exec {sys.executable} -m research "$@" ;;
esac
exec {sys.executable} -S "$@"
"""


@dataclass
class Kit:
    """One repository and the machine around it."""

    root: Path
    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def git(self, *args: str) -> str:
        """Runs git in the repository."""
        done = subprocess.run(["git", *args], cwd=self.root, capture_output=True, text=True, env=self.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, mode: str = "ok", val: float = 0.99, extra: str = "") -> None:
        """Writes a train.py."""
        text = TRAIN.format(val=val, mode=mode, extra=textwrap.dedent(extra)).lstrip()
        (self.root / "train.py").write_text(text)

    def commit(self, subject: str, mode: str = "ok", val: float = 0.99, extra: str = "") -> str:
        """Writes and commits a train.py."""
        self.write(mode, val, extra)
        self.git("commit", "-q", "--allow-empty", "-am", subject)
        return self.head()

    def head(self) -> str:
        """Full hash of HEAD."""
        return self.git("rev-parse", "HEAD")

    def command(self, *options: str, command: tuple[str, ...] = ("uv", "run", "train.py")) -> list[str]:
        """The runner's command line."""
        return [sys.executable, str(RUNNER), *options, "--", *command]

    def start(
        self, *options: str, command: tuple[str, ...] = ("uv", "run", "train.py"), **more: object
    ) -> subprocess.Popen[bytes]:
        """Starts the runner."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return subprocess.Popen(self.command(*options, command=command), cwd=self.root, env=self.environment, **pipes)  # type: ignore[call-overload,no-any-return]

    def run(self, *options: str, command: tuple[str, ...] = ("uv", "run", "train.py")) -> Result:
        """Runs the runner to its end."""
        child = self.start(*options, command=command)
        out, err = child.communicate(timeout=60)
        return Result(child.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    def measure(self, *options: str) -> Result:
        """Runs train.py by the runner, without a process for the runner itself."""
        arguments = [*options, "--", "uv", "run", "train.py"]
        done = inprocess.printed(lambda: run_command(arguments), self.root, self.environment)
        return Result(done.code, done.out, done.err)

    def research(self, *arguments: str) -> Result:
        """Runs a verb of the command line, without a process of its own."""
        done = inprocess.research(self.root, self.environment, *arguments)
        return Result(done.code, done.out, done.err)

    def json(self, *arguments: str) -> dict[str, object]:
        """The JSON object of a verb."""
        result = self.research(*arguments, "--json")
        value = json.loads(result.out)
        assert isinstance(value, dict), result
        return value

    def ledger(self) -> list[list[str]]:
        """The rows of results.tsv."""
        path = self.root / "results.tsv"
        if not path.exists():
            return []
        lines = path.read_text().split("\n")
        assert lines[0] == "commit\tval_bpb\tmemory_gb\tstatus\tdescription"
        assert lines[-1] == ""
        return [line.split("\t") for line in lines[1:-1]]

    def folders(self) -> list[Path]:
        """The runs' folders."""
        runs = self.root / "results" / "runs"
        return sorted(runs.iterdir()) if runs.is_dir() else []


@dataclass(frozen=True)
class Result:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def end(self) -> dict[str, object]:
        """The runner's end object."""
        last = self.err.rstrip("\n").split("\n")[-1]
        assert last.startswith("[run] end "), self.err
        value = json.loads(last[len("[run] end ") :])
        assert isinstance(value, dict)
        return value


def make_kit(folder: Path, train: str = TRAIN) -> Kit:
    """A repository on autoresearch/try with one commit, its baseline to be.

    Args:
        folder: Where; it gets a home and tools beside the repository.
        train: Its train.py: TRAIN, or PLAIN for nights.
    """
    root, home, tools = folder / "repo", folder / "home", folder / "bin"
    for place in (home, tools):
        place.mkdir(parents=True)
    uv = tools / "uv"
    uv.write_text(UV)
    uv.chmod(uv.stat().st_mode | stat.S_IXUSR)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AUTORESEARCH", "GIT_", "UV_", "CUDA"))}
    environment = {
        **kept,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "AUTORESEARCH_HOME": str(home / "cache"),
        "AUTORESEARCH_PROFILE": "pocket",
        **ALONE,
        **NAMED,
    }
    shutil.copytree(template(commit_base, train), root, symlinks=True)
    return Kit(root, home, environment)


def commit_base(root: Path, train: str) -> None:
    """Make a repository with its first commit, on autoresearch/try."""
    (root / "prepare.py").write_text(PREPARE)
    (root / ".gitignore").write_text("results/\nresults.tsv\nrun.log\n__pycache__/\nworktrees/\n")
    (root / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["torch"]\n')
    (root / "train.py").write_text(train.format(val=0.99, mode="ok", extra="").lstrip())
    commit_all(root, "base")
    git(root, "checkout", "-q", "-b", "autoresearch/try")


def wait_for(condition: object, seconds: float = 15.0) -> None:
    """Waits until a function returns something true."""
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def alive(marker: str) -> list[int]:
    """Processes whose command line holds a text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    """A fresh repository."""
    return make_kit(tmp_path)
