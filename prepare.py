"""The fixed half of the benchmark: data, tokenizer, loader, and the scoring of val_bpb. Experiments never touch it.

    uv run prepare.py                  make the data and tokenizer of this machine's profile
    uv run prepare.py --source DIR     the same from your own text (*.parquet, *.txt, *.txt.xz)

train.py imports from here. Two profiles, never compared with each other: `official` (CUDA: 2,048 tokens of context,
300 s of training) and `pocket` (anything else: 256 tokens, 30 s, text of the running Python's own standard library).

Notable:
- text is tokenized once, into memory-mapped arrays; rows are packed best-fit by a background thread
- a training script is lent what no experiment changes: compiled operators, kernels checked against plain functions, the
  progress line
- evaluate_bpb scores a model, probes it for leaks from the future and for losses that are not its own, and writes
  score.json; what is printed elsewhere is only a copy
"""

from __future__ import annotations

import argparse
import atexit
import base64
import errno
import fcntl
import gc
import hashlib
import heapq
import inspect
import json
import lzma
import math
import os
import platform
import queue
import random
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
import weakref
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

# ---------------------------------------------------------------------------------------------------------------
# Profiles and places


def stop(message, code=1):
    """Ends the program with one clear line on stderr."""
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    raise SystemExit(code)


EXIT_NO_DATA, EXIT_PROBE_FAILED, EXIT_DIVERGED = 3, 4, 5
LOSS_LIMIT = 100.0  # nats a token; an untrained model is at ln(vocabulary), 9


@dataclass(frozen=True)
class Profile:
    name: str
    max_seq_len: int  # tokens of context
    time_budget: int  # seconds of counted training
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
        return PROFILES["official" if torch.cuda.is_available() else "pocket"]
    if name not in PROFILES:
        stop(f"unknown profile {name!r}: set AUTORESEARCH_PROFILE (or --profile) to {' or '.join(PROFILES)}")
    return PROFILES[name]


def number_from_env(name, default, kind):
    text = os.environ.get(name) or str(default)
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**63:
        stop(f"{name}={text!r} is not a number that can be used: set it to 0 or more, below 2^63, or unset it")
    return value


PROFILE = choose_profile(os.environ.get("AUTORESEARCH_PROFILE"))
MAX_SEQ_LEN = PROFILE.max_seq_len
VOCAB_SIZE = PROFILE.vocab_size
EVAL_TOKENS = PROFILE.eval_tokens
SEED = number_from_env("AUTORESEARCH_SEED", 42, int)
TIME_BUDGET = number_from_env("AUTORESEARCH_TIME_BUDGET", PROFILE.time_budget, float)
if TIME_BUDGET == 0:
    stop("AUTORESEARCH_TIME_BUDGET=0 leaves no time to train: set it to a number of seconds, or unset it")
TIME_BUDGET = int(TIME_BUDGET) if int(TIME_BUDGET) == TIME_BUDGET else TIME_BUDGET
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# Shards of the public data set karpathy/climbmix-400b-shuffle. HF_ENDPOINT names a mirror, as everywhere.
HF_ENDPOINT = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
BASE_URL = f"{HF_ENDPOINT}/datasets/karpathy/climbmix-400b-shuffle/resolve/main"
VAL_SHARD, AUDIT_SHARD = 6542, 6541
MAX_TRAIN_SHARDS = 6541  # 0 to 6540


def shard_name(index):
    return f"shard_{index:05d}.parquet"


VAL_NAME, AUDIT_NAME = shard_name(VAL_SHARD), shard_name(AUDIT_SHARD)
PREPARE_COMMAND = "uv run prepare.py"


def shards_of(profile, split):
    """Paths of a split's shards, in training order; empty where they are missing."""
    if split == "val":
        paths = [profile.data_dir / VAL_NAME]
    elif split == "audit":
        paths = [profile.data_dir / AUDIT_NAME]
    else:
        held_out = {VAL_NAME, AUDIT_NAME}
        paths = sorted(p for p in profile.data_dir.glob("shard_*.parquet") if p.name not in held_out)
    return [p for p in paths if p.exists()]


@contextmanager
def clear_errors(doing):
    """Turns a full disk or an unwritable folder into one line."""
    try:
        yield
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            stop(f"no space left while {doing}: free some, or point AUTORESEARCH_HOME to another disk")
        if e.errno in (errno.EACCES, errno.EROFS):
            stop(f"not allowed to write while {doing} ({e.filename}): point AUTORESEARCH_HOME to a folder of yours")
        if e.errno in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST):
            stop(f"{doing} failed, {e.strerror} ({e.filename}): point AUTORESEARCH_HOME to a folder that can be made")
        raise


@contextmanager
def one_at_a_time(profile):
    """Only one process makes a profile's data; the others wait for it. The kernel releases the lock with its owner."""
    with clear_errors(f"preparing {profile.root}"):
        profile.root.mkdir(parents=True, exist_ok=True)
    with open(profile.root / ".lock", "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def write_atomically(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "w", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)


def sha256_of_json(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


# ---------------------------------------------------------------------------------------------------------------
# Data: the official shards over HTTP

ATTEMPTS = 6  # tries a shard, each going on where the last broke off
BACKOFF_S = 1.0  # wait after the first failure; doubles with each further one
TIMEOUT_S = (10, 30)  # seconds to connect, and without a byte before a stalled stream is dropped
CHUNK_BYTES = 1 << 20
HOPELESS = {401, 403, 404, 410}  # answers that another try will not change


class BadShard(Exception):
    """A file that is no usable shard; the message says why."""


class Hopeless(Exception):
    """A refusal that does not depend on luck."""


def check_shard(path):
    """Raises BadShard unless path is a whole parquet file with rows of text in a column `text`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as f:
            schema, rows = f.schema_arrow, f.metadata.num_rows
    except (pa.ArrowException, OSError) as e:
        raise BadShard(f"not a whole parquet file ({str(e).splitlines()[0][:120]})") from None
    if "text" not in schema.names:
        raise BadShard(f"no column `text` in it, only {', '.join(schema.names) or 'nothing'}")
    kind = schema.field("text").type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise BadShard(f"its column `text` holds {kind}, not text")
    if rows == 0:
        raise BadShard("it has no rows")


def fetch_once(session, url, part, advance):
    """Appends to `part` what is missing of `url`; raises when the connection or the answer is not as it should be."""
    import requests

    etag_file = part.with_name(part.name + ".etag")
    have = part.stat().st_size if part.exists() else 0
    etag = etag_file.read_text() if have and etag_file.exists() else ""
    # Without the tag a file that changed meanwhile would be stitched from two versions.
    headers = {"Range": f"bytes={have}-", "If-Range": etag} if etag else {}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        if answer.status_code in HOPELESS:
            raise Hopeless(f"the server answers {answer.status_code} {answer.reason}")
        if answer.status_code == 416:
            part.unlink()
            raise requests.ConnectionError("the server has less than was already fetched; starting over")
        answer.raise_for_status()
        resumed = answer.status_code == 206
        if not resumed:
            have = 0
            etag_file.write_text(answer.headers.get("ETag", ""))
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        advance(have, total)
        with open(part, "ab" if resumed else "wb") as f:
            for chunk in answer.iter_content(CHUNK_BYTES):
                f.write(chunk)
                have += len(chunk)
                advance(have, total)
    if total is not None and have != total:
        raise requests.ConnectionError(f"the stream ended after {have} of {total} bytes")


def download_shard(index, directory, advance=lambda have, total: None, sleep=time.sleep):
    """Fetches one official shard into `directory` unless a good one is there; returns None, or why it failed."""
    import requests

    target = directory / shard_name(index)
    part = target.with_name(target.name + ".part")
    if target.exists():
        try:
            check_shard(target)
            return None
        except BadShard:
            target.unlink()
    reason = ""
    with requests.Session() as session:
        for attempt in range(ATTEMPTS):
            if attempt:
                sleep(BACKOFF_S * 2 ** (attempt - 1) * random.uniform(0.8, 1.2))
            try:
                fetch_once(session, f"{BASE_URL}/{target.name}", part, advance)
                check_shard(part)
                os.replace(part, target)
                part.with_name(part.name + ".etag").unlink(missing_ok=True)
                return None
            except Hopeless as e:
                return str(e)
            except BadShard as e:
                part.unlink(missing_ok=True)
                reason = f"what came is {e}"
            except requests.RequestException as e:
                reason = f"{type(e).__name__}: {str(e)[:120]}"
    return f"{reason} ({ATTEMPTS} tries)"


def download(profile, num_shards, workers):
    """Downloads what is missing of the official shards; ends the program naming those that failed."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    profile.data_dir.mkdir(parents=True, exist_ok=True)
    train = MAX_TRAIN_SHARDS if num_shards == -1 else num_shards
    wanted = [VAL_SHARD, AUDIT_SHARD, *range(train)]
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), disable=not sys.stdout.isatty()) as progress:

        def work(index):
            task = progress.add_task(shard_name(index), total=None)
            try:
                with clear_errors(f"downloading {shard_name(index)}"):
                    why = download_shard(
                        index, profile.data_dir, lambda have, total: progress.update(task, completed=have, total=total)
                    )
            finally:
                progress.remove_task(task)
            print(f"{shard_name(index)}: {why or 'ok'}", flush=True)
            return index, why

        with ThreadPoolExecutor(max_workers=workers) as pool:
            failed = {index: why for index, why in pool.map(work, wanted) if why}
    if failed:
        names = "; ".join(f"{shard_name(i)}: {why}" for i, why in sorted(failed.items()))
        stop(f"{len(failed)} of {len(wanted)} shards could not be had ({names}). What came is kept: run it again")


