"""The known licence that a text is, but for a name, a date or a letter here and there: a second look at what is known to nobody else.

Compared are runs of three words. Nearly all of a text's have to be the licence's and most of the licence's the text's, and what else stands
there is two words at a time at most, none of which can ask for anything. That says what a text was made of, not that nothing which it
grants was struck out or put in other words: so no permissive licence is told by it, only those that bind anyhow.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from finetune.data.classifier import known, words_in
from finetune.data.clause_kinds import ASKS
from finetune.data.spdx import is_permissive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHORTEST = 60  # words: of fewer, runs of three say little
SHARED = 0.93  # of the text's runs that are the licence's
KEPT = 0.5  # of the licence's runs that are the text's: of what a licence may say in several ways a text says one
STRANGE = 2  # words one behind the other that the licence has not
_ASKING = re.compile(rf"(?:non\w+|anti\w+|{ASKS})")


class _Index(NamedTuple):
    """All runs of three words of the known licences, in order, each with the number of its licence; and how many each licence has."""

    runs: NDArray[np.int64]
    licences: NDArray[np.int32]
    counts: NDArray[np.int64]
    names: list[str]


def licence_alike(text: str) -> list[str]:
    """The SPDX identifier of the one licence that a text is nearly word by word; none where there are several or it is permissive."""
    import numpy as np

    words = words_in(text)
    if len(words.numbers) < SHORTEST:
        return []
    index = _index()
    runs = _runs(np.array(words.numbers, dtype=np.int64))
    distinct = np.unique(runs)
    shared, places = _shared(index, distinct)
    found = np.bincount(shared, minlength=len(index.names))
    likeness = found / (index.counts + len(distinct) - found)
    best = int(likeness.argmax())
    several = (likeness == likeness[best]).sum() > 1
    if several or is_permissive(index.names[best].lower()) or found[best] < KEPT * index.counts[best]:
        return []
    its = np.isin(runs, places[shared == best])
    strange = _strange(words.spelt, its.tolist())
    same = its.mean() >= SHARED and all(len(each) <= STRANGE and not any(map(_ASKING.fullmatch, each)) for each in strange)
    return [index.names[best]] if same else []


def _shared(index: _Index, runs: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Each licence that has one of the runs, and the run: a pair for each."""
    import numpy as np

    first, last = np.searchsorted(index.runs, runs, "left"), np.searchsorted(index.runs, runs, "right")
    many = last - first
    at = np.repeat(first - np.concatenate(([0], many.cumsum()[:-1])), many) + np.arange(many.sum())
    return index.licences[at], np.repeat(runs, many)


def _strange(spelt: Sequence[str], its: list[bool]) -> list[list[str]]:
    """The words that are in none of the runs that are the licence's, those that stand together as one."""
    covered = [any(its[max(0, place - 2) : place + 1]) for place in range(len(spelt))]
    apart: list[list[str]] = []
    for place, word in enumerate(spelt):
        if not covered[place]:
            if place and not covered[place - 1]:
                apart[-1].append(word)
            else:
                apart.append([word])
    return apart


def _runs(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each run of three words as one number; below 0 where one of them is no word of a licence."""
    import numpy as np

    base = len(known().scanner.dict.list)
    first, second, third = numbers[:-2], numbers[1:-1], numbers[2:]
    return np.where(np.minimum(np.minimum(first, second), third) < 0, -1, (first * base + second) * base + third)


@functools.cache
def _index() -> _Index:
    import numpy as np

    scanner, automaton = known().scanner, known().automaton
    names = sorted(set(scanner.ids))
    number = {name: place for place, name in enumerate(names)}
    runs = _runs(np.array(automaton.wanted, dtype=np.int64))
    texts = np.searchsorted(automaton.ends, np.arange(len(runs)))
    licences = np.array([number[name] for name in scanner.ids], dtype=np.int64)[texts]
    both = np.unique((runs * len(names) + licences)[runs >= 0])
    return _Index(both // len(names), (both % len(names)).astype(np.int32), np.bincount(both % len(names), minlength=len(names)), names)
