"""Which of a corpus's files stay: neither copies nor near-duplicates of one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from finetune.data.dedup.near import MEMORY, Sketched, Texts, nearest_kept
from finetune.data.dedup.room import Memory
from finetune.data.dedup.words import Engine
from finetune.records import SourceFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finetune.data.dedup.words import Hashes, Numbers


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


def preferred(lengths: Numbers, names: Numbers) -> Numbers:
    """The numbers of files, those first that stay rather than others: the longer (bytes), then the first by repository and path.

    The longer file holds most of what the shorter one says; `names`, places in the order of names, only make the choice the same every
    time.
    """
    return np.lexsort((names, -lengths))


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

    The order in which files come has no say. Beside what `nearest_kept` holds this takes some 60 bytes a file.
    """
    twin = _twins(order, digests)
    copies = Copies(np.full(len(order), -1, dtype=np.int64), np.zeros(len(order)), twin >= 0)
    if threshold is not None:
        singles = order[twin[order] < 0]
        sketched = means.sketches(singles) if means.sketches else None
        texts = Texts(len(singles), lambda place: content(files[int(singles[place])]), sketched, means.room)
        near = nearest_kept(texts, threshold=threshold, engine=means.engine)
        gone = np.flatnonzero(near.keeper >= 0)
        copies.keeper[singles[gone]] = singles[near.keeper[gone]]
        copies.similarity[singles[gone]] = near.similarity[gone]
    own = np.flatnonzero(copies.exact)
    beyond = copies.keeper[twin[own]]
    copies.similarity[own] = np.where(beyond >= 0, copies.similarity[twin[own]], 1.0)
    copies.keeper[own] = np.where(beyond >= 0, beyond, twin[own])
    return copies


def _twins(order: Numbers, digests: Hashes) -> Numbers:
    """For each file the preferred one of the same digest, -1 where it is that itself."""
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    alike = np.lexsort((rank, digests[:, 1], digests[:, 0]))
    new = np.ones(len(alike), dtype=np.bool_)
    new[1:] = (digests[alike[1:]] != digests[alike[:-1]]).any(axis=1)
    first = alike[np.flatnonzero(new)[np.cumsum(new) - 1]] if len(alike) else alike
    twin = np.full(len(order), -1, dtype=np.int64)
    twin[alike] = np.where(new, -1, first)
    return twin


def content(file: SourceFile) -> bytes:
    """The text's bytes, of which lengths and sketches are."""
    return file.text.encode("utf-8", "surrogatepass")
