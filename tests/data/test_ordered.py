"""Rows in order and sets of digests, with less memory than they take."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.digests import Digests, Since
from finetune.data.ordered import Sorter, ordered
from finetune.data.room import Disk, Memory

ROW = np.dtype([("key", np.uint64), ("number", np.int64), ("said", np.uint8)])


def rows_of(keys: list[int]) -> np.ndarray:
    rows = np.zeros(len(keys), dtype=ROW)
    rows["key"], rows["number"], rows["said"] = keys, np.arange(len(keys)), np.arange(len(keys)) % 7
    return rows


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5) | st.integers(0, 2**64 - 1), max_size=60), st.integers(1, 9), st.integers(1, 9))
def test_rows_come_in_order_in_parts_of_two_blocks_at_most(keys: list[int], block: int, step: int) -> None:
    """However many have the same key, and however they are handed in."""
    rows = rows_of(keys)
    expected = [rows[place].tolist() for place in sorted(range(len(keys)), key=lambda place: (keys[place], place))]
    with tempfile.TemporaryDirectory() as folder:
        for room in (Disk(Path(folder), block=block), Memory()):
            parts = [*ordered((rows[begin : begin + step] for begin in range(0, len(rows), step)), ROW, room, keys=2)]
            assert [row for part in parts for row in part.tolist()] == expected
            if isinstance(room, Disk):
                assert max(map(len, parts), default=0) <= 2 * (block + step)


def test_blocks_that_are_in_order_already_are_not_taken_row_by_row(tmp_path: Path) -> None:
    """As names in order are: each block ends before the next begins."""
    sorter = Sorter(ROW, Disk(tmp_path, block=100), keys=2)
    for begin in range(0, 5000, 100):
        sorter.add(rows_of([*range(begin, begin + 100)]))
    parts = [*sorter.parts()]
    assert np.concatenate(parts)["key"].tolist() == [*range(5000)]
    assert len(parts) <= 60


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3000), st.integers(0, 100))
def test_a_set_on_disk_knows_what_a_set_knows(count: int, seed: int) -> None:
    draws = random.Random(seed)
    asked = [draws.randbytes(16) if draws.random() < 0.9 else bytes([7]) * 8 + draws.randbytes(8) for _ in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set"
        found, expected = Digests(path), set[bytes]()
        for digest in asked[::2] * 2:
            assert (digest in found) == (digest in expected)
            found.add(digest)
            expected.add(digest)
        assert len(found) == len(expected)
        before = path.read_bytes()
        since = Since(path)
        for digest in asked:
            assert (digest in since) == (digest in expected)
            since.add(digest)
            assert digest in since
        assert path.read_bytes() == before
