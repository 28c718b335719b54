"""From items to encoded samples: miners, tokenizer, and nothing longer than a row.

items -> tried -> settled
         many processes at once, each with items of its own
                  one after the other: the gate knows every question and answer so far
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import NamedTuple, TypeAlias

from finetune.data.gate import Gate, Keys, keys_of
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


@dataclass(frozen=True, slots=True)
class Fit:
    """A sample that fits a row; whether it stays is the gate's to say, by its `keys`. `items`: the places in its chunk it is made of.

    `part` is what the gate's books call it.
    """

    items: tuple[int, ...]
    miner: str
    turns: tuple[int, ...]
    keys: Keys | None
    part: str


@dataclass(frozen=True, slots=True)
class Unfit:
    """Something that became no sample; a `part` of an item, or where that is None the item as a whole."""

    items: tuple[int, ...]
    miner: str
    origin: Origin
    part: str | None
    reason: str


class Tried(NamedTuple):
    """What was tried with a chunk of items, item by item, and the ids of what fits, in that order."""

    origins: Sequence[Origin]
    events: Sequence[Fit | Unfit]
    encoded: Sequence[Encoded]
    items: Sequence[Item]


_Event: TypeAlias = tuple[Fit | Unfit, Encoded | None]


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
    for tried in try_out(items, miners, bench, learn=learn):
        places = settle(tried, Books(tally, gate), seed=bench.seed)
        fits = [event for event in tried.events if isinstance(event, Fit)]
        for fit, encoded, order in zip(fits, tried.encoded, places.orders, strict=True):
            if order is not None:
                yield mined(tried, fit, encoded, order)


def mined(tried: Tried, fit: Fit, encoded: Encoded, order: int) -> Mined:
    """A sample that stays."""
    origins = tuple(tried.origins[item] for item in fit.items)
    return Mined(origins[0], fit.miner, order, encoded, origins, fit.turns)


def try_out(items: Iterable[Item], miners: Sequence[Miner], bench: Bench, *, learn: Learn) -> Iterator[Tried]:
    """All that the miners make of the items, by chunks of one repository; whole ones where a miner joins files."""
    for chunk in _chunks(items, whole=any(miner.joins for miner in miners)):
        yield _tried(chunk, miners, bench, learn)


def _chunks(items: Iterable[Item], *, whole: bool) -> Iterator[list[Item]]:
    for _, group in groupby(items, key=lambda item: item.origin.repo):
        while chunk := [*(group if whole else islice(group, CHUNK))]:
            yield chunk


@dataclass(frozen=True, slots=True)
class Books:
    """Where is counted: items by the tally, parts of them at the gate."""

    tally: Tally
    gate: Gate


class Settled(NamedTuple):
    """For each sample that fits, its place in the shuffle, None where it goes; for each item how many samples were made of it."""

    orders: Sequence[int | None]
    made: Sequence[int]


def settle(tried: Tried, books: Books, *, seed: int, gone: Collection[Origin] = ()) -> Settled:
    """Decides about each sample and each item of a chunk; those of `gone` are passed over, as if nobody had tried them.

    Goes item by item, so that where chunks are cut, or what else is in them, changes nothing.
    """
    orders: list[int | None] = []
    made = [0] * len(tried.origins)
    reasons: dict[int, str] = {}
    for event in tried.events:
        first = event.items[0]
        origin = tried.origins[first]
        reason = None
        if origin not in gone:
            reason = _against(event, origin, books)
            for item in event.items if reason else ():
                reasons.setdefault(item, reason or "")
        if isinstance(event, Unfit):
            continue
        if reason or origin in gone:
            orders.append(None)
            continue
        orders.append(stable_hash("order", seed, origin.repo, origin.commit, origin.path, event.miner, made[first]))
        for item in event.items:
            made[item] += 1
    _count(tried, made, reasons, books.tally, gone)
    return Settled(orders, made)


def _against(event: Fit | Unfit, origin: Origin, books: Books) -> str | None:
    """Why this is no sample, counted at the gate where it is a part of an item."""
    if isinstance(event, Unfit):
        if event.part is not None:
            books.gate.refuse(event.miner, event.origin, event.part, event.reason)
        return event.reason
    return None if event.keys is None else books.gate.decide(event.miner, origin, event.part, event.keys)


def _count(tried: Tried, made: Sequence[int], reasons: Mapping[int, str], tally: Tally, gone: Collection[Origin]) -> None:
    for index, origin in enumerate(tried.origins):
        if made[index]:
            tally.kept += 1
        elif origin not in gone:
            tally.drop(origin, reasons[index])


@dataclass(frozen=True, slots=True)
class _Log:
    """What was tried with a chunk so far."""

    chunk: Sequence[Item]
    events: list[_Event] = field(default_factory=list)

    def refuse(self, miner: Miner, item: int, refused: Refused | str) -> None:
        if isinstance(refused, str):
            self.events.append((Unfit((item,), miner.kind, self.chunk[item].origin, None, refused), None))
        else:
            self.events.append((Unfit((item,), miner.kind, refused.origin, refused.part, refused.reason), None))

    def too_long(self, draft: _Draft) -> None:
        part = part_of(draft.sample) if isinstance(draft.sample, InstructSample) else None
        self.events.append((Unfit(draft.items, draft.miner.kind, draft.sample.origin, part, "longer_than_a_row"), None))

    def fit(self, draft: _Draft, encoded: Encoded) -> None:
        sample = draft.sample
        self.events.append((Fit(draft.items, draft.miner.kind, turns_of(sample), keys_of(sample), part_of(sample)), encoded))


def part_of(sample: Sample) -> str:
    """What the gate's books call a sample: the first line of what is asked."""
    return sample.instruction.partition("\n")[0] if isinstance(sample, InstructSample) else ""


