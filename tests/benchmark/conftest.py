"""prepare.py chooses its profile when it is imported: here always the pocket one, in a home of the tests' own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

from research.benchmark import corpus

ROOT = Path(__file__).resolve().parents[2]

before = os.environ.get("AUTORESEARCH_PROFILE")
os.environ["AUTORESEARCH_PROFILE"] = "pocket"
import prepare  # noqa: E402

if before is None:
    del os.environ["AUTORESEARCH_PROFILE"]
else:
    os.environ["AUTORESEARCH_PROFILE"] = before
torch.set_num_threads(1)  # tensors are small here, and threads that wait for each other on a busy machine crawl

SMALL_CHARS = {"train": 1_500_000, "val": 40_000, "audit": 40_000}
"""Characters of the tests' pocket corpus: about 60 rows to score, not 256, and a tenth of the text to tokenize."""


@pytest.fixture(scope="session")
def pocket_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where the pocket profile is ready, its text the beginning of the real one."""
    home = tmp_path_factory.mktemp("home")
    documents = corpus.pocket_documents(Path(sysconfig.get_paths()["stdlib"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTORESEARCH_HOME", str(home))
        data = prepare.PROFILE.data_dir
        data.mkdir(parents=True)
        for split, name in (("train", corpus.shard_name(0)), ("val", corpus.VAL_NAME), ("audit", corpus.AUDIT_NAME)):
            texts = corpus.sort_by_hash(documents[split])
            mean = sum(map(len, texts)) / len(texts)
            corpus.write_shard(data / name, texts[: int(SMALL_CHARS[split] / mean)])
        prepare.make_ready(prepare.PROFILE)
    return home


@pytest.fixture
def at_home(pocket_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lets a test use that home and gives it a run folder of its own, which is returned."""
    run = tmp_path / "run"
    monkeypatch.setenv("AUTORESEARCH_HOME", str(pocket_home))
    monkeypatch.setenv("AUTORESEARCH_RUN_DIR", str(run))
    prepare._folder.clear()
    prepare._score.clear()
    prepare._watch.__init__(prepare._clock)  # as in a process of its own
    return run


@pytest.fixture
def environment(pocket_home: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a program on a machine without a GPU: the pocket data ready, two seconds to train."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AUTORESEARCH_")}
    return kept | {
        "AUTORESEARCH_HOME": str(pocket_home),
        "AUTORESEARCH_PROFILE": "pocket",
        "AUTORESEARCH_TIME_BUDGET": "2",
        "AUTORESEARCH_RUN_DIR": str(tmp_path / "run"),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }


def run(script: Path, environment: dict[str, str], *words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs a Python script to its end."""
    command = [sys.executable, str(script), *words]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=240)
