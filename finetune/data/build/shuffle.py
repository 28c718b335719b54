"""All samples in their final order, read from where the shards have put them when their row is filled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finetune.data.build.samples import Stored
from finetune.data.build.tools import SIDES
from finetune.data.ordered import Sorter
from finetune.data.pack import alone, fill, rows_of
from finetune.data.room import Memory
from finetune.data.spool import Spools
from finetune.data.tables import SampleRow, TableWriter
from finetune.records import Encoded, PackedRow, Side

_PLACE = np.dtype([("order", np.uint64), ("list", np.uint32), ("number", np.uint32), ("tokens", np.int32)])


class Shuffle:
    """Where each sample lies: 40 bytes of the room a sample."""

    def __init__(self, room: Memory) -> None:
        self._lists: list[Path] = []
        self._room = room
        self._found: dict[Side, Sorter] = {side: Sorter(_PLACE, room, keys=3) for side in SIDES}

    def add(self, path: Path, places: NDArray[np.void], sizes: NDArray[np.void]) -> None:
        """The samples of a list that stay."""
        for side, found in self._found.items():
            here = np.flatnonzero(places["stays"] & (sizes["valid"] == (side == "valid")))
            own = np.empty(len(here), dtype=_PLACE)
            own["order"], own["list"], own["number"], own["tokens"] = places["order"][here], len(self._lists), here, sizes["tokens"][here]
            found.add(own)
        self._lists.append(path)

    def rows(self, side: Side, table: TableWriter[SampleRow], *, row_length: int | None, pad_id: int) -> Iterator[PackedRow]:
        """The rows of a side, once; their samples are put into the table. `row_length` None: each sample has a row of its own."""
        found = self._room.joined(self._found.pop(side).parts(), _PLACE)
        members = ([index] for index in range(len(found))) if row_length is None else rows_of(found["tokens"], row_length=row_length)
        with self._opened() as lists:
            for row, indices in enumerate(members):
                samples = [lists[lists.begin(part) + number] for part, number in found[["list", "number"]][indices].tolist()]
                encoded = [sample.encoded for sample in samples]
                for sample, ids in zip(samples, encoded, strict=True):
                    table.add(_line(sample, ids, side, row))
                yield alone(encoded[0]) if row_length is None else fill(encoded, row_length=row_length, pad_id=pad_id)

    @contextmanager
    def _opened(self) -> Iterator[Spools[Stored]]:
        lists = Spools[Stored](self._lists)
        try:
            yield lists
        finally:
            lists.close()


def _line(sample: Stored, encoded: Encoded, side: Side, row: int) -> SampleRow:
    origin = sample.origins[0]
    return SampleRow(
        side=side,
        row=row,
        tokens=len(encoded.input_ids),
        miner=sample.miner,
        repo=origin.repo,
        commit=origin.commit,
        paths=[each.path for each in sample.origins],
        licenses=[each.license for each in sample.origins],
        marks=[*encoded.marks],
        turns=sample.turns,
    )
