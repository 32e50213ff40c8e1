"""Names and splits the shards of the data folder, and fills it in two ways without a network.

build_from_source() reads a folder of your own text, build_pocket() the standard library of the running Python.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import math
import os
import shutil
import sysconfig
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from research.benchmark.exits import stop

VAL_SHARD, AUDIT_SHARD = 6542, 6541  # of the public data set; held out, whatever else is downloaded
SHARD_CHARS = 80_000_000  # characters of text a training shard, about what an official one holds compressed
ROW_GROUP_DOCS = 2048  # documents a row group in the shards we write ourselves
POCKET_SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
POCKET_DOC_CHARS = 700  # about 250 tokens: documents must fit rows of 257, or packing crops most of the text away
POCKET_PARTS = 16  # one part in 16 of the files validates, another one audits


def shard_name(index: int) -> str:
    """Return the file name of a shard of the public data set."""
    return f"shard_{index:05d}.parquet"


VAL_NAME, AUDIT_NAME = shard_name(VAL_SHARD), shard_name(AUDIT_SHARD)


def shards_in(data_dir: Path, split: str) -> list[Path]:
    """Return the paths of a split's shards, in training order; none where they are missing."""
    held_out = {"val": VAL_NAME, "audit": AUDIT_NAME}
    if split in held_out:
        paths = [data_dir / held_out[split]]
    else:
        paths = sorted(p for p in data_dir.glob("shard_*.parquet") if p.name not in held_out.values())
    return [p for p in paths if p.exists()]


# Parquet files with a column `text`


class BadShard(Exception):
    """A file is no usable shard; the message says why."""


def check_shard(path: Path) -> None:
    """Raise BadShard unless path is a whole parquet file with rows of text in a column `text`."""
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


def write_shard(path: Path, texts: list[str]) -> None:
    """Write documents as a shard."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"text": pa.array(texts, pa.large_string())})
    pq.write_table(table, path, row_group_size=ROW_GROUP_DOCS, compression="zstd", use_dictionary=False)


def copy_shard(source: Path, target: Path) -> None:
    """Copy the column `text` of a parquet file, its row groups kept: they are part of what the loader packs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as f, pq.ParquetWriter(target, pa.schema([("text", pa.large_string())])) as w:
        for group in range(f.num_row_groups):
            text = f.read_row_group(group, columns=["text"]).column("text").cast(pa.large_string()).drop_null()
            if len(text):
                w.write_table(pa.table({"text": text}), row_group_size=len(text))


def first_texts(paths: Iterable[Path], max_chars: int, max_doc_chars: int) -> Iterator[str]:
    """Yield the documents of shards in order, each cut to max_doc_chars, until there are max_chars characters."""
    import pyarrow.parquet as pq

    chars = 0
    for path in paths:
        with pq.ParquetFile(path) as f:
            for batch in f.iter_batches(columns=["text"], batch_size=ROW_GROUP_DOCS):
                for text in batch.column(0).to_pylist():
                    yield (text or "")[:max_doc_chars]
                    chars += min(len(text or ""), max_doc_chars)
                    if chars >= max_chars:
                        return


def sort_by_hash(texts: Iterable[str]) -> list[str]:
    """Return documents in the order of a hash of their text: shuffled, and the same on every machine."""
    return sorted(texts, key=lambda t: hashlib.blake2b(t.encode("utf-8", "replace"), digest_size=8).digest())


# From a folder of text


def documents_in(path: Path) -> list[str]:
    """Return the non-empty documents of one source file, in its order."""
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


def find_sources(source: Path) -> list[Path]:
    """Return the files of text in a folder; end the program where there are none, or one can't be used."""
    files = sorted(p for p in source.rglob("*") if p.name.lower().endswith((".parquet", ".txt", ".txt.xz")))
    if not source.is_dir() or not files:
        stop(f"no *.parquet, *.txt or *.txt.xz in {source}: name a folder that holds text")
    for path in files:
        if path.suffix == ".parquet":
            try:
                check_shard(path)
            except BadShard as e:
                stop(f"{path} can't be used: {e}")
    return files


def held_out_files(name: str, prefix: str, files: list[Path]) -> list[Path]:
    """Return the file(s) held out under a name: those called prefix*, else the official shard."""
    return [p for p in files if p.name.lower().startswith(prefix)] or [p for p in files if p.name == name]


