"""Near-duplicates: which of many texts stay.

A text goes when a text that stays before it has a Jaccard similarity of at least the threshold; the order is the caller's, so the
input's order has no say. Unlike groups of whatever is linked, nothing goes for being like something that is like something that stays.

    sketches -> bands -> buckets of two or more -> sketches that agree -> the sets themselves
    all      -> all   -> about a third of them  -> about a quarter     -> exact: whoever goes is that similar, to the digit
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from finetune.data.dedup.room import Memory
from finetune.data.dedup.words import BINS, Engine, Near, Sets, band_keys, bands, distinct, first_of_equals, least_agreement

if TYPE_CHECKING:
    from finetune.data.dedup.words import Hashes, Numbers, Sketches

COMPILED_FROM = 32_000_000  # bytes: numba takes half a second to start, and several the first time; plain reads 40 MB a second
BATCH = 4_000_000  # bytes sketched at once
KEYED = 16_384  # sketches hashed at once
MEMORY = Memory()


def engine_for(total_bytes: int) -> Engine:
    """The engine that is through first with so many bytes; both give the same."""
    engine: Engine = importlib.import_module(f"finetune.data.dedup.{'compiled' if total_bytes >= COMPILED_FROM else 'plain'}")
    return engine


class Sketched(NamedTuple):
    """The sketches of texts, shape (texts, BINS), and how many bins of each have runs of their own."""

    sketches: Sketches
    filled: Numbers


class Texts(NamedTuple):
    """Texts by number, and their sketches where they are known; `room` is for all that grows with their number."""

    total: int
    load: Callable[[int], bytes]
    sketched: Sketched | None = None
    room: Memory = MEMORY


def nearest_kept(texts: Texts, *, threshold: float, engine: Engine) -> Near:
    """Of the texts, earlier ones preferred: who stays, and for the others instead of whom they go.

    Takes 1.7 kB a text of the room, and the sets of those that have a partner, about three times the size of these texts; of the memory
    some 100 bytes a text, and 1 kB for each with a partner.
    """
    load, room = texts.load, texts.room
    sketches, filled = texts.sketched or sketch((load(index) for index in range(texts.total)), texts.total, engine, room)
    buckets = shared_buckets(_keys(sketches, threshold, room), filled, room)
    least = least_agreement(filled, threshold)
    members = engine.with_partner(buckets, sketches, least)
    sets = sets_of((load(int(index)) for index in members), engine, room)
    own = room.empty((len(members), BINS), np.uint32)
    np.take(sketches, members, axis=0, out=own)
    found = engine.keepers(buckets[:, members], own, least[members], sets, threshold)
    count = texts.total
    near = Near(np.full(count, -1, dtype=np.int64), np.zeros(count))
    near.keeper[members] = np.where(found.keeper < 0, -1, members[found.keeper] if len(members) else found.keeper)
    near.similarity[members] = found.similarity
    return near


def sketch(contents: Iterable[bytes], count: int, engine: Engine, room: Memory = MEMORY) -> Sketched:
    """The sketches of so many texts."""
    found = Sketched(room.empty((count, BINS), np.uint32), np.empty(count, dtype=np.int64))
    begin = 0
    for batch in _batches(contents):
        own = slice(begin, begin := begin + len(batch))
        found.sketches[own], found.filled[own] = engine.sketches(batch)
    return found


def _keys(sketches: Sketches, threshold: float, room: Memory) -> Hashes:
    keys = room.empty((bands(threshold)[0], len(sketches)), np.uint64)
    for begin in range(0, len(sketches), KEYED):
        own = slice(begin, begin + KEYED)
        keys[:, own] = band_keys(sketches[own], threshold)
    return keys


def _batches(contents: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for content in contents:
        batch.append(content)
        size += len(content)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def shared_buckets(keys: Hashes, filled: Numbers, room: Memory = MEMORY) -> Numbers:
    """The number of the bucket each text is in, in each band, -1 where it is alone or has no runs: shape (bands, texts)."""
    buckets: Numbers = room.empty(keys.shape, np.int64)
    buckets[:] = -1
    compared = np.flatnonzero(filled)
    begin = 0
    for band, whole in zip(buckets, keys, strict=True):
        own = whole[compared]
        order = np.argsort(own)  # equal keys in any order: they get one number
        new = first_of_equals(own[order])
        several = ~(new & np.append(new[1:], True)[: len(new)])
        number = np.cumsum(new[several]) - 1
        band[compared[order[several]]] = begin + number
        begin += int(np.count_nonzero(new[several]))
    return buckets


def sets_of(contents: Iterable[bytes], engine: Engine, room: Memory = MEMORY) -> Sets:
    """The sets of runs of the texts."""
    sizes = [0]

    def sets() -> Iterator[Hashes]:
        for content in contents:
            found = distinct(engine.runs(content))
            sizes.append(len(found))
            yield found

    values = room.joined(sets(), np.uint64)
    return Sets(values, np.cumsum(sizes).astype(np.int64))
