"""The engine for large corpora: the same as `plain`, compiled by numba. The compiler's result is kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from finetune.compiled import compiled
from finetune.data.dedup.words import BINS, EMPTY, LOOKS, MIX_1, MIX_2, RUN, SALT, SIGN, TRIES, WIDE, Near, P, Q, Sets, kinds, orders

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finetune.data.dedup.words import Hashes, Numbers, Shared, Sketches
    from finetune.data.room import Memory

    Bytes = NDArray[np.uint8]

_KINDS, _ORDERS = kinds(), orders()
_P, _Q, _SALT, _MIX_1, _MIX_2 = (np.uint64(value) for value in (P, Q, SALT, MIX_1, MIX_2))
_LAST = np.uint32(EMPTY - 1)
_EMPTY = np.uint32(EMPTY)
_FIRST_WIDE, _LAST_WIDE = np.uint8(0xE2), np.uint8(0xF4)


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


def mark_partners(shared: Sequence[Shared], sketches: Sketches, least: Numbers, marked: NDArray[np.bool_]) -> None:
    """See Engine."""
    for rows in shared:
        _mark(rows["bucket"], rows["text"], sketches, least, marked)


def keepers(buckets: Numbers, sketches: Sketches, least: Numbers, sets: Sets, threshold: float, room: Memory) -> Near:
    """See Engine."""
    count = buckets.shape[1]
    near = Near(room.full((count,), -1, np.int64), room.full((count,), 0.0, np.float64))
    heads = room.full((int(buckets.max(initial=-1)) + 1,), -1, np.int64)
    lists = (buckets, heads, room.full(buckets.shape, -1, np.int64), room.full((count,), -1, np.int64))
    _keepers(lists, sketches, least, (sets.values, sets.starts, threshold), (near.keeper, near.similarity))
    return near


@compiled
def _mix(value: np.uint64) -> np.uint64:
    value = value + _SALT
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))


@compiled
def _runs(text: Bytes, out: Hashes) -> int:
    """Fills `out` and says how many there are."""
    words = _wide_words(text, out) if _is_wide(text) else _words(text, out)
    written = 0
    for place in range(words):
        written += out[place] != 0
        out[place] = _mix(out[place])
    if written < RUN:
        return 0
    for place in range(words - RUN + 1):
        one, two, three, four, five = out[place], out[place + 1], out[place + 2], out[place + 3], out[place + 4]
        out[place] = _mix((((one * _Q + two) * _Q + three) * _Q + four) * _Q + five)
    return words - RUN + 1


@compiled
def _is_wide(text: Bytes) -> bool:
    wide = False
    for byte in text:
        wide |= (byte >= _FIRST_WIDE) & (byte <= _LAST_WIDE)
    return wide


@compiled
def _words(text: Bytes, out: Hashes) -> int:
    """The words' sums, 0 for an empty one. Without a branch: where a word ends can not be foreseen, and a wrong guess costs 20 cycles."""
    words = 0
    word = np.uint64(0)
    for byte in text:
        sign = _KINDS[byte] == SIGN
        out[words] = word
        words += sign
        word = np.uint64(0) if sign else word * _P + np.uint64(byte) + np.uint64(1)
    out[words] = word
    return words + 1


@compiled
def _wide_words(text: Bytes, out: Hashes) -> int:
    """The same where some characters are words of their own; at 0.4 of the speed."""
    words = 0
    word = np.uint64(0)
    begun = wide = False
    for byte in text:
        kind = _KINDS[byte]
        follows = (byte & 0xC0) == 0x80
        ends = (kind == SIGN) | (begun & ((kind == WIDE) | (wide & (not follows))))
        out[words] = word
        words += ends
        before = np.uint64(0) if ends else word
        word = np.uint64(0) if kind == SIGN else before * _P + np.uint64(byte) + np.uint64(1)
        wide = (kind == WIDE) | (wide & follows)
        begun = kind != SIGN
    out[words] = word
    return words + 1


