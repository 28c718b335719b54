"""Stage settle: what depends on everything before it, in the order of names and of git. No change twice, no question or answer twice.

Looks at 16 bytes of each change, and 32 of each instruction; which have come before is asked of files (digests.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from finetune.data.build.changes import Heard
from finetune.data.build.clean import SPLIT
from finetune.data.build.job import Job, Shard, Task, dump, load
from finetune.data.build.join import write_parts
from finetune.data.build.mapped import save
from finetune.data.build.samples import sizes_of
from finetune.data.build.teach import HEARD, KEPT, SOURCES, TAUGHT, Source, samples_of, tally_of, tried_of
from finetune.data.digests import Digests, Since
from finetune.data.gate import Gate
from finetune.data.mine import Books, Fit, Tried, settle
from finetune.data.split import Split
from finetune.data.spool import Spool, Writer, write_spool
from finetune.data.tally import Tally
from finetune.records import Change, Origin

PARTS, HELD, BEGINS, PLACE = "parts", "held", "begins.npy", np.dtype([("order", np.uint64), ("stays", np.bool_)])

_QUESTIONS, _ANSWERS, _CHANGES = "questions", "answers", "changes"


class Account(NamedTuple):
    """What became of a shard's files, or of its changes: the books, samples by origin, and by miner and side (valid or not)."""

    books: Books
    made: Counter[Origin]
    miners: Counter[tuple[str, bool]]


def settle_all(task: Task) -> None:
    """Leaves accounts of each shard, the place of each sample in the shuffle, and an index of the texts of held-out changes."""
    job, gate = task.job, Gate(questions=Digests(task.folder / _QUESTIONS), answers=Digests(task.folder / _ANSWERS))
    seen = Digests(task.folder / _CHANGES)
    for source in SOURCES:
        for shard in job.shards:
            gate = gate.emptied()
            if (job.place("teach", shard) / tally_of(source)).exists():
                _settle(Task(job, task.tools, task.folder, shard), source, gate, seen)
    (task.folder / _CHANGES).unlink()
    begins = [0]
    with write_spool(task.folder / HELD, Origin) as origins:
        texts = _held_texts(job, task.folder, origins, begins)
        write_parts(texts, task.folder / PARTS, threshold=job.recipe.data.near_duplicates.across, part_bytes=job.part_bytes)
    save(task.folder / BEGINS, np.array(begins, dtype=np.int64))


def gate_of(job: Job) -> Gate:
    """A gate that knows what the stage has let through."""
    folder = job.place("settle")
    return Gate(questions=Since(folder / _QUESTIONS), answers=Since(folder / _ANSWERS))


def _settle(task: Task, source: Source, gate: Gate, seen: Digests) -> None:
    job, taught = task.job, task.before("teach")
    tally: Tally = load(taught / tally_of(source))
    books = Books(tally, gate)
    gone = _copies(taught / HEARD, tally, seen) if source == "history" else set()
    if source == "files" and not any(miner.source == "files" for miner in job.recipe.data.miners):
        tally.kept += len(np.load(taught / KEPT))
    account = Account(books, Counter(), Counter())
    sides = iter(np.load(sizes_of(taught / samples_of(source)))["valid"].tolist())
    places: list[tuple[int, bool]] = []
    teaching: list[bool] = []
    with closing(Spool[Tried](taught / tried_of(source))) as log:
        for tried in log:
            found = settle(tried, books, seed=job.recipe.seed, gone=gone)
            fits = [event for event in tried.events if isinstance(event, Fit)]
            for fit, order, valid in zip(fits, found.orders, sides, strict=False):
                account.miners[fit.miner, valid] += order is not None
                places.append((order or 0, order is not None))
            teaching += [found.made[item] > 0 for item in sorted({fit.items[0] for fit in fits})]
            account.made.update({origin: made for origin, made in zip(tried.origins, found.made, strict=True) if made})
    save(task.folder / places_of(source, task.own), np.array(places, dtype=PLACE))
    if source == "history":
        save(task.folder / teaching_of(task.own), np.array(teaching, dtype=np.bool_))
    dump(account._replace(books=Books(tally, Gate(gate.tallies))), task.folder / account_of(source, task.own))


def _copies(path: Path, tally: Tally, seen: Digests) -> set[Origin]:
    """The changes that did what one of an earlier shard did; what else is left out of them is counted now."""
    gone, own = set(), set()
    with closing(Spool[Heard](path)) as records:
        for record in records:
            own.add(record.digest)
            if record.digest in seen:
                gone.add(record.origin)
                tally.drop(record.origin, "copy")
            elif record.reason:
                tally.drop(record.origin, record.reason, record.detail)
    for digest in own:
        seen.add(digest)
    return gone


def teaching(job: Job, shard: Shard, folder: Path, *, valid: bool) -> Iterator[Change]:
    """The shard's changes of one side of which samples are made; `folder` is this stage's."""
    path = job.place("teach", shard) / TAUGHT
    if not path.exists():
        return
    split: Split = load(job.place("clean", shard) / SPLIT)
    flags = np.load(folder / teaching_of(shard))
    with closing(Spool[Change](path)) as changes:
        for place in np.flatnonzero(flags).tolist():
            change = changes[place]
            if (split(change.origin) == "valid") == valid:
                yield change


def _held_texts(job: Job, folder: Path, origins: Writer[Origin], begins: list[int]) -> Iterator[str]:
    """Both texts of every change that is held out, the two of the origin that is put aside meanwhile; where each shard's begin."""
    for shard in job.shards:
        for change in teaching(job, shard, folder, valid=True):
            origins.append(change.origin)
            yield change.before
            yield change.after
        begins.append(len(origins))


def places_of(source: Source, shard: Shard) -> str:
    """The file with the places of a shard's samples."""
    return f"{source}-{shard.number:06}.npy"


def account_of(source: Source, shard: Shard) -> str:
    """The file with a shard's account."""
    return f"{source}-{shard.number:06}.pickle"


def teaching_of(shard: Shard) -> str:
    """The file that says which of a shard's changes put aside have samples."""
    return f"taught-{shard.number:06}.npy"
