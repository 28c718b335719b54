"""Stage join: what only the whole corpus can tell of a file, from a line of numbers on each.

copies and near-duplicates -> sides -> an index of the held-out texts, in parts
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finetune.data.build.checks import require_heldout
from finetune.data.build.clean import FACTS, FILES, FILLED, SKETCHES, TALLY
from finetune.data.build.job import Job, Task, load
from finetune.data.build.mapped import dump_mapped, load_mapped, save
from finetune.data.dedup import BINS, Boundary, Copies, Disk, Match, Means, Memory, Sketched, engine_for, find_copies, preferred
from finetune.data.spool import Spools
from finetune.data.tally import Tally
from finetune.records import SourceFile

_KEEPER, _SIMILARITY, _EXACT, _HELD = "keeper.npy", "similarity.npy", "exact.npy", "held.npy"
PARTS = "parts"


class Joined(NamedTuple):
    """For each file of the corpus the number of the one that stays instead of it (-1: itself), how alike, and whether exactly.

    `held` are the numbers of the files that are held out. The arrays are read from disk where they are looked at.
    """

    keeper: NDArray[np.int64]
    similarity: NDArray[np.float64]
    exact: NDArray[np.bool_]
    held: NDArray[np.int64]


class Boundaries:
    """Held-out texts in several indexes, asked as if they were one."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._parts: list[Boundary] = [load_mapped(folder) for folder in folders]
        self._begins = np.cumsum([0, *map(len, self._parts)]).tolist()

    def nearest(self, text: str) -> Match | None:
        """The held-out text most like this one, if it is that or a near-duplicate of it; of equals the first."""
        return max(self.all_near(text), key=lambda match: (match.similarity, -match.number), default=None)

    def all_near(self, text: str) -> list[Match]:
        """Every held-out text that is this one or a near-duplicate of it."""
        pairs = zip(self._begins, self._parts, strict=False)
        return [Match(begin + match.number, match.similarity) for begin, part in pairs for match in part.all_near(text)]


def join(task: Task) -> None:
    """Leaves who goes for whom, who is held out, and the index to compare with."""
    job, near = task.job, task.job.recipe.data.near_duplicates
    facts = np.concatenate([np.load(place / FACTS) for place in job.places("clean")])
    names = facts["name"] + np.repeat(*_begins(job))
    order = preferred(facts["length"], names)
    engine = engine_for(int(facts["length"].sum()))
    with corpus(job) as files:
        with _room(task) as room:
            means = Means(engine, lambda numbers: _sketches(job, numbers, room), room)
            copies = find_copies(files, order, facts["digest"], means, threshold=near.threshold if near.enabled else None)
        held = np.flatnonzero((copies.keeper < 0) & facts["valid"])
        if not len(held):
            _refuse(job, copies, files)
        texts = (files[number].text for number in held.tolist())
        write_parts(texts, task.folder / PARTS, threshold=near.across, part_bytes=job.part_bytes)
    for name, values in ((_KEEPER, copies.keeper), (_SIMILARITY, copies.similarity), (_EXACT, copies.exact), (_HELD, held)):
        save(task.folder / name, values)


@contextmanager
def _room(task: Task) -> Iterator[Memory]:
    """Memory for a corpus of one shard, a folder for one of several."""
    if len(task.job.shards) == 1:
        yield Memory()
        return
    folder = task.folder / "arrays"
    folder.mkdir()
    yield Disk(folder)
    shutil.rmtree(folder)


def _sketches(job: Job, numbers: NDArray[np.int64], room: Memory) -> Sketched:
    """The sketches of files in this order, read shard by shard."""
    begins, counts = _begins(job)
    places = np.full(sum(counts), -1, dtype=np.int64)
    places[numbers] = np.arange(len(numbers))
    found = Sketched(room.empty((len(numbers), BINS), np.uint32), np.empty(len(numbers), dtype=np.int64))
    for begin, count, folder in zip(begins, counts, job.places("clean"), strict=True):
        own = places[begin : begin + count]
        here = np.flatnonzero(own >= 0)
        found.sketches[own[here]] = np.load(folder / SKETCHES, mmap_mode="r")[here]
        found.filled[own[here]] = np.load(folder / FILLED)[here]
    return found


def read_joined(job: Job) -> Joined:
    """What the stage has left."""
    return Joined(*(np.load(job.place("join") / name, mmap_mode="r") for name in (_KEEPER, _SIMILARITY, _EXACT, _HELD)))


@contextmanager
def corpus(job: Job) -> Iterator[Spools[SourceFile]]:
    """All files that the shards have put aside, by number."""
    files = Spools[SourceFile]([place / FILES for place in job.places("clean")])
    try:
        yield files
    finally:
        files.close()


def write_parts(texts: Iterable[str], folder: Path, *, threshold: float, part_bytes: int) -> None:
    """Indexes of the texts, in their order, each of about so much text."""
    folder.mkdir()
    part: list[str] = []
    room = part_bytes
    for text in texts:
        if part and len(text) > room:
            _write_part(part, folder, threshold)
            part, room = [], part_bytes
        part.append(text)
        room -= len(text)
    if part:
        _write_part(part, folder, threshold)


def parts_of(folder: Path) -> list[Path]:
    """The indexes in a folder."""
    return sorted(folder.iterdir())


def _write_part(texts: list[str], folder: Path, threshold: float) -> None:
    dump_mapped(Boundary(texts, threshold=threshold), folder / f"{len(parts_of(folder)):06}")


def _begins(job: Job) -> tuple[list[int], list[int]]:
    """The number of each shard's first file, and how many it has."""
    counts = [len(np.load(place / FACTS, mmap_mode="r")) for place in job.places("clean")]
    begins = np.cumsum([0, *counts]).tolist()
    return begins[:-1], counts


def _refuse(job: Job, copies: Copies, files: Spools[SourceFile]) -> None:
    """Raises DataError: there is nothing to measure on."""
    tallies: Iterable[Tally] = (load(place / TALLY) for place in job.places("clean"))
    books = Tally()
    for tally in tallies:
        books.read += tally.read
        books.dropped += tally.dropped
    books.dropped += Counter({"copy": int(copies.exact.sum()), "near_copy": int(((copies.keeper >= 0) & ~copies.exact).sum())})
    unique = np.flatnonzero(copies.keeper < 0).tolist()
    require_heldout(job.recipe, books, (files[number].origin for number in unique), len(unique))
