"""A job of any size whose shards' stages seem done: random sketches and digests, a few words of text, two samples a file."""

from __future__ import annotations

import hashlib
from array import array
from itertools import pairwise
from pathlib import Path

import numpy as np

from finetune.data.build.changes import Heard
from finetune.data.build.clean import FACT, FACTS, FILES, FILLED, SKETCHES, SPLIT, TALLY
from finetune.data.build.job import Job, Shard, dump
from finetune.data.build.join import read_joined
from finetune.data.build.mapped import save
from finetune.data.build.proof import FOUND, Crossing
from finetune.data.build.samples import SampleWriter
from finetune.data.build.settle import BEGINS
from finetune.data.build.teach import ENGINE, HEARD, KEPT, SOURCES, TAUGHT, Source, samples_of, tally_of, tried_of
from finetune.data.dedup import BINS
from finetune.data.gate import Keys
from finetune.data.mine import Fit, Mined, Tried
from finetune.data.repos import Repository
from finetune.data.split import Split
from finetune.data.spool import write_spool
from finetune.data.tally import Looks, Tally
from finetune.data.tokens import TYPECODE
from finetune.recipe import Recipe
from finetune.records import Change, Encoded, Origin, SourceFile

SIMILAR, COPIED, VALID, CHUNK, WITHDRAWN = 6, 100, 10, 32, 3  # one in so many
COMMITS: dict[Source, str] = {"files": "c", "history": "d"}
MINERS: dict[Source, str] = {"files": "docstrings", "history": "commits"}
IDS = array(TYPECODE, range(100, 108))
ENCODED = Encoded(IDS, IDS)
SPLIT_OF = Split("path", 1 / VALID, 0)
LENGTH = 1_000_000  # bytes that each file is said to have: a few are enough for the compiled engine


def job_of(recipe: Recipe, folder: Path, *, shards: int) -> Job:
    """A job of so many shards, of one repository each, that nothing has been done of."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"part{number:06}" for number in range(shards)]
    repositories = [Repository(name, f"/{name}", "c" * 40, "", "sha1", frozenset()) for name in names]
    return Job(folder, recipe, tuple(Shard(number, (each,)) for number, each in enumerate(repositories)))


def origin_of(shard: Shard, number: int, *, commit: str = "c") -> Origin:
    return Origin(shard.repositories[0].name, commit * 40, f"src/file{number:08}.py")


def clean(job: Job, files: int) -> None:
    """So many files in each shard. One in six is one before it said over again, one in a hundred is the same in each shard."""
    for shard in job.shards:
        place = job.place("clean", shard)
        place.mkdir()
        draw = np.random.default_rng(shard.number)
        facts, numbers = np.zeros(files, dtype=FACT), np.arange(files)
        facts["digest"] = draw.integers(1 << 63, size=(files, 2), dtype=np.uint64)
        facts["digest"][::COPIED] = numbers[::COPIED, None]
        facts["length"], facts["name"], facts["valid"] = LENGTH + draw.integers(1000, size=files), numbers, numbers % VALID == 1
        save(place / FACTS, facts)
        sketches = draw.integers(1 << 32, size=(files, BINS), dtype=np.uint32)
        sketches[1::SIMILAR] = sketches[::SIMILAR][: len(sketches[1::SIMILAR])]
        save(place / SKETCHES, sketches)
        save(place / FILLED, np.full(files, BINS))
        with write_spool(place / FILES, SourceFile) as written:
            for number in range(files):
                like = number - (number % SIMILAR == 1)
                text = f"def f{like}(a, b, shard{shard.number}):\n    return a + b * {like}\n"
                written.append(SourceFile(origin_of(shard, number), "Python", text))
        dump(Tally(read=files, kept=files), place / TALLY)
        dump(SPLIT_OF, place / SPLIT)


def teach(job: Job, files: int) -> None:
    """An instruction of each file, and as many changes, held out by a hash; one in a hundred is the same in each shard."""
    for shard in job.shards:
        place = job.place("teach", shard)
        place.mkdir()
        for source in SOURCES:
            origins = [origin_of(shard, number, commit=COMMITS[source]) for number in range(files)]
            dump(Tally(read=files, looks={origin: Looks("Python", 100) for origin in origins}), place / tally_of(source))
            with (
                write_spool(place / tried_of(source), Tried) as log,
                SampleWriter(place / samples_of(source), wide=False) as samples,
            ):
                for begin in range(0, files, CHUNK):
                    own = origins[begin : begin + CHUNK]
                    log.append(Tried(own, [_fit(source, shard, begin, item) for item in range(len(own))], (), ()))
                    for origin in own:
                        samples.append(Mined(origin, MINERS[source], 0, ENCODED, (origin,)), valid=SPLIT_OF(origin) == "valid")
            if source == "history":
                _changes(place, shard, origins)
        save(place / KEPT, np.arange(files))
        dump("stand-in", place / ENGINE)


def _fit(source: Source, shard: Shard, begin: int, item: int) -> Fit:
    keys = Keys(_digest(shard, "question", begin + item), _digest(shard, "answer", begin + item))
    return Fit((item,), MINERS[source], (), keys if source == "files" else None, "part")


def _changes(place: Path, shard: Shard, origins: list[Origin]) -> None:
    with write_spool(place / HEARD, Heard) as heard, write_spool(place / TAUGHT, Change) as taught:
        for number, origin in enumerate(origins):
            heard.append(Heard(_digest(shard, "change", number), origin, "", ""))
            before, after = ("".join(f"value{line} = {each}\n" for line in range(24)) for each in (number, number + 1))
            taught.append(Change(origin, "Python", "Change it", before, after))


def _digest(shard: Shard, kind: str, number: int) -> bytes:
    own = "" if number % COPIED == 0 else shard.number
    return hashlib.blake2b(f"{kind} {own} {number}".encode(), digest_size=16).digest()


def prove(job: Job, files: int) -> None:
    """So many texts compared in each shard; every third change that is held out is like one of them."""
    held = len(read_joined(job).held)
    begins = np.load(job.place("settle") / BEGINS).tolist()
    for shard, (begin, end) in zip(job.shards, pairwise(begins), strict=True):
        near = {held + 2 * change + 1: (origin_of(shard, change), 0.75) for change in range(begin, end, WITHDRAWN)}
        place = job.place("prove", shard)
        place.mkdir()
        dump({"files": Crossing({}, files), "history": Crossing(near, 2 * files)}, place / FOUND)
