"""A long history in batches that know what they share."""

from __future__ import annotations

import shutil
from collections.abc import Container, Iterator
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from finetune.data.spool import Spool, write_spool

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Modified(NamedTuple):
    """One file before and after one commit, by blob id; `path` is its name at that commit, `today` its name now."""

    commit: str
    path: str
    today: str
    message: str
    before: str
    after: str
    programs: int


class Batch(NamedTuple):
    """Changes that are read together, and the ids of blobs in them that a later batch has too."""

    changes: list[Modified]
    again: Container[str] = ()


def in_batches(changes: Iterator[Modified], size: int, folder: Path) -> Iterator[Batch]:
    """The changes in their order, so many at a time.

    Where there are more, they lie in the new `folder` meanwhile, which is cleared at the end, and of each about 100 bytes are in memory.
    """
    first = [*islice(changes, size)]
    following = next(changes, None)
    if following is None:
        yield Batch(first)
        return
    folder.mkdir()
    try:
        yield from _from_disk(chain(first, [following], changes), size, folder / "batches")
    finally:
        shutil.rmtree(folder)


def _from_disk(changes: Iterator[Modified], size: int, path: Path) -> Iterator[Batch]:
    marks = []
    with write_spool(path, list) as written:
        while batch := [*islice(changes, size)]:
            written.append(batch)
            marks.append(_marks(batch))
    with closing(Spool[list[Modified]](path)) as batches:
        for batch, shared in zip(batches, _shared(marks), strict=True):
            yield Batch(batch, {oid for oid, later in zip(_oids(batch), shared.tolist(), strict=True) if later})


def _oids(batch: list[Modified]) -> Iterator[str]:
    return (oid for change in batch for oid in (change.after, change.before))


def _marks(batch: list[Modified]) -> NDArray[np.uint64]:
    """The first eight bytes of each id: two of them alike would have a blob put aside in vain, and no more."""
    import numpy as np  # a long history alone needs it

    return np.array([int(oid[:16], 16) for oid in _oids(batch)], dtype=np.uint64)


def _shared(marks: list[NDArray[np.uint64]]) -> list[NDArray[np.bool_]]:
    """For each mark of each batch whether a later one has it too."""
    import numpy as np

    every = np.concatenate(marks)
    batch_of = np.repeat(np.arange(len(marks), dtype=np.int32), [len(each) for each in marks])
    order = np.argsort(every, kind="stable")  # of those alike the last is in the latest batch
    every = every[order]
    lasts = np.flatnonzero(np.append(every[1:] != every[:-1], True))
    latest = np.empty_like(batch_of)
    latest[order] = np.repeat(batch_of[order[lasts]], np.diff(lasts, prepend=-1))
    return np.split(batch_of < latest, np.cumsum([len(each) for each in marks])[:-1])
