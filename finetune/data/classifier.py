"""Licences in a text, as the package licenseclassifier finds them, with its splitting into words done by one regular expression.

Splitting, character by character in Python, is most of what the package does. The words here are the very same ones, by test; so are the
licences. What is used of the package are its inner parts, which is why pyproject.toml names one release of it.
"""

from __future__ import annotations

import copy
import functools
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from licenseclassifier._engine.scan import Scanner

Word = tuple[int, int, int]  # its number, or UNKNOWN; where it begins and ends

# After `_plain` whatever is not ASCII is a letter, a digit or the copyright sign.
WORD = re.compile(r"©|[a-z0-9\u0080-\u00a8\u00aa-\U0010ffff]+(?:\(s\))?")
PASSED_OVER = re.compile(r"[<{&]|\]\(")
UNKNOWN = -1
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


def licences_in(text: str, *, coverage: float) -> list[str]:
    """SPDX identifiers of the texts found, in order of name; none where they are less than `coverage` percent of the words."""
    found = _scanner().scan(text)
    return sorted({match.id for match in found.match}) if found.percent >= coverage else []


def words(text: str, numbers: dict[str, int]) -> list[Word] | None:
    """The words of a text by number; None for the rare text with signs that the quick way gets wrong."""
    plain = None if "&copy;" in text or "(S)" in text else _plain(text)
    if plain is None:
        return None
    copyright_sign = numbers["copyright"]
    found: list[Word] = []
    for match in WORD.finditer(plain):
        word = match[0]
        low, high = match.span()
        if word == "c" and text[low - 1 : low] == "(" and text[high : high + 1] == ")":
            word, low, high = "copyright", low - 1, high + 1
        elif word[-1] == ")":
            word = word[:-3] + "s"
        number = numbers.get(word, UNKNOWN)
        if number != copyright_sign or not found or found[-1][0] != number:  # "Copyright (c)" is one
            found.append((number, low, high))
    return found


def _plain(text: str) -> str | None:
    """The text, as long as it was, in small letters, what is passed over and foreign signs made neutral; None where that can not be."""
    pieces = []
    end = 0
    for match in PASSED_OVER.finditer(text):
        if (start := match.start()) >= end and (size := _size(text, start)):
            pieces += [text[end:start], NEUTRAL * size]
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
def _scanner() -> Scanner:
    """The package's own, with words found as above."""
    from licenseclassifier._engine.dictionary import Dict
    from licenseclassifier._engine.scan import builtin_scanner

    given = builtin_scanner()
    numbers = {**given.dict._map, **{word: given.dict.lookup(like) for word, like in SAME.items()}}

    class Words(Dict):
        def split(self, text: str) -> list[Word]:
            found = words(text, numbers)
            return list(super().split(text)) if found is None else found

    known = Words()
    known.list, known._map = given.dict.list, given.dict._map
    scanner = copy.copy(given)
    scanner.dict = known
    scanner.re = copy.copy(given.re)
    scanner.re.dict = known
    return scanner
