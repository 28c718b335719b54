"""Licences told by their clauses: BSD, MIT, ISC, HPND and zlib texts whose authors changed words that a whole text is known by.

A text is cut into sentences. Each has to be one of a family's own, to its last word, or one that asks nothing: a disclaimer, a line of
copyright, a heading. With any other sentence, or one word more, the text is no licence that is known: a mistake leaves a file out.
"""

from __future__ import annotations

import re

from finetune.data.clause_kinds import KINDS

LONGEST = 12_000  # characters: texts of these families are short
_CUT = re.compile(r"(?<=[.;:])\s+|\n[\W_]*(?:\(?(?:\d{1,2}|[a-f]|i{1,3}|iv)[.)]|[-*o])\s+|\n[\W_]*\n")
_WORD = re.compile(r"[^\W_]+")
_GRANTS = (
    "redistribution and use",
    "redistributions and use",
    "use and redistribution",
    "to any person obtaining a copy",
    "permission to use",
    "permission is granted to anyone to use",
    "copying and distribution of this",
    "can do whatever you want with this stuff",
)
_MARKS = ("*", "#", "//", ";", "--", "%")
_GRANT = re.compile(r"(?=\b(?:redistributions? and use|use and redistribution|permission (?:is|to use)|copying and distribution of)\b)")


def _longest_first(made_of: str) -> str:
    """A choice of patterns with the longest written first, so that no phrase is taken for its own first word."""
    parts, depth = [""], 0
    for sign in made_of:
        depth += (sign == "(") - (sign == ")")
        if sign == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return "|".join(sorted(parts, key=len, reverse=True))


def _fitting(begins: str, made_of: str) -> re.Pattern[str]:
    """A sentence that begins so and is made of these words; none is read twice, so that the time grows as the length does."""
    return re.compile(rf"(?={begins})(?>(?:{_longest_first(made_of)})(?: |\Z))++\Z")


_SENTENCES = tuple((kind, _fitting(begins, made_of)) for kind, begins, made_of in KINDS)
# With one of these anywhere a text is not one of these families alone.
_WIDER = re.compile(
    r"\b(?:l|a)?gpl\w*\b|\bgnu\b|\bgeneral public licen|\bcopyleft|\bnuclear\b|\bmilitary\b|\bshare ?alike\b|\bgood not evil\b"
    r"|\b(?:non ?commercial|research|educational|internal|personal|private)\b"
)


def licences_by_clauses(text: str) -> list[str]:
    """SPDX identifiers of the one licence whose clauses a text is made of; none where it has others, or is of no such family."""
    if len(text) > LONGEST:
        return []
    plain = " ".join(_WORD.findall(text.lower()))
    if not any(grant in plain for grant in _GRANTS) or _WIDER.search(plain):
        return []
    found = set[str]()
    for sentence in _sentences(_uncommented(text.lower())):
        kind = next((kind for kind, fitting in _SENTENCES if fitting.match(sentence)), None)
        if kind is None:
            return []
        found.add(kind)
    name = _named(found, plain)
    return [name] if name else []


def _sentences(text: str) -> list[str]:
    """In words; what stands before a grant, such as the lines of copyright, is a sentence by itself."""
    return [words for each in _CUT.split(text) for part in _GRANT.split(" ".join(_WORD.findall(each))) if (words := part.strip())]


def _uncommented(text: str) -> str:
    """The text without the mark that all its lines begin with, as a notice has that was cut out of code."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    mark = next((mark for mark in _MARKS if all(line.startswith(mark) for line in lines)), None)
    return text if mark is None else "\n".join(line.strip().removeprefix(mark) for line in text.splitlines())


def _named(kinds: set[str], plain: str) -> str | None:
    name = None
    match [each for each in ("bsd", "mit", "zlib", "old", "fsf", "beer") if each in kinds]:
        case ["bsd"]:
            name = _bsd(kinds)
        case ["mit"]:
            name = "X11" if "name" in kinds else "MIT"
        case ["zlib"] if {"origin", "marked", "kept"} <= kinds:
            name = "Zlib"
        case ["fsf"]:
            name = "FSFAP" if "warranty" in plain else "FSFAP-no-warranty-disclaimer"
        case ["beer"]:
            name = "Beerware"
        case ["old"]:
            name = _old(kinds, plain)
    return name


def _bsd(kinds: set[str]) -> str | None:
    if "source" not in kinds:
        return None
    if "source open" in kinds:
        return "Sleepycat" if kinds <= {"bsd", "source", "binary", "source open", "name", "harmless"} else None
    if {"acknowledged", "called"} & kinds:
        return "Apache-1.1" if {"acknowledged", "called", "name"} <= kinds and "advertising" not in kinds else None
    if "advertising" in kinds:
        return "BSD-4-Clause" if "name" in kinds else "BSD-4-Clause-Shortened"
    if "name" in kinds:
        return "BSD-3-Clause"
    return "BSD-2-Clause" if "binary" in kinds else "BSD-1-Clause"


def _old(kinds: set[str], plain: str) -> str | None:
    free = "with or without fee" in plain
    if "name" in kinds or "advertising or publicity" in plain:
        return "NTP" if free else "HPND-sell-variant" if "distribute and sell" in plain else "HPND"
    return "ISC" if free and "permission notice" in plain else None
