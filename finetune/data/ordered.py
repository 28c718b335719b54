"""Rows in order, more of them than there is memory for: blocks sorted one by one, then merged.

rows -> blocks, each sorted -> every so manieth row of each -> bounds -> what of each block lies between two bounds, sorted
        on disk                 as many in all as blocks       between two of them are at most two blocks' rows
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from finetune.data.room import Memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.void]


class Sorter:
    """Takes rows, gives them in order: by their first `keys` fields, which no two rows have alike."""

    def __init__(self, dtype: np.dtype[Any], room: Memory, *, keys: int) -> None:
        self._dtype, self._room = dtype, room
        self._keys: Sequence[str] = (dtype.names or ())[:keys]
        self._waiting: list[Rows] = []
        self._rows = 0
        self._sorted = room.column(dtype)
        self._begins = [0]

    def add(self, rows: Rows) -> None:
        """Takes some more."""
        self._waiting.append(rows)
        self._rows += len(rows)
        if self._rows >= self._room.block:
            self._put()

    def parts(self) -> Iterator[Rows]:
        """All of them, in parts of at most two blocks, or two times what was the most to come at once."""
        if len(self._begins) == 1:
            yield from [self._in_order(self._taken())] if self._rows else []
            return
        if self._rows:
            self._put()
        whole = self._sorted.array()
        runs = [whole[begin:end] for begin, end in zip(self._begins, self._begins[1:], strict=False)]
        begins = [0] * len(runs)
        for bound in [*self._bounds(runs), None]:
            ends = [len(run) if bound is None else int(np.searchsorted(run, bound, side="right")) for run in runs]
            part = np.concatenate([run[begin:end] for run, begin, end in zip(runs, begins, ends, strict=True)])
            if len(part):
                yield self._in_order(part)
            begins = ends
        self._sorted.clear()

    def _bounds(self, runs: Sequence[Rows]) -> Rows:
        step = max(1, max(map(len, runs)) // len(runs))
        samples = self._in_order(np.concatenate([run[step - 1 :: step] for run in runs]))
        return samples[len(runs) - 1 :: len(runs)]

    def _put(self) -> None:
        self._sorted.append(self._in_order(self._taken()))
        self._begins.append(self._sorted.rows)

    def _taken(self) -> Rows:
        rows = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._waiting, self._rows = [], 0
        return rows

    def _in_order(self, rows: Rows) -> Rows:
        return rows[np.lexsort([rows[key] for key in reversed(self._keys)])]


def ordered(parts: Iterable[Rows], dtype: np.dtype[Any], room: Memory, *, keys: int) -> Iterator[Rows]:
    """The rows of all parts in order; see Sorter."""
    sorter = Sorter(dtype, room, keys=keys)
    for part in parts:
        sorter.add(part)
    yield from sorter.parts()
