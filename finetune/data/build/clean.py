"""Stage clean: the files of a shard, read, filtered and redacted, and what the whole corpus has to know of each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from typing import NamedTuple

import numpy as np

from finetune.data.build.job import Task, dump
from finetune.data.build.mapped import save
from finetune.data.build.tools import cleaned
from finetune.data.dedup import content, digest, engine_for, sketch
from finetune.data.repos import read_files
from finetune.data.repos.aside import Aside
from finetune.data.split import open_split
from finetune.data.spool import Spool, write_spool
from finetune.data.tally import Tally
from finetune.records import SourceFile

FILES, TALLY, SPLIT, READ = "files", "tally.pickle", "split.pickle", "read"
FACTS, SKETCHES, FILLED = "facts.npy", "sketches.npy", "filled.npy"
FACT = np.dtype([("digest", np.uint64, 2), ("length", np.int64), ("name", np.int64), ("valid", np.bool_)])


class _Name(NamedTuple):
    repo: str
    path: str


def clean(task: Task) -> None:
    """Leaves the files, a tally, the split, and of each file a FACT: digest, bytes, place in the order of names, side; sketches."""
    recipe, tally = task.job.recipe, Tally()
    by, repositories = recipe.data.split, task.own.repositories
    split = open_split(repositories, by=by.by, date=by.date, valid_share=recipe.data.valid_share, seed=recipe.seed)
    facts, names = [], []
    with _put_aside(task) as kept, write_spool(task.folder / FILES, SourceFile) as written:
        read = chain.from_iterable(
            read_files(repository, tally, selection=task.tools.selection, kept=kept)
            for repository in task.track(repositories, label="reading")
        )
        for file in cleaned(read, task.tools, tally):
            assert isinstance(file, SourceFile)
            written.append(file)
            names.append(_Name(file.origin.repo, file.origin.path))
            facts.append((np.frombuffer(digest(file), dtype=np.uint64), len(content(file)), 0, split(file.origin) == "valid"))
    table = np.array(facts, dtype=FACT)
    table["name"][sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    save(task.folder / FACTS, table)
    if recipe.data.near_duplicates.enabled:
        with closing(Spool[SourceFile](task.folder / FILES)) as files:
            found = sketch(map(content, files), len(files), engine_for(int(table["length"].sum())))
        save(task.folder / SKETCHES, found.sketches)
        save(task.folder / FILLED, found.filled)
    dump(tally, task.folder / TALLY)
    dump(split, task.folder / SPLIT)


@contextmanager
def _put_aside(task: Task) -> Iterator[Aside | None]:
    """What is read of the files, left for the history; None where no miner looks at one."""
    if not any(miner.source == "history" for miner in task.job.recipe.data.miners):
        yield None
        return
    with closing(Aside(task.folder / READ)) as kept:
        yield kept
        kept.save()
