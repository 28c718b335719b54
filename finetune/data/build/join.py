"""Stage join: what only the whole corpus can tell of a file, from a line of numbers on each.

copies and near-duplicates -> sides -> an index of the held-out texts, in parts
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finetune.data.build.checks import require_heldout
from finetune.data.build.clean import FACT, FACTS, FILES, FILLED, SKETCHES, TALLY
from finetune.data.build.job import Job, Task, load, room_of
from finetune.data.build.mapped import dump_mapped, load_mapped, save
from finetune.data.dedup import BINS, Boundary, Copies, Match, Means, Sketched, engine_for, find_copies, preferred
from finetune.data.room import Memory, singly
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
        if not self._parts:
            return []
        asked = self._parts[0].asked(text)
        pairs = zip(self._begins, self._parts, strict=False)
        return [Match(begin + match.number, match.similarity) for begin, part in pairs for match in part.near_to(asked)]


def join(task: Task) -> None:
    """Leaves who goes for whom, who is held out, and the index to compare with."""
    job, near = task.job, task.job.recipe.data.near_duplicates
    with corpus(job) as files, room_of(job, task.folder / "arrays") as room:
        facts = _facts(job, room)
        order = preferred(facts["length"], facts["name"], room)
        means = Means(engine_for(int(facts["length"].sum())), lambda numbers: _sketches(job, numbers, room), room)
        copies = find_copies(files, order, facts["digest"], means, threshold=near.threshold if near.enabled else None)
        held = _numbers(copies, room, facts["valid"])
        if not len(held):
            _refuse(job, copies, files, room)
        texts = (files[number].text for number in singly(held))
        write_parts(texts, task.folder / PARTS, threshold=near.across, part_bytes=job.part_bytes)
        for name, values in ((_KEEPER, copies.keeper), (_SIMILARITY, copies.similarity), (_EXACT, copies.exact), (_HELD, held)):
            save(task.folder / name, values)


def _facts(job: Job, room: Memory) -> NDArray[np.void]:
    """What is known of each file, its place in the order of names among the whole corpus'."""
    begins, counts = _begins(job)
    facts = room.empty((sum(counts),), FACT)
    for begin, count, folder in zip(begins, counts, job.places("clean"), strict=True):
        own = facts[begin : begin + count]
        own[:] = np.load(folder / FACTS)
        own["name"] += begin
    return facts


def _numbers(copies: Copies, room: Memory, which: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """The files that stay, of those asked for."""
    parts = (
        own.start + np.flatnonzero((copies.keeper[own] < 0) & (True if which is None else which[own]))
        for own in room.blocks(len(copies.keeper))
    )
    return room.joined(parts, np.int64)


def _sketches(job: Job, numbers: NDArray[np.int64], room: Memory) -> Sketched:
    """The sketches of files in this order, read shard by shard."""
    begins, counts = _begins(job)
    places = room.full((sum(counts),), -1, np.int64)
    for block in room.blocks(len(numbers)):
        places[numbers[block]] = np.arange(block.start, block.stop)
    found = Sketched(room.empty((len(numbers), BINS), np.uint32), room.empty((len(numbers),), np.int64))
    for begin, count, folder in zip(begins, counts, job.places("clean"), strict=True):
        own = places[begin : begin + count]
        here = np.flatnonzero(own >= 0)
        found.filled[own[here]] = np.load(folder / FILLED)[here]
        sketches = np.load(folder / SKETCHES, mmap_mode="r")
        for block in room.blocks(len(here), row_bytes=sketches[:1].nbytes):
            found.sketches[own[here[block]]] = sketches[here[block]]
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


def _refuse(job: Job, copies: Copies, files: Spools[SourceFile], room: Memory) -> None:
    """Raises DataError: there is nothing to measure on."""
    tallies: Iterable[Tally] = (load(place / TALLY) for place in job.places("clean"))
    books = Tally()
    for tally in tallies:
        books.read += tally.read
        books.dropped += tally.dropped
    unique = _numbers(copies, room)
    exact = int(np.count_nonzero(copies.exact))
    books.dropped += Counter({"copy": exact, "near_copy": len(copies.keeper) - len(unique) - exact})
    require_heldout(job.recipe, books, (files[number].origin for number in singly(unique)), len(unique))
