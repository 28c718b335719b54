"""Stage teach: what a shard has to be trained on and measured on, tried as samples.

files   copies go -> what is like a held-out file goes -> miners
changes read, filter, redact -> copies go -> what gives a held-out file away goes -> miners

Files first: what is held out of them decides which changes may be trained on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

import numpy as np

from finetune.data.build.changes import Heard, Held, Outlook, heard
from finetune.data.build.clean import FACTS, SPLIT, TALLY
from finetune.data.build.job import Task, dump, load
from finetune.data.build.join import PARTS, Boundaries, corpus, parts_of, read_joined
from finetune.data.build.mapped import save
from finetune.data.build.samples import SampleWriter, wide
from finetune.data.build.tools import told
from finetune.data.mine import Fit, Tried, mined, try_out
from finetune.data.miners import Bench
from finetune.data.secrets import redact_path
from finetune.data.split import Split
from finetune.data.spool import write_spool
from finetune.data.tally import Tally
from finetune.records import Change, Item, SourceFile

Source: TypeAlias = Literal["files", "history"]
SOURCES: tuple[Source, ...] = ("files", "history")
KEPT, HEARD, TAUGHT, ENGINE = "kept.npy", "heard", "taught", "engine.pickle"


def teach(task: Task) -> None:
    """Leaves the numbers of the files kept, what was tried of files and of changes, the samples that fit, and the tallies so far."""
    job, tools = task.job, task.tools
    split: Split = load(task.before("clean") / SPLIT)
    bench = Bench(tools.encoder, job.recipe.data.row_length, job.recipe.seed, side=split, clean=lambda name: tools.redactor.name(name)[0])
    with corpus(job) as files:
        boundaries = Boundaries(parts_of(job.place("join") / PARTS))
        look = Outlook(files, read_joined(job), boundaries, load(task.before("clean") / TALLY), split, Held(set(), set(), set()))
        kept = _files(task, look)
        deque(_try(_named((files[number] for number in kept), task, look.tally), "files", task, bench), maxlen=0)
        if any(miner.source == "history" for miner in job.recipe.data.miners):
            _history(task, look, bench)
    save(task.folder / KEPT, np.array(kept, dtype=np.int64))
    dump(look.tally, task.folder / tally_of("files"))
    dump(tools.encoder.engine, task.folder / ENGINE)


def _named(files: Iterable[SourceFile], task: Task, tally: Tally) -> Iterator[SourceFile]:
    """The files, what is redacted in their paths counted where a miner writes them."""
    written = any(miner.names for miner in task.job.recipe.data.miners)
    for file in files:
        if written:
            redact_path(file.origin, task.tools.redactor, tally)
        yield file


def tally_of(source: Source) -> str:
    """The file of a tally."""
    return f"{source}.{TALLY}"


def tried_of(source: Source) -> str:
    """The list of what was tried, chunk by chunk."""
    return f"{source}.tried"


def samples_of(source: Source) -> str:
    """The list of samples that fit a row, in the order they were tried."""
    return f"{source}.samples"


def _files(task: Task, look: Outlook) -> list[int]:
    """The numbers of the shard's files that stay, in the order they were read; of the others the reason is counted."""
    look.held.paths.update((origin.repo, origin.path) for origin in look.tally.looks)
    valid = np.load(task.before("clean") / FACTS, mmap_mode="r")["valid"]
    begin = look.files.begin(task.own.number)
    unique = [number for number in range(begin, begin + len(valid)) if not _is_copy(number, task, look)]
    kept = []
    for number in unique:
        if valid[number - begin]:
            origin = look.files[number].origin
            look.held.names.add((origin.repo, PurePosixPath(origin.path).name))
            kept.append(number)
        elif _is_apart(look.files[number], look):
            kept.append(number)
    return kept


def _is_copy(number: int, task: Task, look: Outlook) -> bool:
    keeper = int(look.joined.keeper[number])
    if keeper < 0:
        return False
    origin, kept = look.files[number].origin, look.files[keeper].origin
    reason = "copy" if look.joined.exact[number] else "near_copy"
    look.tally.drop(origin, reason, told(kept, float(look.joined.similarity[number])))
    place = np.searchsorted(look.joined.held, keeper)
    if place < len(look.joined.held) and look.joined.held[place] == keeper:
        look.held.shadows.add((origin.repo, origin.path))
    return True


def _is_apart(file: SourceFile, look: Outlook) -> bool:
    """Whether no held-out file is like this one; sketches miss few pairs, this none."""
    match = look.boundaries.nearest(file.text)
    if match is None:
        return True
    near = look.files[int(look.joined.held[match.number])].origin
    look.tally.drop(file.origin, "near_held_out", told(near, match.similarity))
    look.held.shadows.add((file.origin.repo, file.origin.path))
    return False


def _history(task: Task, look: Outlook, bench: Bench) -> None:
    """The changes, those that samples are made of put aside."""
    tally = Tally()
    with write_spool(task.folder / HEARD, Heard) as records, write_spool(task.folder / TAUGHT, Change) as taught:

        def changes() -> Iterator[Change]:
            for record, change in heard(task, look, tally):
                records.append(record)
                if change is not None:
                    yield change

        for tried in _try(changes(), "history", task, bench):
            fitting = {event.items[0] for event in tried.events if isinstance(event, Fit)}
            for place in sorted(fitting):
                change = tried.items[place]
                assert isinstance(change, Change)
                taught.append(change)
    dump(tally, task.folder / tally_of("history"))


def _try(items: Iterable[Item], source: Source, task: Task, bench: Bench) -> Iterator[Tried]:
    """What is tried of the items, as it is put on disk: nothing where no miner takes them."""
    data = task.job.recipe.data
    miners = [miner for miner in data.miners if miner.source == source]
    assert bench.side is not None
    with ExitStack() as stack:
        log = stack.enter_context(write_spool(task.folder / tried_of(source), Tried))
        samples = stack.enter_context(SampleWriter(task.folder / samples_of(source), wide=wide(bench.encoder.vocabulary_size)))
        for tried in try_out(task.track(items, label=source), miners, bench, learn=data.learn) if miners else ():
            log.append(tried._replace(items=(), encoded=()))
            fits = (event for event in tried.events if isinstance(event, Fit))
            for fit, encoded in zip(fits, tried.encoded, strict=True):
                sample = mined(tried, fit, encoded, 0)
                samples.append(sample, valid=bench.side(sample.origin) == "valid")
            yield tried
