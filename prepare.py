"""The fixed half of the benchmark: data, tokenizer, loader, and the scoring of val_bpb. Experiments never touch it.

    uv run prepare.py                  make the data and tokenizer of this machine's profile
    uv run prepare.py --source DIR     the same from your own text (*.parquet, *.txt, *.txt.xz)

train.py imports from here. Two profiles, never compared with each other: `official` (CUDA: 2,048 tokens of context,
300 s of training) and `pocket` (anything else: 256 tokens, 30 s of one processor core, text of the running Python's own
standard library).

Notable:
- what defines the score is read here, top to bottom; research/benchmark/ holds the rest that is fixed: downloading and
  building text, attention, kernels, initial values, the summary
- text is tokenized once, into memory-mapped arrays; rows are packed best-fit by a background thread
- evaluate_bpb scores a model, probes it for leaks from the future and for losses that are not its own, and writes
  score.json; what is printed elsewhere is only a copy
- research/benchmark/integrity.py notes what train.py changes, reads, and does outside its budget
"""

from __future__ import annotations

import atexit
import base64
import hashlib
import heapq
import json
import math
import os
import platform
import queue
import random
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from research.benchmark import cards, corpus, download, exits, integrity, process, summary
from research.benchmark.exits import EXIT_NO_DATA, EXIT_PROBE_FAILED, diverged, explained_os_errors, stop
from research.benchmark.initial import InitialValues

# ---------------------------------------------------------------------------------------------------------------
# Profiles and places


@dataclass(frozen=True)
class Profile:
    name: str
    max_seq_len: int  # tokens of context
    time_budget: int  # seconds of counted training, on clock() below
    vocab_size: int  # tokens, the 4 special ones included
    eval_tokens: int  # tokens scored for validation, and again for the audit, where there are that many

    @property
    def root(self):
        home = Path(os.environ.get("AUTORESEARCH_HOME") or "~/.cache/autoresearch").expanduser()
        return home if self.name == "official" else home / self.name

    @property
    def data_dir(self):
        return self.root / "data"

    @property
    def tokenizer_dir(self):
        return self.root / "tokenizer"

    @property
    def tokens_dir(self):
        return self.root / "tokens"


PROFILES = {
    "official": Profile("official", 2048, 300, 8192, 40 * 524288),
    "pocket": Profile("pocket", 256, 30, 2048, 65536),
}


def choose_profile(name):
    if not name:
        return PROFILES["official" if CARD and not CARD.why_not_official() else "pocket"]
    if name not in PROFILES:
        stop(f"unknown profile {name!r}: set AUTORESEARCH_PROFILE (or --profile) to {' or '.join(PROFILES)}")
    return PROFILES[name]


CARD = cards.find()
PROFILE = choose_profile(os.environ.get("AUTORESEARCH_PROFILE"))
MAX_SEQ_LEN = PROFILE.max_seq_len
VOCAB_SIZE = PROFILE.vocab_size
EVAL_TOKENS = PROFILE.eval_tokens
SEED = process.number_from_env("AUTORESEARCH_SEED", 42, int)
TIME_BUDGET = process.number_from_env("AUTORESEARCH_TIME_BUDGET", PROFILE.time_budget, float)
if TIME_BUDGET == 0:
    stop("AUTORESEARCH_TIME_BUDGET=0 leaves no time to train: set it to a number of seconds, or unset it")
TIME_BUDGET = int(TIME_BUDGET) if int(TIME_BUDGET) == TIME_BUDGET else TIME_BUDGET
DEVICE = torch.device("cuda" if CARD else "cpu")
if DEVICE.type == "cuda":
    # An update that is compiled once for each shape of parameter falls back to eager beyond torch's limit, 8 shapes.
    torch._dynamo.config.recompile_limit = 64
    # Compiled kernels are kept beside the data: /tmp, where torch would keep them, is emptied sooner or later, and
    # FlashAttention-4 would compile its own in every process.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(PROFILE.root / "compiled" / "inductor"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(PROFILE.root / "compiled" / "triton"))
    os.environ.setdefault("FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED", "1")
    os.environ.setdefault("FLASH_ATTENTION_CUTE_DSL_CACHE_DIR", str(PROFILE.root / "compiled" / "fa4"))

# What else runs on a machine must cost a run no steps. So where a processor trains, in the pocket profile, a second is
# one that this process has computed for, and it computes in one thread: more would only be billed. A GPU is the run's
# alone: there, and in the official profile, seconds pass on the wall.
ON_PROCESSOR_TIME = PROFILE.name == "pocket" and DEVICE.type == "cpu"
clock = time.process_time if ON_PROCESSOR_TIME else time.perf_counter
if ON_PROCESSOR_TIME:
    torch.set_num_threads(1)

PREPARE_COMMAND = "uv run prepare.py"
CACHE_DIR, DATA_DIR, TOKENIZER_DIR = map(str, (PROFILE.root, PROFILE.data_dir, PROFILE.tokenizer_dir))
initial = InitialValues(SEED, DEVICE)


