"""Miners: samples out of files and changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeAlias

from finetune.records import Item, Origin, Sample, Side
from finetune.registry import Plugin, Registry

if TYPE_CHECKING:
    from finetune.data.render import Encoder


@dataclass(frozen=True, slots=True)
class Bench:
    """What a miner works with: the base's tokenizer, the room in a row (tokens), the seed of its draws.

    `side` tells the held-out files from the others, for miners that put several files into one sample. `clean` redacts the names and paths
    that a miner writes into samples; without it they are written as they are.
    """

    encoder: Encoder
    row_length: int
    seed: int
    side: Callable[[Origin], Side] | None = None
    clean: Callable[[str], str] | None = None

    def written(self, name: str) -> str:
        """What is written for a repository's name, or for a path."""
        return self.clean(name) if self.clean else name


@dataclass(frozen=True, slots=True)
class Refused:
    """A part of an item that became no sample, and why: a function, a test, one direction of a docstring."""

    origin: Origin
    part: str
    reason: str


Made: TypeAlias = Sample | Refused


class Joined(NamedTuple):
    """Samples of several items, and why there is none of the others."""

    samples: Sequence[Made]
    reasons: Mapping[Origin, str]


class Miner(Plugin):
    """Makes samples of one item, or gives the reason why there are none.

    `source` says which items it takes: files give SourceFile, history gives Change; who takes "lines" reads a file of the user's own.
    One that `joins` is given all items of a repository at once; one that `names` writes their paths.
    """

    source: ClassVar[Literal["files", "history", "lines"]] = "files"
    joins: ClassVar[bool] = False
    names: ClassVar[bool] = False

    def __call__(self, item: Item, bench: Bench) -> Sequence[Made] | str:
        raise NotImplementedError

    def join(self, items: Sequence[Item], bench: Bench) -> Joined:
        """The samples of all items of one repository, each of items of one side."""
        raise NotImplementedError

    def smaller(self, sample: Sample, bench: Bench) -> Sequence[Sample]:
        """What to make of a sample that turned out longer than a row; nothing: it is dropped."""
        return ()


MINERS: Registry[Miner] = Registry("miner", Miner)
