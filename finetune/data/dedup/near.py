"""Near-duplicates: which of many texts stay.

A text goes when a text that stays before it has a Jaccard similarity of at least the threshold; the order is the caller's, so the
input's order has no say. Unlike groups of whatever is linked, nothing goes for being like something that is like something that stays.

    sketches -> bands -> buckets of two or more -> sketches that agree -> the sets themselves
    all      -> all   -> about a third of them  -> about a quarter     -> exact: whoever goes is that similar, to the digit
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from finetune.data.dedup.words import BINS, Engine, Near, Sets, band_keys, bands, distinct, first_of_equals, least_agreement

if TYPE_CHECKING:
    from finetune.data.dedup.words import Hashes, Numbers, Sketches

COMPILED_FROM = 32_000_000  # bytes: numba takes half a second to start, and several the first time; plain reads 40 MB a second
BATCH = 4_000_000  # bytes sketched at once


def engine_for(total_bytes: int) -> Engine:
    """The engine that is through first with so many bytes; both give the same."""
    engine: Engine = importlib.import_module(f"finetune.data.dedup.{'compiled' if total_bytes >= COMPILED_FROM else 'plain'}")
    return engine


def nearest_kept(count: int, load: Callable[[int], bytes], *, threshold: float, engine: Engine) -> Near:
    """Of the texts `load(0)` ... `load(count - 1)`, earlier ones preferred: who stays, and for the others instead of whom they go.

    Holds 1.4 kB a text, and the sets of those that have a partner, about three times the size of these texts.
    """
    sketches, filled, keys = _sketched((load(index) for index in range(count)), count, engine, threshold)
    buckets = shared_buckets(keys, filled)
    least = least_agreement(filled, threshold)
    members = engine.with_partner(buckets, sketches, least)
    sets = sets_of((load(int(index)) for index in members), engine)
    found = engine.keepers(buckets[:, members], sketches[members], least[members], sets, threshold)
    near = Near(np.full(count, -1, dtype=np.int64), np.zeros(count))
    near.keeper[members] = np.where(found.keeper < 0, -1, members[found.keeper] if len(members) else found.keeper)
    near.similarity[members] = found.similarity
    return near


def _sketched(contents: Iterable[bytes], count: int, engine: Engine, threshold: float) -> tuple[Sketches, Numbers, Hashes]:
    sketches, filled = np.empty((count, BINS), dtype=np.uint32), np.empty(count, dtype=np.int64)
    keys = np.empty((bands(threshold)[0], count), dtype=np.uint64)
    begin = 0
    for batch in _batches(contents):
        own = slice(begin, begin := begin + len(batch))
        sketches[own], filled[own] = engine.sketches(batch)
        keys[:, own] = band_keys(sketches[own], threshold)
    return sketches, filled, keys


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


def shared_buckets(keys: Hashes, filled: Numbers) -> Numbers:
    """The number of the bucket each text is in, in each band, -1 where it is alone or has no runs: shape (bands, texts)."""
    buckets = np.full(keys.shape, -1, dtype=np.int64)
    compared = np.flatnonzero(filled)
    begin = 0
    for band, own in zip(buckets, keys[:, compared], strict=True):
        order = np.argsort(own)  # equal keys in any order: they get one number
        new = first_of_equals(own[order])
        several = ~(new & np.append(new[1:], True)[: len(new)])
        number = np.cumsum(new[several]) - 1
        band[compared[order[several]]] = begin + number
        begin += int(np.count_nonzero(new[several]))
    return buckets


def sets_of(contents: Iterable[bytes], engine: Engine) -> Sets:
    """The sets of runs of the texts."""
    sets = [distinct(engine.runs(content)) for content in contents]
    return Sets(np.concatenate([np.empty(0, dtype=np.uint64), *sets]), np.cumsum([0, *(len(each) for each in sets)]).astype(np.int64))
