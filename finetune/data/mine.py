"""From items to encoded samples: miners, tokenizer, and nothing longer than a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import NamedTuple

from finetune.data.gate import Gate
from finetune.data.miners import Bench, Miner, Refused
from finetune.data.render import Learn, encode_samples
from finetune.data.tally import Tally
from finetune.data.turns import turns_of
from finetune.hashing import stable_hash
from finetune.records import ContextSample, Encoded, InstructSample, Item, Origin, Sample

CHUNK = 32  # items tokenised in one call, which uses every core


@dataclass(frozen=True, slots=True)
class Mined:
    """An encoded sample and where it is from. Sorting by `order` shuffles, the same way whatever else is there.

    `origins`: everything it is made of, `origin` first. `turns`: of a conversation, the characters of each message before the answer.
    """

    origin: Origin
    miner: str
    order: int
    encoded: Encoded
    origins: tuple[Origin, ...]
    turns: tuple[int, ...] = ()


class _Draft(NamedTuple):
    """A sample that is not yet known to fit a row; `items` are the places in the chunk of what it is made of."""

    items: tuple[int, ...]
    miner: Miner
    sample: Sample


def mine(
    items: Iterable[Item], miners: Sequence[Miner], bench: Bench, *, learn: Learn, tally: Tally, gate: Gate | None = None
) -> Iterator[Mined]:
    """Every sample the miners make of the items, at most a row long; instructions pass the gate, an own one where none is given.

    An item without any is dropped with the first reason given; without miners every item is kept, for measuring.
    """
    gate = Gate() if gate is None else gate
    if not miners:
        tally.kept += sum(1 for _ in items)
        return
    for chunk in _repositories(items) if any(miner.joins for miner in miners) else _chunks(items):
        yield from _mine_chunk(chunk, miners, bench, learn=learn, books=_Books(tally, gate))


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    remaining = iter(items)
    while chunk := [*islice(remaining, CHUNK)]:
        yield chunk


def _repositories(items: Iterable[Item]) -> Iterator[list[Item]]:
    """All items of one repository together; they come repository by repository."""
    for _, group in groupby(items, key=lambda item: item.origin.repo):
        yield [*group]


@dataclass(frozen=True, slots=True)
class _Books:
    """Where is counted: items by the tally, samples at the gate, and for a chunk the first reason of each place in it."""

    tally: Tally
    gate: Gate
    reasons: dict[int, str] = field(default_factory=dict)

    def refuse(self, miner: Miner, place: int, refused: Refused) -> None:
        self.reasons.setdefault(place, refused.reason)
        self.gate.refuse(miner.kind, refused.origin, refused.part, refused.reason)

    def too_long(self, draft: _Draft) -> None:
        for item in draft.items:
            self.reasons.setdefault(item, "longer_than_a_row")
        if isinstance(draft.sample, InstructSample):
            part = draft.sample.instruction.partition("\n")[0]
            self.gate.refuse(draft.miner.kind, draft.sample.origin, part, "longer_than_a_row")

    def admits(self, draft: _Draft) -> bool:
        reason = self.gate.admit(draft.miner.kind, draft.sample)
        for item in draft.items if reason else ():
            self.reasons.setdefault(item, reason or "")
        return reason is None


def _mine_chunk(chunk: Sequence[Item], miners: Sequence[Miner], bench: Bench, *, learn: Learn, books: _Books) -> Iterator[Mined]:
    made = dict.fromkeys(range(len(chunk)), 0)
    drafts = [*_drafts(chunk, miners, bench, books)]
    while drafts:
        too_long = []
        for draft, encoded in zip(drafts, encode_samples((draft.sample for draft in drafts), bench.encoder, learn=learn), strict=True):
            if len(encoded.input_ids) > bench.row_length:
                too_long.append(draft)
                continue
            if not books.admits(draft):
                continue
            first = draft.items[0]
            origin = chunk[first].origin
            parts = (bench.seed, origin.repo, origin.commit, origin.path, draft.miner.kind, made[first])
            origins = tuple(chunk[item].origin for item in draft.items)
            yield Mined(origin, draft.miner.kind, stable_hash("order", *parts), encoded, origins, turns_of(draft.sample))
            for item in draft.items:
                made[item] += 1
        drafts = [*_smaller(too_long, chunk, bench, books)]
    _count(chunk, made, books)


def _drafts(chunk: Sequence[Item], miners: Sequence[Miner], bench: Bench, books: _Books) -> Iterator[_Draft]:
    for index, item in enumerate(chunk):
        for miner in miners:
            if miner.joins:
                continue
            samples = miner(item, bench)
            if isinstance(samples, str):
                books.reasons.setdefault(index, samples)
                continue
            for sample in samples:
                if isinstance(sample, Refused):
                    books.refuse(miner, index, sample)
                else:
                    yield _Draft((index,), miner, sample)
    for miner in miners:
        if miner.joins:
            yield from _joined(chunk, miner, bench, books)


def _joined(chunk: Sequence[Item], miner: Miner, bench: Bench, books: _Books) -> Iterator[_Draft]:
    places = {item.origin: index for index, item in enumerate(chunk)}
    samples, refused = miner.join(chunk, bench)
    for origin, reason in refused.items():
        books.reasons.setdefault(places[origin], reason)
    for sample in samples:
        if isinstance(sample, Refused):
            books.refuse(miner, places[sample.origin], sample)
        else:
            yield _Draft(_places(sample, places), miner, sample)


def _places(sample: Sample, places: Mapping[Origin, int]) -> tuple[int, ...]:
    """The items of a sample, each once."""
    match sample:
        case ContextSample():
            origins = [part.origin for part in sample.parts]
        case InstructSample():
            origins = [sample.origin, *sample.others]
        case _:
            origins = [sample.origin]
    return (*dict.fromkeys(places[origin] for origin in origins),)


def _smaller(too_long: Iterable[_Draft], chunk: Sequence[Item], bench: Bench, books: _Books) -> Iterator[_Draft]:
    for draft in too_long:
        samples = draft.miner.smaller(draft.sample, bench)
        if not samples:
            books.too_long(draft)
        places = {chunk[item].origin: item for item in draft.items}
        yield from (_Draft(_places(sample, places), draft.miner, sample) for sample in samples)


def _count(chunk: Sequence[Item], made: dict[int, int], books: _Books) -> None:
    for index, item in enumerate(chunk):
        if made[index]:
            books.tally.kept += 1
        else:
            books.tally.drop(item.origin, books.reasons[index])
