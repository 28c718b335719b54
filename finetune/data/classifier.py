"""Licences in a text, as the package licenseclassifier finds them, at a fraction of its time.

Its splitting into words, character by character in Python, is one regular expression here, and the states of its machine are made only
when they are stepped into (`automaton.py`). The words here are the very same ones, by test; so are the licences. What is used of the
package are its inner parts, which is why pyproject.toml names one release of it.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from finetune.data.automaton import NONE, Automaton

if TYPE_CHECKING:
    from licenseclassifier._engine.scan import Scanner

# After `_plain` whatever is not ASCII is a letter, a digit or the copyright sign.
WORD = re.compile(r"[a-z0-9\u0080-\u00a8\u00aa-\U0010ffff]+|©")
PASSED_OVER = re.compile(r"[<{&]|\]\(")
NEUTRAL = "|"  # no part of a word, and no sign that means anything
ALIKE = [
    ("is", "are"),
    ("it", "them", "they"),
    ("the", "these", "this", "those"),
    ("copy", "copies"),
    ("http", "https"),
    ("copyright", "©"),
]
SAME = {word: first for first, *others in ALIKE for word in others}


class Words(NamedTuple):
    """The words of a text: their numbers, or NONE, how they are spelt in small letters, and where they stand, when that is asked."""

    numbers: list[int]
    spelt: list[str]
    spans: Callable[[], list[tuple[int, int]]]


class Known(NamedTuple):
    """What the package knows, made ready."""

    scanner: Scanner
    automaton: Automaton
    numbers: dict[str, int]


def licences_in(text: str, *, coverage: float) -> list[str]:
    """SPDX identifiers of the texts found, in order of name; none where they are less than `coverage` percent of the words."""
    engine = known()
    words = words_in(text)
    names = set[str]()
    told = last = 0
    for licence, begins, ends in engine.automaton.find(words.numbers, words.spelt):
        first = _with_copyright(words.numbers, last, begins)
        told += _addresses(text, words, (last, first), names) + ends - first
        names.add(engine.scanner.ids[licence])
        last = ends
    told += _addresses(text, words, (last, len(words.numbers)), names)
    return sorted(names) if words.numbers and 100.0 * told / len(words.numbers) >= coverage else []


def words_in(text: str) -> Words:
    """The words of a text; "Copyright (c)" is one."""
    numbers = known().numbers
    plain = _plain(text.replace("(S)", "|S|"))
    if plain is None:  # letters that the quick way gets wrong
        return _packages_words(text)
    plain = plain.replace("(c)", " © ").replace("(s)", "s  ")
    spelt = WORD.findall(plain)
    found = [numbers.get(word, NONE) for word in spelt]
    twice = _again(found, numbers["copyright"])
    for place in reversed(twice):
        del found[place], spelt[place]
    return Words(found, spelt, lambda: [match.span() for place, match in enumerate(WORD.finditer(plain)) if place not in twice])


def _packages_words(text: str) -> Words:
    from licenseclassifier._engine.dictionary import to_fold

    found = known().scanner.dict.split(text)
    return Words([word[0] for word in found], [to_fold(text[low:high]) for _, low, high in found], lambda: [word[1:] for word in found])


def _again(numbers: list[int], number: int) -> list[int]:
    """The places where a number stands right behind itself."""
    places = [place for place, each in enumerate(numbers) if each == number]
    return [after for place, after in pairwise(places) if after == place + 1]


def _with_copyright(numbers: list[int], last: int, begins: int) -> int:
    """Where a known text begins with the lines of copyright that stand before it."""
    from licenseclassifier._engine.scan import MAX_COPYRIGHT_WORDS

    before = numbers[max(begins - MAX_COPYRIGHT_WORDS, last) : begins]
    sign = known().numbers["copyright"]
    return begins - len(before) + before.index(sign) if sign in before else begins


def _addresses(text: str, words: Words, between: tuple[int, int], names: set[str]) -> int:
    """The count of words, between two known texts, that are addresses of licences, whose names are added."""
    from licenseclassifier._engine.scan import _URL_RE

    place, end = between
    sign = known().numbers["http"]
    if sign not in words.numbers[place:end]:
        return 0
    told, spans = 0, words.spans()
    limit = spans[end][0] if end < len(spans) else len(text)
    while place < end:
        address = _URL_RE.match(text, spans[place][0]) if words.numbers[place] == sign else None
        name = known().scanner._license_url(address[0]) if address and address.end() <= limit else None
        place += 1
        if address and name:
            names.add(name)
            told += 1
            while place < end and spans[place][1] <= address.end():
                place, told = place + 1, told + 1
    return told


def _plain(text: str) -> str | None:
    """The text, as long as it was, in small letters, what is passed over and foreign signs made neutral; None where that can not be."""
    pieces = []
    end = 0
    for match in PASSED_OVER.finditer(text):
        if (start := match.start()) >= end and (size := _size(text, start)):
            pieces += [text[end:start], "|©||||" if text[start : start + size] == "&copy;" else NEUTRAL * size]
            end = start + size
    plain = "".join((*pieces, text[end:]))
    if plain.isascii():
        return plain.lower()
    table = {ord(letter): _alone(letter) for letter in set(plain)}
    return None if None in table.values() else plain.translate(table)


@functools.cache
def _alone(letter: str) -> str | None:
    """One character for one character."""
    from licenseclassifier._engine.dictionary import to_fold

    if letter.isascii() or letter == "©":
        return letter.lower()
    if letter.isalpha() or letter.isdigit():
        folded = str(to_fold(letter))
        return folded if len(folded) == 1 else None
    return None if unicodedata.category(letter) == "Mn" else NEUTRAL


def _size(text: str, start: int) -> int:
    """How many characters from `start` on the package passes over."""
    from licenseclassifier._engine import dictionary

    look = {
        "<": dictionary._html_tag_size,
        "{": dictionary._markdown_anchor_size,
        "&": dictionary._html_entity_size,
        "]": dictionary._markdown_link_size,
    }
    return int(look[text[start]](text, start))


@functools.cache
def known() -> Known:
    """The package's scanner, made ready once."""
    from licenseclassifier._engine.scan import builtin_scanner

    scanner = builtin_scanner()
    numbers = {**scanner.dict._map, **{word: scanner.dict.lookup(like) for word, like in SAME.items()}}
    return Known(scanner, Automaton(scanner.re), numbers)
