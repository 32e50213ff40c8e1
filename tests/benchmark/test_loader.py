"""The loader gives the public algorithm's rows, bit for bit, and its buffers are never overwritten too early."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import prepare
from research.benchmark import corpus
from tests.support.reference_loader import reference_rows

GROUPS = st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=300), min_size=1, max_size=4)


def shard_of(groups: list[list[int]]) -> prepare.TokenShard:
    """A shard with documents of these lengths, every token different, so that a wrong choice shows."""
    lengths = [length for group in groups for length in group]
    starts = np.cumsum([0, *lengths])
    bounds = np.cumsum([0, *(len(group) for group in groups)])
    return prepare.TokenShard(np.arange(starts[-1], dtype=np.uint16), starts, bounds)


def as_lists(shards: list[prepare.TokenShard]):
    for documents, epoch in prepare.document_batches(shards):
        yield [tokens[start : start + length].tolist() for tokens, start, length in documents], epoch


@given(st.lists(GROUPS, min_size=1, max_size=3), st.integers(2, 48), st.integers(1, 200), st.integers(1, 60))
@settings(max_examples=150)
def test_rows_equal_the_linear_scan(shards, capacity, buffer_size, rows):
    arrays = [shard_of(groups) for groups in shards]
    packer = prepare.Packer(prepare.document_batches(arrays), capacity, buffer_size)
    row = np.empty(capacity, dtype=np.int64)
    for wanted, epoch in islice(reference_rows(as_lists(arrays), capacity, buffer_size), rows):
        packer.fill(row)
        assert row.tolist() == wanted
        assert packer.epoch == epoch


@given(GROUPS)
@settings(max_examples=50)
def test_refills_never_cross_a_row_group(groups):
    batches = prepare.document_batches([shard_of(groups)])
    for group in groups:
        left = len(group)
        while left:
            documents, epoch = next(batches)
            assert len(documents) == min(left, 128)
            assert epoch == 1
            left -= len(documents)
    assert next(batches)[1] == 2


def test_the_buffer_holds_1000_to_1127_documents():
    packer = prepare.Packer(prepare.document_batches([shard_of([[5] * 700, [9] * 700])]), 33, 1000)
    row = np.empty(33, dtype=np.int64)
    for _ in range(200):
        packer.fill(row)
        assert 999 <= packer.buffered <= 1127


def test_rows_from_parquet_equal_the_linear_scan_over_the_same_file(
    pocket_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """End to end: parquet with uneven row groups, tokenizing, memory maps, background thread, tensors."""
    texts = [f"document {i}: " + "word " * (i * 37 % 400) for i in range(700)]
    data = tmp_path / "pocket" / "data"
    data.mkdir(parents=True)
    with pq.ParquetWriter(data / "shard_00000.parquet", pa.schema([("text", pa.string())])) as writer:
        for first, last in ((0, 300), (300, 310), (310, 700)):
            writer.write_table(pa.table({"text": texts[first:last]}), row_group_size=1000)
    for name in (corpus.VAL_NAME, corpus.AUDIT_NAME):
        pq.write_table(pa.table({"text": texts[:50]}), data / name)
    (tmp_path / "pocket" / "tokenizer").symlink_to(pocket_home / "pocket" / "tokenizer")
    monkeypatch.setenv("AUTORESEARCH_HOME", str(tmp_path))
    tokenizer = prepare.Tokenizer.from_directory()

    def batches():
        epoch = 1
        while True:
            for first, last in ((0, 300), (300, 310), (310, 700)):
                for at in range(first, last, 128):
                    batch = texts[at : min(at + 128, last)]
                    yield tokenizer.encode(batch, prepend=tokenizer.get_bos_token_id()), epoch
            epoch += 1

    B, T = 5, 128
    loader = prepare.make_dataloader(tokenizer, B, T, "train", buffer_size=1000)
    reference = reference_rows(batches(), T + 1, 1000)
    for _ in range(60):
        x, y, epoch = next(loader)
        rows = [next(reference) for _ in range(B)]
        wanted = torch.tensor([row for row, _ in rows])
        assert torch.equal(x, wanted[:, :-1])
        assert torch.equal(y, wanted[:, 1:])
        assert epoch == rows[-1][1]
        assert (x[:, 0] == tokenizer.get_bos_token_id()).all()
        assert (x.dtype, y.dtype, x.is_contiguous(), y.is_contiguous()) == (torch.long, torch.long, True, True)


def test_tensors_stay_untouched_until_the_next_call(at_home: Path):
    loader = prepare.make_dataloader(prepare.Tokenizer.from_directory(), 4, 64, "train")
    x, y, _ = next(loader)
    held = x.clone(), y.clone()

    time.sleep(0.2)  # the background thread packs ahead meanwhile
    assert torch.equal(x, held[0])
    assert torch.equal(y, held[1])


def test_an_error_in_the_background_reaches_the_training_loop(at_home: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(self: prepare.Packer, row: np.ndarray) -> None:
        raise OSError("the disk went away")

    monkeypatch.setattr(prepare.Packer, "fill", broken)
    loader = prepare.make_dataloader(prepare.Tokenizer.from_directory(), 4, 64, "train")
    with pytest.raises(OSError, match="the disk went away"):
        next(loader)


def test_only_train_and_val_can_be_loaded(at_home: Path):
    with pytest.raises(ValueError, match="audit"):
        prepare.make_dataloader(prepare.Tokenizer.from_directory(), 4, 64, "audit")


def test_too_few_tokens_for_a_batch_is_one_clear_line(at_home: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        prepare.make_dataloader(prepare.Tokenizer.from_directory(), 10**6, 64, "train")
    assert end.value.code == 1
    assert "lower DEVICE_BATCH_SIZE" in capsys.readouterr().err


def test_the_feed_counts_epochs(at_home: Path):
    tokenizer = prepare.Tokenizer.from_directory()
    loader = prepare.make_dataloader(tokenizer, 64, 256, "train")
    for _ in range(5):
        next(loader)
    facts = prepare._watch.facts(budget_s=30)
    assert facts["tokens"] == 5 * 64 * 256
    share = facts["tokens"] / prepare.Split(prepare.PROFILE, tokenizer, "train").tokens
    assert 0.5 * share < facts["epochs"] < 2 * share


def test_a_program_that_just_ends_while_rows_are_packed_ends_well(pocket_home: Path):
    program = (
        "import prepare; loader = prepare.make_dataloader(prepare.Tokenizer.from_directory(), 256, 256, 'train');"
        "[next(loader) for _ in range(3)]"
    )
    environment = os.environ | {
        "AUTORESEARCH_HOME": str(pocket_home),
        "AUTORESEARCH_PROFILE": "pocket",
        "CUDA_VISIBLE_DEVICES": "",
    }
    root = Path(prepare.__file__).parent
    done = subprocess.run([sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