def _tried(chunk: Sequence[Item], miners: Sequence[Miner], bench: Bench, learn: Learn) -> Tried:
    log = _Log(chunk)
    drafts = [*_drafts(chunk, miners, bench, log)]
    while drafts:
        too_long = []
        for draft, encoded in zip(drafts, encode_samples((draft.sample for draft in drafts), bench.encoder, learn=learn), strict=True):
            if len(encoded.input_ids) > bench.row_length:
                too_long.append(draft)
            else:
                log.fit(draft, encoded)
        drafts = [*_smaller(too_long, chunk, bench, log)]
    events = sorted(log.events, key=lambda event: event[0].items[0])
    origins = [item.origin for item in chunk]
    return Tried(origins, [event for event, _ in events], [ids for _, ids in events if ids is not None], chunk)


def _drafts(chunk: Sequence[Item], miners: Sequence[Miner], bench: Bench, log: _Log) -> Iterator[_Draft]:
    for index, item in enumerate(chunk):
        for miner in miners:
            if miner.joins:
                continue
            samples = miner(item, bench)
            if isinstance(samples, str):
                log.refuse(miner, index, samples)
                continue
            for sample in samples:
                if isinstance(sample, Refused):
                    log.refuse(miner, index, sample)
                else:
                    yield _Draft((index,), miner, sample)
    for miner in miners:
        if miner.joins:
            yield from _joined(chunk, miner, bench, log)


def _joined(chunk: Sequence[Item], miner: Miner, bench: Bench, log: _Log) -> Iterator[_Draft]:
    places = {item.origin: index for index, item in enumerate(chunk)}
    samples, refused = miner.join(chunk, bench)
    for origin, reason in refused.items():
        log.refuse(miner, places[origin], reason)
    for sample in samples:
        if isinstance(sample, Refused):
            log.refuse(miner, places[sample.origin], sample)
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


def _smaller(too_long: Iterable[_Draft], chunk: Sequence[Item], bench: Bench, log: _Log) -> Iterator[_Draft]:
    for draft in too_long:
        samples = draft.miner.smaller(draft.sample, bench)
        if not samples:
            log.too_long(draft)
        places = {chunk[item].origin: item for item in draft.items}
        yield from (_Draft(_places(sample, places), draft.miner, sample) for sample in samples)