# ---------------------------------------------------------------------------------------------------------------
# Data: from a folder of text, and from Python's standard library

SHARD_CHARS = 80_000_000  # characters of text a training shard, about what an official one holds compressed
ROW_GROUP_DOCS = 2048  # documents a row group in the shards we write ourselves


def by_hash(texts):
    """Documents in the order of a hash of their text: shuffled, and the same on every machine."""
    return sorted(texts, key=lambda t: hashlib.blake2b(t.encode("utf-8", "replace"), digest_size=8).digest())


def write_shard(path, texts):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"text": pa.array(texts, pa.large_string())})
    pq.write_table(table, path, row_group_size=ROW_GROUP_DOCS, compression="zstd", use_dictionary=False)


def copy_shard(source, target):
    """The column `text` of a parquet file, its row groups kept: they are part of what the loader packs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as f, pq.ParquetWriter(target, pa.schema([("text", pa.large_string())])) as w:
        for group in range(f.num_row_groups):
            text = f.read_row_group(group, columns=["text"]).column("text").cast(pa.large_string()).drop_null()
            if len(text):
                w.write_table(pa.table({"text": text}), row_group_size=len(text))


def documents_in(path):
    """The non-empty documents of one source file, in its order."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        texts = pq.read_table(path, columns=["text"]).column("text").to_pylist()
    else:
        try:
            raw = path.read_bytes()
            texts = (lzma.decompress(raw) if path.suffix == ".xz" else raw).decode("utf-8").split("\0")
        except (lzma.LZMAError, EOFError) as e:
            stop(f"{path} can't be unpacked ({e}): is it whole?")
        except UnicodeDecodeError as e:
            stop(f"{path} is not UTF-8 text (byte {e.start}): convert it, or take it out of the folder")
    return [t for t in texts if t and t.strip()]


def held_out_documents(name, prefix, files):
    """The file(s) held out under a name: those called prefix*, else the official shard."""
    return [p for p in files if p.name.lower().startswith(prefix)] or [p for p in files if p.name == name]


