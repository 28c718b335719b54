"""Rows of one length out of whole samples. One row of ten tokens:

    row        a a a a a b b b p p        three samples: a, b, and the padding
    positions  0 1 2 3 4 0 1 2 0 1        they restart, which is what keeps a from b in attention
    labels     - a a a a - b b - -

What is marked - is not learnt: padding, and the first token of a sample, which nothing of its own stands before.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from finetune.data.padding import share_out
from finetune.records import IGNORED, Encoded, PackedRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOOK_AHEAD = 8192  # samples placed together, or fewer; at rows of 512 another ten times as many fill no row better


def pack(encoded: Iterable[Encoded], *, row_length: int, pad_id: int) -> Iterator[PackedRow]:
    """Rows of exactly `row_length` tokens that hold every sample once and whole, see `place`.

    Rows come in the order of their first samples, so shuffled samples give shuffled rows.
    """
    samples = [*encoded]
    for members in rows_of([len(sample.input_ids) for sample in samples], row_length=row_length):
        yield fill([samples[index] for index in members], row_length=row_length, pad_id=pad_id)


def rows_of(lengths: Sequence[int] | NDArray[np.int32], *, row_length: int) -> Iterator[list[int]]:
    """By their numbers, the samples in each of the rows that `pack` makes of samples of these lengths.

    They are placed `LOOK_AHEAD` at a time or fewer, in parts of one size: a small last part would leave a row part-empty.
    """
    parts = -(-len(lengths) // LOOK_AHEAD)
    for part in range(parts):
        start, end = (len(lengths) * each // parts for each in (part, part + 1))
        for members in place([int(length) for length in lengths[start:end]], row_length=row_length):
            yield [start + member for member in members]


def apart(encoded: Iterable[Encoded]) -> Iterator[PackedRow]:
    """A row of its own length for each sample, in their order; batches are padded when they are read (`collate_alone`)."""
    return map(alone, encoded)


def alone(sample: Encoded) -> PackedRow:
    """The row of a sample that has one of its own."""
    return PackedRow(sample.input_ids, sample.labels, range(len(sample.input_ids)))


def place(lengths: Sequence[int], *, row_length: int) -> list[list[int]]:
    """Which samples share a row: best fit decreasing, then padding is shared out. Each row lists its samples in their order."""
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (tokens free, row), sorted
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        length = lengths[index]
        assert 0 < length <= row_length, "miners and build let nothing longer than a row through"
        best = bisect_left(free, (length, 0))
        if best == len(free):
            room, row = row_length, len(rows)
            rows.append([])
        else:
            room, row = free.pop(best)
        rows[row].append(index)
        if room > length:
            insort(free, (room - length, row))
    share_out(rows, lengths, row_length=row_length)
    return sorted(sorted(row) for row in rows)


def fill(samples: Sequence[Encoded], *, row_length: int, pad_id: int) -> PackedRow:
    """The row of these samples."""
    input_ids, labels, position_ids = array("i"), array("i"), array("i")
    for sample in samples:
        input_ids.extend(sample.input_ids)
        labels.extend(sample.labels)
        position_ids.extend(range(len(sample.input_ids)))
    padding = row_length - len(input_ids)
    input_ids.extend([pad_id] * padding)
    labels.extend([IGNORED] * padding)
    position_ids.extend(range(padding))
    return PackedRow(input_ids, labels, position_ids)
