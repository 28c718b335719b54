"""Padding shared out among rows: where one row is part-empty and others are full, they exchange samples.

before              after, with at most two tokens of padding in a row
a a a a b b b b     a a a a c c . .        b of the full row for c of the other
c c d d . . . .     b b b b d d . .
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

MOST = 0.03  # share of a row that may be padding before it is worth an exchange
_LOOKED_AT = 24  # samples of a row, its last; more give no difference of lengths that these do not give
_TRIED = 512  # rows, those with least padding first


class _Exchange(NamedTuple):
    """Samples of a row, which give place to longer ones of `other`: fewer tokens of padding here, `gain`, and as many more there."""

    gain: int
    other: int
    ours: tuple[int, ...]
    theirs: tuple[int, ...]


def share_out(rows: Sequence[list[int]], lengths: Sequence[int], *, row_length: int) -> None:
    """Exchanges samples until no row has more than `MOST` of padding, or for as many rows as that can be done, least empty first.

    A row for which it can not be done stays as it was. `rows` say which samples they hold, `lengths` their tokens.
    """
    most = int(MOST * row_length)
    free = [row_length - sum(lengths[index] for index in row) for row in rows]
    packing = _Packing(rows, lengths, free, most)
    for row in sorted(range(len(rows)), key=lambda row: (free[row], row)):
        if free[row] > most:
            packing.fill_up(row)


class _Packing:
    """Rows while they exchange samples, and the tokens free in each."""

    def __init__(self, rows: Sequence[list[int]], lengths: Sequence[int], free: list[int], most: int) -> None:
        self._rows, self._lengths, self._free, self._most = rows, lengths, free, most
        self._fuller: list[tuple[int, int]] = []  # (tokens free, row), sorted: those that can do with more padding
        self._sums: dict[int, dict[int, tuple[int, ...]]] = {}
        for row in range(len(rows)):
            self._offer(row)

    def fill_up(self, row: int) -> None:
        """Exchanges until the row has `most` of padding or less; none when that many do not come together."""
        done: list[_Exchange] = []
        while self._free[row] > self._most:
            exchange = self._best(row)
            if exchange is None:
                for each in reversed(done):
                    self._carry_out(row, each._replace(gain=-each.gain, ours=each.theirs, theirs=each.ours))
                return
            self._carry_out(row, exchange)
            done.append(exchange)
        self._offer(row)

    def _best(self, row: int) -> _Exchange | None:
        """The exchange that gains most, with a row that has `most` of padding or less behind it."""
        best, ours = None, sorted(self._sums_of(row))
        for free, other in self._fuller[:_TRIED]:
            room = min(self._most - free, self._free[row])
            if best is not None and room <= best.gain:
                break
            theirs = sorted(self._sums_of(other))
            found = _widest(ours, theirs, room)
            if found is not None and (best is None or found[1] - found[0] > best.gain):
                best = _Exchange(found[1] - found[0], other, self._sums_of(row)[found[0]], self._sums_of(other)[found[1]])
        return best

    def _carry_out(self, row: int, exchange: _Exchange) -> None:
        other = exchange.other
        self._withdraw(other)
        for place, goes, comes in ((row, exchange.ours, exchange.theirs), (other, exchange.theirs, exchange.ours)):
            self._rows[place][:] = [*(index for index in self._rows[place] if index not in goes), *comes]
            self._sums.pop(place, None)
        self._free[row] -= exchange.gain
        self._free[other] += exchange.gain
        self._offer(other)

    def _offer(self, row: int) -> None:
        """Alone in its row, a sample is as long as the row, or as hard to fill up with others as the one it would change places with."""
        if self._free[row] < self._most and len(self._rows[row]) > 1:
            insort(self._fuller, (self._free[row], row))

    def _withdraw(self, row: int) -> None:
        at = bisect_left(self._fuller, (self._free[row], row))
        if self._fuller[at : at + 1] == [(self._free[row], row)]:
            del self._fuller[at]

    def _sums_of(self, row: int) -> dict[int, tuple[int, ...]]:
        """What none, one or two samples of a row come to in tokens, and which they are."""
        if row not in self._sums:
            last = self._rows[row][-_LOOKED_AT:]
            some = [(), *combinations(last, 1), *combinations(last, 2)]
            self._sums[row] = {sum(self._lengths[index] for index in each): each for each in reversed(some)}
        return self._sums[row]


def _widest(ours: Sequence[int], theirs: Sequence[int], room: int) -> tuple[int, int] | None:
    """A number of each, both sorted, of which theirs is larger by as much as can be, and by no more than `room`."""
    best = None
    for number in ours:
        at = bisect_right(theirs, number + room) - 1
        gain = theirs[at] - number
        if gain > (best[1] - best[0] if best else 0):
            best = number, theirs[at]
    return best
