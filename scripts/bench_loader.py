"""Times the loader against the plain one that it must equal, a linear scan that tokenizes as it goes.

    uv run scripts/bench_loader.py

Prints tokens per second of both at B = 64, T = 2048 on this machine, in turns, on the same documents: pieces of the
pocket corpus with a spread of lengths. Tokenizing, which this loader does once beforehand, is counted for the plain
one; the seconds it took are printed too.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("AUTORESEARCH_PROFILE", "pocket")

import torch  # noqa: E402

import prepare  # noqa: E402
from research.benchmark import corpus  # noqa: E402

MEAN_DOC_CHARS = 3000  # of the made documents; lengths are log-normal, as in web text
MADE_CHARS = 60_000_000
B, T, ROUNDS = 64, 2048, 5


class PlainLoader:
    """The public algorithm, which tokenizes at each refill and scans the whole buffer for every placement."""

    def __init__(self, texts: list[str], tokenizer: prepare.Tokenizer) -> None:
        self.texts, self.tokenizer = texts, tokenizer
        self.buffer: list[list[int]] = []
        self.at = 0

    def refill(self) -> None:
        """Add up to 128 documents, starting over at the end of the text."""
        batch = self.texts[self.at : self.at + 128]
        self.at = (self.at + 128) % len(self.texts)
        self.buffer.extend(self.tokenizer.encode(batch, prepend=self.tokenizer.get_bos_token_id()))

    def next(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one batch, two (B, T) int64 tensors."""
        rows = torch.empty((B, T + 1), dtype=torch.long)
        for row in rows:
            at = 0
            while at < T + 1:
                while len(self.buffer) < 1000:
                    self.refill()
                room, best, best_length = T + 1 - at, -1, 0
                for i, document in enumerate(self.buffer):
                    if best_length < len(document) <= room:
                        best, best_length = i, len(document)
                if best < 0:
                    best = min(range(len(self.buffer)), key=lambda i: len(self.buffer[i]))
                document = self.buffer.pop(best)[:room]
                row[at : at + len(document)] = torch.tensor(document)
                at += len(document)
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def made_documents() -> list[str]:
    """Return documents of very different lengths from the pocket training text."""
    text = "".join(corpus.first_texts(prepare.shards_of(prepare.PROFILE, "train"), MADE_CHARS, MADE_CHARS))
    random_ = random.Random(0)
    documents, chars = [], 0
    while chars < MADE_CHARS:
        length = int(MEAN_DOC_CHARS * random_.lognormvariate(-0.5, 1.0)) + 1
        start = random_.randrange(len(text) - length)
        documents.append(text[start : start + length])
        chars += length
    return documents


def rate(step) -> float:
    """Return the tokens per second of a loader, measured over two seconds."""
    started, batches = time.perf_counter(), 0
    while time.perf_counter() - started < 2.0:
        step()
        batches += 1
    return batches * B * T / (time.perf_counter() - started)


def main() -> None:
    """Print the rates."""
    tokenizer = prepare.Tokenizer.from_directory()
    documents = made_documents()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.parquet"
        corpus.write_shard(path, documents)
        started = time.perf_counter()
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            shard = prepare.tokenize_shard(path, tokenizer, pool)
        tokenize_s = time.perf_counter() - started
    packer = prepare.Packer(prepare.document_batches([shard]), T + 1, 1000)
    ours = prepare._handed_out(packer, B, T, prepare.integrity.Feed(docs=len(documents)))
    plain = PlainLoader(documents, tokenizer)
    assert all(torch.equal(a, b) for a, b in zip(plain.next(), next(ours)[:2], strict=True)), "the loaders differ"
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        rates[0].append(rate(lambda: next(ours)))
        rates[1].append(rate(plain.next))
    ratios = [a / b for a, b in zip(*rates, strict=True)]
    for name, values in (("this loader", rates[0]), ("plain loader", rates[1])):
        low, high = min(values) / 1e6, max(values) / 1e6
        print(f"{name:<13} {statistics.median(values) / 1e6:8.2f} M tokens/s  ({low:.2f} to {high:.2f})")
    print(f"{'ratio':<13} {statistics.median(ratios):8.1f}             ({min(ratios):.1f} to {max(ratios):.1f})")
    print(f"B {B}, T {T}, {os.cpu_count()} cores, {len(documents):,} documents, median of {ROUNDS} rounds")
    print(f"tokenized beforehand: {len(shard.tokens) / 1e6:.1f} M tokens in {tokenize_s:.1f} s")


if __name__ == "__main__":
    main()