def build_from_source(profile, source, force):
    """Builds a profile's data folder from a folder of text; the old one is replaced only when all is written."""
    files = sorted(p for p in source.rglob("*") if p.name.lower().endswith((".parquet", ".txt", ".txt.xz")))
    if not source.is_dir() or not files:
        stop(f"no *.parquet, *.txt or *.txt.xz in {source}: name a folder that holds text")
    for path in files:
        if path.suffix == ".parquet":
            try:
                check_shard(path)
            except BadShard as e:
                stop(f"{path} can't be used: {e}")
    if shards_of(profile, "train") and not force:
        stop(f"{profile.data_dir} holds data already: add --force to replace it")

    audit_files = held_out_documents(AUDIT_NAME, "audit", files)
    rest = [p for p in files if p not in audit_files]
    val_files = held_out_documents(VAL_NAME, "val", rest) or rest[-1:]
    train_files = [p for p in rest if p not in val_files]
    val = [t for p in val_files for t in documents_in(p)]
    audit = [t for p in audit_files for t in documents_in(p)]
    if any(p.suffix != ".parquet" for p in val_files):
        val = by_hash(val)  # plain files tend to be sorted by subject: halves of them would not be alike
    if not audit_files:
        val, audit = val[: (len(val) + 1) // 2], val[(len(val) + 1) // 2 :]

    new = profile.data_dir.with_name(f"data.new-{os.getpid()}")
    new.mkdir(parents=True)
    try:
        count = 0
        for path in (p for p in train_files if p.suffix == ".parquet"):
            copy_shard(path, new / shard_name(count))
            count += 1
        with ThreadPoolExecutor() as pool:  # unpacking leaves the interpreter free
            found = pool.map(documents_in, [p for p in train_files if p.suffix != ".parquet"])
            texts = by_hash(t for documents in found for t in documents)
        shards = math.ceil(sum(map(len, texts)) / SHARD_CHARS)
        size = math.ceil(len(texts) / shards) if shards else 0
        for start in range(0, len(texts), size or 1):
            write_shard(new / shard_name(count), texts[start : start + size])
            count += 1
        if not count or not val or not audit:
            empty = "training" if not count else "validation" if not val else "the audit"
            stop(
                f"{source} has no text left for {empty}: besides the training text it needs validation text "
                "(a file val*, else its last file) of two documents or more"
            )
        write_shard(new / VAL_NAME, val)
        write_shard(new / AUDIT_NAME, audit)
        write_atomically(new / "source.json", json.dumps({"made_from": [p.name for p in files]}) + "\n")
        old = profile.data_dir.with_name(f"data.old-{os.getpid()}")
        if profile.data_dir.exists():
            profile.data_dir.rename(old)
        new.rename(profile.data_dir)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    print(f"data: {count} training shards, {len(val):,} validation and {len(audit):,} audit documents from {source}")


POCKET_SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
POCKET_DOC_CHARS = 700  # about 250 tokens: documents must fit rows of 257, or packing crops most of the text away
POCKET_PARTS = 16  # one part in 16 of the files validates, another one audits


def paragraphs(text, limit):
    """Cuts text at blank lines into pieces of at most `limit` characters, as far as its paragraphs allow."""
    piece = ""
    for block in text.split("\n\n"):
        if piece and len(piece) + len(block) + 2 > limit:
            yield piece
            piece = ""
        piece = f"{piece}\n\n{block}" if piece else block
    if piece.strip():
        yield piece


def build_pocket(profile):
    """Writes the pocket corpus: the running Python's own .py files, split by file, no network needed."""
    library = Path(sysconfig.get_paths()["stdlib"])
    splits = {"train": [], "val": [], "audit": []}
    for path in sorted(library.rglob("*.py")):
        relative = path.relative_to(library)
        if POCKET_SKIPPED.intersection(relative.parts[:-1]):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError):
            continue  # a handful of files in other encodings; the rest is text enough
        part = hashlib.sha256(relative.as_posix().encode()).digest()[0] % POCKET_PARTS
        split = {0: "val", 1: "audit"}.get(part, "train")
        splits[split].extend(paragraphs(text, POCKET_DOC_CHARS))
    if not all(splits.values()):
        stop(
            f"this Python's standard library ({library}) has no .py files to train on: use another Python, "
            f"or your own text with {PREPARE_COMMAND} --source DIR"
        )
    profile.data_dir.mkdir(parents=True, exist_ok=True)
    for name, split in ((shard_name(0), "train"), (AUDIT_NAME, "audit"), (VAL_NAME, "val")):
        temporary = profile.data_dir / f".{name}.{os.getpid()}.tmp"
        write_shard(temporary, by_hash(splits[split]))
        os.replace(temporary, profile.data_dir / name)
    sizes = ", ".join(f"{split} {sum(map(len, texts)) / 1e6:.1f}" for split, texts in splits.items())
    print(f"pocket corpus from Python's standard library (M characters): {sizes}", flush=True)


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
        """The tokenizer of a folder; by default of this run's profile, which is made ready first."""
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
        """Token ids of a text, or a list of them for a list of texts; `prepend` is an id or a special token."""
        if isinstance(prepend, str):
            prepend = self.enc.encode_single_token(prepend)
        head = [] if prepend is None else [prepend]
        if isinstance(text, str):
            return head + self.enc.encode_ordinary(text)
        return [head + ids for ids in self.enc.encode_ordinary_batch(text, num_threads=num_threads)]

    def decode(self, ids):
        return self.enc.decode(ids)

    def byte_table(self, exact):
        """Bytes a token stands for, (vocab,) int64; 0 for special tokens, which are never scored.

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
    """The public byte table, (vocab,) int64."""
    return Tokenizer.from_directory().byte_table(exact=False).to(device)


def tokenizer_digest(pattern, tokens):
    return sha256_of_json([pattern, [base64.b64encode(t).decode() for t in tokens], SPECIAL_TOKENS])


def training_texts(profile):
    """Documents of the training shards in order, each cut short, until there is enough for a tokenizer."""
    import pyarrow.parquet as pq

    chars = 0
    for path in shards_of(profile, "train"):
        with pq.ParquetFile(path) as f:
            for batch in f.iter_batches(columns=["text"], batch_size=ROW_GROUP_DOCS):
                for text in batch.column(0).to_pylist():
                    yield (text or "")[:TOKENIZER_DOC_CHARS]
                    chars += min(len(text or ""), TOKENIZER_DOC_CHARS)
                    if chars >= TOKENIZER_CHARS:
                        return


def train_tokenizer(profile):
    """Trains and saves a profile's tokenizer."""
    try:
        import rustbpe
    except ImportError:
        stop("rustbpe is needed to train a tokenizer: pip install rustbpe, or carry a tokenizer.json made elsewhere")
    started = time.time()
    trainer = rustbpe.Tokenizer()
    ordinary = profile.vocab_size - len(SPECIAL_TOKENS)
    trainer.train_from_iterator(training_texts(profile), ordinary, pattern=SPLIT_PATTERN)
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
    write_atomically(profile.tokenizer_dir / "tokenizer.json", json.dumps(saved) + "\n")
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
    """Tokenizes a parquet shard, row group by row group."""
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
    """What is known of the tokenized shards, {shard name: facts}; empty where nothing is."""
    try:
        return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def tokenize(profile, tokenizer):
    """Brings the tokenized shards in line with the data folder."""
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
            if manifest != known:
                write_atomically(folder / "manifest.json", json.dumps({**known, **manifest}, indent=1) + "\n")
    if made:
        print(f"tokens: {made / 1e6:.1f} M in {time.time() - started:.1f} s", flush=True)
    if manifest != known:
        write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")


def make_ready(profile):
    """Data, tokenizer and tokens of a profile, made where they can be made; returns the tokenizer.

    Only the pocket profile makes its own data: the official one's takes a network and minutes, so it is asked for.
    """
    _clock.preparing_since = time.perf_counter()
    with clear_errors("preparing data"), one_at_a_time(profile):
        complete = all(shards_of(profile, split) for split in ("train", "val", "audit"))
        saved = (profile.tokenizer_dir / "tokenizer.json").exists()
        if profile.name == "pocket":
            if not complete:
                build_pocket(profile)
            if not saved:
                train_tokenizer(profile)
        elif not (complete and saved):
            missing = "data" if not complete else "tokenizer"
            stop(f"the {missing} in {profile.root} is missing or incomplete: run {PREPARE_COMMAND}", EXIT_NO_DATA)
        tokenizer = Tokenizer.from_directory(profile.tokenizer_dir)
        tokenize(profile, tokenizer)
    _clock.prepared()
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
        """Digest of the split's content from the manifest, in shard order."""
        return sha256_of_json([[name, manifest[name]["sha256"]] for name in self.names])


def document_batches(shards):
    """Endless ([(tokens, start, length)], epoch): up to 128 documents that never cross a row group."""
    epoch = 1
    while True:
        for shard in shards:
            for first, last in pairwise(shard.groups.tolist()):
                for at in range(first, last, DOCS_PER_BATCH):
                    starts = shard.starts[at : min(at + DOCS_PER_BATCH, last) + 1].tolist()
                    yield [(shard.tokens, start, end - start) for start, end in pairwise(starts)], epoch
        epoch += 1


