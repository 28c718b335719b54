"""Texts of benchmarks, found wherever they stand: a model that has seen the answers can not be measured.

BigCode's rule: a text goes when it holds a benchmark's text anywhere in it, whatever the white space and the case. All needles are looked
for in one pass: at each place the next 8, 16, 24 or 32 bytes are hashed and asked for in a table; what is found is compared to its end.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from finetune.data.report import Texts
from finetune.data.tally import Tally
from finetune.records import Change, Item, SourceFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

REASON = "benchmark"
_WORD = 8  # bytes
_MOST_WORDS = 4
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93, 0xBF58476D1CE4E5B9)
_TABLE_BITS = 20


class Needle(NamedTuple):
    """A text of a benchmark, without white space and in small letters, and the item it is from: FILE: ITEM, FIELD."""

    content: bytes
    item: str


class Benchmarks:
    """The texts to keep out. Without any, nothing is looked at. `texts` counts them by the name of their file."""

    def __init__(self, needles: Iterable[Needle] = (), texts: Mapping[str, Texts] | None = None) -> None:
        self.texts = texts or {}
        self._needles: defaultdict[int, list[Needle]] = defaultdict(list)
        distinct = {needle.content: needle for needle in sorted(needles, reverse=True)}
        joined = b"\0".join(content + needle.item.encode() for content, needle in sorted(distinct.items()))
        self.digest = hashlib.sha256(joined).hexdigest()
        shortest = min(map(len, distinct), default=_WORD)
        assert shortest >= _WORD, "shorter texts are left out where benchmarks are read"
        self._words = min(_MOST_WORDS, shortest // _WORD)
        self._table = np.zeros(1 << _TABLE_BITS, dtype=np.bool_)
        for needle in distinct.values():
            window = int(self._windows(needle.content[: self._words * _WORD])[0])
            self._needles[window].append(needle)
            self._table[window >> (64 - _TABLE_BITS)] = True

    def __bool__(self) -> bool:
        return bool(self._needles)

    def find(self, text: str) -> str | None:
        """The item of a benchmark that has a text in this one: the first by place, then by name; None where there is none."""
        content = squeezed(text)
        if not self._needles or len(content) < self._words * _WORD:
            return None
        windows = self._windows(content)
        for place in np.flatnonzero(self._table[windows >> np.uint64(64 - _TABLE_BITS)]).tolist():
            found = [needle.item for needle in self._needles.get(int(windows[place]), ()) if content.startswith(needle.content, place)]
            if found:
                return min(found)
        return None

    def _windows(self, content: bytes) -> NDArray[np.uint64]:
        """A hash of the window that begins at each byte."""
        count = len(content) - self._words * _WORD + 1
        # Read in place: at each byte the eight that begin there, as one number.
        words = np.ndarray((len(content) - _WORD + 1,), dtype="<u8", buffer=content, strides=(1,))
        found = np.zeros(count, dtype=np.uint64)
        for place in range(self._words):
            mixed = words[place * _WORD : place * _WORD + count] * np.uint64(_FACTORS[place])
            found = (found ^ mixed ^ (mixed >> np.uint64(32))) * np.uint64(_FACTORS[0])
        return found


def squeezed(text: str) -> bytes:
    """The text without white space and in small letters."""
    return "".join(text.lower().split()).encode("utf-8", "surrogatepass")


def decontaminated(items: Iterable[Item], benchmarks: Benchmarks, tally: Tally) -> Iterator[Item]:
    """The items none of whose texts, messages and old versions among them, holds a benchmark's text; the item found is in the decision."""
    if not benchmarks:
        yield from items
        return
    for item in items:
        found = next((found for text in _texts(item) if (found := benchmarks.find(text))), None)
        if found is None:
            yield item
        else:
            tally.drop(item.origin, REASON, found)


def _texts(item: Item) -> tuple[str, ...]:
    match item:
        case SourceFile():
            return (item.text,)
        case Change():
            return (item.message, item.after, item.before)
