"""Licences told by their clauses: BSD, MIT, ISC, HPND and zlib texts whose authors changed words that a whole text is known by.

A text is cut into sentences, and each is one of a family's own, one that asks nothing (a disclaimer, a line of copyright), or strange.
Where a strange one asks for something, the text is no licence that is known: a mistake leaves a file out.
"""

from __future__ import annotations

import re

LONGEST = 12_000  # characters: texts of these families are short
_CUT = re.compile(r"(?<=[.;:])\s+|\n[\W_]*(?:\(?(?:\d{1,2}|[a-f]|i{1,3}|iv)[.)]|[-*o])\s+|\n[\W_]*\n")
_WORD = re.compile(r"[a-z0-9]+")
_GRANTS = (
    "redistribution and use",
    "redistributions and use",
    "use and redistribution",
    "to any person obtaining a copy",
    "permission to use",
    "permission is granted to anyone to use",
    "copying and distribution of this",
)

_GRANT = re.compile(r"(?=\b(?:redistributions? and use|use and redistribution|permission (?:is|to use)|copying and distribution of)\b)")
_OLD = r"permission to use copy(?: and)? (?:modify|distribute)\b"
_ALTERED = r"(?:reproduce|include|contain|retain|keep)\b"

# What a sentence is, the first that fits; words are small letters and digits with one space between them.
_KINDS = (
    ("bsd", r"(?:redistributions? and use|use and redistribution)\b(?=.*\bsource\b)(?=.*\bmodif).*\b(?:permitted|allowed)\b"),
    ("mit", r"permission is .*\bto any person obtaining a copy\b.* to (?:deal|use) .*\b(?:sub ?licen[sc]e|sell)"),
    ("fsf", r"copying and distribution of this \w+ with or without modification are permitted in any medium\b.*\bpreserved"),
    ("zlib", r"permission is granted to anyone to use this \w+ for any purpose including commercial applications"),
    ("old", rf"{_OLD}.*\bfor any purpose\b.*\bgranted\b|{_OLD}.*\bis hereby granted\b"),
    ("advertising", r"all advertising materials? mentioning|this product includes software developed"),
    ("name", r".*\bnames? .*\b(?:not|nor|neither)\b.*\b(?:endorse|endorsement|promote|advertising|publicity|represent)\b"),
    ("name", r"neither (?:the )?(?:names?\b|\w+ nor).*\b(?:endorse|promote)\b"),
    ("source", rf"(?:\w+ )?redistributions? (?:of|in) (?:the )?source\b.* (?:must|shall|should) {_ALTERED}"),
    ("binary", rf"(?:\w+ )?redistributions? in (?:binary|object|compiled)\b.* (?:must|shall|should) {_ALTERED}"),
    (
        "notice",
        r"(?:the|this|above|provided|that|copyright)\b.*\b(?:notices?|disclaimer)\b"
        r".*\b(?:included|appears?|retained|reproduced|kept|preserved)\b",
    ),
    ("origin", r"the origin of this \w+ must not be misrepresented|.*you must not claim that you wrote"),
    ("marked", r"altered \w+ versions must be plainly marked|.*must not be misrepresented as being the original"),
    ("kept", r"this notice may not be removed or altered from any"),
    (
        "harmless",
        r"(?:\w+ ){0,12}(?:as is|without (?:any )?(?:express|warrant)|in no event|not be liable|no representations?|disclaims? )\b",
    ),
    ("harmless", r"(?:\w+ ){0,12}(?:makes? no (?:representations?|warrant)|without (?:any )?warrant)"),
    (
        "harmless",
        r"in no event|if advised of the possibility|even if advised|.*\bimplied warranties of\b|.*\bno (?:implied |express )?warrant",
    ),
    ("harmless", r"(?:copyright|all rights reserved|(?:the )?following conditions|subject to|provided that the following)\b"),
    (
        "harmless",
        r".*\b(?:liable|liability)\b.*\b(?:damages?|claim)\b|.*\bhowever caused\b|.*\bthis \w+ consists of voluntary contributions\b",
    ),
    ("harmless", r"(?:the )?(?:(?:mit|bsd|isc|zlib|expat|x11|new|modified|revised|simplified|original|[0-4]|clause|style) )*licen[sc]e\Z"),
    ("harmless", r"(?:removed|deleted|rescinded)\b"),
    ("harmless", r"changes to this licen[sc]e can be made only by the copyright author"),
)
_SENTENCE = re.compile("|".join(f"(?P<k{place}>{pattern})" for place, (_, pattern) in enumerate(_KINDS)))
# A strange sentence with one of these may ask for something.
_ASKS = re.compile(
    r"\b(?:must|shall|may not|cannot|can not|only|not permitted|disallowed|prohibit\w*|forbid\w*|restrict\w*|require[sd]?|unmodified|"
    r"except|unless|provided|fees?|royalt\w*|commercial\w*|patents?|mozilla|source code|derivative|licen[sc]e[ds]?|permission|consent|"
    r"agree\w*|export|evil|non ?profit|terminat\w*|evaluation|not)\b"
)
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
    found = set()
    for sentence in _sentences(text.lower()):
        match = _SENTENCE.match(sentence)
        kind = _KINDS[int(match.lastgroup[1:])][0] if match and match.lastgroup else ""
        if not kind and _ASKS.search(sentence):
            return []
        found.add(kind)
    name = _named(found, plain)
    return [name] if name else []


def _sentences(text: str) -> list[str]:
    """In words; what stands before a grant, such as the lines of copyright, is a sentence by itself."""
    return [words for each in _CUT.split(text) for part in _GRANT.split(" ".join(_WORD.findall(each))) if (words := part.strip())]


def _named(kinds: set[str], plain: str) -> str | None:
    match [each for each in ("bsd", "mit", "zlib", "old", "fsf") if each in kinds]:
        case ["bsd"]:
            return _bsd(kinds)
        case ["mit"]:
            return "X11" if "name" in kinds else "MIT"
        case ["zlib"] if {"origin", "marked", "kept"} <= kinds:
            return "Zlib"
        case ["fsf"]:
            return "FSFAP" if "warranty" in plain else "FSFAP-no-warranty-disclaimer"
        case ["old"]:
            return _old(kinds, plain)
    return None


def _bsd(kinds: set[str]) -> str | None:
    if "source" not in kinds:
        return None
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
