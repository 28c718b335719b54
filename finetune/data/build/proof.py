"""Stage prove: every text that is trained on against every text that is held out, exactly; and what follows from it.

Held-out texts are numbered: the files, then the old and the new text of each change. A held-out change may still be like something that
is trained on, as an old version of a file that was copied is: it goes. Nothing else may cross: earlier stages have left that out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finetune.data.build import settle
from finetune.data.build.clean import FACTS
from finetune.data.build.heldout import boundaries_of
from finetune.data.build.job import Job, Shard, Task, dump, load
from finetune.data.build.join import Boundaries, corpus, read_joined
from finetune.data.build.teach import KEPT, Source
from finetune.data.build.tools import told
from finetune.data.ordered import Sorter
from finetune.data.report import SplitCheck
from finetune.data.room import Memory
from finetune.data.spool import Spool, write_spool
from finetune.files import STAGED
from finetune.records import Origin

FOUND, _WHY = "found.pickle", f"{STAGED}why"
_NEAR = np.dtype([("change", np.int64), ("older", np.bool_), ("place", np.int64)])


class Crossing(NamedTuple):
    """By the number of a held-out text, the first text of the train side that is like it; `texts` were compared."""

    near: dict[int, tuple[Origin, float]]
    texts: int


class Straddles(Exception):
    """A text that is held out is like one that is trained on, though earlier stages have left all such out: our own fault."""


class Withdrawn(NamedTuple):
    """Held-out changes that go, by their numbers; why lies in a list, at these places of it."""

    changes: NDArray[np.int64]
    places: NDArray[np.int64]
    why: Path

    def has(self, change: int) -> bool:
        """Whether the change of this number goes."""
        place = int(np.searchsorted(self.changes, change))
        return place < len(self.changes) and int(self.changes[place]) == change


class Proof(NamedTuple):
    """That the sides are apart, once the `withdrawn` changes have gone, each for being like a text of the train side."""

    check: SplitCheck
    withdrawn: Withdrawn


def prove(task: Task) -> None:
    """Leaves what of the shard's train side is like a held-out text, of files and of changes."""
    job = task.job
    boundaries = boundaries_of(job)
    kept = np.load(task.before("teach") / KEPT)
    with corpus(job) as files:
        valid = np.load(task.before("clean") / FACTS, mmap_mode="r")["valid"][kept - files.begin(task.own.number)]
        train = (files[number] for number in kept[~valid].tolist())
        of_files = _crossing(((file.origin, file.text) for file in train), boundaries)
    changes = settle.teaching(job, task.own, job.place("settle"), valid=False)
    of_changes = _crossing(((change.origin, text) for change in changes for text in (change.before, change.after)), boundaries)
    found: dict[Source, Crossing] = {"files": of_files, "history": of_changes}
    dump(found, task.folder / FOUND)


def _crossing(texts: Iterable[tuple[Origin, str]], boundaries: Boundaries) -> Crossing:
    near: dict[int, tuple[Origin, float]] = {}
    count = 0
    for origin, text in texts:
        count += 1
        for match in boundaries.all_near(text):
            near.setdefault(match.number, (origin, match.similarity))
    return Crossing(near, count)


def proof(job: Job, room: Memory) -> Proof:
    """The proof of all shards together. Raises Straddles when something crosses that is not ours to withdraw."""
    files, trained = len(read_joined(job).held), 0
    sorter = Sorter(_NEAR, room, keys=3)
    with write_spool(job.folder / _WHY, str) as why:
        for crossing in _all(job):
            trained += crossing.texts
            sorter.add(_rows(crossing, files, len(why)))
            for found in crossing.near.values():
                why.append(told(*found))
    withdrawn = _first(sorter, job.folder / _WHY, room)
    straddling = int(np.searchsorted(withdrawn.changes, 0))
    if straddling:
        with closing(Spool[str](withdrawn.why)) as reasons:
            shown = ", ".join(reasons[place] for place in withdrawn.places[:straddling][:8].tolist())
        raise Straddles(f"{straddling} held-out files are like texts that are trained on: {shown}")
    with closing(Spool[Origin](job.place("settle") / settle.HELD)) as changes:
        held = files + 2 * (len(changes) - len(withdrawn.changes))
    check = SplitCheck(job.recipe.data.near_duplicates.across, trained, held, straddling)
    return Proof(check, withdrawn)


def _rows(crossing: Crossing, files: int, begin: int) -> NDArray[np.void]:
    """A shard's finds; files have negative numbers."""
    texts = np.array([*crossing.near], dtype=np.int64) - files
    rows = np.empty(len(texts), dtype=_NEAR)
    rows["change"] = np.where(texts < 0, texts, texts // 2)
    # Of the two texts of a change the second has the say, as it is what the change leaves behind.
    rows["older"] = (texts >= 0) & (texts % 2 == 0)
    rows["place"] = np.arange(begin, begin + len(texts))
    return rows


def _first(sorter: Sorter, why: Path, room: Memory) -> Withdrawn:
    """Of the finds of each change the first."""
    changes, places, last = room.column(np.int64), room.column(np.int64), None
    for part in sorter.parts():
        new = np.ones(len(part), dtype=np.bool_)
        new[1:] = part["change"][1:] != part["change"][:-1]
        new[0] = part["change"][0] != last
        last = part["change"][-1]
        changes.append(part["change"][new])
        places.append(part["place"][new])
    return Withdrawn(changes.array(), places.array(), why)


def withdrawn_of(job: Job, shard: Shard, withdrawn: Withdrawn) -> dict[Origin, str]:
    """The changes of a shard that go, and why."""
    settled = job.place("settle")
    begin, end = np.searchsorted(withdrawn.changes, np.load(settled / settle.BEGINS)[[shard.number, shard.number + 1]])
    own = withdrawn.changes[begin:end].tolist(), withdrawn.places[begin:end].tolist()
    with closing(Spool[Origin](settled / settle.HELD)) as changes, closing(Spool[str](withdrawn.why)) as why:
        return {changes[change]: why[place] for change, place in zip(*own, strict=True)}


def _all(job: Job) -> Iterator[Crossing]:
    """Files of all shards, then their changes."""
    sources: tuple[Source, ...] = ("files", "history")
    for source in sources:
        for place in job.places("prove"):
            found: dict[Source, Crossing] = load(place / FOUND)
            yield found[source]
