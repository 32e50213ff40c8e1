"""What is sealed for a sandbox and what stays out of its reach; what is recorded of a launch."""

from __future__ import annotations

import hashlib
import os

import pytest
from support.modal_kit import FAST, GOOD, PROJECT, SCORE

from research.runs.modal import shipment
from research.runs.modal.backend import ModalBackend

pytest_plugins = ("support.modal_fixtures",)

# Data -----------------------------------------------------------------------------------------------------------

SPOIL = (
    "import os\np = os.environ['AUTORESEARCH_HOME'] + '/data/shard_06542.parquet'\nprint(open(p).read())\n"
    "q = os.environ['AUTORESEARCH_SEALED'] + '/data/shard_06542.parquet'\n"
    "for x in (p, q):\n    os.chmod(x, 0o644); open(x, 'w').write('altered')\n" + SCORE
)


def test_a_run_cannot_alter_the_data_of_the_next(standin, place) -> None:
    first, _ = place.play(SPOIL)
    second, heard = place.play(SPOIL)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert heard.lines == ["validation"]


def test_data_is_uploaded_once_and_known_by_its_content(standin, place) -> None:
    first, _ = place.play(GOOD)
    put = standin.counts.blocks_put
    for path in (place.home / "tokenizer").iterdir():
        os.utime(path)  # written again as it was
    again, _ = place.play(GOOD)
    assert (again.facts["data"], standin.counts.blocks_put) == (first.facts["data"], put)
    (place.home / "data/shard_00001.parquet").write_text("more")
    (place.home / "data/shard_00002.parquet.part").write_text("half")
    (place.home / "data/.shard_00003.parquet.7.tmp").write_text("half")
    other, heard = place.play(
        "import os\nprint(sorted(os.listdir(os.environ['AUTORESEARCH_HOME'] + '/data')))\n" + SCORE
    )
    assert other.facts["data"] != first.facts["data"]
    assert heard.lines == [str([f"shard_0{n}.parquet" for n in ("0000", "0001", "6541", "6542")])]


def test_an_unfinished_or_altered_upload_is_made_whole(standin, place) -> None:
    place.play(GOOD)
    (volume,) = standin.service.volumes.values()
    assert volume.name == "autoresearch-gpu-runner-autoresearch-cache-v2"
    for path in list(volume.files):
        if path.endswith((".manifest.json", "06542.parquet")):
            del volume.files[path]
    unfinished, _ = place.play(GOOD)
    key = next(p for p in volume.files if p.endswith("06542.parquet"))
    volume.files[key] = b"altered"
    altered, heard = place.play(GOOD)
    assert (unfinished.exit_code, altered.exit_code) == (0, 0)
    assert volume.files[key] == b"validation"
    assert any("not what was uploaded" in line for line in heard.said)


def test_bytes_arrive_as_they_are(standin, place) -> None:
    """Zeros at the end, an empty file, and more than one block of 8 MiB."""
    files = {"zeros": b"a" + bytes(100), "empty": b"", "large": os.urandom(9 << 20) + bytes(1000)}
    for name, data in files.items():
        (place.home / "tokenizer" / name).write_bytes(data)
    train = "import hashlib, os\nf = os.environ['AUTORESEARCH_HOME'] + '/tokenizer/'\n"
    train += f"for n in {sorted(files)}: print(hashlib.sha256(open(f + n, 'rb').read()).hexdigest())\n"
    ended, heard = place.play(train + SCORE)
    assert ended.exit_code == 0, ended
    assert heard.lines == [hashlib.sha256(files[n]).hexdigest() for n in sorted(files)]


def test_times_of_change_survive_the_journey(standin, place) -> None:
    """prepare.py takes a shard with another time for another shard, and tokenizes it again."""
    stat = (place.home / "data/shard_06542.parquet").stat()
    train = "import os\nprint(os.stat(os.environ['AUTORESEARCH_HOME'] + '/data/shard_06542.parquet').st_mtime_ns)\n"
    _, heard = place.play(train + SCORE)
    assert heard.lines == [str(stat.st_mtime_ns)]


def test_the_command_may_write_beside_the_data(standin, place) -> None:
    """prepare.py locks a file there, and may add tokenized shards."""
    train = "import os\nh = os.environ['AUTORESEARCH_HOME']\nopen(h + '/.lock', 'w')\nopen(h + '/data/new', 'w')\n"
    ended, heard = place.play(train + SCORE)
    assert ended.exit_code == 0, heard.text