class Packer:
    """Fills rows with documents: the longest that fits, the first in among equals; none fits: the shortest, cropped.

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
        """Writes one row, (capacity,) of any integer type."""
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


@dataclass
class Feed:
    """What the training loader of this process has handed out, for score.json."""

    docs: int = 0  # documents of the split
    batches: int = 0
    tokens: int = 0
    epochs: float = 0.0  # documents placed / documents of the split
    waited_s: float = 0.0  # time next() stood still for want of data, the first batch not counted
    first: float = 0.0  # perf_counter of the first batch handed out
    last: float = 0.0


_feed = Feed()  # of the training loader that was made last
_feeds = {"train": [], "val": []}  # of all loaders by split


def make_dataloader(tokenizer, B, T, split, buffer_size=1000):
    """Endless (inputs, targets, epoch): two (B, T) int64 tensors on the device, untouched until the next next().

    A background thread packs ahead into pinned buffers. A buffer is packed again only after the copy out of it has
    finished on the GPU; `epoch` counts from 1 and is that of the last refill of the packing buffer.
    """
    if split not in ("train", "val"):
        raise ValueError(f"split must be 'train' or 'val', not {split!r}")
    documents = Split(PROFILE, tokenizer, split)
    if split == "train" and documents.tokens < B * (T + 1):
        stop(
            f"the training text has {documents.tokens:,} tokens, too few for a batch of {B} rows of {T + 1}: "
            "lower DEVICE_BATCH_SIZE or add text"
        )
    feed = Feed(docs=documents.docs)
    _feeds[split].append(feed)
    if split == "train":
        global _feed
        _feed = feed
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
            feed.last = time.perf_counter()
            if feed.batches:
                feed.waited_s += feed.last - asked
            else:
                feed.first = feed.last
            feed.batches += 1
            feed.tokens += B * T
            feed.epochs = epochs
            yield inputs, targets, epoch
    finally:
        finish()
        atexit.unregister(finish)


# ---------------------------------------------------------------------------------------------------------------
# This run: its clock, its folder, its contract

# What start, compilation and warm-up explain, seconds: a cold torch.compile on an H200 took 43 to 70 s and the start
# 2 to 4 s; the pocket profile compiles nothing. Twice that is work done where the budget does not see it.
EXPLAINED_S = {"official": 150, "pocket": 20}
UNCOUNTED_STEPS = 11  # steps before the clock starts in the public contract
OVERFIT_EPOCHS = 4  # beyond it, repeated text no longer stands in for new text (Muennighoff 2023)


def _process_age_s():
    """Seconds since this process started, import of torch included; 0 where the system does not tell."""
    try:
        with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
            ticks = int(stat.read().rpartition(")")[2].split()[19])
            return max(0.0, float(uptime.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return 0.0


class _Clock:
    """When this process started, and how long it made data, which is nobody's training."""

    def __init__(self):
        self.started = time.perf_counter() - _process_age_s()
        self.started_utc = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - _process_age_s()))
        self.preparing_since = None
        self.preparing_s = 0.0

    def prepared(self):
        self.preparing_s += time.perf_counter() - self.preparing_since

    def elapsed_s(self):
        return time.perf_counter() - self.started


