"""The engine for a few megabytes: numpy alone, no compiler to start."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from finetune.data.dedup.words import BINS, EMPTY, LETTER, LOOKS, RUN, SIGN, TRIES, WIDE, Near, P, Q, Sets, jaccard, kinds, mix, orders

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finetune.data.dedup.words import Hashes, Numbers, Shared, Sketches
    from finetune.data.room import Memory

_KINDS = kinds()
_ORDERS = orders()
_INVERSE = np.uint64(pow(P, -1, 1 << 64))


def runs(content: bytes) -> Hashes:
    """See Engine."""
    text = np.frombuffer(content, dtype=np.uint8)
    starts, ends = _words(text)
    if len(starts) < RUN or np.count_nonzero(ends > starts) < RUN:
        return np.empty(0, dtype=np.uint64)
    # A word is a difference of two prefix sums, moved to where its last byte has the weight 1.
    up, down = _powers(len(text) + 1)
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum((text.astype(np.uint64) + np.uint64(1)) * down[1:])])
    words = mix((sums[ends] - sums[starts]) * up[ends])
    found = np.zeros(len(words) - RUN + 1, dtype=np.uint64)
    for place in range(RUN):
        found = found * np.uint64(Q) + words[place : place + len(found)]
    return mix(found)


def _words(text: NDArray[np.uint8]) -> tuple[Numbers, Numbers]:
    """Where the words begin and end."""
    kind = _KINDS[text]
    sign = kind == SIGN
    begins = np.zeros(len(text) + 1, dtype=np.bool_)
    begins[0] = True
    begins[1:] = sign
    if (wide := kind == WIDE).any():
        begins[:-1] |= wide
        of_wide = wide.copy()
        for size, first in ((1, 0xE2), (2, 0xE2), (3, 0xF0)):
            of_wide[size:] |= (text >= first)[:-size] & wide[:-size]
        begins[1:-1] |= of_wide[:-1] & (kind[1:] == LETTER) & ~of_wide[1:]
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], len(text))
    ends[:-1] -= sign[starts[1:] - 1]
    return starts, ends


def _powers(count: int) -> tuple[Hashes, Hashes]:
    """P^0, P^1 ... and their inverses, at least `count` of each."""
    powers = []
    for factor in (np.uint64(P), _INVERSE):
        each = np.full(count, factor, dtype=np.uint64)
        each[0] = 1
        powers.append(np.cumprod(each))
    return powers[0], powers[1]


def sketches(contents: Sequence[bytes]) -> tuple[Sketches, Numbers]:
    """See Engine."""
    found = np.full((len(contents), BINS), EMPTY, dtype=np.uint32)
    for sketch, content in zip(found, contents, strict=True):
        hashes = runs(content)
        values = np.minimum((hashes >> np.uint64(24)) & np.uint64(0xFFFFFFFF), np.uint64(EMPTY - 1)).astype(np.uint32)
        np.minimum.at(sketch, (hashes >> np.uint64(56)).astype(np.intp), values)
    filled = (found != EMPTY).sum(axis=1)
    return _dense(found, filled), filled


def _dense(sketches: Sketches, filled: Numbers) -> Sketches:
    dense = sketches.copy()
    texts, bins = np.nonzero((sketches == EMPTY) & (filled > 0)[:, None])
    for attempt in range(BINS):
        values = sketches[texts, _ORDERS[bins, attempt]]
        dense[texts, bins] = values
        missing = values == EMPTY
        texts, bins = texts[missing], bins[missing]
        if not len(texts):
            break
    return dense


def mark_partners(shared: Sequence[Shared], sketches: Sketches, least: Numbers, marked: NDArray[np.bool_]) -> None:
    """See Engine."""
    for members in _members(shared):
        for place, one in enumerate(members):
            others = members[max(0, place - LOOKS) : place]
            near = others[_agreement(one, others, sketches) >= np.minimum(least[others], least[one])]
            marked[near] = True
            marked[one] |= len(near) > 0


def _members(shared: Sequence[Shared]) -> Iterator[Numbers]:
    """The texts of each bucket, in their order."""
    for rows in shared:
        begins = np.flatnonzero(rows["bucket"][1:] != rows["bucket"][:-1]) + 1
        yield from np.split(np.ascontiguousarray(rows["text"]), begins) if len(rows) else ()


def keepers(buckets: Numbers, sketches: Sketches, least: Numbers, sets: Sets, threshold: float, room: Memory) -> Near:
    """See Engine."""
    near = Near(room.full((buckets.shape[1],), -1, np.int64), room.full((buckets.shape[1],), 0.0, np.float64))
    staying: defaultdict[int, list[int]] = defaultdict(list)
    for one in range(buckets.shape[1]):
        shared = (other for bucket in _own(buckets, one) for other in reversed(staying[bucket]))
        others = np.array(list(islice(dict.fromkeys(shared), LOOKS)), dtype=np.int64)
        for other in _likest(one, others, sketches, least):
            similarity = _similarity(_set(sets, one), _set(sets, other))
            if similarity >= threshold and (similarity, -other) > (near.similarity[one], -near.keeper[one]):
                near.keeper[one], near.similarity[one] = other, similarity
        if near.keeper[one] < 0:
            for bucket in _own(buckets, one):
                staying[bucket].append(one)
    return near


def _own(buckets: Numbers, text: int) -> list[int]:
    own: list[int] = buckets[:, text].tolist()
    return [bucket for bucket in own if bucket >= 0]


def _likest(one: int, others: Numbers, sketches: Sketches, least: Numbers) -> list[int]:
    """Of those that agree well enough the TRIES that agree most, of equals the first."""
    agreement = _agreement(one, others, sketches)
    enough = agreement >= np.minimum(least[others], least[one])
    ranked = sorted(zip((-agreement[enough]).tolist(), others[enough].tolist(), strict=True))
    return [other for _, other in ranked[:TRIES]]


def _agreement(one: int, others: Numbers, sketches: Sketches) -> Numbers:
    return np.asarray((sketches[others] == sketches[one]).sum(axis=1))


def _set(sets: Sets, index: int) -> Hashes:
    return sets.values[sets.starts[index] : sets.starts[index + 1]]


def _similarity(one: Hashes, other: Hashes) -> float:
    return jaccard(len(np.intersect1d(one, other, assume_unique=True)), len(one), len(other))
