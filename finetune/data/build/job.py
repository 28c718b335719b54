"""A build as work that can be parted: shards, what each stage is given, and where it leaves what it has made.

    clean   by shard   read, filter, redact; texts aside on disk, of each file a digest, a length, a side
    join    whole      copies and near-duplicates, what is held out, and what to compare with it
    teach   by shard   what is like a held-out file goes; samples are tried
    settle  whole      no question or answer twice, no change twice
    prove   by shard   every text that is trained on against every text that is held out

A stage of a shard is a folder that appears when it is done. What comes out does not depend on how the shards are cut, nor on who works.
"""

from __future__ import annotations

import hashlib
import pickle
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from finetune.data.build.tools import Tools
from finetune.data.repos import Repository
from finetune.data.repos.trees import list_tree
from finetune.data.room import Disk, Memory
from finetune.files import flush, json_text, write_atomic, write_json
from finetune.progress import track
from finetune.recipe import Recipe

MEGABYTE = 1_000_000
_INPUTS = "inputs.json"
T = TypeVar("T")


class Shard(NamedTuple):
    """Whole repositories that are worked on together."""

    number: int
    repositories: tuple[Repository, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be built, in which parts, and the folder where the parts lie until the dataset is written."""

    folder: Path
    recipe: Recipe
    shards: tuple[Shard, ...]

    @property
    def repositories(self) -> Iterable[Repository]:
        return (repository for shard in self.shards for repository in shard.repositories)

    @property
    def part_bytes(self) -> int:
        """Bytes of held-out text that are indexed together: the index is twelve times that while it is made."""
        return max(1, int(self.recipe.data.shard_mb * MEGABYTE / 8))

    @property
    def block(self) -> int:
        """Rows of numbers that are held in memory at once, where they are of all shards."""
        return max(64, int(self.recipe.data.shard_mb * MEGABYTE / 128))

    def place(self, stage: str, shard: Shard | None = None) -> Path:
        """The folder of a stage's result."""
        return self.folder / (stage if shard is None else f"{stage}-{shard.number:06}")

    def places(self, stage: str) -> list[Path]:
        """The folders of a stage, by shard."""
        return [self.place(stage, shard) for shard in self.shards]


class Task(NamedTuple):
    """One stage's work on a shard, or on all of them (`shard` None); its result goes into `folder`. `alone`: nothing else shows a bar."""

    job: Job
    tools: Tools
    folder: Path
    shard: Shard | None = None
    alone: bool = False

    @property
    def own(self) -> Shard:
        assert self.shard is not None, "a stage of shards"
        return self.shard

    def track(self, items: Iterable[T], *, label: str) -> Iterator[T]:
        """The items, with a bar where no other is shown."""
        return track(items, label=label) if self.alone else iter(items)

    def before(self, stage: str) -> Path:
        """What an earlier stage has made of the same shard."""
        return self.job.place(stage, self.shard)


def cut(repositories: Sequence[Repository], *, shard_mb: float) -> tuple[Shard, ...]:
    """The repositories in their order, as many in a shard as have about `shard_mb` in their files together.

    One is never cut: a miner may want all of its files, and its changes hang on them. So a giant is a shard of its own size.
    """
    if len(repositories) == 1:
        return (Shard(0, (*repositories,)),)
    shards: list[list[Repository]] = []
    room = 0.0
    for repository in repositories:
        size = _bytes(repository)
        if not shards or size > room:
            shards.append([])
            room = shard_mb * MEGABYTE
        shards[-1].append(repository)
        room -= size
    return tuple(Shard(number, (*members,)) for number, members in enumerate(shards))


def _bytes(repository: Repository) -> int:
    with repository.store() as store:
        return sum(entry.size or 0 for entry in list_tree(store, repository.commit))


@contextmanager
def room_of(job: Job, folder: Path) -> Iterator[Memory]:
    """Room for arrays that grow with the corpus: memory for one shard, for several a folder that is there as long as the block lasts."""
    if len(job.shards) == 1:
        yield Memory()
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    yield Disk(folder, block=job.block)
    shutil.rmtree(folder)


def write_job(job: Job, inputs: Mapping[str, Any]) -> None:
    """Puts a job where whoever works on it finds it, and beside it what it is made from."""
    write_atomic(_job_of(job.folder), pickle.dumps(job))
    write_json(job.folder / _INPUTS, inputs)


def read_job(folder: Path) -> Job:
    """The job in a folder."""
    job: Job = load(_job_of(folder))
    return job


def plan_in(folder: Path) -> str | None:
    """Which job lies in a folder, by a digest of what it is made from; None where there is none."""
    with suppress(FileNotFoundError):
        return hashlib.sha256((folder / _INPUTS).read_bytes()).hexdigest()
    return None


def plan_of(inputs: Mapping[str, Any]) -> str:
    """The same for a job that would be made from these."""
    return hashlib.sha256(json_text(inputs).encode()).hexdigest()


def _job_of(folder: Path) -> Path:
    return folder / "job.pickle"


def dump(value: object, path: Path) -> None:
    """Puts a value at `path`."""
    with path.open("wb") as file:
        pickle.dump(value, file, protocol=pickle.HIGHEST_PROTOCOL)


def load(path: Path) -> Any:
    """The value that was put at `path`."""
    with path.open("rb") as file:
        return pickle.load(file)


def sync(folder: Path) -> None:
    """Has what lies in a folder, and its names, written to the disk, so that a name given to it later means that it is whole."""
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)
