"""Near-duplicates: which of many texts stay.

A text goes when a text that stays before it has a Jaccard similarity of at least the threshold; the order is the caller's, so the
input's order has no say. Unlike groups of whatever is linked, nothing goes for being like something that is like something that stays.

    sketches -> bands -> buckets of two or more -> sketches that agree -> the sets themselves
    all      -> all   -> about a third of them  -> about a quarter     -> exact: whoever goes is that similar, to the digit
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from finetune.data.dedup.words import BINS, SHARED, Engine, Near, Sets, band_keys, bands, distinct, first_of_equals, least_agreement
from finetune.data.ordered import ordered
from finetune.data.room import Memory, singly

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finetune.data.dedup.words import Hashes, Numbers, Shared, Sketches
    from finetune.data.ordered import Rows

COMPILED_FROM = 32_000_000  # bytes: numba takes half a second to start, and several the first time; plain reads 40 MB a second
BATCH = 4_000_000  # bytes sketched at once
KEYED = 4096  # sketches hashed at once
MEMORY = Memory()
T = TypeVar("T", bound=np.generic)
_KEYED = np.dtype([("key", np.uint64), ("text", np.int64)])


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

    Takes 1.4 kB a text of the room, 16 bytes for each band in which it shares a bucket, and of each text with a partner its set, about
    three times the text, and 1.7 kB; of the memory some blocks of the room.
    """
    load, room = texts.load, texts.room
    sketches, filled = texts.sketched or sketch((load(index) for index in range(texts.total)), texts.total, engine, room)
    shared = shared_buckets(_keys(sketches, threshold, room), filled, room)
    least = room.empty((texts.total,), np.int64)
    for own in room.blocks(texts.total):
        least[own] = least_agreement(filled[own], threshold)
    marked = room.full((texts.total,), False, np.bool_)
    engine.mark_partners(shared, sketches, least, marked)
    members = room.joined((own.start + np.flatnonzero(marked[own]) for own in room.blocks(texts.total)), np.int64)
    sets = sets_of((load(index) for index in singly(members)), engine, room)
    rows, rates = _taken(sketches, members, room), _taken(least, members, room)
    found = engine.keepers(_buckets_of(members, shared, marked, room), rows, rates, sets, threshold, room)
    return _by_text(found, members, texts.total, room)


def _by_text(found: Near, members: Numbers, count: int, room: Memory) -> Near:
    """What was found of the members, by the numbers of all texts."""
    near = Near(room.full((count,), -1, np.int64), room.full((count,), 0.0, np.float64))
    for own in room.blocks(len(members)):
        keeper = found.keeper[own]
        near.keeper[members[own]] = np.where(keeper < 0, -1, members[keeper])
        near.similarity[members[own]] = found.similarity[own]
    return near


def _taken(values: NDArray[T], numbers: Numbers, room: Memory) -> NDArray[T]:
    """The rows of these numbers."""
    taken: NDArray[T] = room.empty((len(numbers), *values.shape[1:]), values.dtype)
    for own in room.blocks(len(numbers), row_bytes=taken[:1].nbytes):
        taken[own] = values[numbers[own]]
    return taken


def sketch(contents: Iterable[bytes], count: int, engine: Engine, room: Memory = MEMORY) -> Sketched:
    """The sketches of so many texts."""
    found = Sketched(room.empty((count, BINS), np.uint32), room.empty((count,), np.int64))
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


def shared_buckets(keys: Hashes, filled: Numbers, room: Memory = MEMORY) -> Sequence[Shared]:
    """In each band the texts that share a bucket with another one, by bucket and number; texts without runs are in none."""
    found = room.column(SHARED)
    begins, first = [0], 0
    for band in keys:
        for part in _in_company(_keyed(band, filled, room), first):
            found.append(part)
            first = int(part["bucket"][-1]) + 1
        begins.append(found.rows)
    whole = found.array()
    return [whole[begin:end] for begin, end in pairwise(begins)]


def _keyed(band: Hashes, filled: Numbers, room: Memory) -> Iterator[Rows]:
    """The texts of a band by their keys."""

    def parts() -> Iterator[Rows]:
        for own in room.blocks(len(band)):
            compared = np.flatnonzero(filled[own])
            rows = np.empty(len(compared), dtype=_KEYED)
            rows["key"], rows["text"] = band[own][compared], own.start + compared
            yield rows

    return ordered(parts(), _KEYED, room, keys=2)


def _in_company(parts: Iterable[Rows], first: int) -> Iterator[Shared]:
    """Those with the same key as the one before or after them, each other key a bucket with a number of its own."""
    left, new_left = np.empty(0, dtype=_KEYED), np.empty(0, dtype=np.bool_)
    for part in chain(parts, [None]):
        rows = left if part is None else np.concatenate([left, part])
        new = first_of_equals(rows["key"])
        new[: len(left)] = new_left
        alone = new & np.append(new[1:], True)[: len(new)]
        done = len(rows) if part is None else max(0, len(rows) - 1)
        several = ~alone[:done]
        if several.any():
            found = np.empty(np.count_nonzero(several), dtype=SHARED)
            found["bucket"] = first - 1 + np.cumsum(new[:done][several])
            found["text"] = rows["text"][:done][several]
            first = int(found["bucket"][-1]) + 1
            yield found
        left, new_left = rows[done:], new[done:]


def _buckets_of(members: Numbers, shared: Sequence[Shared], marked: NDArray[np.bool_], room: Memory) -> Numbers:
    """The number of the bucket each member is in, in each band, -1 where it is alone: shape (bands, members)."""
    buckets = room.full((len(shared), len(members)), -1, np.int64)
    for band, rows in zip(buckets, shared, strict=True):
        for own in room.blocks(len(rows)):
            part = rows[own]
            part = part[marked[part["text"]]]
            band[np.searchsorted(members, part["text"])] = part["bucket"]
    return buckets


def sets_of(contents: Iterable[bytes], engine: Engine, room: Memory = MEMORY) -> Sets:
    """The sets of runs of the texts."""
    starts = room.column(np.int64)

    def sets() -> Iterator[Hashes]:
        ends = [0]
        for content in contents:
            found = distinct(engine.runs(content))
            ends.append(ends[-1] + len(found))
            if len(ends) > KEYED:
                starts.append(np.array(ends[:-1], dtype=np.int64))
                ends = ends[-1:]
            yield found
        starts.append(np.array(ends, dtype=np.int64))

    values = room.joined(sets(), np.uint64)
    return Sets(values, starts.array())
