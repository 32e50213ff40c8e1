"""What is refused before launch: nothing runs, nothing is recorded, and the reason says what to type."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.labkit import Kit, kit

from research.core.errors import ConfigurationError, UsageError
from research.runs import preflight, requirements
from research.runs.gpu import Gpu, ThrottleWatch, choose_gpu, contention, list_gpus, profile_of, visible_gpus
from research.runs.local import LocalBackend

__all__ = ["kit"]


def refused(kit: Kit, word: str) -> None:
    """Asserts that the runner refuses for a reason that holds a word."""
    before = kit.folders()
    result = kit.run()
    assert (result.code, result.end["outcome"], result.end["recorded"]) == (3, "refused", False), result.err
    assert word in result.err
    assert result.out == ""
    assert kit.folders() == before


@pytest.mark.parametrize("stage", [False, True])
@pytest.mark.parametrize(
    "path", ["train.py", "prepare.py", "pyproject.toml", "program.md", ".claude/settings.json", "CLAUDE.md"]
)
def test_what_differs_from_head(kit: Kit, path, stage):
    if not (kit.root / path).exists():
        (kit.root / path).parent.mkdir(exist_ok=True)
        (kit.root / path).write_text("{}\n")
        kit.git("add", path)
        kit.git("commit", "-qm", "infra: what agents are told")
    with (kit.root / path).open("a") as file:
        file.write("\n# changed\n")
    if stage:
        kit.git("add", path)
    refused(kit, path)
    assert kit.run("--allow-dirty").code == 0


def test_staged_and_put_back_in_the_tree_is_still_staged(kit: Kit):
    text = (kit.root / "train.py").read_bytes()
    (kit.root / "train.py").write_bytes(text + b"# x\n")
    kit.git("add", "train.py")
    (kit.root / "train.py").write_bytes(text)
    refused(kit, "train.py")


def test_a_change_of_the_benchmarks_folder_that_git_was_told_to_overlook(kit: Kit):
    before = preflight.examine(kit.root)
    path = kit.root / "research" / "benchmark" / "kernels.py"
    path.parent.mkdir(parents=True)
    path.write_text("x = 1\n")
    kit.git("add", "research")
    kit.git("commit", "-qm", "infra: a benchmark of two files")
    after = preflight.examine(kit.root)
    assert len({before.harness, after.harness}) == len({before.benchmark_sha256, after.benchmark_sha256}) == 2
    assert preflight.examine(kit.root, "HEAD").benchmark_sha256 == after.benchmark_sha256
    kit.git("update-index", "--assume-unchanged", "research/benchmark/kernels.py")
    path.write_text("x = 2\n")
    refused(kit, "research/benchmark/kernels.py")


def test_an_untracked_python_file_in_the_harness(kit: Kit):
    (kit.root / "research").mkdir()
    (kit.root / "research" / "new.py").write_text("x = 1\n")
    refused(kit, "research/new.py")


def test_an_experiment_on_a_change_that_was_not_measured(kit: Kit):
    """It would be credited with both; made one commit on the baseline, it is one experiment."""
    kit.measure()
    base = kit.head()
    kit.commit("infra: other defaults", val=0.9)
    kit.commit("exp: an idea [emitter=free]", val=0.8)
    refused(kit, f"git reset --soft {base[:7]} && git commit -m 'exp: an idea [emitter=free]' -- train.py")
    kit.git("reset", "-q", "--soft", base[:7])
    kit.git("commit", "-qm", "exp: an idea [emitter=free]", "--", "train.py")
    assert kit.measure().end["counted"] is True


def test_an_experiment_on_a_commit_that_leaves_the_program_as_it_is(kit: Kit):
    kit.measure()
    (kit.root / "notes.txt").write_text("hello")
    kit.git("add", "notes.txt")
    kit.git("commit", "-qm", "docs: notes")
    kit.commit("exp: an idea [emitter=free]", val=0.9)
    assert kit.measure().end["counted"] is True


def test_other_files_do_not_matter(kit: Kit):
    (kit.root / "notes.txt").write_text("hello")
    (kit.root / ".claude").mkdir(exist_ok=True)
    (kit.root / ".claude" / "mine.py").write_text("x = 1\n")
    assert kit.measure().code == 0


def test_an_experiment_touches_train_py_alone(kit: Kit):
    (kit.root / "other.txt").write_text("x")
    kit.git("add", "other.txt")
    kit.commit("exp: two files [emitter=local_tuner]", val=0.9)
    refused(kit, "other.txt")


def test_the_baseline_may_be_any_commit_and_may_be_replicated(kit: Kit):
    assert kit.measure().code == 0
    assert kit.measure("--seed", "1").end["outcome"] == "scored"


def test_a_changed_benchmark_needs_a_baseline_of_its_own(kit: Kit):
    kit.measure()
    (kit.root / "prepare.py").write_text((kit.root / "prepare.py").read_text() + "TIME_BUDGET = 600\n")
    kit.git("commit", "-qam", "bench: more time")
    refused(kit, "prepare.py")
    kit.commit("exp: on top [emitter=local_tuner]", val=0.5)
    refused(kit, "baseline")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("def broken(:\n", "does not parse"),
        ("import prepare\nimport no_such_module_x\n", "no_such_module_x"),
        ("from prepare import NOT_THERE\n", "NOT_THERE"),
        ("from no_such.deep import x\n", "no_such.deep"),
        ("x = " + "(" * 3000 + ")" * 3000 + "\n", "does not parse"),
    ],
)
def test_a_train_py_that_could_not_run(kit: Kit, text, word):
    (kit.root / "train.py").write_text(text)
    kit.git("commit", "-qam", "exp: broken [emitter=local_tuner]")
    refused(kit, word)


def test_optional_imports_are_not_looked_at(kit: Kit):
    text = (kit.root / "train.py").read_text()
    (kit.root / "train.py").write_text("try:\n    import no_such_module_x\nexcept ImportError:\n    pass\n" + text)
    kit.git("commit", "-qam", "base")
    assert kit.measure().code == 0


def test_a_helper_outside_the_commit_is_refused(kit: Kit):
    (kit.root / "helper.py").write_text("x = 1\n")
    kit.commit("base", extra="import helper")
    refused(kit, "helper.py")


def test_a_missing_train_py_and_an_empty_repository(kit: Kit):
    kit.git("rm", "-q", "train.py")
    kit.git("commit", "-qm", "gone")
    refused(kit, "no train.py")


def test_too_little_disk(monkeypatch, tmp_path: Path):
    usage = os.statvfs_result((1,) * 10)
    monkeypatch.setattr(requirements.shutil, "disk_usage", lambda _: type("Usage", (), {"free": usage.f_bsize}))
    with pytest.raises(ConfigurationError, match="free"):
        requirements.check_disk(tmp_path)


@pytest.mark.parametrize("home", ["file", "file/below"])
def test_a_home_that_can_not_be_used_names_another(tmp_path: Path, home: str):
    (tmp_path / "file").touch()
    environment = {"AUTORESEARCH_HOME": str(tmp_path / home), "AUTORESEARCH_PROFILE": "official"}
    with pytest.raises(ConfigurationError) as caught:
        LocalBackend(environment).provide(tmp_path, print)
    assert caught.value.next.startswith("Type: export AUTORESEARCH_HOME=")


def test_the_official_profile_without_a_gpu_is_refused_before_anything_is_downloaded(tmp_path: Path):
    environment = {"AUTORESEARCH_HOME": str(tmp_path), "AUTORESEARCH_PROFILE": "official", "CUDA_VISIBLE_DEVICES": ""}
    with pytest.raises(ConfigurationError, match="needs a CUDA device") as caught:
        LocalBackend(environment).provide(tmp_path, print)
    assert "unset AUTORESEARCH_PROFILE" in caught.value.next


def test_modules_are_found_without_importing(tmp_path: Path):
    site = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("include-system-site-packages = false\n")
    (site / "single.py").write_text("raise SystemExit\n")
    (site / "package").mkdir()
    (site / "linked.pth").write_text(f"{tmp_path / 'editable'}\nimport evil\n")
    (tmp_path / "editable" / "mine").mkdir(parents=True)
    for name in ("single", "package", "mine", "os", "__future__"):
        assert preflight.is_installed(tmp_path, name, {}), name
    assert not preflight.is_installed(tmp_path, "absent", {})
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "pyproject.toml").write_text('dependencies = [\n "torch_x>=2",\n]\n')
    assert preflight.is_installed(bare, "torch_x", {})
    assert not preflight.is_installed(bare, "absent", {})


def test_the_gpu_that_a_run_gets():
    listing = "0, GPU-aaa, NVIDIA H200, 5\n1, GPU-bbb, NVIDIA H200, 9000\n"
    devices = list_gpus(lambda _: listing)
    assert [d.index for d in devices] == ["0", "1"]
    assert choose_gpu(devices, {}) == devices[0]
    assert choose_gpu(devices, {"CUDA_VISIBLE_DEVICES": "1"}) == devices[1]
    assert choose_gpu(devices, {"CUDA_VISIBLE_DEVICES": "GPU-b"}) == devices[1]
    assert choose_gpu(devices, {"CUDA_VISIBLE_DEVICES": ""}) is None
    assert visible_gpus(devices, {"CUDA_VISIBLE_DEVICES": "1, 0"}) == devices[::-1]
    assert visible_gpus(devices, {"CUDA_VISIBLE_DEVICES": "0,7,1"}) == devices[:1]
    assert contention(devices[0]) == ""
    assert "9000 MiB" in contention(devices[1])
    assert list_gpus(lambda _: None) == ()


@pytest.mark.parametrize(
    ("card", "profile", "minutes"),
    [
        ("NVIDIA H200, 5, 143771, 9.0", "official", 10),
        ("NVIDIA A100-PCIE-40GB, 5, 40960, 8.0", "official", 10),
        ("NVIDIA GeForce RTX 3060, 5, 12288, 8.6", "official", 25),
        ("NVIDIA GeForce RTX 2080 Ti, 5, 11264, 7.5", "pocket", 10),
        ("NVIDIA GB10, 5, [N/A], 12.1", "official", 10),  # it shares the machine's memory
    ],
)
def test_profile_and_time_limit_follow_the_card(card, profile, minutes, tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '0, GPU-aaa, {card}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    backend = LocalBackend({})
    assert profile_of(choose_gpu(list_gpus(), {})) == profile
    assert backend.usual_timeout_s() == 60 * minutes
    assert backend.places(None) == [{}]
    assert LocalBackend({"AUTORESEARCH_PROFILE": "pocket"}).usual_timeout_s() == 600


def test_workers_get_cards_of_one_kind(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    cards = ("GPU-aaa, NVIDIA H200", "GPU-bbb, NVIDIA A100", "GPU-ccc, NVIDIA H200")
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{n}, {card}, 5'\n" for n, card in enumerate(cards)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(UsageError, match="NVIDIA H200 and NVIDIA A100") as refused:
        LocalBackend({}).places(2)
    assert (
        refused.value.next == "Give --workers 2 at most, and type before: export CUDA_VISIBLE_DEVICES=GPU-aaa,GPU-ccc"
    )
    named = [{"CUDA_VISIBLE_DEVICES": "GPU-aaa"}, {"CUDA_VISIBLE_DEVICES": "GPU-ccc"}]
    assert LocalBackend({"CUDA_VISIBLE_DEVICES": "GPU-aaa,GPU-ccc"}).places(2) == named


def test_throttling_is_seen():
    lines = iter(["0x0000000000000000\n", "0x0000000000000020\n"] * 50)
    watch = ThrottleWatch(Gpu("0", "GPU-aaa", "NVIDIA H200", 5.0), lambda _: next(lines), every_s=0.005)
    while len(watch._samples) < 4:
        pass
    facts = watch.finish()
    assert facts["throttled"] == "yes"
    assert 0 < float(facts["throttled_share"]) < 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTORESEARCH_PROFILE", "foo"),
        ("AUTORESEARCH_TIME_BUDGET", "foo"),
        ("AUTORESEARCH_TIME_BUDGET", "0"),
        ("AUTORESEARCH_TIME_BUDGET", "nan"),
        ("AUTORESEARCH_SEED", "foo"),
        ("AUTORESEARCH_HOME", "/proc/nope"),
    ],
)
def test_a_variable_that_cannot_be_used_is_a_configuration_fault_and_not_the_candidates(kit: Kit, name, value):
    kit.environment[name] = value
    done = kit.run()
    assert (done.code, done.end["outcome"], done.end["recorded"]) == (78, "configuration", False)
    assert f"{name}={value}" in done.err
    assert "unset it" in done.err
    assert kit.folders() == []
