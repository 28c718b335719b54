"""From items to encoded samples: miners, tokenizer, and nothing longer than a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from finetune.data.miners import Bench, Miner
from finetune.data.render import Learn, encode_samples
from finetune.data.tally import Tally
from finetune.hashing import stable_hash
from finetune.records import Encoded, Item, Origin, Sample

CHUNK = 32  # items tokenised in one call, which uses every core


@dataclass(frozen=True, slots=True)
class Mined:
    """An encoded sample and where it is from. Sorting by `order` shuffles, the same way whatever else is there."""

    origin: Origin
    miner: str
    order: int
    encoded: Encoded


class _Draft(NamedTuple):
    """A sample that is not yet known to fit a row; `item` is its place in the chunk."""

    item: int
    miner: Miner
    sample: Sample


def mine(items: Iterable[Item], miners: Sequence[Miner], bench: Bench, *, learn: Learn, tally: Tally) -> Iterator[Mined]:
    """Every sample the miners make of the items, at most a row long.

    An item without any is dropped with the first reason given; without miners every item is kept, for measuring.
    """
    if not miners:
        tally.kept += sum(1 for _ in items)
        return
    remaining = iter(items)
    while chunk := [*islice(remaining, CHUNK)]:
        yield from _mine_chunk(chunk, miners, bench, learn=learn, tally=tally)


def _mine_chunk(chunk: Sequence[Item], miners: Sequence[Miner], bench: Bench, *, learn: Learn, tally: Tally) -> Iterator[Mined]:
    reasons: dict[int, str] = {}
    made = dict.fromkeys(range(len(chunk)), 0)
    drafts = [*_drafts(chunk, miners, bench, reasons)]
    while drafts:
        too_long = []
        for draft, encoded in zip(drafts, encode_samples((draft.sample for draft in drafts), bench.encoder, learn=learn), strict=True):
            if len(encoded.input_ids) > bench.row_length:
                too_long.append(draft)
                continue
            origin = chunk[draft.item].origin
            parts = (bench.seed, origin.repo, origin.commit, origin.path, draft.miner.kind, made[draft.item])
            yield Mined(origin, draft.miner.kind, stable_hash("order", *parts), encoded)
            made[draft.item] += 1
        drafts = [*_smaller(too_long, bench, reasons)]
    _count(chunk, made, reasons, tally)


def _drafts(chunk: Sequence[Item], miners: Sequence[Miner], bench: Bench, reasons: dict[int, str]) -> Iterator[_Draft]:
    for index, item in enumerate(chunk):
        for miner in miners:
            samples = miner(item, bench)
            if isinstance(samples, str):
                reasons.setdefault(index, samples)
                continue
            yield from (_Draft(index, miner, sample) for sample in samples)


def _smaller(too_long: Iterable[_Draft], bench: Bench, reasons: dict[int, str]) -> Iterator[_Draft]:
    for draft in too_long:
        samples = draft.miner.smaller(draft.sample, bench)
        if not samples:
            reasons.setdefault(draft.item, "longer_than_a_row")
        yield from (draft._replace(sample=sample) for sample in samples)


def _count(chunk: Sequence[Item], made: dict[int, int], reasons: dict[int, str], tally: Tally) -> None:
    for index, item in enumerate(chunk):
        if made[index]:
            tally.kept += 1
        else:
            tally.drop(item.origin, reasons[index])
