"""Licences that a text only names: "released under the GNU GPL, version 2 or later", "License: MIT"."""

from __future__ import annotations

import re
from typing import NamedTuple

from finetune.data.spdx import categories, is_permissive

_LICENCE = r"(?:\s+|-)Licen[sc]e(?!d)"
_PUBLIC = rf"General\s+Public{_LICENCE}"
# What a name begins in SPDX, how it is written, and the version that is meant where none is said; GNU's own texts say: any.
_NAMES = (
    ("AGPL", rf"(?:GNU\s+)?(?:Affero\s+(?:GNU\s+)?{_PUBLIC}|AGPL)", "3.0"),
    ("LGPL", rf"(?:GNU\s+)?(?:(?:Lesser|Library)\s+(?:GNU\s+)?{_PUBLIC}|LGPL)", "2.0+"),
    ("GPL", rf"(?:GNU\s+)?(?:{_PUBLIC}|GPL)", "1.0+"),
    ("GFDL", rf"(?:GNU\s+)?(?:Free\s+Documentation{_LICENCE}|G?FDL)", "1.1+"),
    ("MPL", rf"Mozilla\s+Public{_LICENCE}|MPL", "2.0"),
    ("EPL", rf"Eclipse\s+Public{_LICENCE}|EPL", "2.0"),
    ("Apache", rf"Apache(?:\s+Software)?(?:{_LICENCE})?|ASL", "2.0"),
    ("BSD-2-Clause", r"BSD[\s-]+2[\s-]+clause|(?:2|two)[\s-]+clause\s+BSD|Simplified\s+BSD", ""),
    ("BSD-3-Clause", r"BSD[\s-]+3[\s-]+clause|(?:3|three)[\s-]+clause\s+BSD|(?:New|Modified|Revised)\s+BSD", ""),
    ("MIT", r"MIT(?:/X11)?|Expat", ""),
    ("ISC", r"ISC", ""),
    ("BSD", r"BSD", ""),  # one of several, known by no identifier
)
_LATER = r"\+|[\s,;(-]*or[\s,(-]+(?:at\s+your\s+option[\s,)]+)?(?:any\s+)?(?:later|newer|higher)\b"
_PUBLISHED = r"(?:\s+(?:as\s+)?published\s+by\s+the\s+Free\s+Software\s+Foundation[;,.]?(?:\s+either)?)?"
_NAME = re.compile(
    rf"(?>(?:{'|'.join(f'(?P<n{place}>{written})' for place, (_, written, _) in enumerate(_NAMES))})(?!(?!v\d)[a-z])"
    rf"(?:{_LICENCE})?s?{_PUBLISHED}(?:\s*\([\w\s\"']{{2,12}}\))?(?:[\s,:-]*(?:version|ver\.?|v\.?|-)?\s*(?P<version>[1-4](?:\.\d)?)(?!\d|\.\d))?"
    rf"(?:\s+of\s+the{_LICENCE})?(?:(?P<later>{_LATER})|[\s-]only\b)?)(?!-\w|\s+(?:like|styled?|compatible|type)\b)",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"[a-z][\w.]*(?:-[\w.]*\w)+", re.IGNORECASE)
_OTHER = re.compile(r"(?:(?!under\b|by\b)[a-z][\w.+-]*\s+){0,3}?[a-z][\w.+-]*(?=\s*(?:/|\s(?:and/)?or\b|\sand\b))", re.IGNORECASE)
_TERMS = (
    r"(?:(?:the|a|an|either|both|dual|same|terms|and|conditions|of)\s+){0,9}(?:version\s+(?P<before>[1-4](?:\.\d)?)\s+of\s+(?:the\s+)?)?"
)
_GRANT = re.compile(
    rf"\b(?:(?P<under>under)|(?:governed|covered)\s+by|subject\s+to|(?P<directly>licen[sc]ed|licen[sc]e\s+is)|(?P<field>licen[sc]e\s*[:=]))"
    rf"\s+(?P<terms>{_TERMS})",
    re.IGNORECASE,
)
_NEXT = re.compile(rf"\s*(?P<joins>,|/|\bor\b|\band/or\b|\band\b)\s*{_TERMS}", re.IGNORECASE)
# A name that is somebody's as well is a licence's where the word stands beside it, a version, or nothing more.
_SHORT = ("Apache", "MIT", "ISC")
_ENDS = re.compile(r"[\s\"'*]*(?:[.,;:()|<>©]|\n|\Z|-+\s)|\s+(?:licen[sc]e|by|as|see|copyright|https?)", re.IGNORECASE)
_GIVES = re.compile(
    r"\b(?:released?|re-?licen[sc]ed|(?:re-?)?distributed?|licen[sc]ed?|available|provided|published|offered|permitted)\b[^.;]*\Z",
    re.IGNORECASE,
)
_WORKS = re.compile(r"\b(?:r[au]n|work|develop|test|buil[dt]|serv|host|deploy|install|operat|execut|compil)\w*\s+\Z", re.IGNORECASE)
_OF_ANOTHER = re.compile(r"\b(?:(?:which|that)\s+(?:is|are|was|were|has|have)|depend(?:s|ing)?\s+on|based\s+on)\b[^.;]*\Z", re.IGNORECASE)
_NOT = re.compile(
    r"\b(?:not|no(?!\s(?:[\w\s]{0,40}\s)?warrant)|never|neither|nor|incompatible|instead\s+of|unlike)\b"
    r"(?:(?!\b(?:except|unless|other(?:wise)?\s+than)\b)[^.;])*\Z",
    re.IGNORECASE,
)
_CHOICE = re.compile(r"\bdual|\bchoice\b|\boption\b|\beither\b", re.IGNORECASE)
_BACK = 60  # characters before a name in which it may be denied, or said to be one of several


