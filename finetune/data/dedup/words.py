"""What near-duplicates are compared by: the set of a text's runs of five words.

A word is a run of letters, digits and underscores. Every other character of ASCII ends one, so two in a row stand around an empty word,
as in the near-duplicate removal of The Stack (bigcode-dataset): indentation and punctuation count, but not which sign it is.
Letters of other alphabets are letters; from U+2000 on every character is a word of its own, since Chinese or Japanese has no spaces.
A text of fewer than five words that are not empty has no runs: it is compared by content alone.

    h(word) = mix(sum of (byte + 1) * P^(bytes after it))      64 bits, modulo 2^64; `plain` and `compiled` give the same
    h(run)  = mix(sum of h(word) * Q^(words after it))

A sketch is one-permutation MinHash (arXiv 1208.1259): a run's first 8 bits choose one of 256 bins, 32 others are its value, and a bin
holds the least. A bin without a run takes the value of another one, by an order of its own (optimal densification, arXiv 1703.04664), so
that two sets agree in a bin with a probability of about their Jaccard similarity, however small they are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Numbers = NDArray[np.int64]
    Sketches = NDArray[np.uint32]
    Shared = NDArray[np.void]  # of SHARED

    from finetune.data.room import Memory

RUN = 5  # words
BINS = 256
EMPTY = np.uint32(0xFFFFFFFF)
LETTER, SIGN, WIDE = 0, 1, 2
P, Q = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F  # odd, so that they have an inverse modulo 2^64
SALT, MIX_1, MIX_2 = 0xD6E8FEB86659FD93, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
TRUSTED_BINS = 64  # with fewer bins of its own a sketch says too little: such small sets are always compared themselves
DEVIATIONS = 3  # of a sketch's estimate below the threshold, before a pair is left out: one in 700 right at the threshold
LOOKS = 2048  # sketches that a text's is held against, at most
TRIES = 32  # sets that a text's is compared with, at most: those whose sketches agree most
MISSED = 0.006  # the share of pairs right at the threshold that may share no band
SHARED = np.dtype([("bucket", np.int64), ("text", np.int64)])


class Near(NamedTuple):
    """For each text the one that stays instead of it and their similarity; -1 and 0 where it stays itself."""

    keeper: Numbers
    similarity: NDArray[np.float64]


class Sets(NamedTuple):
    """Sets of runs, sorted, one after the other: set i is values[starts[i] : starts[i + 1]]."""

    values: Hashes
    starts: Numbers


class Engine(Protocol):
    """The two ways to compute the same: `plain` starts at once, `compiled` is many times as fast after its start."""

    def runs(self, content: bytes) -> Hashes:
        """The hashes of a text's runs in their order, repeated ones too; `content` is UTF-8."""
        ...

    def sketches(self, contents: Sequence[bytes]) -> tuple[Sketches, Numbers]:
        """The texts' sketches, shape (texts, BINS), and how many bins of each have runs of their own."""
        ...

    def mark_partners(self, shared: Sequence[Shared], sketches: Sketches, least: Numbers, marked: NDArray[np.bool_]) -> None:
        """Marks the texts whose sketches agree in at least `least` bins with one of the LOOKS before or after them in a bucket."""
        ...

    def keepers(self, buckets: Numbers, sketches: Sketches, least: Numbers, sets: Sets, threshold: float, room: Memory) -> Near:
        """Text by text: it goes when one before it that stays is at least `threshold` similar; the most similar takes its place.

        `buckets` are the numbers of those each is in, -1 where it is alone: shape (bands, texts).

        It looks at LOOKS of those that share a bucket with it, the last to come first in each band, and compares TRIES of them.
        """
        ...


def kinds() -> NDArray[np.uint8]:
    """What each byte of UTF-8 is: part of a word, the end of one, or the first byte of a word of its own."""
    table = np.full(256, LETTER, dtype=np.uint8)
    table[[byte for byte in range(128) if not (chr(byte).isalnum() or chr(byte) == "_")]] = SIGN
    table[0xE2:0xF5] = WIDE
    return table


def orders() -> NDArray[np.uint8]:
    """For each bin the order in which it looks at the others for a value: shape (BINS, BINS)."""
    with np.errstate(over="ignore"):
        mixed = mix(np.arange(1, BINS * BINS + 1, dtype=np.uint64) * np.uint64(P))
    return np.argsort(mixed.reshape(BINS, BINS), axis=1, kind="stable").astype(np.uint8)


def mix(values: Hashes) -> Hashes:
    """Each value so that all of its bits depend on all of the input's."""
    values = values + np.uint64(SALT)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(MIX_1)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(MIX_2)
    return values ^ (values >> np.uint64(31))


def distinct(runs: Hashes) -> Hashes:
    """The set of the runs, sorted."""
    runs = np.sort(runs)
    return runs[first_of_equals(runs)]


def first_of_equals(values: Hashes) -> NDArray[np.bool_]:
    """Which of the sorted values differ from the one before."""
    first = np.ones(len(values), dtype=np.bool_)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return first


def bands(threshold: float) -> tuple[int, int]:
    """How many bands of how many bins: the longest with which a pair at the threshold shares one but for `MISSED`; 42 of 6 at 0.7."""
    for rows in range(BINS, 0, -1):
        count = BINS // rows
        if (1 - threshold**rows) ** count <= MISSED:
            return count, rows
    return BINS, 1


def band_keys(sketches: Sketches, threshold: float) -> Hashes:
    """One hash a band and text: shape (bands, texts)."""
    count, rows = bands(threshold)
    columns = np.ascontiguousarray(sketches.T).astype(np.uint64)
    keys = np.zeros((count, len(sketches)), dtype=np.uint64)
    for row in range(rows):
        keys = keys * np.uint64(P) + columns[row : count * rows : rows]
    return mix(keys)


def least_agreement(filled: Numbers, threshold: float) -> Numbers:
    """In how many bins a sketch with so many bins of its own must agree with another for the two to be compared."""
    spread = DEVIATIONS * math.sqrt(threshold * (1 - threshold)) / np.sqrt(np.maximum(filled, 1))
    return np.where(filled < TRUSTED_BINS, 0, np.maximum(0, np.ceil(BINS * (threshold - spread)))).astype(np.int64)


def jaccard(common: int, one: int, other: int) -> float:
    """The similarity of two sets from their sizes and how much they have in common."""
    return common / (one + other - common)