def test_kernels_of_this_machine_are_sealed_too(standin, place) -> None:
    hub = place.folder / "hf/hub/models--varunneal--flash-attention-3"
    for name, text in (("blobs/abc", "code"), ("refs/main", "r1")):
        (hub / name).parent.mkdir(parents=True, exist_ok=True)
        (hub / name).write_text(text)
    (hub / "snapshots/r1").mkdir(parents=True)
    (hub / "snapshots/r1/kernel.so").symlink_to("../../blobs/abc")
    train = (
        "import os\nh = os.environ['HF_HOME'] + '/hub/models--varunneal--flash-attention-3'\n"
        "print(open(h + '/snapshots/r1/kernel.so').read(), open(h + '/refs/main').read())\n"
        "print(os.environ['HF_HUB_OFFLINE'])\n"
    )
    ended, heard = place.play(train + SCORE, env={"AUTORESEARCH_MODAL_HF_VOLUME_NAME": "hf-of-mine"})
    assert ended.exit_code == 0, heard.text
    assert heard.lines == ["code r1", "1"]
    assert {v.name for v in standin.service.volumes.values()} >= {"hf-of-mine"}


# Costs, phases, image -------------------------------------------------------------------------------------------


def test_the_record_tells_phases_device_and_cost(standin, place) -> None:
    ended, _ = place.play(GOOD)
    assert set(ended.phases_s) == {"pack", "connect", "upload", "build", "queue", "start", "run"}
    assert ended.device == "NVIDIA H100 80GB HBM3"
    assert ended.facts["driver"] == "570.86"
    assert ended.facts["sandbox_id"] == standin.containers[0].id
    assert ended.cost_usd is not None
    assert 0 < ended.cost_usd < 0.01
    own, _ = place.play(GOOD, env={"AUTORESEARCH_MODAL_USD_PER_HOUR": "3600"})
    assert own.cost_usd == pytest.approx(float(own.facts["billed_s"]), abs=0.06)


def test_another_device_than_asked_for_is_on_record(standin, place) -> None:
    standin.faults.device = "NVIDIA H200, 570.86"
    ended, _ = place.play(GOOD)
    assert (ended.device, ended.facts["gpu_asked"]) == ("NVIDIA H200", "H100!")


def test_what_decides_the_image_builds_a_new_one(standin, place) -> None:
    first, _ = place.play(GOOD)
    second, _ = place.play("print(1)\n" + GOOD)
    place.put("pyproject.toml", PROJECT.replace('"modal"', '"modal", "torch"'))
    third, _ = place.play(GOOD)
    assert first.facts["image_key"] == second.facts["image_key"] != third.facts["image_key"]
    layers = [" ".join(i.dockerfile_commands) for i in standin.service.images.values()]
    assert any("uv sync" in layer and "--no-default-groups --all-extras" in layer for layer in layers)


def test_the_plan_asks_nothing_of_the_network(standin, place) -> None:
    commit = place.commit(GOOD)
    lines = ModalBackend(place.env(), FAST).plan(place.launch(commit, timeout_s=600.0))
    assert standin.counts.of("AppGetOrCreate") == 0
    text = "\n".join(lines)
    for word in (commit, "H100!", "USD at most", "autoresearch-gpu-runner-autoresearch-cache-v2", "4 files", "uv run"):
        assert word in text


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("3.11\n", "3.11"),
        ("3.13.2", "3.13"),
        ("cpython-3.12.1", "3.12"),
        ("3.10", "3.12"),
        ("3.1", "3.12"),
        ("", "3.12"),
    ],
)
def test_the_images_python_is_one_that_modal_takes(place, tmp_path, text, python) -> None:
    place.put(".python-version", text)
    (tmp_path / "tree").mkdir()
    assert shipment.pack(place.root, place.commit(GOOD), tmp_path / "tree").python == python


def test_a_commit_without_a_pyproject_can_not_be_shipped(standin, place) -> None:
    (place.root / "pyproject.toml").unlink()
    ended, _ = place.play(GOOD)
    assert (ended.kind, ended.exit_code) == ("configuration", 78)
    assert "has no pyproject.toml. Commit one" in ended.why
