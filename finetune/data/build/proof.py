"""Stage prove: every text that is trained on against every text that is held out, exactly; and what follows from it.

Held-out texts are numbered: the files, then the old and the new text of each change. A held-out change may still be like something that
is trained on, as an old version of a file that was copied is: it goes. Nothing else may cross: earlier stages have left that out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import NamedTuple

import numpy as np

from finetune.data.build import settle
from finetune.data.build.clean import FACTS
from finetune.data.build.heldout import boundaries_of
from finetune.data.build.job import Job, Task, dump, load
from finetune.data.build.join import Boundaries, corpus, read_joined
from finetune.data.build.teach import KEPT, Source
from finetune.data.build.tools import told
from finetune.data.report import SplitCheck
from finetune.data.spool import Spool
from finetune.records import Origin

_FOUND = "found.pickle"


class Crossing(NamedTuple):
    """By the number of a held-out text, the first text of the train side that is like it; `texts` were compared."""

    near: dict[int, tuple[Origin, float]]
    texts: int


class Straddles(Exception):
    """A text that is held out is like one that is trained on, though earlier stages have left all such out: our own fault."""


class Proof(NamedTuple):
    """That the sides are apart, once the `withdrawn` changes have gone, each for being like a text of the train side."""

    check: SplitCheck
    withdrawn: dict[Origin, str]


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
    dump(found, task.folder / _FOUND)


def _crossing(texts: Iterable[tuple[Origin, str]], boundaries: Boundaries) -> Crossing:
    near: dict[int, tuple[Origin, float]] = {}
    count = 0
    for origin, text in texts:
        count += 1
        for match in boundaries.all_near(text):
            near.setdefault(match.number, (origin, match.similarity))
    return Crossing(near, count)


def proof(job: Job) -> Proof:
    """The proof of all shards together. Raises Straddles when something crosses that is not ours to withdraw."""
    files = len(read_joined(job).held)
    with closing(Spool[Origin](job.place("settle") / settle.HELD)) as changes:
        near: dict[int, tuple[Origin, float]] = {}
        trained = 0
        for crossing in _all(job):
            trained += crossing.texts
            near = crossing.near | near
        straddling = [told(*found) for number, found in sorted(near.items()) if number < files]
        if straddling:
            raise Straddles(f"{len(straddling)} held-out files are like texts that are trained on: {', '.join(straddling[:8])}")
        # Of the two texts of a change the second has the say, as it is what the change leaves behind.
        withdrawn = {changes[(number - files) // 2]: told(*found) for number, found in sorted(near.items())}
        held = files + 2 * (len(changes) - len(withdrawn))
    return Proof(SplitCheck(job.recipe.data.near_duplicates.across, trained, held, len(straddling)), withdrawn)


def _all(job: Job) -> Iterator[Crossing]:
    """Files of all shards, then their changes."""
    sources: tuple[Source, ...] = ("files", "history")
    for source in sources:
        for place in job.places("prove"):
            found: dict[Source, Crossing] = load(place / _FOUND)
            yield found[source]
