"""The public loader's packing, written down as plainly as it can be: what prepare.Packer must equal, row for row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def reference_rows(
    batches: Iterable[tuple[list[list[int]], int]], capacity: int, buffer_size: int
) -> Iterator[tuple[list[int], int]]:
    """Yields (row of `capacity` token ids, epoch of the last refill) by a linear scan over the whole buffer.

    Args:
        batches: Endless (documents, epoch), BOS first in every document.
    """
    source = iter(batches)
    buffer: list[list[int]] = []
    epoch = 1
    while True:
        row: list[int] = []
        while len(row) < capacity:
            while len(buffer) < buffer_size:
                documents, epoch = next(source)
                buffer.extend(documents)
            room = capacity - len(row)
            fitting = [i for i, document in enumerate(buffer) if len(document) <= room]
            if fitting:
                chosen = max(fitting, key=lambda i: (len(buffer[i]), -i))
            else:
                chosen = min(range(len(buffer)), key=lambda i: (len(buffer[i]), i))
            row += buffer.pop(chosen)[:room]
        yield row, epoch