@compiled
def _sketches(content: Bytes, starts: Numbers, room: Hashes, found: Sketches, filled: Numbers) -> None:
    own = np.empty(BINS, dtype=np.uint32)
    for text in range(len(starts) - 1):
        own[:] = _EMPTY
        for index in range(_runs(content[starts[text] : starts[text + 1]], room)):
            place = room[index] >> np.uint64(56)
            own[place] = min(own[place], np.uint32(room[index] >> np.uint64(24)), _LAST)
        filled[text] = np.count_nonzero(own != _EMPTY)
        found[text] = own
        if filled[text] > 0:
            _densify(own, found[text])


@compiled
def _densify(own: NDArray[np.uint32], sketch: NDArray[np.uint32]) -> None:
    for place in range(BINS):
        attempt = 0
        while sketch[place] == _EMPTY:
            sketch[place] = own[_ORDERS[place, attempt]]
            attempt += 1


@compiled
def _agreement(one: int, other: int, sketches: Sketches) -> int:
    agreement = 0
    for place in range(BINS):
        agreement += sketches[one, place] == sketches[other, place]
    return agreement


@compiled
def _mark(buckets: Numbers, members: Numbers, sketches: Sketches, least: Numbers, marked: NDArray[np.bool_]) -> None:
    """Marks what has a partner near it in its bucket, the members lying by buckets; two that are marked are not compared again."""
    begin = 0
    for index in range(len(members)):
        one = members[index]
        begin = begin if buckets[begin] == buckets[index] else index
        for place in range(max(begin, index - LOOKS), index):
            other = members[place]
            if marked[one] and marked[other]:
                continue
            if _agreement(one, other, sketches) >= min(least[one], least[other]):
                marked[one] = marked[other] = True


@compiled
def _common(one: Hashes, other: Hashes) -> int:
    common = left = right = 0
    while left < len(one) and right < len(other):
        first, second = one[left], other[right]
        common += first == second
        left += first <= second
        right += second <= first
    return common


@compiled
def _candidates(one: int, lists: tuple[Numbers, Numbers, Numbers, Numbers], sketches: Sketches, least: Numbers, found: Numbers) -> int:
    """Fills `found` with (agreement, text) of those that agree with `one`, the last to come first in each band; says how many."""
    buckets, heads, following, seen = lists
    looked = count = 0
    for band in range(len(buckets)):
        other = heads[buckets[band, one]] if buckets[band, one] >= 0 else -1
        while other >= 0 and looked < LOOKS:
            if seen[other] != one:
                seen[other] = one
                looked += 1
                agreement = _agreement(one, other, sketches)
                if agreement >= min(least[one], least[other]):
                    found[count, 0], found[count, 1] = agreement, other
                    count += 1
            other = following[band, other]
    return count


@compiled
def _take_best(found: Numbers, count: int) -> int:
    """The text with the highest agreement, of equals the first by number; its place is taken by the last."""
    best = 0
    for place in range(1, count):
        more = found[place, 0] > found[best, 0]
        if more or (found[place, 0] == found[best, 0] and found[place, 1] < found[best, 1]):
            best = place
    text = int(found[best, 1])
    found[best] = found[count - 1]
    return text


@compiled
def _keepers(
    lists: tuple[Numbers, Numbers, Numbers, Numbers],
    sketches: Sketches,
    least: Numbers,
    compared: tuple[Hashes, Numbers, float],
    near: tuple[Numbers, NDArray[np.float64]],
) -> None:
    """A bucket is a linked list of the texts in it that stay: from its head, and on by `following`."""
    buckets, heads, following, _ = lists
    values, starts, threshold = compared
    keeper, similarity = near
    found = np.empty((LOOKS, 2), dtype=np.int64)
    for one in range(buckets.shape[1]):
        count = _candidates(one, lists, sketches, least, found)
        for attempt in range(min(count, TRIES)):
            other = _take_best(found, count - attempt)
            own, others = values[starts[one] : starts[one + 1]], values[starts[other] : starts[other + 1]]
            common = _common(own, others)
            alike = common / (len(own) + len(others) - common)
            if alike >= threshold and (alike > similarity[one] or (alike == similarity[one] and other < keeper[one])):
                keeper[one], similarity[one] = other, alike
        for band in range(len(buckets)):
            if keeper[one] < 0 and buckets[band, one] >= 0:
                following[band, one] = heads[buckets[band, one]]
                heads[buckets[band, one]] = one
