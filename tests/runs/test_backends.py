"""A backend is one class and one line: whatever the rest of the system asks of it has an answer."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.labkit import CHECKOUT, Kit, kit

from research.core.errors import UsageError
from research.runs.backends import BACKENDS, is_remote, make_backend

__all__ = ["kit"]

TINY = '''
import os, subprocess
from research.runs.backend import Backend, CommandResult

class TinyBackend(Backend):
    """Runs the command as if it were elsewhere."""

    name = "tiny"

    def __init__(self, environment):
        self.environment = dict(environment)

    def check(self, launch):
        pass

    def run(self, launch, emit, say, stop):
        own = {"AUTORESEARCH_RUN_DIR": str(launch.run_dir), "AUTORESEARCH_SEED": str(launch.seed)}
        done = subprocess.run(launch.command, cwd=launch.root, env=self.environment | own, capture_output=True)
        emit(done.stdout)
        say(f"ran on {launch.gpu}")
        return CommandResult("finished", done.returncode, done.returncode, device="a tiny GPU", cost_usd=0.25)
'''
REGISTER = (
    "from research.runs.backends import BACKENDS, BackendEntry; BACKENDS['tiny'] = BackendEntry('tiny', 'TinyBackend')"
)


def with_tiny(kit: Kit, module: str, *words: str, text: str = TINY) -> subprocess.CompletedProcess[str]:
    """Runs a command line of ours that knows one more backend."""
    (kit.root.parent / "tiny.py").write_text(text)
    code = f"import sys; {REGISTER}; from {module} import main; sys.exit(main())"
    environment = {**kit.environment, "PYTHONPATH": f"{CHECKOUT}:{kit.root.parent}"}
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=kit.root, env=environment, capture_output=True, text=True
    )


def test_one_class_and_one_line_make_a_backend_of_the_real_runner(kit: Kit):
    run = ("--backend", "tiny", "--gpu", "T9", "--", "uv", "run", "train.py")
    done = with_tiny(kit, "research.lab.runner", *run)
    assert done.returncode == 0, done.stderr
    assert "val_bpb: 0.990000" in done.stdout
    assert "[run] ran on T9" in done.stderr
    (record,) = [item for item in kit.json("export")["records"] if item["type"] == "run"]  # type: ignore[union-attr]
    seen = [record[name] for name in ("backend", "gpu", "device", "cost_usd")]
    assert seen == ["tiny", "T9", "a tiny GPU", 0.25]
    assert kit.ledger()[0][3] == "keep"
    assert with_tiny(kit, "research.lab.runner", *run).stderr.count('"outcome": "repeat"') == 1


def test_a_program_of_the_backends_that_fails_is_no_fault_of_the_candidate(kit: Kit):
    text = TINY.replace("done =", "subprocess.run(['false'], check=True); done =")
    done = with_tiny(kit, "research.lab.runner", "--backend", "tiny", "--", "uv", "run", "train.py", text=text)
    assert done.returncode == 75, done.stderr
    assert "the tiny backend failed: Command '['false']'" in done.stderr
    assert kit.ledger() == []


def test_a_dry_run_there_launches_nothing(kit: Kit):
    done = with_tiny(kit, "research.lab.runner", "--backend", "tiny", "--dry-run", "--", "uv", "run", "train.py")
    assert "would run: uv run train.py in " in done.stderr
    assert kit.folders() == []


def test_a_night_runs_there(kit: Kit):
    night = ("night", "--backend", "tiny", "--max-runs", "2", "--workers", "2", "--max-usd", "9")
    done = with_tiny(kit, "research.cli.main", *night)
    assert done.returncode == 0, done.stderr
    assert "2 runs" in done.stdout
    runs = [item for item in kit.json("export")["records"] if item["type"] == "run"]  # type: ignore[union-attr]
    assert {run["backend"] for run in runs} == {"tiny"}


def test_an_unknown_backend_is_named_with_those_that_there_are():
    with pytest.raises(UsageError, match=", ".join(BACKENDS)):
        make_backend("abacus", {})
    assert not is_remote("abacus")


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_is_found_under_its_own_name(name: str):
    assert BACKENDS[name].load().name == name


def test_nobody_else_names_a_backend():
    """What a room asks of a backend is in the class or in its line; a name elsewhere would leave out the next one."""
    for path in sorted((CHECKOUT / "research").rglob("*.py")):
        parts = path.relative_to(CHECKOUT).with_suffix("").parts
        if parts == ("research", "runs", "backends"):
            continue
        own = [name for name, entry in BACKENDS.items() if parts[:3] == tuple(entry.module.split(".")[:3])]
        found = [name for name in BACKENDS if name not in own and f'"{name}"' in path.read_text()]
        assert not found, f"{path.relative_to(CHECKOUT)} names {found}"