class _Named(NamedTuple):
    """A name in a text: its SPDX identifier where it has one, where it ends, whether it says `licence`, whether it is known."""

    identifier: str | None
    end: int
    worded: bool
    known: bool = True

    @property
    def binding(self) -> bool:
        return self.identifier is not None and not is_permissive(self.identifier.lower())


def licences_named(text: str) -> list[str]:
    """SPDX expressions of the licences that a text says it is under, by name; none that it says it is not under.

    Where it may speak of something else, a permissive licence is not believed and another is: a mistake leaves a file out.
    """
    found, place = list[str](), 0
    while grant := _GRANT.search(text, place):
        before = text[max(0, grant.start() - _BACK) : grant.start()]
        named, choice = _chain(text, grant)
        place = named[-1].end if named else grant.end()
        if not (named and _given(before, grant, named[0])):
            named, choice = [each for each in named if each.binding and not _NOT.search(before.rpartition(",")[2])], False
        names = list(dict.fromkeys(each.identifier for each in named if each.identifier))
        found += [" OR ".join(names)] if names and (choice or _CHOICE.search(before) and len(named) > 1) else names
    return found


def _given(before: str, grant: re.Match[str], first: _Named) -> bool:
    """Whether a permissive licence is believed, too: what stands before it says that it is given, not denied, and not of another work."""
    if _NOT.search(before) or not first.known:
        return False
    if grant["field"]:
        return True
    sure = (
        not grant["under"]
        or first.worded
        or first.binding
        or "terms" in grant["terms"].lower()
        or (_GIVES.search(before) and not _WORKS.search(before))
    )
    return bool(sure) and not _OF_ANOTHER.search(before)


def _chain(text: str, grant: re.Match[str]) -> tuple[list[_Named], bool]:
    """A name and those that are joined to it, and whether one of them may be chosen. The first may be no licence that is known."""
    first = _name(text, grant)
    if first is None and not grant["directly"] and (other := _OTHER.match(text, grant.end())):
        first = _Named(None, other.end(), worded=False, known=False)
    named, choice = [first] if first else [], False
    while named and (joint := _NEXT.match(text, named[-1].end)) and (following := _name(text, joint)):
        named.append(following)
        choice = choice or joint["joins"].lower() in ("/", "or", "and/or")
    return named if len(named) > 1 or (first and first.known) else [], choice


def _name(text: str, before: re.Match[str]) -> _Named | None:
    """The licence that is named behind a match."""
    match = _NAME.match(text, before.end())
    if match is None:
        word = _IDENTIFIER.match(text, before.end())
        known = categories().get(word[0].lower()) if word else None
        return _Named(known[0], word.end(), worded=True) if word and known else None
    begins, _, usual = next(name for number, name in enumerate(_NAMES) if match[f"n{number}"])
    said, worded = match["version"] or before["before"], "licen" in match[0].lower()
    if begins in _SHORT and not (said or worded or _ENDS.match(text, match.end()) or _joined(text, match.end())):
        return None
    version, later = said or usual.removesuffix("+"), match["later"] or (not said and usual.endswith("+"))
    name = "-".join(filter(None, (begins, version + ".0" * (version.isdigit())))) if usual else begins
    if begins in ("AGPL", "LGPL", "GPL", "GFDL"):
        name += "-or-later" if later else "-only"
    return _Named(categories().get(name.lower(), (None,))[0], match.end(), worded)


def _joined(text: str, place: int) -> bool:
    """Whether another name follows at a place."""
    joint = _NEXT.match(text, place)
    return joint is not None and _NAME.match(text, joint.end()) is not None