def split_sources(files: list[Path]) -> tuple[list[Path], list[str], list[str]]:
    """Return the training files, the validation documents and the audit documents."""
    audit_files = held_out_files(AUDIT_NAME, "audit", files)
    rest = [p for p in files if p not in audit_files]
    val_files = held_out_files(VAL_NAME, "val", rest) or rest[-1:]
    val = [t for p in val_files for t in documents_in(p)]
    audit = [t for p in audit_files for t in documents_in(p)]
    if any(p.suffix != ".parquet" for p in val_files):
        val = sort_by_hash(val)  # plain files tend to be sorted by subject: halves of them would not be alike
    if not audit_files:
        val, audit = val[: (len(val) + 1) // 2], val[(len(val) + 1) // 2 :]
    return [p for p in rest if p not in val_files], val, audit


def write_training_shards(folder: Path, files: list[Path]) -> int:
    """Write the training files as shards, parquet files as they are, other documents shuffled; return how many."""
    count = 0
    for path in (p for p in files if p.suffix == ".parquet"):
        copy_shard(path, folder / shard_name(count))
        count += 1
    with ThreadPoolExecutor() as pool:  # unpacking leaves the interpreter free
        found = pool.map(documents_in, [p for p in files if p.suffix != ".parquet"])
        texts = sort_by_hash(t for documents in found for t in documents)
    shards = math.ceil(sum(map(len, texts)) / SHARD_CHARS)
    size = math.ceil(len(texts) / shards) if shards else 1
    for start in range(0, len(texts), size):
        write_shard(folder / shard_name(count), texts[start : start + size])
        count += 1
    return count


def build_from_source(data_dir: Path, source: Path, force: bool) -> None:
    """Build a data folder from a folder of text; an old one is replaced only with `force`, and when all is written."""
    files = find_sources(source)
    if shards_in(data_dir, "train") and not force:
        stop(f"{data_dir} holds data already: add --force to replace it")
    train_files, val, audit = split_sources(files)
    new, old = (data_dir.with_name(f"data.{word}-{os.getpid()}") for word in ("new", "old"))
    new.mkdir(parents=True)
    try:
        count = write_training_shards(new, train_files)
        if not count or not val or not audit:
            empty = "training" if not count else "validation" if not val else "the audit"
            stop(
                f"{source} has no text left for {empty}. A text file is one document, or several with NUL bytes "
                "between: call two files or more val*, or some val* and some audit*, and leave the rest for training"
            )
        write_shard(new / VAL_NAME, val)
        write_shard(new / AUDIT_NAME, audit)
        (new / "source.json").write_text(json.dumps({"made_from": [p.name for p in files]}) + "\n", encoding="utf-8")
        if data_dir.exists():
            data_dir.rename(old)
        new.rename(data_dir)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    print(f"data: {count} training shards, {len(val):,} validation and {len(audit):,} audit documents from {source}")


# From Python's standard library


def paragraphs(text: str, limit: int) -> Iterator[str]:
    """Cut text at blank lines into pieces of at most `limit` characters, as far as its paragraphs allow."""
    piece = ""
    for block in text.split("\n\n"):
        if piece and len(piece) + len(block) + 2 > limit:
            yield piece
            piece = ""
        piece = f"{piece}\n\n{block}" if piece else block
    if piece.strip():
        yield piece


def pocket_documents(library: Path) -> dict[str, list[str]]:
    """Return the documents of each split, from the .py files of a standard library, split by file."""
    splits: dict[str, list[str]] = {"train": [], "val": [], "audit": []}
    for path in sorted(library.rglob("*.py")):
        relative = path.relative_to(library)
        if POCKET_SKIPPED.intersection(relative.parts[:-1]):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError):
            continue  # a handful of files in other encodings; the rest is text enough
        part = hashlib.sha256(relative.as_posix().encode()).digest()[0] % POCKET_PARTS
        splits[{0: "val", 1: "audit"}.get(part, "train")].extend(paragraphs(text, POCKET_DOC_CHARS))
    return splits


def build_pocket(data_dir: Path) -> None:
    """Write the pocket corpus: the running Python's own .py files, no network needed."""
    library = Path(sysconfig.get_paths()["stdlib"])
    splits = pocket_documents(library)
    if not all(splits.values()):
        stop(
            f"this Python's standard library ({library}) has no .py files to train on: use another Python, "
            "or your own text with uv run prepare.py --source DIR"
        )
    data_dir.mkdir(parents=True, exist_ok=True)
    for name, split in ((shard_name(0), "train"), (AUDIT_NAME, "audit"), (VAL_NAME, "val")):
        temporary = data_dir / f".{name}.{os.getpid()}.tmp"
        write_shard(temporary, sort_by_hash(splits[split]))
        os.replace(temporary, data_dir / name)
    sizes = ", ".join(f"{split} {sum(map(len, texts)) / 1e6:.1f}" for split, texts in splits.items())
    print(f"pocket corpus from Python's standard library (M characters): {sizes}", flush=True)
