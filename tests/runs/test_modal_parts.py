"""The pure parts of the Modal backend: the stream's grammar, names, tags, prices, manifests."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import os
import subprocess
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.core.errors import ConfigurationError
from research.runs.modal import client, reap, settings, shipment, stream
from research.runs.modal.backend import ModalBackend
from research.runs.modal.stream import LogReader, Parser

MARK = "::autoresearch:00112233445566778899aabbccddeeff:"
SCORE = b'{"val_bpb": 1.0}'
STREAM = (
    f"{MARK} device NVIDIA H100 80GB HBM3, 570.86\n{MARK} started\nstep 1\nhalf a line"
    f"{MARK} score {base64.b64encode(SCORE[:9]).decode()}\n{MARK} score {base64.b64encode(SCORE[9:]).decode()}\n"
    f"{MARK} end 3 1500000 {hashlib.sha256(SCORE).hexdigest()}\nlate\n"
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_a_stream_means_the_same_however_it_is_cut(cuts: list[int]) -> None:
    parser, edges = Parser(MARK), [0, *sorted(cuts), len(STREAM)]
    text = "".join(parser.feed(STREAM[a:b]) for a, b in itertools.pairwise(edges)) + parser.flush()
    assert text == "step 1\nhalf a line"
    assert parser.device == "NVIDIA H100 80GB HBM3"
    assert (parser.code, parser.took_s) == (3, 1.5)
    assert parser.score() == SCORE


@given(st.integers(0, STREAM.index("late") - 2))
def test_a_stream_that_breaks_off_has_no_end_and_no_score(at: int) -> None:
    parser = Parser(MARK)
    parser.feed(STREAM[:at])
    kept = parser.flush()
    assert parser.code is None
    assert parser.score() is None
    assert MARK not in kept


@given(st.text())
def test_what_the_command_prints_is_no_mark(text: str) -> None:
    parser = Parser(MARK)
    shown = parser.feed(text + "\n" + "::autoresearch:0: end 0 1 none\n") + parser.flush()
    assert shown == text + "\n" + "::autoresearch:0: end 0 1 none\n"
    assert parser.code is None


@pytest.mark.parametrize("damage", ["score !!!!", "score AAAA", "score"])
def test_a_damaged_score_is_no_score(damage: str) -> None:
    parser = Parser(MARK)
    parser.feed(f"{MARK} {damage}\n{MARK} end 0 1 {hashlib.sha256(SCORE).hexdigest()}\n")
    assert parser.score() is None


def run_wrapper(*command: str, timeout_s: float = 20.0) -> tuple[str, Parser]:
    mark = stream.new_mark()
    args = stream.entrypoint(mark, command, timeout_s, 0.5, "", "")
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    parser = Parser(mark)
    return parser.feed(done.stdout) + parser.flush(), parser


@pytest.mark.parametrize(
    ("script", "code", "shown"),
    [
        ("echo a; exit 7", 7, "a\n"),
        ("kill -SEGV $$", 139, ""),
        ("printf part; exit 0", 0, "part"),
        ("echo out; echo err >&2", 0, "out\nerr\n"),
    ],
)
def test_the_wrapper_tells_the_commands_own_code(script: str, code: int, shown: str) -> None:
    text, parser = run_wrapper("bash", "-c", script)
    assert (parser.code, text) == (code, shown)


def test_the_wrapper_passes_words_on_as_they_are() -> None:
    words = ["a b", "$HOME", "'", '"', "*", "", "é\n"]
    text, _ = run_wrapper("python3", "-c", "import sys; print(sys.argv[1:])", *words)
    assert text == f"{words}\n"


def test_a_command_that_does_not_exist_is_its_own_fault() -> None:
    text, parser = run_wrapper("no-such-command")
    assert parser.code == 127
    assert "no-such-command" in text


# Names, tags, orphans -------------------------------------------------------------------------------------------


def test_names_and_tags_are_such_as_modal_takes() -> None:
    run = "20261123-101112-0123abc-4d5e"
    name = reap.sandbox_name("f" * 40, run, 1)
    assert name == f"ffffffff-{run}-1"
    assert len(name) <= 64
    assert reap.sandbox_name(None, run, 2) == f"worktree-{run}-2"
    tags = reap.tags_for(name, "rün of/mine" * 20, None)
    assert all(0 < len(v) <= 63 and v.isascii() for v in tags.values())
    assert reap.tag_text("höst name") == "h-st-name"
    assert reap.tag_text("") == "none"


# Settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["", "none at all", "H100;rm", "H100:0", "-x"])
def test_what_cannot_be_a_gpu(bad: str) -> None:
    with pytest.raises(ConfigurationError, match="--gpu H100"):
        settings.gpu_request(bad)


@pytest.mark.parametrize(
    ("asked", "request_"),
    [("H100", "H100!"), ("h100:8", "H100!:8"), ("H200", "H200"), ("B200+", "B200+"), ("FUTURE-1", "FUTURE-1")],
)
def test_gpu_requests(asked: str, request_: str) -> None:
    assert settings.gpu_request(asked) == request_


def test_names_come_from_the_environment_given_even_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.ENV_APP, "from-outside")
    assert settings.names_from({}).app == settings.DEFAULT_APP
    names = settings.names_from({settings.ENV_APP: "mine", settings.ENV_DATA_VOLUME: "data-of-mine"})
    assert (names.data_volume, names.hf_volume) == ("data-of-mine", "mine-hf-cache-v2")


def test_prices() -> None:
    one = settings.usd_per_hour("H100!", {})
    assert one is not None
    assert 5 < one < 7  # the GPU's 3.95, eight cores and 32 GiB
    two = settings.usd_per_hour("H100!:2", {})
    assert two is not None
    assert two - one == pytest.approx(3.95)
    assert settings.usd_per_hour("FUTURE-1", {}) is None
    assert ModalBackend({}).knows_price("H100!:2")
    assert not ModalBackend({}).knows_price("FUTURE-1")
    assert ModalBackend({settings.ENV_USD_PER_HOUR: "5.9"}).knows_price("FUTURE-1")
    assert settings.cost_usd(1800, "FUTURE-1", {settings.ENV_USD_PER_HOUR: "4"}) == 2.0


def test_every_failure_of_the_client_has_an_owner() -> None:
    kinds = {
        "AuthError": "configuration",
        "InvalidError": "configuration",
        "ResourceExhaustedError": "capacity",
        "ConflictError": "infrastructure",
        "ServiceError": "infrastructure",
        "InternalError": "infrastructure",
        "ConnectionError": "infrastructure",
    }
    for name, kind in kinds.items():
        base = type("InvalidError", (Exception,), {}) if name == "ConflictError" else Exception
        assert client.failure_kind(type(name, (base,), {})("x")) == kind


# Images and data ------------------------------------------------------------------------------------------------


def files_below(home: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def manifest(*files: tuple[Path, str], known: dict[str, str] | None = None) -> shipment.Manifest:
    return shipment.Manifest("volume", "/mount", shipment.entries_of(list(files), known or {}))


def test_hashes_are_remembered_until_a_file_changes(tmp_path: Path) -> None:
    files_below(tmp_path, {"a": "1", "b": "2"})
    files = ((tmp_path / "a", "a"), (tmp_path / "b", "b"))
    known = {entry.state: "remembered" for entry in manifest(*files).entries}
    assert [entry.sha256 for entry in manifest(*files, known=known).entries] == ["remembered"] * 2
    stat = (tmp_path / "b").stat()
    (tmp_path / "b").write_text("3")
    os.utime(tmp_path / "b", ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size, same time of change
    three = hashlib.sha256(b"3").hexdigest()
    assert [entry.sha256 for entry in manifest(*files, known=known).entries] == ["remembered", three]


def test_what_is_hashed_again_in_the_sandbox() -> None:
    names = ("data/shard_00003.parquet", "tokens/0a/shard_00003.tokens.npy")
    assert not any(shipment.decides_metric(n) for n in names)
    names = ("data/shard_06542.parquet", "tokens/0a/shard_06541.starts.npy", "tokenizer/tokenizer.json", "data/x.json")
    assert all(shipment.decides_metric(n) for n in names)


def test_a_profile_has_its_own_data(tmp_path: Path) -> None:
    files_below(tmp_path, {"data/s": "1", "tokenizer/t": "1", "pocket/data/s": "2", "pocket/tokenizer/t": "2"})
    files_below(tmp_path, {"tokens/ab/m": "3", "other/x": "4", "tokens/.lock": "", "data/y.part": ""})
    names = [name for _, name in shipment.home_files(tmp_path, "official")]
    assert names == ["data/s", "tokenizer/t", "tokens/ab/m"]
    assert [name for _, name in shipment.home_files(tmp_path, "pocket")] == ["pocket/data/s", "pocket/tokenizer/t"]


# Uploads --------------------------------------------------------------------------------------------------------


class Storage:
    """A volume without files whose uploads, given by their paths, end when they are said to have arrived."""

    def __init__(self, arrived: Callable[[list[str]], bool]) -> None:
        self._arrived = arrived
        self.read_file = SimpleNamespace(aio=self._read)

    async def _read(self, path: str) -> AsyncGenerator[bytes, None]:
        raise FileNotFoundError(path)
        yield b""

    @asynccontextmanager
    async def batch_upload(self, force: bool) -> AsyncGenerator[Storage, None]:
        paths: list[str] = []
        yield SimpleNamespace(put_file=lambda source, path: paths.append(path))  # type: ignore[misc]
        while not self._arrived(paths):
            await asyncio.sleep(0.01)


def upload(tmp_path: Path, storage: Storage, say: Callable[[str], None] = print) -> None:
    """Seals a small and a large file; first bytes that do not arrive fail within half a second."""
    files_below(tmp_path, {"a": "1", "b": ""})
    os.truncate(tmp_path / "b", shipment.LARGE_BYTES)
    made = manifest((tmp_path / "a", "a"), (tmp_path / "b", "b"))
    cloud = client.Cloud("app", settings.Limits(first_bytes_s=0.4), None, say)
    asyncio.run(shipment.seal(cloud, storage, made))


def test_an_upload_whose_first_bytes_arrived_may_take_its_time(tmp_path: Path) -> None:
    began = time.monotonic()
    said: list[str] = []
    upload(tmp_path, Storage(lambda paths: paths == ["/.probe"] or time.monotonic() > began + 1.0), said.append)
    assert said[-1] == "uploaded b"


def test_the_manifest_is_uploaded_after_all_other_files(tmp_path: Path) -> None:
    seen: list[list[str]] = []
    upload(tmp_path, Storage(lambda paths: not seen.append(paths)))
    assert [[Path(path).name for path in paths] for paths in seen] == [
        [".probe"], ["a"], ["b"], [".verify", ".times", ".manifest.json"]
    ]  # fmt: skip


def test_a_storage_out_of_reach_is_told_within_a_minute(tmp_path: Path) -> None:
    assert settings.LIMITS.first_bytes_s + 2 * settings.LIMITS.cancel_s < 60
    with pytest.raises(client.CloudError, match="storage hosts") as caught:
        upload(tmp_path, Storage(lambda paths: False))
    assert caught.value.kind == "infrastructure"


def test_data_that_changes_while_it_is_uploaded_gets_no_manifest(tmp_path: Path) -> None:
    seen: list[str] = []

    def arrived(paths: list[str]) -> bool:
        seen.extend(Path(path).name for path in paths)
        (tmp_path / "a").write_text("2")
        return True

    with pytest.raises(client.CloudError, match=r"prepare\.py") as caught:
        upload(tmp_path, Storage(arrived))
    assert caught.value.kind == "configuration"
    assert seen == [".probe", "a", "b"]


def test_data_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"shard cannot be read .*permissions"):
        shipment.entries_of([(tmp_path / "shard", "data/shard")], {})


def test_a_log_is_let_go_of_even_where_the_client_makes_an_error_of_a_cancellation() -> None:
    """It was opened again and again until the process ended, and the client's traceback was its last words."""

    async def opened() -> AsyncGenerator[str, None]:
        yield "a line\n"
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionError("the client was closed") from None

    async def read_and_close() -> str:
        reader = LogReader(opened, pause_s=0.01)
        while not (text := reader.take()):
            await asyncio.sleep(0.01)
        assert text == "a line\n"
        await reader.close(10.0)
        return reader.trouble

    assert asyncio.run(read_and_close()) == "ConnectionError: the client was closed"
