"""Which of a corpus's files stay: neither copies nor near-duplicates of one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from finetune.data.dedup.near import MEMORY, Sketched, Texts, nearest_kept
from finetune.data.dedup.words import Engine
from finetune.data.ordered import ordered
from finetune.data.room import Memory
from finetune.records import SourceFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finetune.data.dedup.words import Hashes, Numbers
    from finetune.data.ordered import Rows

_RANKED = np.dtype([("shorter", np.int64), ("name", np.int64), ("number", np.int64)])
_DIGESTED = np.dtype([("high", np.uint64), ("low", np.uint64), ("place", np.int64), ("number", np.int64)])


class Files(Protocol):
    """Files by number, read when asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> SourceFile: ...


class Copies(NamedTuple):
    """For each file the number of the one that stays instead of it, -1 where it stays itself, and how alike they are.

    `similarity` is Jaccard's, 1 also where only signs differ; `exact` says that a file with the same text was preferred.
    """

    keeper: Numbers
    similarity: NDArray[np.float64]
    exact: NDArray[np.bool_]


def preferred(lengths: Numbers, names: Numbers, room: Memory = MEMORY) -> Numbers:
    """The numbers of files, those first that stay rather than others: the longer (bytes), then the first by repository and path.

    The longer file holds most of what the shorter one says; `names`, places in the order of names, only make the choice the same every
    time.
    """

    def parts() -> Iterator[Rows]:
        for own in room.blocks(len(lengths)):
            rows = np.empty(own.stop - own.start, dtype=_RANKED)
            rows["shorter"], rows["name"], rows["number"] = -lengths[own], names[own], np.arange(own.start, own.stop)
            yield rows

    return room.joined((part["number"] for part in ordered(parts(), _RANKED, room, keys=2)), np.int64)


class Sketches(Protocol):
    """The sketches of files by their numbers."""

    def __call__(self, numbers: Numbers, /) -> Sketched: ...


class Means(NamedTuple):
    """What copies are found with: the engine, where the sketches are if there are any yet, and room for large arrays."""

    engine: Engine
    sketches: Sketches | None = None
    room: Memory = MEMORY


def find_copies(files: Files, order: Numbers, digests: Hashes, means: Means, *, threshold: float | None) -> Copies:
    """The files that go. `order`: their numbers by preference; `digests`: 16 bytes each, shape (files, 2).

    `threshold` None: near ones stay.

    The order in which files come has no say. Beside what `nearest_kept` takes this takes 33 bytes a file of the room.
    """
    room, count = means.room, len(order)
    twin = _twins(order, digests, room)
    copies = Copies(room.full((count,), -1, np.int64), room.full((count,), 0.0, np.float64), room.empty((count,), np.bool_))
    for own in room.blocks(count):
        copies.exact[own] = twin[own] >= 0
    if threshold is not None:
        _near_copies(
            files, room.joined((order[own][twin[order[own]] < 0] for own in room.blocks(count)), np.int64), copies, means, threshold
        )
    for own in room.blocks(count):
        exact = own.start + np.flatnonzero(copies.exact[own])
        beyond = copies.keeper[twin[exact]]
        copies.similarity[exact] = np.where(beyond >= 0, copies.similarity[twin[exact]], 1.0)
        copies.keeper[exact] = np.where(beyond >= 0, beyond, twin[exact])
    return copies


def _near_copies(files: Files, singles: Numbers, copies: Copies, means: Means, threshold: float) -> None:
    """Puts into `copies` which of the singles, earlier ones preferred, go for another one."""
    sketched = means.sketches(singles) if means.sketches else None
    texts = Texts(len(singles), lambda place: content(files[int(singles[place])]), sketched, means.room)
    near = nearest_kept(texts, threshold=threshold, engine=means.engine)
    for own in means.room.blocks(len(singles)):
        gone = own.start + np.flatnonzero(near.keeper[own] >= 0)
        copies.keeper[singles[gone]] = singles[near.keeper[gone]]
        copies.similarity[singles[gone]] = near.similarity[gone]


def _twins(order: Numbers, digests: Hashes, room: Memory) -> Numbers:
    """For each file the preferred one of the same digest, -1 where it is that itself."""

    def parts() -> Iterator[Rows]:
        for own in room.blocks(len(order)):
            rows = np.empty(own.stop - own.start, dtype=_DIGESTED)
            rows["number"], rows["place"] = order[own], np.arange(own.start, own.stop)
            rows["high"], rows["low"] = digests[order[own]].T
            yield rows

    twin = room.full((len(order),), -1, np.int64)
    before: Rows = np.empty(0, dtype=_DIGESTED)  # the first of the digest that was the last
    for part in ordered(parts(), _DIGESTED, room, keys=3):
        rows = np.concatenate([before, part])
        new = np.ones(len(rows), dtype=np.bool_)
        new[1:] = (rows["high"][1:] != rows["high"][:-1]) | (rows["low"][1:] != rows["low"][:-1])
        first = np.flatnonzero(new)[np.cumsum(new) - 1]
        twin[rows["number"]] = np.where(new, -1, rows["number"][first])
        before = rows[first[-1:]]
    return twin


def content(file: SourceFile) -> bytes:
    """The text's bytes, of which lengths and sketches are."""
    return file.text.encode("utf-8", "surrogatepass")
