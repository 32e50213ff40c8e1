"""Shards arrive whole or not at all, whatever the network does, and what failed is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from research.benchmark import corpus, download
from research.benchmark.corpus import AUDIT_SHARD, VAL_SHARD, shard_name
from tests.support.shard_server import Shelf, serving, shard_bytes

TEXTS = [f"document {i} " * 40 for i in range(300)]
URL = "/shard_00003.parquet"


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    shelf = Shelf(files={URL: shard_bytes(TEXTS)})
    monkeypatch.setattr(download, "TIMEOUT_S", (2, 0.4))
    monkeypatch.setattr(download, "CHUNK_BYTES", 256)
    with serving(shelf) as base:
        monkeypatch.setattr(download, "BASE_URL", base)
        yield shelf


def fetch(folder: Path) -> str | None:
    folder.mkdir(exist_ok=True)
    return download.download_shard(3, folder, sleep=lambda seconds: None)


def assert_whole(folder: Path) -> None:
    assert (folder / "shard_00003.parquet").read_bytes() == shard_bytes(TEXTS)
    assert [p.name for p in folder.iterdir()] == ["shard_00003.parquet"]


@pytest.mark.parametrize(
    "faults",
    [[], ["500"], ["stall"], ["truncate"], ["short"], ["close"], ["500", "close", "stall", "truncate", "500"]],
    ids=lambda faults: "+".join(faults) or "none",
)
def test_arrives_whole_through(shelf: Shelf, tmp_path: Path, faults: list[str]):
    shelf.faults[URL] = list(faults)
    assert fetch(tmp_path) is None
    assert_whole(tmp_path)


def test_goes_on_where_it_broke_off(shelf: Shelf, tmp_path: Path):
    shelf.faults[URL] = ["close"]
    assert fetch(tmp_path) is None
    (_, first), (_, second) = shelf.requests
    assert first == ""
    assert int(second.removeprefix("bytes=").rstrip("-")) > 0


def test_a_new_process_goes_on_where_the_last_one_was_killed(shelf: Shelf, tmp_path: Path):
    whole = shard_bytes(TEXTS)
    part = tmp_path / "shard_00003.parquet.part"
    part.write_bytes(whole[:1000])
    (tmp_path / "shard_00003.parquet.part.etag").write_text(shelf.etag)
    assert fetch(tmp_path) is None
    assert shelf.requests == [(URL, "bytes=1000-")]
    assert_whole(tmp_path)


def test_a_file_that_changed_meanwhile_is_not_stitched_together(shelf: Shelf, tmp_path: Path):
    (tmp_path / "shard_00003.parquet.part").write_bytes(b"PAR1 of an older version")
    (tmp_path / "shard_00003.parquet.part.etag").write_text('"older"')
    assert fetch(tmp_path) is None
    assert_whole(tmp_path)


def test_a_server_without_ranges_is_asked_for_the_whole(shelf: Shelf, tmp_path: Path):
    shelf.ranges = False
    shelf.faults[URL] = ["close"]
    assert fetch(tmp_path) is None
    assert_whole(tmp_path)


def test_more_on_disk_than_the_server_has_starts_over(shelf: Shelf, tmp_path: Path):
    (tmp_path / "shard_00003.parquet.part").write_bytes(b"x" * 10**6)
    (tmp_path / "shard_00003.parquet.part.etag").write_text(shelf.etag)
    assert fetch(tmp_path) is None
    assert_whole(tmp_path)


def test_a_corrupt_footer_is_fetched_again_and_then_given_up(shelf: Shelf, tmp_path: Path):
    shelf.files[URL] = shard_bytes(TEXTS)[:-8] + b"corrupt!"
    why = fetch(tmp_path)
    assert why is not None
    assert "not a whole parquet file" in why
    assert len(shelf.requests) == download.ATTEMPTS
    assert not (tmp_path / "shard_00003.parquet").exists()


def test_a_shard_without_text_is_named_as_such(shelf: Shelf, tmp_path: Path):
    shelf.files[URL] = shard_bytes(TEXTS, column="body")
    assert "no column `text`" in (fetch(tmp_path) or "")


def test_404_is_not_tried_again(shelf: Shelf, tmp_path: Path):
    shelf.files.clear()
    assert "404" in (fetch(tmp_path) or "")
    assert len(shelf.requests) == 1


def test_a_good_shard_of_an_earlier_cache_is_used(shelf: Shelf, tmp_path: Path):
    (tmp_path / "shard_00003.parquet").write_bytes(shard_bytes(["other text"] * 10))
    assert fetch(tmp_path) is None
    assert shelf.requests == []


def test_a_broken_shard_of_an_earlier_cache_is_replaced(shelf: Shelf, tmp_path: Path):
    (tmp_path / "shard_00003.parquet").write_bytes(b"PAR1 half of it")
    assert fetch(tmp_path) is None
    assert_whole(tmp_path)


class TestAllShards:
    """download() fetches validation, audit and training shards side by side."""

    @pytest.fixture(autouse=True)
    def official(self, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
        monkeypatch.setattr(download, "BACKOFF_S", 0.01)
        for index in (0, 1, 2, AUDIT_SHARD, VAL_SHARD):
            shelf.files[f"/{shard_name(index)}"] = shard_bytes([f"{index} {t}" for t in TEXTS])
        return shelf

    def test_all_come(self, tmp_path: Path):
        download.download(tmp_path / "data", num_shards=3, workers=4)
        names = sorted(p.name for p in (tmp_path / "data").iterdir())
        assert names == [shard_name(i) for i in (0, 1, 2, 6541, 6542)]
        assert [p.name for p in corpus.shards_in(tmp_path / "data", "train")] == names[:3]

    def test_one_that_fails_is_named_and_the_rest_is_kept(self, official: Shelf, tmp_path: Path, capsys):
        del official.files["/shard_00001.parquet"]
        with pytest.raises(SystemExit) as end:
            download.download(tmp_path / "data", num_shards=3, workers=2)
        assert end.value.code == 1
        err = capsys.readouterr().err
        assert "1 of 5 shards" in err
        assert "shard_00001.parquet: the server answers 404" in err
        assert (tmp_path / "data" / "shard_00002.parquet").exists()

    def test_no_space_left_is_one_clear_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
        def full(*args: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(download, "fetch_once", full)
        with pytest.raises(SystemExit):
            download.download(tmp_path / "data", num_shards=1, workers=1)
        assert "no space left while downloading" in capsys.readouterr().err
