"""Miners: samples out of files and changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from finetune.records import Item, Sample
from finetune.registry import Plugin, Registry

if TYPE_CHECKING:
    from finetune.data.render import Encoder


@dataclass(frozen=True, slots=True)
class Bench:
    """What a miner works with: the base's tokenizer, the room in a row (tokens), the seed of its draws."""

    encoder: Encoder
    row_length: int
    seed: int


class Miner(Plugin):
    """Makes samples of one item, or gives the reason why there are none.

    `source` says which items it takes: files give SourceFile, history gives Change.
    """

    source: ClassVar[Literal["files", "history"]] = "files"

    def __call__(self, item: Item, bench: Bench) -> Sequence[Sample] | str:
        raise NotImplementedError

    def smaller(self, sample: Sample, bench: Bench) -> Sequence[Sample]:
        """What to make of a sample that turned out longer than a row; nothing: it is dropped."""
        return ()


MINERS: Registry[Miner] = Registry("miner", Miner)
