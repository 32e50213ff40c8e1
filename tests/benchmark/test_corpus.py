"""Data from a folder of one's own text, and from Python's standard library."""

from __future__ import annotations

import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import prepare
from research.benchmark import corpus


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "home" / "data"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    return folder


def build(source: Path, force: bool = False) -> dict[str, list[str]]:
    """Builds a data folder and reads it back: {split: documents in order}."""
    data = source.parent / "home" / "data"
    corpus.build_from_source(data, source, force)
    return documents_of(data)


def documents_of(data: Path) -> dict[str, list[str]]:
    return {
        split: [t for p in corpus.shards_in(data, split) for t in pq.read_table(p).column("text").to_pylist()]
        for split in ("train", "val", "audit")
    }


def refused(source: Path, capsys: pytest.CaptureFixture[str], force: bool = False) -> str:
    with pytest.raises(SystemExit) as end:
        build(source, force)
    assert end.value.code == 1
    return capsys.readouterr().err


def test_nul_separates_documents_in_plain_and_compressed_text(source: Path):
    (source / "a.txt").write_text("one\0two\0\0 \0three")
    (source / "b.txt.xz").write_bytes(lzma.compress("four\0fünf".encode()))
    (source / "val.txt").write_text("v1\0v2\0v3\0v4")
    got = build(source)
    assert sorted(got["train"]) == sorted(["one", "two", "three", "four", "fünf"])
    assert sorted(got["val"] + got["audit"]) == ["v1", "v2", "v3", "v4"]
    assert len(got["val"]) == len(got["audit"]) == 2


def test_a_file_without_nul_is_one_document(source: Path):
    for i in range(5):
        (source / f"{i}.txt").write_text(f"line {i}\nline")
    (source / "val-a.txt").write_text("held out")
    (source / "audit-a.txt").write_text("audited")
    got = build(source)
    assert sorted(got["train"]) == [f"line {i}\nline" for i in range(5)]
    assert (got["val"], got["audit"]) == (["held out"], ["audited"])


def test_the_same_documents_give_the_same_shards_whatever_the_files(source: Path, tmp_path: Path):
    documents = [f"document {i}" for i in range(50)]
    (source / "a.txt").write_text("\0".join(documents))
    (source / "val.txt").write_text("v1\0v2")
    first = build(source)
    (source / "a.txt").write_text("\0".join(documents[20:]))
    (source / "b.txt").write_text("\0".join(documents[:20]))
    assert build(source, force=True) == first


def test_parquet_keeps_its_order_and_row_groups(source: Path, data: Path):
    texts = [f"t{i}" for i in range(90)]
    table = pa.table({"id": list(range(90)), "text": texts})
    pq.write_table(table, source / "shard_00000.parquet", row_group_size=40)
    for name in ("shard_06541.parquet", "shard_06542.parquet"):
        pq.write_table(pa.table({"text": [name, "more"]}), source / name)
    got = build(source)
    assert got["train"] == texts
    assert got["val"] == ["shard_06542.parquet", "more"]
    assert got["audit"] == ["shard_06541.parquet", "more"]
    written = pq.ParquetFile(corpus.shards_in(data, "train")[0])
    assert [written.metadata.row_group(i).num_rows for i in range(written.num_row_groups)] == [40, 40, 10]


def test_the_last_file_validates_where_none_says_so(source: Path):
    (source / "a.txt").write_text("one\0two")
    (source / "b.txt").write_text("three\0four")
    got = build(source)
    assert sorted(got["train"]) == ["one", "two"]
    assert sorted(got["val"] + got["audit"]) == ["four", "three"]


def test_existing_data_is_replaced_only_with_force(source: Path, capsys: pytest.CaptureFixture[str]):
    (source / "a.txt").write_text("one")
    (source / "val.txt").write_text("v1\0v2")
    build(source)
    (source / "a.txt").write_text("two")
    assert "--force" in refused(source, capsys)
    assert build(source, force=True)["train"] == ["two"]


def test_files_of_one_document_each_are_held_out_by_their_names(source: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("a", "b", "c"):
        (source / f"{name}.txt").write_text(name)
    assert "call two files or more val*" in refused(source, capsys)
    for name in ("b", "c"):
        (source / f"{name}.txt").rename(source / f"val-{name}.txt")
    assert {split: len(texts) for split, texts in build(source).items()} == {"train": 1, "val": 1, "audit": 1}


def test_a_failed_build_leaves_the_old_data(source: Path, data: Path, capsys: pytest.CaptureFixture[str]):
    (source / "a.txt").write_text("one")
    (source / "val.txt").write_text("v1\0v2")
    build(source)
    (source / "b.txt").write_bytes(b"\xff\xfe not utf-8")
    assert "is not UTF-8 text" in refused(source, capsys, force=True)
    assert [p.name for p in data.parent.iterdir()] == ["data"]
    assert pq.read_table(corpus.shards_in(data, "train")[0]).column("text").to_pylist() == ["one"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "name a folder that holds text"),
        ({"a.txt": b""}, "no text left for training"),
        ({"a.txt": b"train", "val.txt": b"just one"}, "no text left for the audit"),
        ({"a.txt": b"train", "val.txt": b" \0 "}, "no text left for validation"),
        ({"a.txt.xz": b"not xz at all", "val.txt": b"a\0b"}, "can't be unpacked"),
        ({"a.parquet": b"PAR1", "val.txt": b"a\0b"}, "not a whole parquet file"),
    ],
)
def test_what_can_not_be_used_is_said(source: Path, capsys: pytest.CaptureFixture[str], files, said):
    for name, content in files.items():
        (source / name).write_bytes(content)
    assert said in refused(source, capsys)


def test_a_shard_without_text_is_named(source: Path, capsys: pytest.CaptureFixture[str]):
    pq.write_table(pa.table({"body": ["x"]}), source / "a.parquet")
    assert "no column `text`" in refused(source, capsys)


def test_the_pocket_corpus_is_split_by_file(data: Path):
    corpus.build_pocket(data)
    texts = documents_of(data)
    assert sum(map(len, texts["train"])) > 3_000_000
    assert all(sum(map(len, texts[split])) > 250_000 for split in ("val", "audit"))
    assert not set(texts["train"]) >= set(texts["val"])


def test_tokens_that_are_there_are_left_as_they_are(at_home: Path):
    tokenizer = prepare.Tokenizer.from_directory()
    manifest = prepare.tokens_folder(prepare.PROFILE, tokenizer) / "manifest.json"
    before = manifest.stat()
    prepare.tokenize(prepare.PROFILE, tokenizer)
    after = manifest.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_tokenizer_is_saved_without_pickle_and_checked(pocket_home: Path, tmp_path: Path, capsys):
    saved = pocket_home / "pocket" / "tokenizer" / "tokenizer.json"
    tokenizer = prepare.Tokenizer.from_directory(saved.parent)
    text = "def f(x):\n    return x + 1234  # naïve → ok\n"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.get_vocab_size() == 2048
    assert tokenizer.encode(["a", "b"], prepend="<|reserved_0|>")[1][0] == tokenizer.get_bos_token_id() == 2044
    (tmp_path / "tokenizer.json").write_text(saved.read_text().replace("IA==", "IQ==", 1))
    with pytest.raises(SystemExit) as end:
        prepare.Tokenizer.from_directory(tmp_path)
    assert end.value.code == 3
    assert "uv run prepare.py" in capsys.readouterr().err
