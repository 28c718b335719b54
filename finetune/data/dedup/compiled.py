"""The engine for large corpora: the same as `plain`, compiled by numba. The compiler's result is kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

import numba
import numpy as np

from finetune.data.dedup.words import BINS, EMPTY, MIX_1, MIX_2, RUN, SALT, SIGN, WIDE, Near, P, Q, Sets, kinds, orders

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finetune.data.dedup.words import Hashes, Numbers, Sketches

    Bytes = NDArray[np.uint8]

F = TypeVar("F", bound=Callable[..., object])
_KINDS, _ORDERS = kinds(), orders()
_P, _Q, _SALT, _MIX_1, _MIX_2 = (np.uint64(value) for value in (P, Q, SALT, MIX_1, MIX_2))
_LAST = np.uint32(EMPTY - 1)
_EMPTY = np.uint32(EMPTY)


def _kernel(function: F) -> F:
    """The function, compiled when it is first called."""
    return cast(F, numba.njit(cache=True, nogil=True)(function))


def runs(content: bytes) -> Hashes:
    """See Engine."""
    out = np.empty(len(content) + 1, dtype=np.uint64)
    return out[: _runs(np.frombuffer(content, dtype=np.uint8), out)].copy()


def sketches(contents: Sequence[bytes]) -> tuple[Sketches, Numbers]:
    """See Engine."""
    lengths = [len(content) for content in contents]
    starts = np.cumsum([0, *lengths])
    found = np.full((len(contents), BINS), EMPTY, dtype=np.uint32)
    filled = np.zeros(len(contents), dtype=np.int64)
    room = np.empty(max(lengths, default=0) + 1, dtype=np.uint64)
    _sketches(np.frombuffer(b"".join(contents), dtype=np.uint8), starts, room, found, filled)
    return found, filled


def with_partner(buckets: Numbers, sketches: Sketches, least: Numbers) -> Numbers:
    """See Engine."""
    marked = np.zeros(buckets.shape[1], dtype=np.bool_)
    for band in buckets:
        members = np.flatnonzero(band >= 0)
        members = members[np.argsort(band[members], kind="stable")]
        _mark(band, members, sketches, least, marked)
    return np.flatnonzero(marked)


def keepers(buckets: Numbers, sketches: Sketches, least: Numbers, sets: Sets, threshold: float) -> Near:
    """See Engine."""
    near = Near(np.full(buckets.shape[1], -1, dtype=np.int64), np.zeros(buckets.shape[1]))
    heads = np.full(int(buckets.max(initial=-1)) + 1, -1, dtype=np.int64)
    _keepers(np.ascontiguousarray(buckets.T), heads, sketches, least, (sets.values, sets.starts, threshold), (near.keeper, near.similarity))
    return near


@_kernel
def _mix(value: np.uint64) -> np.uint64:
    value = value + _SALT
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))


@_kernel
def _runs(text: Bytes, out: Hashes) -> int:
    """Fills `out` and says how many there are."""
    one = two = three = four = word = np.uint64(0)
    words = written = 0
    begin = place = 0
    size = len(text)
    wide = False
    while place <= size:
        kind = SIGN if place == size else _KINDS[text[place]]
        follows = place < size and 0x80 <= text[place] < 0xC0
        ends = kind == SIGN or (place > begin and (kind == WIDE or (wide and not follows)))
        if ends:
            five = _mix(word)
            written += place > begin
            if words >= RUN - 1:
                out[words - RUN + 1] = _mix((((one * _Q + two) * _Q + three) * _Q + four) * _Q + five)
            one, two, three, four = two, three, four, five
            words += 1
            word = np.uint64(0)
            begin = place + 1 if kind == SIGN else place
        if kind != SIGN:
            word = word * _P + np.uint64(text[place]) + np.uint64(1)
            wide = kind == WIDE or (wide and follows)
        else:
            wide = False
        place += 1
    return max(words - RUN + 1, 0) if written >= RUN else 0


@_kernel
def _sketches(content: Bytes, starts: Numbers, room: Hashes, found: Sketches, filled: Numbers) -> None:
    own = np.empty(BINS, dtype=np.uint32)
    for text in range(len(starts) - 1):
        sketch = found[text]
        for index in range(_runs(content[starts[text] : starts[text + 1]], room)):
            place = room[index] >> np.uint64(56)
            sketch[place] = min(sketch[place], np.uint32((room[index] >> np.uint64(24)) & np.uint64(0xFFFFFFFF)), _LAST)
        for place in range(BINS):
            own[place] = sketch[place]
            filled[text] += own[place] != _EMPTY
        if filled[text] == 0:
            continue
        for place in range(BINS):
            attempt = 0
            while sketch[place] == _EMPTY:
                sketch[place] = own[_ORDERS[place, attempt]]
                attempt += 1


@_kernel
def _agrees(one: int, other: int, sketches: Sketches, least: Numbers) -> bool:
    agreement = 0
    for place in range(BINS):
        agreement += sketches[one, place] == sketches[other, place]
    return bool(agreement >= min(least[one], least[other]))


@_kernel
def _mark(band: Numbers, members: Numbers, sketches: Sketches, least: Numbers, marked: NDArray[np.bool_]) -> None:
    """Marks what has a partner in its bucket: linear in the size of a bucket of texts that are alike."""
    begin = 0
    alone = np.empty(len(members), dtype=np.int64)
    for end in range(1, len(members) + 1):
        if end == len(members) or band[members[end]] != band[members[begin]]:
            waiting = 0
            for index in range(begin, end):
                one = members[index]
                if not marked[one]:
                    marked[one] = _any_agrees(one, members[begin:index], sketches, least, marked)
                waiting = _mark_alone(one, alone, waiting, sketches, least, marked)
            begin = end


@_kernel
def _any_agrees(one: int, others: Numbers, sketches: Sketches, least: Numbers, marked: NDArray[np.bool_]) -> bool:
    found = False
    for other in others:
        found = found or (marked[other] and _agrees(one, other, sketches, least))
    return found


@_kernel
def _mark_alone(one: int, alone: Numbers, waiting: int, sketches: Sketches, least: Numbers, marked: NDArray[np.bool_]) -> int:
    """Marks those of the first `waiting` of `alone` that agree with `one`, and `one`; says how many are left with it."""
    left = 0
    for index in range(waiting):
        other = alone[index]
        if not marked[other] and _agrees(one, other, sketches, least):
            marked[one] = marked[other] = True
        if not marked[other]:
            alone[left] = other
            left += 1
    if not marked[one]:
        alone[left] = one
        left += 1
    return left


@_kernel
def _common(one: Hashes, other: Hashes) -> int:
    common = left = right = 0
    while left < len(one) and right < len(other):
        first, second = one[left], other[right]
        common += first == second
        left += first <= second
        right += second <= first
    return common


@_kernel
def _keepers(
    buckets: Numbers,
    heads: Numbers,
    sketches: Sketches,
    least: Numbers,
    compared: tuple[Hashes, Numbers, float],
    near: tuple[Numbers, NDArray[np.float64]],
) -> None:
    """A bucket is a linked list of the texts in it that stay: from its head, and on by `following`."""
    values, starts, threshold = compared
    keeper, similarity = near
    following = np.full(buckets.shape, -1, dtype=np.int64)
    seen = np.full(len(buckets), -1, dtype=np.int64)
    for one in range(len(buckets)):
        for band in range(buckets.shape[1]):
            other = heads[buckets[one, band]] if buckets[one, band] >= 0 else -1
            while other >= 0:
                if seen[other] != one and _agrees(one, other, sketches, least):
                    own, others = values[starts[one] : starts[one + 1]], values[starts[other] : starts[other + 1]]
                    common = _common(own, others)
                    found = common / (len(own) + len(others) - common)
                    better = found > similarity[one] or (found == similarity[one] and other < keeper[one])
                    if found >= threshold and better:
                        keeper[one], similarity[one] = other, found
                seen[other] = one
                other = following[other, band]
        for band in range(buckets.shape[1]):
            if keeper[one] < 0 and buckets[one, band] >= 0:
                following[one, band] = heads[buckets[one, band]]
                heads[buckets[one, band]] = one
