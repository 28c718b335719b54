"""Exact search for near-duplicates of a few texts, the held-out ones, among many: nothing is estimated, nothing missed.

A text that has a similarity of at least t with another one shares at least that part of its own set with it. So what most texts are asked
is how many of their runs occur in any held-out text at all; the few for which that is enough are compared with each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from finetune.data.dedup.near import engine_for
from finetune.data.dedup.words import distinct

if TYPE_CHECKING:
    from finetune.data.dedup.words import Hashes

_FILTER_BITS = (16, 28)  # of the table that says "no" at once: 64 kB to 256 MB
_PER_RUN = 8  # places in it for each run


class Match(NamedTuple):
    """The number of a held-out text and the similarity with it; 1 when the texts are the same or have the same runs."""

    number: int
    similarity: float


class Asked(NamedTuple):
    """A text as an index is asked for it: the halves of its digest, and the set of its runs. It is the same for every index."""

    high: np.uint64
    low: np.uint64
    runs: Hashes


class Boundary:
    """The held-out texts by their runs: 12 bytes for each run of each of them, in arrays alone, which may lie in a file."""

    def __init__(self, texts: Iterable[str], *, threshold: float) -> None:
        self._threshold = threshold
        self._read = 0
        contents = [_bytes(text) for text in texts]
        digests = np.array([_digest(content) for content in contents], dtype=np.uint64).reshape(-1, 2)
        self._numbers = np.argsort(digests[:, 0], kind="stable")
        self._high, self._low = digests[self._numbers].T.copy()
        sets = [self._runs(content) for content in contents]
        self._sizes = np.array([len(each) for each in sets], dtype=np.int64)
        values = np.concatenate([np.empty(0, dtype=np.uint64), *sets])
        order = np.argsort(values, kind="stable")
        self._values = values[order]
        self._texts = np.repeat(np.arange(len(sets), dtype=np.int32), self._sizes)[order]
        low, high = _FILTER_BITS
        self._shift = np.uint64(64 - min(high, max(low, (len(values) * _PER_RUN).bit_length())))
        self._occurs = np.zeros(1 << (64 - int(self._shift)), dtype=np.bool_)
        self._occurs[self._values >> self._shift] = True

    def __len__(self) -> int:
        return len(self._sizes)

    def nearest(self, text: str) -> Match | None:
        """The held-out text most like this one, if it is that or a near-duplicate of it; of equals the first."""
        found = self.all_near(text)
        return max(found, key=lambda match: (match.similarity, -match.number), default=None)

    def all_near(self, text: str) -> list[Match]:
        """Every held-out text that is this one or a near-duplicate of it."""
        return self.near_to(self.asked(text))

    def asked(self, text: str) -> Asked:
        """The text for `near_to` of this index and of others."""
        content = _bytes(text)
        high, low = _digest(content)
        return Asked(high, low, self._runs(content))

    def near_to(self, asked: Asked) -> list[Match]:
        """See all_near."""
        own = asked.runs
        matches = {number: Match(number, 1.0) for number in self._same_as(asked)}
        if len(own) and np.count_nonzero(self._occurs[own >> self._shift]) >= self._threshold * len(own):
            matches = {match.number: match for match in self._compared(own)} | matches
        return [*matches.values()]

    def _compared(self, own: Hashes) -> list[Match]:
        begins = np.searchsorted(self._values, own, side="left")
        ends = np.searchsorted(self._values, own, side="right")
        places = [self._texts[begin:end] for begin, end in zip(begins, ends, strict=True) if end > begin]
        if not places:
            return []
        common = np.bincount(np.concatenate(places), minlength=len(self._sizes))
        similarity = common / (len(own) + self._sizes - common)
        return [Match(int(index), float(similarity[index])) for index in np.flatnonzero(similarity >= self._threshold)]

    def _same_as(self, asked: Asked) -> list[int]:
        begin = self._high.searchsorted(asked.high)
        if begin == len(self._high) or self._high[begin] != asked.high:
            return []
        end = self._high.searchsorted(asked.high, side="right")
        found: list[int] = self._numbers[begin:end][self._low[begin:end] == asked.low].tolist()
        return found

    def _runs(self, content: bytes) -> Hashes:
        self._read += len(content)
        return distinct(engine_for(self._read).runs(content))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _digest(content: bytes) -> Hashes:
    return np.frombuffer(hashlib.blake2b(content, digest_size=16).digest(), dtype=np.uint64)