def fitting_rows(rows):
    """Return the rows a forward that fit into this card where a card of 40 GB takes `rows`: all, half or a quarter.

    Ends the program where the official profile can't run on the card.
    """
    if CARD is None or PROFILE.name != "official":
        return rows
    if why := CARD.why_not_official():
        stop(f"{why}: the official profile can't run on it; unset AUTORESEARCH_PROFILE, or set it to pocket")
    return max(1, rows * CARD.rows() // cards.ROWS[0][1])


@cache
def offer():
    """Return the attention and the kernels that a run may use: offers.Offer, measured once on a card and kept."""
    from research.benchmark import offers  # imports Triton where there is a GPU

    if CARD is None or PROFILE.name != "official" or CARD.why_not_official():
        return offers.PLAIN
    return offers.find(CARD, PROFILE.root)


def shards_of(profile, split):
    """Return the paths of a split's shards, in training order; none where they are missing."""
    return corpus.shards_in(profile.data_dir, split)


def sha256_of_json(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


# ---------------------------------------------------------------------------------------------------------------
# Tokenizer: BPE, trained with rustbpe, served by tiktoken, saved as JSON

# GPT-4's split pattern, but with numbers of at most two digits: small vocabularies have none to waste.
SPLIT_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
SPECIAL_TOKENS = [f"<|reserved_{i}|>" for i in range(4)]
BOS_TOKEN = SPECIAL_TOKENS[0]
TOKENIZER_CHARS = 1_000_000_000  # text the tokenizer is trained on, at most
TOKENIZER_DOC_CHARS = 10_000  # of each document, at most


class Tokenizer:
    """tiktoken with a vocabulary of ours. `digest` identifies the vocabulary, the pattern and the special tokens."""

    def __init__(self, pattern, tokens, digest):
        import tiktoken

        ranks = {token: rank for rank, token in enumerate(tokens)}
        special = {name: len(tokens) + i for i, name in enumerate(SPECIAL_TOKENS)}
        self.enc = tiktoken.Encoding("autoresearch", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
        self.digest = digest
        self.bos_token_id = special[BOS_TOKEN]

    @classmethod
    def from_directory(cls, tokenizer_dir=None):
        """Return the tokenizer of a folder; by default of this run's profile, which is made ready first."""
        if tokenizer_dir is None:
            return make_ready(PROFILE)
        path = Path(tokenizer_dir) / "tokenizer.json"
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            tokens = [base64.b64decode(t) for t in saved["tokens"]]
            digest = tokenizer_digest(saved["pattern"], tokens)
        except (OSError, ValueError, KeyError, TypeError):
            digest, saved = None, {}
        if digest is None or digest != saved.get("sha256"):
            stop(f"{path} is missing or damaged: delete it and run {PREPARE_COMMAND}", EXIT_NO_DATA)
        return cls(saved["pattern"], tokens, digest)

    def get_vocab_size(self):
        return self.enc.n_vocab

    def get_bos_token_id(self):
        return self.bos_token_id

    def encode(self, text, prepend=None, num_threads=8):
        """Return a text's token ids, or a list of them for a list of texts; `prepend` is an id or a special token."""
        if isinstance(prepend, str):
            prepend = self.enc.encode_single_token(prepend)
        head = [] if prepend is None else [prepend]
        if isinstance(text, str):
            return head + self.enc.encode_ordinary(text)
        return [head + ids for ids in self.enc.encode_ordinary_batch(text, num_threads=num_threads)]

    def decode(self, ids):
        return self.enc.decode(ids)

    def byte_table(self, exact):
        """Return the bytes of each token, (vocab,) int64; 0 for special tokens, which are never scored.

        Public definition: the length of the token decoded alone, where a byte that is no UTF-8 by itself counts as
        the 3 of U+FFFD. Exact: its true bytes.
        """
        ordinary = range(self.enc.n_vocab - len(SPECIAL_TOKENS))
        if exact:
            sizes = [len(self.enc.decode_single_token_bytes(i)) for i in ordinary]
        else:
            sizes = [len(self.enc.decode([i]).encode("utf-8")) for i in ordinary]
        return torch.tensor(sizes + [0] * len(SPECIAL_TOKENS), dtype=torch.long)


def get_token_bytes(device="cpu"):
    """Return the public byte table, (vocab,) int64."""
    return Tokenizer.from_directory().byte_table(exact=False).to(device)


def tokenizer_digest(pattern, tokens):
    return sha256_of_json([pattern, [base64.b64encode(t).decode() for t in tokens], SPECIAL_TOKENS])


def train_tokenizer(profile):
    """Train and save a profile's tokenizer."""
    try:
        import rustbpe
    except ImportError:
        stop("rustbpe is needed to train a tokenizer: pip install rustbpe, or carry a tokenizer.json made elsewhere")
    started = time.time()
    trainer = rustbpe.Tokenizer()
    ordinary = profile.vocab_size - len(SPECIAL_TOKENS)
    texts = corpus.first_texts(shards_of(profile, "train"), TOKENIZER_CHARS, TOKENIZER_DOC_CHARS)
    trainer.train_from_iterator(texts, ordinary, pattern=SPLIT_PATTERN)
    tokens = [bytes(token) for token, _ in sorted(trainer.get_mergeable_ranks(), key=lambda item: item[1])]
    if len(tokens) != ordinary:
        stop(
            f"the training text is too little for a vocabulary of {profile.vocab_size:,}: it gives {len(tokens):,} "
            "tokens; add text"
        )
    saved = {
        "schema": "autoresearch.tokenizer/1",
        "sha256": tokenizer_digest(SPLIT_PATTERN, tokens),
        "pattern": SPLIT_PATTERN,
        "special_tokens": SPECIAL_TOKENS,
        "tokens": [base64.b64encode(t).decode() for t in tokens],
    }
    process.write_atomically(profile.tokenizer_dir / "tokenizer.json", json.dumps(saved) + "\n")
    print(f"tokenizer: {profile.vocab_size:,} tokens in {time.time() - started:.1f} s", flush=True)


# ---------------------------------------------------------------------------------------------------------------
# Tokens: every shard tokenized once, into memory-mapped arrays

DOCS_PER_BATCH = 128  # documents the packing buffer is refilled with at a time, as the public loader does


@dataclass(frozen=True)
class TokenShard:
    """One tokenized shard: document i is tokens[starts[i]:starts[i + 1]], BOS first; groups are its row groups."""

    tokens: np.ndarray  # (tokens,) uint16
    starts: np.ndarray  # (documents + 1,) int64
    groups: np.ndarray  # (row groups + 1,) int64, in documents

    @staticmethod
    def load(folder, name):
        stem = name.removesuffix(".parquet")
        parts = [np.load(folder / f"{stem}.{part}.npy", mmap_mode="r") for part in ("tokens", "starts", "groups")]
        return TokenShard(parts[0], np.asarray(parts[1]), np.asarray(parts[2]))

    def save(self, folder, name):
        stem = name.removesuffix(".parquet")
        for part, array in (("tokens", self.tokens), ("starts", self.starts), ("groups", self.groups)):
            temporary = folder / f".{stem}.{part}.{os.getpid()}.tmp"
            with open(temporary, "wb") as f:
                np.save(f, array)
            os.replace(temporary, folder / f"{stem}.{part}.npy")

    def sha256(self):
        digest = hashlib.sha256()
        for array in (self.tokens, self.starts, self.groups):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def tokenize_shard(path, tokenizer, pool):
    """Tokenize a parquet shard, row group by row group."""
    import pyarrow.parquet as pq

    encode, bos = tokenizer.enc.encode_to_numpy, tokenizer.get_bos_token_id()

    def work(texts):
        return [encode(t, disallowed_special=()).astype(np.uint16) for t in texts]

    pieces, lengths, groups = [], [0], [0]
    head = np.array([bos], dtype=np.uint16)
    with pq.ParquetFile(path) as f:
        for group in range(f.num_row_groups):
            texts = [t or "" for t in f.read_row_group(group, columns=["text"]).column("text").to_pylist()]
            batches = (texts[i : i + DOCS_PER_BATCH] for i in range(0, len(texts), DOCS_PER_BATCH))
            for ids in (ids for batch in pool.map(work, batches) for ids in batch):
                pieces += (head, ids)
                lengths.append(len(ids) + 1)
            groups.append(groups[-1] + len(texts))
    return TokenShard(np.concatenate(pieces), np.cumsum(lengths, dtype=np.int64), np.array(groups, dtype=np.int64))


def tokens_folder(profile, tokenizer):
    return profile.tokens_dir / tokenizer.digest[:12]


def read_manifest(folder):
    """Return the facts of the tokenized shards, {shard name: facts}; {} where there are none."""
    try:
        return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def tokenize(profile, tokenizer):
    """Bring the tokenized shards in line with the data folder."""
    folder = tokens_folder(profile, tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    known, manifest = read_manifest(folder), {}
    paths = [p for split in ("val", "audit", "train") for p in shards_of(profile, split)]
    started, made = time.time(), 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for path in paths:
            stat = path.stat()
            facts = known.get(path.name)
            if not facts or [facts["size"], facts["mtime_ns"]] != [stat.st_size, stat.st_mtime_ns]:
                shard = tokenize_shard(path, tokenizer, pool)
                shard.save(folder, path.name)
                facts = {
                    "size": stat.st_size,
                    "mtime_ns": stat.st_mtime_ns,
                    "docs": len(shard.starts) - 1,
                    "tokens": len(shard.tokens),
                    "sha256": shard.sha256(),
                }
                made += facts["tokens"]
            manifest[path.name] = facts
            so_far = {**known, **manifest}  # shards that are yet to come stay listed
            if so_far != known:
                process.write_atomically(folder / "manifest.json", json.dumps(so_far, indent=1) + "\n")
    if made:
        print(f"tokens: {made / 1e6:.1f} M in {time.time() - started:.1f} s", flush=True)
    if manifest != known:
        process.write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")


def make_ready(profile):
    """Make data, tokenizer and tokens of a profile where they can be made; return the tokenizer.

    Only the pocket profile makes its own data: the official one's takes a network and minutes, so it is asked for.
    """
    if CARD and PROFILE.name == "pocket" and (why := CARD.why_not_official()):
        print(f"{why}: it runs the pocket profile", flush=True)
    with explained_os_errors("preparing data"), process.one_at_a_time(profile.root):
        started = _clock.elapsed_s()
        complete = all(shards_of(profile, split) for split in ("train", "val", "audit"))
        saved = (profile.tokenizer_dir / "tokenizer.json").exists()
        if profile.name == "pocket":
            if not complete:
                corpus.build_pocket(profile.data_dir)
            if not saved:
                train_tokenizer(profile)
        elif not (complete and saved):
            missing = "data" if not complete else "tokenizer"
            stop(f"the {missing} in {profile.root} is missing or incomplete: run {PREPARE_COMMAND}", EXIT_NO_DATA)
        tokenizer = Tokenizer.from_directory(profile.tokenizer_dir)
        tokenize(profile, tokenizer)
        if profile is PROFILE:
            offer()
        _clock.preparing_s += _clock.elapsed_s() - started
    return tokenizer


# ---------------------------------------------------------------------------------------------------------------
# Loader: rows of whole documents, best-fit packed

READY_BATCHES = 4  # packed batches kept waiting; each is B * (T + 1) * 4 bytes of pinned memory


class Split:
    """The tokenized documents of a split, and how much of them a loader has used."""

    def __init__(self, profile, tokenizer, split):
        folder = tokens_folder(profile, tokenizer)
        self.names = [p.name for p in shards_of(profile, split)]
        try:
            self.shards = [TokenShard.load(folder, name) for name in self.names]
        except (OSError, ValueError):
            self.shards = []
        self.docs = sum(len(s.starts) - 1 for s in self.shards)
        self.tokens = sum(len(s.tokens) for s in self.shards)
        if not self.docs:
            stop(f"no {split} tokens in {folder}: run {PREPARE_COMMAND}", EXIT_NO_DATA)

    def sha256(self, manifest):
        """Return a hash of the split's content from the manifest, in shard order."""
        return sha256_of_json([[name, manifest[name]["sha256"]] for name in self.names])


def document_batches(shards):
    """Yield ([(tokens, start, length)], epoch) without end: up to 128 documents that never cross a row group."""
    epoch = 1
    while True:
        for shard in shards:
            for first, last in pairwise(shard.groups.tolist()):
                for at in range(first, last, DOCS_PER_BATCH):
                    starts = shard.starts[at : min(at + DOCS_PER_BATCH, last) + 1].tolist()
                    yield [(shard.tokens, start, end - start) for start, end in pairwise(starts)], epoch
        epoch += 1


class Packer:
    """Fill rows with documents: the longest that fits, the first in among equals; none fits: the shortest, cropped.

    The same rows as a linear scan over the buffer (tests compare them), but the buffer is kept as one queue per
    length, and a bit per non-empty queue makes both searches one operation on an integer.
    """

    def __init__(self, batches, capacity, buffer_size):
        self.batches, self.capacity, self.buffer_size = batches, capacity, buffer_size
        self.queues = [deque() for _ in range(capacity + 1)]  # by length, documents that fit an empty row
        self.lengths = 0  # bit n is set while queues[n] is not empty
        self.long = []  # heap of (length, order of arrival, document): never fit, wait to be cropped
        self.buffered = self.drawn = 0  # documents
        self.epoch = 1

    def refill(self):
        documents, self.epoch = next(self.batches)
        for document in documents:
            length = document[2]
            if length <= self.capacity:
                self.queues[length].append(document)
                self.lengths |= 1 << length
            else:
                heapq.heappush(self.long, (length, self.drawn, document))
            self.drawn += 1
        self.buffered += len(documents)

    def take(self, length):
        queue_ = self.queues[length]
        document = queue_.popleft()
        if not queue_:
            self.lengths ^= 1 << length
        return document

    def fill(self, row):
        """Write one row, (capacity,) of any integer type."""
        at = 0
        while at < self.capacity:
            while self.buffered < self.buffer_size:
                self.refill()
            room = self.capacity - at
            fitting = self.lengths & ((1 << (room + 1)) - 1)
            if fitting:
                tokens, start, length = self.take(fitting.bit_length() - 1)
            elif self.lengths:
                tokens, start, length = self.take((self.lengths & -self.lengths).bit_length() - 1)
            else:
                tokens, start, length = heapq.heappop(self.long)[2]
            length = min(length, room)
            row[at : at + length] = tokens[start : start + length]
            at += length
            self.buffered -= 1


def make_dataloader(tokenizer, B, T, split, buffer_size=1000):
    """Yield (inputs, targets, epoch) without end: two (B, T) int64 tensors on the device, untouched until the next one.

    A background thread packs ahead into pinned buffers. A buffer is packed again only after the copy out of it has
    finished on the GPU; `epoch` counts from 1 and is that of the last refill of the packing buffer.
    """
    if split not in ("train", "val"):
        raise ValueError(f"split must be 'train' or 'val', not {split!r}")
    with _watch.own_reading():
        documents = Split(PROFILE, tokenizer, split)
    if split == "train" and documents.tokens < B * (T + 1):
        stop(
            f"the training text has {documents.tokens:,} tokens, too few for a batch of {B} rows of {T + 1}: "
            "lower DEVICE_BATCH_SIZE or add text"
        )
    feed = _watch.new_feed(split, documents.docs)
    return _handed_out(Packer(document_batches(documents.shards), T + 1, buffer_size), B, T, feed)


def _handed_out(packer, B, T, feed):
    cuda = DEVICE.type == "cuda"
    free, ready, done = queue.SimpleQueue(), queue.SimpleQueue(), threading.Event()

    def pack():
        try:
            while (item := free.get()) is not None and not done.is_set():
                rows, copied = item
                if copied is not None:
                    copied.synchronize()
                for row in rows.numpy():
                    packer.fill(row)
                placed = packer.drawn - packer.buffered
                ready.put((rows, packer.epoch, placed / feed.docs))
        except BaseException as e:  # handed to the training thread, which would wait for ever otherwise
            ready.put(e)

    for _ in range(READY_BATCHES):
        free.put((torch.empty((B, T + 1), dtype=torch.int32, pin_memory=cuda), None))
    packing = threading.Thread(target=pack, name="packer", daemon=True)
    packing.start()

    def finish():
        done.set()
        free.put(None)
        packing.join()

    atexit.register(finish)  # a thread that is still packing while the interpreter ends would abort the process
    try:
        while True:
            asked = time.perf_counter()
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            rows, epoch, epochs = item
            there = rows.to(DEVICE, non_blocking=True) if cuda else rows
            inputs = there[:, :-1].to(torch.long, memory_format=torch.contiguous_format)
            targets = there[:, 1:].to(torch.long, memory_format=torch.contiguous_format)
            copied = None
            if cuda:
                copied = torch.cuda.Event()
                copied.record()
            free.put((rows, copied))
            _watch.hand(feed, B * T, epochs, asked)
            yield inputs, targets, epoch
    finally:
        finish()
        atexit.unregister(finish)


# ---------------------------------------------------------------------------------------------------------------
# This run: its clock, its folder, its contract

HERE = Path(__file__).resolve().parent
_clock = process.Clock(clock)
_watch = integrity.Watch(_clock)
sys.addaudithook(_watch.note_open)
_source = Path(__file__).read_bytes()
_benchmark_sources = {p.name: p.read_text("utf-8") for p in sorted(Path(corpus.__file__).parent.rglob("*.py"))}
_train_source = process.main_source()
_commit = process.git_head(HERE)
_score = {}  # what score.json holds once evaluate_bpb has run
_folder = []  # the run's folder (or None), once it is known
_fixed = {name: globals()[name] for name in ("PROFILE", "MAX_SEQ_LEN", "VOCAB_SIZE", "EVAL_TOKENS", "TIME_BUDGET")}


def device_class():
    if DEVICE.type == "cuda":
        return f"cuda {torch.cuda.get_device_name()}"
    return f"cpu {platform.machine()}"


def rows_scored(documents, T):
    """Return the number of rows of T targets that a split is scored on, whatever the batch size."""
    return min(EVAL_TOKENS // T, documents.tokens // (T + 1))


def fingerprint(tokenizer):
    """Return (name, parts) of what a score depends on besides train.py; runs of different names are not compared."""
    manifest = read_manifest(tokens_folder(PROFILE, tokenizer))
    with _watch.own_reading():
        splits = {split: Split(PROFILE, tokenizer, split) for split in ("train", "val", "audit")}
    parts = {
        "profile": PROFILE.name,
        "time_budget_s": TIME_BUDGET,
        "data": {split: documents.sha256(manifest) for split, documents in splits.items()},
        "tokenizer": tokenizer.digest,
        "rows": {split: rows_scored(splits[split], MAX_SEQ_LEN) for split in ("val", "audit")},
        "prepare": hashlib.sha256(_source).hexdigest(),
        "benchmark": sha256_of_json(_benchmark_sources),
        "torch": ".".join(torch.__version__.split(".")[:2]),
        "device": device_class(),
        "offered": {"attention": offer().attention[0], "kernels": offer().kernels},
    }
    kind = PROFILE.name if PROFILE.time_budget == TIME_BUDGET else f"custom{TIME_BUDGET}"
    return f"{kind}-{sha256_of_json(parts)[:12]}", parts


# ---------------------------------------------------------------------------------------------------------------
# Evaluation

# Nats. causal: by which a loss may move when only what it must not see has changed. Honest models give exactly 0: the
# same kernel on the same shape computes each row and position alone (docs/benchmark.md, measured in fp32 and bf16).
# loss_mean, loss_token: between the reported loss and the cross-entropy of model(x). The two calls may be compiled into
# different kernels, so in bf16 single tokens differ by rounding; the mean does not.
TOLERANCE_NATS = {"causal": 1e-5, "loss_mean": 1e-4, "loss_token": 0.1}

# Batches of each split whose reported losses are held against the logits: as many as this share of the budget has time
# for, spread over the split, and in any case some that are drawn at random.
LOSS_PROBE_SHARE = 0.02
LOSS_PROBES = 8


class ProbeError(Exception):
    """A model that can't be probed: its answers do not have the agreed shape."""


def eval_batches(documents, rows, B, T):
    """Yield (x, y, n), batches of (B, T) int64 in the loader's order; rows after the first n only fill up the shape."""
    packer = Packer(document_batches(documents.shards), T + 1, 1000)
    for first in range(0, rows, B):
        n = min(B, rows - first)
        block = np.empty((B, T + 1), dtype=np.int64)
        for row in block[:n]:
            packer.fill(row)
        block[n:] = block[np.arange(B - n) % n]
        there = torch.from_numpy(block).to(DEVICE)
        yield there[:, :-1].contiguous(), there[:, 1:].contiguous(), n


def reported_losses(model, x, y):
    """Return the losses that the model reports, (B, T) float32 nats, in memory of their own."""
    losses = model(x, y, reduction="none")
    if losses.numel() != y.numel():
        raise ProbeError(f"model(x, y, reduction='none') gives {losses.numel():,} losses for {y.numel():,} targets")
    return losses.detach().reshape(y.shape).to(torch.float32, copy=True)


_cross_entropy = F.cross_entropy  # as torch has it: a library that puts its own in place changes the model's alone


def own_losses(model, x, y):
    """Return cross-entropies of the logits that the model gives without the targets, (B, T) float32 nats."""
    logits = model(x)
    if not isinstance(logits, torch.Tensor) or logits.shape[:-1] != y.shape:
        raise ProbeError("model(x) must give logits of shape (B, T, vocabulary)")
    return torch.stack([_cross_entropy(row.float(), y[i], reduction="none") for i, row in enumerate(logits)])


@dataclass
class Kept:
    """A scored batch and its losses, kept for the probes."""

    x: torch.Tensor
    y: torch.Tensor
    losses: torch.Tensor
    scored: int  # its first rows that counted


@dataclass
class Scored:
    """A split's score, and what the probes need of it."""

    bpb: float
    bpb_exact: float
    rows: int
    kept: dict  # Kept by name: `first`, and one drawn at random, `probed`
    drawn: int  # which one that is
    loss_gaps: list  # (nats on average, of the worst token) between losses and logits, of every batch that was compared
    peak_mb: float  # before anything was probed


def check_tokens(documents, tokenizer):
    """End the program where a split's tokens are not those that were made."""
    folder = tokens_folder(PROFILE, tokenizer)
    manifest = read_manifest(folder)
    for name, shard in zip(documents.names, documents.shards, strict=True):
        if shard.sha256() != manifest[name]["sha256"]:
            stop(f"the tokens of {name} were changed after they were made: delete {folder} and run {PREPARE_COMMAND}")


def score_split(model, tokenizer, documents, B, rng, pace):
    """Score a model on a split, and compare its reported losses with its logits on the way: Scored."""
    check_tokens(documents, tokenizer)
    T = MAX_SEQ_LEN
    rows = rows_scored(documents, T)
    if not rows:
        stop(f"{documents.names[0]} has {documents.tokens:,} tokens, too few for one row of {T + 1}: add text")
    batches = math.ceil(rows / B)
    compared = rng.sample(range(batches), min(batches, LOSS_PROBES))
    drawn, kept, gaps, peak_mb = rng.randrange(batches), {}, [], 0.0
    spent_s, allowed_s = pace.spent_s("logits"), LOSS_PROBE_SHARE / 2 * TIME_BUDGET
    public, exact = (tokenizer.byte_table(exact).to(DEVICE) for exact in (False, True))
    nats = torch.zeros((), dtype=torch.float64, device=DEVICE)
    size_public = torch.zeros((), dtype=torch.int64, device=DEVICE)
    size_exact = torch.zeros((), dtype=torch.int64, device=DEVICE)
    for i, (x, y, n) in enumerate(eval_batches(documents, rows, B, T)):
        with pace.measure("losses"):
            losses = reported_losses(model, x, y)
        counted = y[:n]
        nats += (losses[:n].double() * (public[counted] > 0)).sum()
        size_public += public[counted].sum()
        size_exact += exact[counted].sum()
        kept.update({name: Kept(x, y, losses, n) for name, at in (("first", 0), ("probed", drawn)) if at == i})
        peak_mb = peak_mb or peak_vram_mb()
        if i in compared or pace.spent_s("logits") - spent_s <= allowed_s * i / batches:
            with pace.measure("logits"):
                gaps.append(loss_gap(model, x, y, losses))
    per_byte = nats.item() / math.log(2)
    bpb, bpb_exact = per_byte / size_public.item(), per_byte / size_exact.item()
    return Scored(bpb, bpb_exact, rows, kept, drawn, gaps, peak_mb)


def loss_gap(model, x, y, reported):
    """Return by how many nats reported losses differ from the model's own, (on average, of the worst token)."""
    try:
        own = own_losses(model, x, y)
    except ProbeError:  # the causal probe says what is wrong
        return math.inf, math.inf
    return worst(reported.double().mean(), own.double().mean()), worst(reported, own)


def other_tokens(x, rng, vocab_size):
    """Return real text of other rows to put in place of x, (B, T), different from it everywhere."""
    B, T = x.shape
    other = x.roll(rng.randrange(1, B), 0) if B > 1 else x.roll(rng.randrange(1, T), 1)
    return torch.where(other == x, (x + 1) % vocab_size, other)


def worst(a, b):
    """Return the largest difference between two tensors of losses; infinite where it is not finite."""
    difference = (a - b).abs().max().item()
    return difference if math.isfinite(difference) else math.inf


def probe_causal(model, kept, rng, vocab_size):
    """Change what a loss must not depend on and measure how far it moves: later tokens, then other rows.

    Every position is tried once, each row of a trial at its own, so that a model which sees ahead in a few places only
    is found too. A trial leaves the targets as they are, replaces them with the tokens, or gives none, so that nothing
    tells a model that it is being probed or on what. Returns the largest shift in nats of each kind, and where it was.
    """
    batch = kept["probed"]
    B, T = batch.x.shape
    place = torch.arange(T, device=batch.x.device)
    without_targets = own_losses(model, batch.x, batch.y)
    found = {}

    def replace_all_but(seen, what, places):
        """Replace all tokens but those seen, (B, T), and note how far their losses move, each row's with its place."""
        x = torch.where(seen, batch.x, other_tokens(batch.x, rng, vocab_size))
        targets = rng.choice(("kept", "replaced too", "not given"))
        if targets == "not given":
            losses, before = own_losses(model, x, batch.y), without_targets
        else:
            y = batch.y if targets == "kept" else torch.where(seen, batch.y, x.roll(-1, 1))
            losses, before = reported_losses(model, x, y), batch.losses
        moved = torch.where(seen, losses - before, 0.0).abs().amax(dim=1)
        most, row = torch.where(moved.isfinite(), moved, math.inf).max(dim=0)
        found[what, targets] = max(found.get((what, targets), (-1.0, 0)), (most.item(), places[row]))

    order = rng.sample(range(T - 1), T - 1)
    order += rng.choices(order, k=-len(order) % B)
    for i in range(0, len(order), B):
        last = torch.tensor(order[i : i + B], device=place.device)
        replace_all_but(place <= last[:, None], "tokens after position", order[i : i + B])
    if B > 1:
        row = rng.randrange(batch.scored)
        seen = torch.zeros_like(batch.x, dtype=torch.bool)
        seen[row] = True
        replace_all_but(seen, "rows but", [row] * B)
    shifts = {f"{what} {at}, targets {way}": most for (what, way), (most, at) in found.items()}
    first = kept["first"]
    shifts["first batch again"] = worst(reported_losses(model, first.x, first.y), first.losses)
    return shifts


def state_of(model):
    """Return copies of all parameters and buffers in host memory, where they don't count against the run's peak."""
    tensors = [*getattr(model, "parameters", list)(), *getattr(model, "buffers", list)()]
    return [t.detach().to("cpu", copy=True) for t in tensors]


def probe(model, val, audit, before, rng, vocab_size):
    """Probe a model whose state was `before` when it was scored, as Scored says: summary.Probes."""
    shifts, trouble = {}, ""
    try:
        shifts = probe_causal(model, val.kept, rng, vocab_size)
    except ProbeError as e:
        trouble = str(e)
    loss_mean, loss_token = (max(gaps) for gaps in zip(*val.loss_gaps, *audit.loss_gaps, strict=True))
    same_state = all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(before, state_of(model), strict=True))
    return summary.Probes(shifts, same_state, loss_mean, loss_token, trouble)


def checks_of(found):
    """Return {check: pass or fail} of what the probes found."""
    causal = bool(found.shifts) and max(found.shifts.values()) <= TOLERANCE_NATS["causal"] and found.same_state
    honest = found.loss_mean <= TOLERANCE_NATS["loss_mean"] and found.loss_token <= TOLERANCE_NATS["loss_token"]
    return {name: "pass" if passed else "fail" for name, passed in (("causal", causal), ("loss", honest))}


@torch.no_grad()
def evaluate_bpb(model, tokenizer, batch_size):
    """Score a model on the validation text in bits per byte, and probe whether the score is its own.

    Writes score.json. A failed probe ends the program with exit code 4: there is no score then.

    Args:
        model: model(x, y, reduction="none") gives per-token losses in nats, model(x) logits; x, y are (B, T) int64.
        batch_size: B; the rows scored do not depend on it.
    """
    if _score:
        return score_again()
    integrity.check_contract(_fixed, globals())
    pace, training_peak = integrity.Pace(_clock, DEVICE), peak_vram_mb()
    tokenizer = Tokenizer.from_directory(PROFILE.tokenizer_dir)  # its bytes are what a score is divided by
    with _watch.own_reading():
        texts = [Split(PROFILE, tokenizer, split) for split in ("val", "audit")]
    rng, before = random.SystemRandom(), state_of(model)
    val, audit = (score_split(model, tokenizer, documents, batch_size, rng, pace) for documents in texts)
    if not math.isfinite(val.bpb):
        diverged("the losses on the validation text are not finite: the model has diverged")
    pace.end()
    found = probe(model, val, audit, before, rng, tokenizer.get_vocab_size())
    checks = checks_of(found)
    _score.update(
        scores_of(val, audit, batch_size, all(check == "pass" for check in checks.values())),
        suspect=[],
        probes=found.facts(checks, TOLERANCE_NATS, pace.now() - pace.ended)
        | {"batch": val.drawn, "batches_compared": [len(val.loss_gaps), len(audit.loss_gaps)]},
        **run_facts(tokenizer),
        peak_vram_mb=max(training_peak, val.peak_mb),
        clock=_watch.seconds(TIME_BUDGET, pace),
        data=_watch.facts(TIME_BUDGET),
    )
    summary.doubt(_score, _watch.reasons(_snapshot.changed(), (corpus.VAL_NAME, corpus.AUDIT_NAME)))
    save_score()
    if _score["status"] != "scored":
        reject(found, checks)
    return val.bpb


def score_again():
    """Return the score of the first evaluation, which counts: a choice among several would be made by the answer."""
    if _score["status"] != "scored":  # what a model learnt from being scored might pass the second time
        stop("this run has failed the probes before: it has no score", EXIT_PROBE_FAILED)
    summary.doubt(_score, ["evaluate_bpb was called more than once; the first score counts"])
    save_score()
    return _score["val_bpb"]


def reject(found, checks):
    """Print why a model has no score, and end the program."""
    for line in summary.complaints(found, TOLERANCE_NATS):
        print(line, file=sys.stderr)
    lines = [*(f"{name}_check: {check}" for name, check in checks.items()), f"contract: {_score['contract']}"]
    print("---", *lines, sep="\n", flush=True)
    raise SystemExit(EXIT_PROBE_FAILED)


# ---------------------------------------------------------------------------------------------------------------
# score.json


def scores_of(val, audit, batch_size, passed):
    """Return the scores; those of a model that failed the probes are under `rejected` alone."""
    scores = {"val_bpb": val.bpb, "val_bpb_exact": val.bpb_exact}
    scores |= {"audit_bpb": audit.bpb, "audit_bpb_exact": audit.bpb_exact}
    return {
        "schema": "autoresearch.score/1",
        "status": "scored" if passed else "probe_failed",
        **(scores if passed else dict.fromkeys(scores)),
        "rejected": None if passed else scores,
        "rows": {"val": val.rows, "audit": audit.rows, "batch_size": batch_size},
    }


def run_facts(tokenizer):
    """Return facts of what was scored, under which contract, and where."""
    contract, parts = fingerprint(tokenizer)
    return {
        "contract": contract,
        "fingerprint": parts,
        "device": {"class": device_class(), "cpu_threads": torch.get_num_threads()},
        "offered_ms": dict(offer().times),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "seed": SEED,
        "started_utc": _clock.started_utc,
        "commit": _commit,
        "train_py_sha256": hashlib.sha256(_train_source).hexdigest() if _train_source else None,
    }


def peak_vram_mb():
    return torch.cuda.max_memory_allocated() / 1024 / 1024 if DEVICE.type == "cuda" else 0.0


def save_score():
    if not _folder:
        _folder.append(process.run_folder(HERE))
    folder = _folder[0]
    if folder is None:
        return
    _score["clock"]["wall_s"] = round(_clock.wall_s(), 3)
    with explained_os_errors(f"writing {folder / 'score.json'}"):
        if _train_source is not None and not (folder / "train.py").exists():
            (folder / "train.py").write_bytes(_train_source)
        process.write_atomically(folder / "score.json", json.dumps(_score, indent=1) + "\n")


def report(uncounted_steps=None, loss_curve=(), **said):
    """Add to score.json what train.py reports of itself, and return the summary's own lines, {key: text}.

    Args:
        uncounted_steps: Optimizer steps before the clock started.
        loss_curve: (elapsed fraction of the budget, loss in nats) of every step; kept as about 100 points.
        **said: Anything JSON holds: training_seconds, num_steps, phases_s, attention, ...
    """
    from research.benchmark import kernels  # imports Triton, which preparing data has no use for

    if not _score:
        raise RuntimeError("report() is for after evaluate_bpb()")
    said |= {"loss_curve": loss_curve, "kernels": kernels.used(), "initial_values": initial.hashes}
    lines = summary.add_report(_score, uncounted_steps, said)
    save_score()
    return lines


def summarize(val_bpb, **facts):
    """Print a run's summary, and add its facts to score.json; `facts` are those of summary.Facts."""
    facts = summary.Facts(**facts)
    lines = facts.public_lines(val_bpb, device_class())
    own = report(
        facts.uncounted_steps, facts.loss_curve, summary=lines, attention=facts.attention,
        tokens_per_s=round(facts.tokens_per_s()), phases_s=facts.phases_s(_clock.elapsed_s() - clock()),
    )  # fmt: skip
    summary.show_summary(lines | own)


_snapshot = integrity.Snapshot([sys.modules[__name__], corpus, exits, integrity, process, summary])

# ---------------------------------------------------------------------------------------------------------------
# Command line


def main():
    arguments = download.parse_arguments(sorted(PROFILES), PROFILE.name)
    profile = PROFILES[arguments.profile] if arguments.profile else PROFILE
    if arguments.contract:
        if profile is not PROFILE:
            stop(f"the contract is this machine's: AUTORESEARCH_PROFILE={profile.name} python prepare.py --contract")
        name, parts = fingerprint(make_ready(PROFILE))
        print(json.dumps({"contract": name, "fingerprint": parts}))
        return
    if profile is PROFILE:
        fitting_rows(1)  # ends the program before it downloads what the card here can't use
    with explained_os_errors(f"preparing {profile.root}"):
        with process.one_at_a_time(profile.root):
            if arguments.source:
                corpus.build_from_source(profile.data_dir, arguments.source, arguments.force)
            elif profile.name == "official" and not (profile.data_dir / "source.json").exists():
                download.download(profile.data_dir, arguments.num_shards, arguments.download_workers)
            if profile.name == "official" and not (profile.tokenizer_dir / "tokenizer.json").exists():
                train_tokenizer(profile)
            elif arguments.source and arguments.force:
                print(
                    f"the tokenizer is kept; if it may have been trained on text that is held out now, delete "
                    f"{profile.tokenizer_dir} and run this again"
                )
        make_ready(profile)
    print(f"{profile.name} profile ready in {profile.root}: now uv run train.py")


if __name__ == "__main__":
    main()