def _git_head():
    try:
        command = ["git", "-C", str(HERE), "rev-parse", "HEAD"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _main_source():
    """The text of the script that runs, as it was when it started: it may be edited while it trains."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        return Path(path).read_bytes() if path else None
    except OSError:
        return None


HERE = Path(__file__).resolve().parent
_clock = _Clock()
_prepare_source = Path(__file__).read_bytes()
_train_source = _main_source()
_commit = _git_head()
_score = {}  # what score.json holds once evaluate_bpb has run
_folder = []  # the run's folder (or None), once it is known


def launched_with():
    """The environment that this process was launched with, whatever it has become; {} where the system hides it."""
    try:
        pairs = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(pair.decode("utf-8", "surrogateescape").partition("=")[::2] for pair in pairs)  # as os.environ has it


_fixed = {name: globals()[name] for name in ("PROFILE", "MAX_SEQ_LEN", "VOCAB_SIZE", "EVAL_TOKENS", "TIME_BUDGET")}


def check_untouched():
    """Ends a recorded run whose train.py changed the contract that it was launched under."""
    launched = launched_with()
    if "AUTORESEARCH_RUN_DIR" not in launched:
        return
    moved = [f"prepare.{name}" for name, value in _fixed.items() if globals()[name] != value]
    for name in ("AUTORESEARCH_PROFILE", "AUTORESEARCH_TIME_BUDGET", "AUTORESEARCH_SEED"):
        moved += [name] if os.environ.get(name, "") != launched.get(name, "") else []
    if moved:
        stop(f"train.py changed {', '.join(moved)}: a run is scored under the contract that it was launched under")


def run_dir():
    """The folder of this run, made if need be; None where nothing may be left behind.

    The runner names one. A run by hand gets one of its own, but only in a repository that expects it.
    """
    named = os.environ.get("AUTORESEARCH_RUN_DIR")
    if named:
        folder = Path(named)
    else:
        results = HERE / "results"
        if not results.exists():
            try:
                ignored = subprocess.run(["git", "-C", str(HERE), "check-ignore", "-q", "results/"], timeout=10)
            except (OSError, subprocess.TimeoutExpired):
                return None
            if ignored.returncode != 0:
                return None
        folder = results / "runs" / f"hand-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def device_class():
    if DEVICE.type == "cuda":
        return f"cuda {torch.cuda.get_device_name()}"
    return f"cpu {platform.machine()}"


def rows_scored(documents, T):
    """Rows of T targets that a split is scored on, whatever the batch size."""
    return min(EVAL_TOKENS // T, documents.tokens // (T + 1))


def fingerprint(tokenizer):
    """(name, parts): what a score depends on besides train.py. Runs compare only where the name is the same."""
    manifest = read_manifest(tokens_folder(PROFILE, tokenizer))
    splits = {split: Split(PROFILE, tokenizer, split) for split in ("train", "val", "audit")}
    parts = {
        "profile": PROFILE.name,
        "time_budget_s": TIME_BUDGET,
        "data": {split: documents.sha256(manifest) for split, documents in splits.items()},
        "tokenizer": tokenizer.digest,
        "rows": {split: rows_scored(splits[split], MAX_SEQ_LEN) for split in ("val", "audit")},
        "prepare": hashlib.sha256(_prepare_source).hexdigest(),
        "device": device_class(),
    }
    kind = PROFILE.name if PROFILE.time_budget == TIME_BUDGET else f"custom{TIME_BUDGET}"
    return f"{kind}-{sha256_of_json(parts)[:12]}", parts


# ---------------------------------------------------------------------------------------------------------------
# What a training script needs and no experiment changes


def check_settings(total, rows, width, head_dim):
    """Ends the program where a batch of `total` tokens is not whole forwards of `rows` rows, or a width not heads."""
    tokens = rows * MAX_SEQ_LEN
    if total % tokens:
        below = max(tokens, total // tokens * tokens)
        stop(
            f"TOTAL_BATCH_SIZE = {total:,} is not a multiple of DEVICE_BATCH_SIZE * {MAX_SEQ_LEN} = {tokens:,}: "
            f"{below:,} and {below + tokens:,} are"
        )
    if width % head_dim or head_dim % 2:
        stop(f"WIDTH = {width} must be a multiple of HEAD_DIM = {head_dim}, and HEAD_DIM even")


_operators_so_far = 0


def operator(results, backward=None):
    """Makes a function one node of the compiled graph: operator(results, backward)(fill).

    fill(inputs, /, results) writes into its results, which results(*inputs) allocates; inputs are tensors, None, or int
    where it says so. backward(*gradients, *inputs, *results) gives the inputs' gradients. Where the last results' names
    begin with _, they are the backward's, and who calls the operator gets the first result alone.
    torch's cache of compiled graphs knows operators by name alone. So a name ends in a sum of what this operator and
    those before it say, and an edited one is compiled anew, not run with the shapes or the backward of its old self.
    """

    def make(fill):
        def run(*inputs):
            out = results(*inputs)
            fill(*inputs, *(out if isinstance(out, tuple) else [out]))
            return out

        def save(ctx, inputs, output):
            kept = (*inputs, *(output if isinstance(output, tuple) else [output]))
            ctx.others = [None if torch.is_tensor(x) else x for x in kept]
            ctx.save_for_backward(*(x if torch.is_tensor(x) else None for x in kept))

        def differentiate(ctx, *grads):
            kept = zip(ctx.saved_tensors, ctx.others, strict=True)
            return backward(*grads, *(other if x is None else x for x, other in kept))

        global _operators_so_far
        schema = schema_of(fill)
        said = schema, meaning(results.__code__), backward and meaning(backward.__code__)
        _operators_so_far = zlib.crc32(repr(said).encode(), _operators_so_far)
        name = f"train::{fill.__name__}_{_operators_so_far:08x}"
        made = torch.library.custom_op(name, run, mutates_args=(), schema=schema)
        made.register_fake(results)
        if backward:
            made.register_autograd(differentiate, setup_context=save)
        hides = list(inspect.signature(fill).parameters)[-1].startswith("_")
        return (lambda *inputs: made(*inputs)[0]) if hides else made

    return make


def schema_of(fill):
    """torch.library's words for fill(inputs, /, results)."""
    parameters = inspect.signature(fill).parameters.values()
    inputs = [p for p in parameters if p.kind is p.POSITIONAL_ONLY]
    types = ("int" if p.annotation in (int, "int") else "Tensor?" for p in inputs)
    made = ", ".join(["Tensor"] * (len(parameters) - len(inputs)))
    said = ", ".join(f"{kind} {p.name}" for kind, p in zip(types, inputs, strict=True))
    return f"({said}) -> " + (made if made == "Tensor" else f"({made})")


def meaning(code):
    """What a function's code does, without the file and the lines where it stands."""
    inner = [meaning(x) if hasattr(x, "co_code") else x for x in code.co_consts]
    return code.co_code, code.co_names, inner


FA3_REVISION = "cdde5f42030606c40df258eebc1d73216b117e93"  # kernels-community/flash-attn3


def flash_attention_3(windows, scale):
    """FlashAttention-3 (Shah et al. 2024) for Hopper: the operators of its own package, else the kernel hub's."""
    try:
        import flash_attn_3._C  # noqa: F401  (registers torch.ops.flash_attn_3)
    except ImportError:
        from kernels import get_kernel

        hub = get_kernel("kernels-community/flash-attn3", revision=FA3_REVISION)

        def attend(q, k, v, window):
            left = window if window < MAX_SEQ_LEN else -1
            out = hub.flash_attn_func(q, k, v, softmax_scale=scale, causal=True, window_size=(left, 0))
            return out[0] if isinstance(out, tuple) else out

        return attend

    fa3 = torch.ops.flash_attn_3

    @operator(lambda dy, q, k, v, *_: tuple(t.new_empty(t.shape) for t in (q, k, v)))
    def fa3_backward(dy, q, k, v, window: int, y, lse, /, dq, dk, dv):
        fa3.bwd(dy.contiguous(), q, k, v, y, lse, dq, dk, dv, softmax_scale=scale, is_causal=True,
                window_size_left=window, window_size_right=0)  # fmt: skip

    @operator(
        lambda q, k, v, window: (q.new_empty(q.shape), q.new_empty(q[..., 0].mT.shape, dtype=torch.float32)),
        lambda dy, _, *kept: (*fa3_backward(dy, *kept), None),
    )
    def fa3_forward(q, k, v, window: int, /, y, _lse):
        _lse.copy_(fa3.fwd(q, k, v, out=y, softmax_scale=scale, is_causal=True, window_size_left=window,
                           window_size_right=0, num_splits=1, pack_gqa=False)[1])  # fmt: skip

    return lambda q, k, v, window: fa3_forward(q, k, v, window if window < MAX_SEQ_LEN else -1)


def flex_attention(windows, scale):
    """FlexAttention (Dong et al. 2024): blocks outside the window are skipped. Needs torch.compile to be fast."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def mask_of(window):
        size = MAX_SEQ_LEN, MAX_SEQ_LEN
        return create_block_mask(lambda b, h, q, k: (q >= k) & (q - k <= window), None, None, *size, device=DEVICE)

    masks = {w: mask_of(w) for w in windows}

    def attend(q, k, v, window):
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        return flex_attention(q, k, v, block_mask=masks[window], scale=scale).transpose(1, 2)

    return attend


FAST_ATTENTIONS = {"fa3": flash_attention_3, "flex": flex_attention}
"""Causal attention, fastest first: make(windows, scale) gives attend(q, k, v, window), q, k, v and out (B, T, H, D), in
which a query sees itself and the `window` keys before it."""


AGREEMENT = 0.02  # relative error of results and gradients; rounding to bf16 gives 0.003 to 0.006


def choose(what, makers, reference, inputs, choices=((),), compiled=lambda function: function, otherwise=None):
    """(name, function) of the first way to compute something that can be had here and agrees with the reference.

    Args:
        what: The word for it in messages.
        makers: {name: maker}; maker() gives the function, called with the inputs and a choice.
        reference: The function that is trusted.
        inputs: Tensors; those that require a gradient are differentiated.
        choices: Tuples of further arguments to call each function with.
        compiled: Compiles a function.
        otherwise: What to take where none agrees; without it the program ends.
    """

    def answers(function, choice):
        leaves = [t.detach().clone().requires_grad_(t.requires_grad) for t in inputs]
        out = function(*leaves, *choice)
        out = out if isinstance(out, tuple) else (out,)
        generator = torch.Generator(DEVICE).manual_seed(0)
        grads = [torch.randn(y.shape, generator=generator, device=DEVICE).to(y.dtype) for y in out]
        return [*out, *torch.autograd.grad(out, [t for t in leaves if t.requires_grad], grads)]

    for name, make in makers.items():
        try:
            function = make()
            for choice in choices:
                pairs = zip(answers(compiled(function), choice), answers(reference, choice), strict=True)
                for got, wanted in pairs:
                    error = (got - wanted).norm().item() / max(wanted.norm().item(), 1e-12)
                    if not error <= AGREEMENT:  # as no number is
                        raise ValueError(f"its answers differ from the reference's by {error:.3f}")
            return name, function
        except Exception as e:  # any failure of an optional kernel means the next one
            reason = str(e).splitlines()[0][:150] if str(e) else ""
            print(f"{what} {name} is not used: {type(e).__name__}: {reason}")
    if otherwise is None:
        stop(f"no {what} works here ({', '.join(makers) or 'none has the name that is set'})")
    return "otherwise", otherwise


def synchronize():
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


class Watch:
    """A run while it trains: its losses, read a step late so that the GPU never waits for the host, and what a person
    sees of it, one line that rewrites itself on a terminal, else a line every few seconds.

    Python's garbage collector rests meanwhile: a collection in the middle of a step costs half a second.
    """

    def __init__(self, tokens_per_step, uncounted_steps):
        self.tokens_per_step, self.uncounted_steps = tokens_per_step, uncounted_steps
        self.curve = []  # (elapsed fraction of the budget, loss in nats) of every step
        self.pending = None
        self.tty = sys.stdout.isatty()
        self.every = 0.5 if self.tty else 5.0  # seconds
        self.due = 0.0

    def read(self, step, fraction, loss):
        """Starts reading a step's loss, and waits for the one before."""
        if step == 1:
            gc.collect()
            gc.freeze()
            gc.disable()
        if DEVICE.type != "cuda":
            self.add(step, fraction, loss.item())
            return
        before, done = self.pending, torch.cuda.Event()
        host = torch.empty((), pin_memory=True).copy_(loss, non_blocking=True)
        done.record()
        self.pending = step, fraction, host, done
        self.take(before)

    def take(self, pending):
        if pending is not None:
            step, fraction, host, done = pending
            done.synchronize()
            self.add(step, fraction, host.item())

    def add(self, step, fraction, loss):
        """Keeps a loss; ends the run where it is not a number or above LOSS_LIMIT."""
        if not loss <= LOSS_LIMIT:
            diverged(f"the loss at step {step} is {loss:.4g}: training diverged; lower the learning rates")
        self.curve.append((fraction, loss))

    def show(self, step, elapsed, last=False):
        now = time.perf_counter()
        if not self.curve or (now < self.due and not last):
            return
        self.due = now + self.every
        counted = max(0, step - self.uncounted_steps)
        line = (
            f"step {step:5d} {100 * min(1, elapsed / TIME_BUDGET):5.1f} %  loss {self.curve[-1][1]:7.4f}  "
            f"{counted * self.tokens_per_step / elapsed if counted else 0:11,.0f} tok/s  "
            f"{max(0.0, TIME_BUDGET - elapsed):4.0f} s left"
        )
        print(f"\r{line}" if self.tty else line, end="" if self.tty and not last else "\n", flush=True)

    def end(self, step, started):
        """Waits for the last step, shows the last line, and returns the seconds since `started`."""
        synchronize()
        elapsed = time.perf_counter() - started
        self.take(self.pending)
        self.show(step, elapsed, last=True)
        gc.enable()
        return elapsed


# ---------------------------------------------------------------------------------------------------------------
# Evaluation

# Nats by which a loss may move when only what it must not see has changed. Honest models give exactly 0: the same
# kernel on the same shape computes each row and position alone (docs/benchmark.md, measured in fp32 and bf16).
CAUSAL_TOLERANCE_NATS = 1e-5
# Nats between the reported loss and the cross-entropy of model(x). The two calls may be compiled into different
# kernels, so in bf16 single tokens differ by rounding; the mean does not (docs/benchmark.md).
LOSS_MEAN_TOLERANCE_NATS = 1e-4
LOSS_TOKEN_TOLERANCE_NATS = 0.1


_failed = weakref.WeakSet()  # models that failed the probes


class ProbeError(Exception):
    """A model that can't be probed: its answers do not have the agreed shape."""


def eval_batches(documents, rows, B, T):
    """(x, y, n): batches of (B, T) int64 in the loader's order; rows after the first n only fill up the shape."""
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
    """Losses that the model reports, (B, T) float32 nats, in memory of their own."""
    losses = model(x, y, reduction="none")
    if losses.numel() != y.numel():
        raise ProbeError(f"model(x, y, reduction='none') gives {losses.numel():,} losses for {y.numel():,} targets")
    return losses.detach().reshape(y.shape).to(torch.float32, copy=True)


_cross_entropy = F.cross_entropy  # as torch has it: a library that puts its own in place changes the model's alone


def own_losses(model, x, y):
    """Cross-entropies of the logits that the model gives without knowing the targets, (B, T) float32 nats."""
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


def score_split(model, tokenizer, split, B, keep=lambda batches: {}):
    """Scores a split: ({"bpb", "bpb_exact", "rows"}, {name: Kept}); keep(batches) names batches to hold on to."""
    documents = Split(PROFILE, tokenizer, split)
    manifest = read_manifest(tokens_folder(PROFILE, tokenizer))
    for name, shard in zip(documents.names, documents.shards, strict=True):
        if shard.sha256() != manifest[name]["sha256"]:
            folder = tokens_folder(PROFILE, tokenizer)
            stop(f"the tokens of {name} were changed after they were made: delete {folder} and run {PREPARE_COMMAND}")
    T = MAX_SEQ_LEN
    rows = rows_scored(documents, T)
    if not rows:
        stop(f"the {split} text has {documents.tokens:,} tokens, too few for one row of {T + 1}: add text")
    wanted = keep(math.ceil(rows / B))
    kept = {}
    public, exact = (tokenizer.byte_table(exact).to(DEVICE) for exact in (False, True))
    nats = torch.zeros((), dtype=torch.float64, device=DEVICE)
    size_public = torch.zeros((), dtype=torch.int64, device=DEVICE)
    size_exact = torch.zeros((), dtype=torch.int64, device=DEVICE)
    for i, (x, y, n) in enumerate(eval_batches(documents, rows, B, T)):
        losses = reported_losses(model, x, y)
        counted = y[:n]
        nats += (losses[:n].double() * (public[counted] > 0)).sum()
        size_public += public[counted].sum()
        size_exact += exact[counted].sum()
        kept.update({name: Kept(x, y, losses, n) for name, index in wanted.items() if index == i})
    per_byte = nats.item() / math.log(2)
    return {"bpb": per_byte / size_public.item(), "bpb_exact": per_byte / size_exact.item(), "rows": rows}, kept


def other_tokens(x, rng, vocab_size):
    """Real text of other rows in place of x, (B, T), different from it everywhere."""
    B, T = x.shape
    other = x.roll(rng.randrange(1, B), 0) if B > 1 else x.roll(rng.randrange(1, T), 1)
    return torch.where(other == x, (x + 1) % vocab_size, other)


def worst(a, b):
    """Largest difference between two tensors of losses; infinite where it can't be told."""
    difference = (a - b).abs().max().item()
    return difference if math.isfinite(difference) else math.inf


def probe_causal(model, kept, rng, vocab_size):
    """Changes what a loss must not depend on and sees whether it moves: later tokens, then other rows.

    Every position is tried once, each row of a trial at its own, so that a model which sees ahead in a few places only
    is found too. Targets stay, so a model can't be told apart from itself by them; one trial is also made without.
    Returns the largest shift in nats of each kind, and where it was.
    """
    batch = kept["probed"]
    B, T = batch.x.shape
    place = torch.arange(T, device=batch.x.device)
    order = rng.sample(range(T - 1), T - 1)
    order += rng.choices(order, k=-len(order) % B)

    def shift(answer, positions, before):
        """The largest of each row, (B,): its tokens after its position replaced, the losses up to there looked at."""
        seen = place <= torch.tensor(positions, device=place.device)[:, None]
        losses = answer(torch.where(seen, batch.x, other_tokens(batch.x, rng, vocab_size)))
        moved = torch.where(seen, losses - before, 0.0).abs().amax(dim=1)
        return torch.where(moved.isfinite(), moved, math.inf)

    def reported(x):
        return reported_losses(model, x, batch.y)

    moved = [shift(reported, order[i : i + B], batch.losses) for i in range(0, len(order), B)]
    most, where = torch.cat(moved).max(dim=0)
    shifts = {f"tokens after position {order[where]}": most.item()}
    without_targets = own_losses(model, batch.x, batch.y)
    positions = rng.choices(range(T // 4, T - 1), k=B)
    most, where = shift(lambda x: own_losses(model, x, batch.y), positions, without_targets).max(dim=0)
    shifts[f"tokens after position {positions[where]}, targets not given"] = most.item()
    row = rng.randrange(batch.scored)
    if B > 1:
        x = other_tokens(batch.x, rng, vocab_size)
        x[row] = batch.x[row]
        shifts[f"rows but {row}"] = worst(reported_losses(model, x, batch.y)[row], batch.losses[row])
    first = kept["first"]
    shifts["first batch again"] = worst(reported_losses(model, first.x, first.y), first.losses)
    return shifts, without_targets


def state_of(model):
    """Copies of all parameters and buffers in host memory, where they don't count against the run's peak."""
    tensors = [*getattr(model, "parameters", list)(), *getattr(model, "buffers", list)()]
    return [t.detach().to("cpu", copy=True) for t in tensors]


@torch.no_grad()
def evaluate_bpb(model, tokenizer, batch_size):
    """Scores a model on the validation text in bits per byte, and finds out whether the score is its own.

    Writes score.json. A failed probe ends the program with exit code 4: there is no score then.

    Args:
        model: model(x, y, reduction="none") gives per-token losses in nats, model(x) logits; x, y are (B, T) int64.
        batch_size: B; the rows scored do not depend on it.
    """
    itself = getattr(model, "_orig_mod", model)  # of a compiled one
    if itself in _failed:  # what it learnt from being scored might pass the second time
        print("this model has failed the probes before: it has no score", file=sys.stderr, flush=True)
        raise SystemExit(EXIT_PROBE_FAILED)
    check_untouched()
    wall_s, training_peak = _clock.elapsed_s(), peak_vram_mb()
    rng = random.SystemRandom()
    before = state_of(model)
    started = time.perf_counter()
    val, kept = score_split(
        model, tokenizer, "val", batch_size, lambda batches: {"first": 0, "probed": rng.randrange(batches)}
    )
    if not math.isfinite(val["bpb"]):
        diverged("the losses on the validation text are not finite: the model has diverged")
    peak_mb = max(training_peak, peak_vram_mb())
    audit, _ = score_split(model, tokenizer, "audit", batch_size)
    evaluation_s = time.perf_counter() - started

    started = time.perf_counter()
    trouble, shifts, loss_mean, loss_token = "", {}, math.inf, math.inf
    try:
        shifts, without_targets = probe_causal(model, kept, rng, tokenizer.get_vocab_size())
        reported = kept["probed"].losses
        loss_mean = abs((reported.double().mean() - without_targets.double().mean()).item())
        loss_token = worst(reported, without_targets)
    except ProbeError as e:
        trouble = str(e)
    same_state = all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(before, state_of(model), strict=True))
    causal = bool(shifts) and max(shifts.values()) <= CAUSAL_TOLERANCE_NATS and same_state
    honest = loss_mean <= LOSS_MEAN_TOLERANCE_NATS and loss_token <= LOSS_TOKEN_TOLERANCE_NATS
    probes = {
        "seconds": round(time.perf_counter() - started, 3),
        "trouble": trouble,
        "causal": {"check": verdict(causal), "shift_nats": finite(shifts), "state_unchanged": same_state},
        "loss": {"check": verdict(honest), **finite({"mean_nats": loss_mean, "token_nats": loss_token})},
        "tolerance_nats": {
            "causal": CAUSAL_TOLERANCE_NATS,
            "loss_mean": LOSS_MEAN_TOLERANCE_NATS,
            "loss_token": LOSS_TOKEN_TOLERANCE_NATS,
        },
    }
    contract, parts = fingerprint(tokenizer)
    passed = causal and honest
    scores = {"val_bpb": val["bpb"], "val_bpb_exact": val["bpb_exact"]}
    scores |= {"audit_bpb": audit["bpb"], "audit_bpb_exact": audit["bpb_exact"]}
    _score.clear()
    _score.update(
        schema="autoresearch.score/1",
        status="scored" if passed else "probe_failed",
        **(scores if passed else dict.fromkeys(scores)),
        rejected=None if passed else scores,
        rows={"val": val["rows"], "audit": audit["rows"], "batch_size": batch_size},
        probes=probes,
        contract=contract,
        fingerprint=parts,
        device={"class": device_class(), "cpu_threads": torch.get_num_threads()},
        torch=torch.__version__,
        python=platform.python_version(),
        seed=SEED,
        started_utc=_clock.started_utc,
        commit=_commit,
        train_py_sha256=hashlib.sha256(_train_source).hexdigest() if _train_source else None,
        peak_vram_mb=peak_mb,
        clock=clock_facts(wall_s, evaluation_s),
        data=feed_facts(),
    )
    save_score()
    if not passed:
        with suppress(TypeError):  # what takes no weak reference is not remembered
            _failed.add(itself)
        for line in complaints(shifts, same_state, loss_mean, loss_token, trouble):
            print(line, file=sys.stderr)
        sys.stderr.flush()
        print(f"---\ncausal_check: {verdict(causal)}\nloss_check: {verdict(honest)}\ncontract: {contract}", flush=True)
        raise SystemExit(EXIT_PROBE_FAILED)
    return val["bpb"]


def verdict(passed):
    return "pass" if passed else "fail"


def finite(values):
    """JSON has no infinity: None stands for a difference that could not be told."""
    return {k: v if math.isfinite(v) else None for k, v in values.items()}


def peak_vram_mb():
    return torch.cuda.max_memory_allocated() / 1024 / 1024 if DEVICE.type == "cuda" else 0.0


def complaints(shifts, same_state, loss_mean, loss_token, trouble):
    """What the probes found, a sentence each."""
    if trouble:
        yield f"probes: {trouble}"
        return
    moved = {where: shift for where, shift in shifts.items() if not shift <= CAUSAL_TOLERANCE_NATS}
    for where, shift in moved.items():
        if where == "first batch again":
            yield (
                f"causal probe: the first batch scored again gives other losses (by {shift:.3g} nats): "
                "the model keeps something from what it was scored on"
            )
        else:
            yield f"causal probe: replacing all {where} moves losses that must not see them by {shift:.3g} nats"
    if not same_state:
        yield "causal probe: a parameter or buffer changed during the evaluation"
    if not loss_mean <= LOSS_MEAN_TOLERANCE_NATS or not loss_token <= LOSS_TOKEN_TOLERANCE_NATS:
        yield (
            f"loss probe: the reported losses are not the cross-entropy of model(x): off by {loss_mean:.3g} nats on "
            f"average, {loss_token:.3g} at worst"
        )


def clock_facts(wall_s, evaluation_s):
    """Seconds of this run. What is neither budget nor data preparation is uncounted, whatever train.py says."""
    uncounted = max(0.0, wall_s - _clock.preparing_s - TIME_BUDGET)
    return {
        "wall_before_evaluation_s": round(wall_s, 3),
        "preparing_s": round(_clock.preparing_s, 3),
        "evaluation_s": round(evaluation_s, 3),
        "uncounted_s": round(uncounted, 3),
        "explained_s": EXPLAINED_S[PROFILE.name],
        "suspicious": uncounted > EXPLAINED_S[PROFILE.name],
    }


def feed_facts():
    """What the loader handed out. waited_share is of the time between the first batch and the last."""
    seconds = _feed.last - _feed.first
    return {
        "batches": _feed.batches,
        "tokens": _feed.tokens,
        "handed_tokens": sum(feed.tokens for feed in _feeds["train"]),
        "held_out_tokens": sum(feed.tokens for feed in _feeds["val"]),  # the scoring has a reader of its own
        "epochs": round(_feed.epochs, 4),
        "waited_s": round(_feed.waited_s, 4),
        "waited_share": round(_feed.waited_s / seconds, 6) if seconds > 0 else None,
    }


def save_score():
    if not _folder:
        _folder.append(run_dir())
    folder = _folder[0]
    if folder is None:
        return
    with clear_errors(f"writing {folder / 'score.json'}"):
        if _train_source is not None and not (folder / "train.py").exists():
            (folder / "train.py").write_bytes(_train_source)
        write_atomically(folder / "score.json", json.dumps(_score, indent=1) + "\n")


def diverged(what):
    print("FAIL")
    stop(what, EXIT_DIVERGED)


def thinned(curve, points=100):
    """About `points` (fraction, loss) pairs, each the mean of its stretch of the curve."""
    size = max(1, math.ceil(len(curve) / points))
    stretches = [curve[i : i + size] for i in range(0, len(curve), size)]
    return [tuple(round(sum(c) / len(s), 5) for c in zip(*s, strict=True)) for s in stretches]


def report(uncounted_steps=None, loss_curve=(), **said):
    """Adds to score.json what train.py says of itself, and returns the summary's own lines, {key: text}.

    Args:
        uncounted_steps: Optimizer steps before the clock started.
        loss_curve: (elapsed fraction of the budget, loss in nats) of every step; kept as about 100 points.
        **said: Anything JSON holds: training_seconds, num_steps, phases_s, attention, ...
    """
    if not _score:
        raise RuntimeError("report() is for after evaluate_bpb()")
    clock = _score["clock"]
    if uncounted_steps is not None:
        clock["uncounted_steps"] = uncounted_steps
        clock["suspicious"] = clock["suspicious"] or uncounted_steps > UNCOUNTED_STEPS
    epochs = _score["data"]["epochs"]
    said["loss_curve"] = thinned(loss_curve)
    _score["reported"] = {"seed": SEED, "epochs": epochs, "uncounted_seconds": clock["uncounted_s"], **said}
    save_score()
    if clock["suspicious"]:
        print(
            f"warning: {clock['uncounted_s']:.0f} s and {uncounted_steps} steps of this run were not counted; start, "
            f"compilation and warm-up explain up to {clock['explained_s']} s and {UNCOUNTED_STEPS} steps",
            file=sys.stderr,
        )
    if epochs > OVERFIT_EPOCHS:
        print(
            f"warning: {epochs:.1f} epochs: the training text was repeated so often that the score measures "
            "overfitting; add text or lower the budget",
            file=sys.stderr,
        )
    sys.stderr.flush()
    return {
        "val_bpb_exact": f"{_score['val_bpb_exact']:.6f}",
        "epochs": f"{epochs:.2f}",
        "contract": _score["contract"],
        "causal_check": _score["probes"]["causal"]["check"],
        "loss_check": _score["probes"]["loss"]["check"],
        "uncounted_seconds": f"{clock['uncounted_s']:.1f}",
    }


PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "B200": 2250e12, "4090": 165e12}  # dense bf16


def summarize(
    val_bpb, parameters, depth, attention, steps, uncounted_steps, tokens_per_step, flops_per_token,
    training_seconds, marks, peak_mb, loss_curve,
):  # fmt: skip
    """Prints a run's summary, and adds to score.json what it says.

    Args:
        val_bpb: What evaluate_bpb gave.
        parameters: How many the model has.
        steps: Optimizer steps in all, of which the first uncounted_steps were not on the clock.
        flops_per_token: Floating-point operations, forward and backward.
        training_seconds: The counted ones.
        marks: time.perf_counter() at the start, before training, after it and after the evaluation.
        peak_mb: Of the GPU's memory, while training.
        loss_curve: As report() takes it.
    """
    tokens_per_s = (steps - uncounted_steps) * tokens_per_step / training_seconds
    peak_flops = next((flops for name, flops in PEAK_FLOPS.items() if name in device_class()), math.inf)
    start, ready, trained, end = marks
    summary = {
        "val_bpb": f"{val_bpb:.6f}",
        "training_seconds": f"{training_seconds:.1f}",
        "total_seconds": f"{end - start:.1f}",
        "peak_vram_mb": f"{peak_mb:.1f}",
        "mfu_percent": f"{100 * flops_per_token * tokens_per_s / peak_flops:.2f}",
        "total_tokens_M": f"{steps * tokens_per_step / 1e6:.1f}",
        "num_steps": str(steps),
        "num_params_M": f"{parameters / 1e6:.1f}",
        "depth": str(depth),
    }
    phases = {
        "start": ready - start,
        "uncounted_steps": trained - ready - training_seconds,
        "training": training_seconds,
        "evaluation": end - trained,
    }
    own = report(
        uncounted_steps=uncounted_steps,
        summary=summary,
        attention=attention,
        tokens_per_s=round(tokens_per_s),
        phases_s={name: round(seconds, 3) for name, seconds in phases.items()},
        loss_curve=loss_curve,
    )
    print("---")
    for key, value in (summary | own).items():
        print(f"{key + ':':<17} {value}")


def run(main, rows):
    """Calls main(), and where it runs out of GPU memory names the constant to lower, DEVICE_BATCH_SIZE, now `rows`."""
    try:
        main()
    except torch.OutOfMemoryError as e:
        stop(f"CUDA out of memory: lower DEVICE_BATCH_SIZE ({rows}) in train.py. {str(e).splitlines()[0]}")


# ---------------------------------------------------------------------------------------------------------------
# Command line


def parse_arguments():
    parser = argparse.ArgumentParser(description="Make the data and the tokenizer of the benchmark.")
    parser.add_argument("--profile", choices=sorted(PROFILES), help=f"default: {PROFILE.name} (this machine's)")
    parser.add_argument("--num-shards", type=int, default=10, help="official training shards, -1 for all (default 10)")
    parser.add_argument("--download-workers", type=int, default=8, help="shards fetched at a time (default 8)")
    parser.add_argument("--source", type=Path, metavar="DIR", help="build from *.parquet, *.txt, *.txt.xz in DIR")
    parser.add_argument("--force", action="store_true", help="with --source: replace the data that is there")
    parser.add_argument("--contract", action="store_true", help="print the contract that a run would have now, as JSON")
    arguments = parser.parse_args()
    if arguments.num_shards != -1 and not 1 <= arguments.num_shards <= MAX_TRAIN_SHARDS:
        parser.error(f"--num-shards takes 1 to {MAX_TRAIN_SHARDS}, or -1 for all")
    if arguments.download_workers < 1:
        parser.error("--download-workers takes 1 or more")
    if arguments.force and not arguments.source:
        parser.error("--force goes with --source DIR")
    return arguments


def main():
    arguments = parse_arguments()
    profile = PROFILES[arguments.profile] if arguments.profile else PROFILE
    if arguments.contract:
        if profile is not PROFILE:
            stop(f"the contract is this machine's: AUTORESEARCH_PROFILE={profile.name} python prepare.py --contract")
        name, parts = fingerprint(make_ready(PROFILE))
        print(json.dumps({"contract": name, "fingerprint": parts}))
        return
    with clear_errors(f"preparing {profile.root}"):
        with one_at_a_time(profile):
            if arguments.source:
                build_from_source(profile, arguments.source, arguments.force)
            elif profile.name == "official" and not (profile.data_dir / "source.json").exists():
                download(profile, arguments.num_shards, arguments.download_workers)
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
