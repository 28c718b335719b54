"""The engine for a few megabytes: numpy alone, no compiler to start."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from finetune.data.dedup.words import BINS, EMPTY, LETTER, RUN, SIGN, WIDE, Near, P, Q, Sets, jaccard, kinds, mix, orders

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finetune.data.dedup.words import Hashes, Numbers, Sketches

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


def with_partner(buckets: Numbers, sketches: Sketches, least: Numbers) -> Numbers:
    """See Engine."""
    found: set[int] = set()
    for one, others in _companions(buckets, range(buckets.shape[1])):
        agreeing = others[_agree(one, others, sketches, least)]
        found.update(agreeing.tolist(), [one] if len(agreeing) else [])
    return np.array(sorted(found), dtype=np.int64)


def keepers(buckets: Numbers, sketches: Sketches, least: Numbers, sets: Sets, threshold: float) -> Near:
    """See Engine."""
    near = Near(np.full(buckets.shape[1], -1, dtype=np.int64), np.zeros(buckets.shape[1]))
    for one, others in _companions(buckets, range(buckets.shape[1]), near.keeper):
        for other in others[_agree(one, others, sketches, least)]:
            similarity = _similarity(_set(sets, one), _set(sets, int(other)))
            if similarity >= threshold and similarity > near.similarity[one]:  # of equals the first
                near.keeper[one], near.similarity[one] = other, similarity
    return near


def _companions(buckets: Numbers, texts: range, keeper: Numbers | None = None) -> Iterator[tuple[int, Numbers]]:
    """Each text with those before it that share a bucket, without those that `keeper` says have gone by then."""
    members: defaultdict[int, list[int]] = defaultdict(list)
    for text in texts:
        own = [int(bucket) for bucket in buckets[:, text] if bucket >= 0]
        yield text, np.array(sorted({other for bucket in own for other in members[bucket]}), dtype=np.int64)
        if keeper is None or keeper[text] < 0:
            for bucket in own:
                members[bucket].append(text)


def _agree(one: int, others: Numbers, sketches: Sketches, least: Numbers) -> NDArray[np.bool_]:
    agreement = (sketches[others] == sketches[one]).sum(axis=1)
    return np.asarray(agreement >= np.minimum(least[others], least[one]))


def _set(sets: Sets, index: int) -> Hashes:
    return sets.values[sets.starts[index] : sets.starts[index + 1]]


def _similarity(one: Hashes, other: Hashes) -> float:
    return jaccard(len(np.intersect1d(one, other, assume_unique=True)), len(one), len(other))
