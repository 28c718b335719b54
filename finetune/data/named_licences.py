"""Licences that a text only names: "released under the GNU GPL, version 2 or later", "License: MIT"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from finetune.data.spdx import categories, is_permissive, joined

_LICENCE = r"(?:\s+|-)Licen[sc]e(?!d)"
_PUBLIC = rf"General\s+Public{_LICENCE}"
_PART = r"\W+(?:and\W+)?(?:(?:Non\W?Commercial|NC)|(?:Share\W?Alike|SA)|(?:No\W?Deriv(?:ative)?s?(?:\s+Works)?|ND))\b"
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
    ("BSD-4-Clause", r"BSD[\s-]+4[\s-]+clause|(?:4|four)[\s-]+clause\s+BSD|Original\s+BSD", ""),
    ("BSD", r"BSD", ""),  # one of several, known by no identifier
    ("CC0", r"CC0|(?:Creative\s+Commons|CC)[\s-]+Zero", "1.0"),
    (
        "CC-BY",
        rf"(?:Creative\s+Commons(?:\W+CC)?|CC)\W+(?:{_LICENCE}\s+\W*)?(?:BY|Attribution)(?P<parts>(?:{_PART})*)(?!\W+(?:and\W+)?(?:Share|Non|No\s|SA\b|NC\b|ND\b))",
        "",
    ),
    ("CDDL", rf"Common\s+Development\s+(?:and|&)\s+Distribution{_LICENCE}|CDDL", "1.0"),
    ("ECL", rf"Educational\s+Community{_LICENCE}|ECL", "2.0"),
    ("MS-PL", rf"Microsoft\s+Public{_LICENCE}|Ms-PL", ""),
    ("MS-RL", rf"Microsoft\s+Reciprocal{_LICENCE}|Ms-RL", ""),
    ("OSL", rf"Open\s+Software{_LICENCE}|OSL", "3.0"),
    ("AFL", rf"Academic\s+Free{_LICENCE}|AFL", "3.0"),
    ("APSL", rf"Apple\s+Public\s+Source{_LICENCE}|APSL", "2.0"),
    ("Artistic", rf"Artistic{_LICENCE}", "1.0"),
    ("EUPL", rf"European\s+Union\s+Public{_LICENCE}|EUPL", "1.2"),
    ("CPL", rf"Common\s+Public{_LICENCE}|CPL", "1.0"),
    ("CPAL", rf"Common\s+Public\s+Attribution{_LICENCE}|CPAL", "1.0"),
    ("CECILL", r"CeCILL", "2.0"),
    ("OFL", rf"(?:SIL\s+)?Open\s+Font{_LICENCE}|OFL", "1.1"),
    ("BSL-1.0", rf"Boost(?:\s+Software)?{_LICENCE}", ""),
    ("Zlib", rf"zlib(?:/libpng)?{_LICENCE}|zlib/libpng|zlib", ""),
    ("PostgreSQL", rf"PostgreSQL{_LICENCE}", ""),
    ("OpenSSL", rf"OpenSSL{_LICENCE}", ""),
    ("NCSA", rf"NCSA(?:\s+Open\s+Source)?{_LICENCE}", ""),
    ("FTL", rf"FreeType(?:\s+Project)?{_LICENCE}", ""),
    ("Libpng", rf"libpng{_LICENCE}", ""),
    ("WTFPL", r"WTFPL", ""),
    ("SSPL", rf"Server\s+Side\s+Public{_LICENCE}|SSPL", "1.0"),
    ("BUSL", rf"Business\s+Source{_LICENCE}|BUSL", "1.1"),
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
    r"(?:(?:the|a|an|either|both|dual|same|terms|and|conditions|of)\s+){0,9}"
    rf"(?:v(?:er(?:sions?)?)?\.?\s*(?P<before>[1-4](?:\.\d)?)(?:\s+(?:or|and)\s+(?:version\s+)?[1-4](?:\.\d)?)?"
    rf"(?P<beyond>(?:{_LATER})(?:\s+versions?)?\)?,?)?\s+of\s+(?:the\s+)?)?"
)
_GRANT = re.compile(
    rf"(?:\b(?:(?P<under>under)|(?:governed|covered)\s+by|subject\s+to|(?P<directly>licen[sc]ed|licen[sc]e\s+is))\s+"
    rf"|\b(?P<field>licen[sc]e[\"']?\s*[:=])\s*[\"']?|@(?P<tag>licen[sc]e)\s+)(?P<terms>{_TERMS})",
    re.IGNORECASE,
)
_NEXT = re.compile(rf"\s*(?P<joins>,|/|\bor\b|\band/or\b|\band\b)\s*{_TERMS}", re.IGNORECASE)
_WORD = re.compile(r"[a-z][\w.-]*\w", re.IGNORECASE)
_TITLE = re.compile(rf"[\W_]*{_TERMS}", re.IGNORECASE)
_LINE_END = re.compile(r"[^\w\n]*(?:\n|\Z)")
# A name that is somebody's as well is a licence's where the word stands beside it, a version, or nothing more.
_BY = re.compile(r"\bBY-(?:NC|SA|ND)\S*", re.IGNORECASE)
_PARTS = re.compile(_PART, re.IGNORECASE)
_SHORT = ("Apache", "MIT", "ISC", "Zlib")
_ENDS = re.compile(r"[\s\"'*]*(?:[.,;:()|<>©]|\n|\Z|-+\s)|\s+(?:licen[sc]e|by|as|see|copyright|https?)", re.IGNORECASE)
_GIVES = re.compile(
    r"\b(?:released?|re-?licen[sc]ed|(?:re-?)?distributed?|licen[sc]ed?|available|provided|published|offered|permitted)\b[^.;]*\Z",
    re.IGNORECASE,
)
_WORKS = re.compile(r"\b(?:r[au]n|work|develop|test|buil[dt]|serv|host|deploy|install|operat|execut|compil)\w*\s+\Z", re.IGNORECASE)
_OF_ANOTHER = re.compile(
    r"(?:\A|[.;]\s+)\s*(?:the\s+|all\s+|its\s+)?(?:earlier|previous|older|prior)\s+(?:versions?|releases?)\s+(?:\w+\s+){0,2}were\s+(?:\w+\s+){0,3}\Z"
    r"|\b(?:(?:which|that)\s+(?:is|are|was|were|has|have)|depend(?:s|ing)?\s+on|based\s+on)\b[^.;]*\Z",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"\b(?:\w+n't|not|no(?!\s(?:[\w\s]{0,40}\s)?warrant)|never|neither|nor|incompatible|instead\s+of|unlike)\b"
    r"(?:(?!\b(?:except|unless|other(?:wise)?\s+than)\b)[^.;])*\Z",
    re.IGNORECASE,
)
# The words of a sentence before a name, or an offer in it, that let a reader choose. "The option parser" and "dual-core" do not.
_CHOICE = re.compile(
    r"\balternatively\b|\bdual(?:ly)?(?:[\s-]+licen[sc]|\s*\Z)|\b(?:your|(?:user|recipient|licensee)'?s)\s+(?:own\s+)?(?:choice|option)\b(?![\s,)]*any\s)"
    r"|\bchoice\s+of\s+(?:\w+\s+){0,2}licen[sc]|\bunder\s+(?:the\s+terms\s+of\s+)?either\b|\beither\s+(?:of\s+)?(?:the|these|this)\s+(?:\w+\s+){0,2}licen[sc]es?\b",
    re.IGNORECASE,
)
RESTRICTED = "LicenseRef-restricted"
# What a sentence takes back behind a name: "MIT, for non-commercial use only" is another licence, which nobody has named.
_LIMITS = re.compile(
    r"(?:(?!\n\s*\n)[^.;]){0,160}?\b(?<!commercial and )(?<!commercial or )(?:"
    r"(?:non\W?commercial|non\W?profit|academic|educational|research|personal|evaluation)\b(?:[\s,/]+(?:and|or|\w+)){0,3}?\s+(?:us(?:e|es|age)|purposes?)\b"
    r"|(?:no|not\s+for|except(?:\s+\w+){0,3})\s+commercial\b|commons\s+clause\b)",
    re.IGNORECASE,
)
_INCLUDES = re.compile(r"\b(?:includ|contain|bundl|incorporat|portion|part|some|files?\b)", re.IGNORECASE)
_SENTENCE = re.compile(r"[.;:!?][\s\"')]|\n\s*\n")
_BEFORE = 240  # characters of a sentence before a name in which a choice may be offered
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


class _Statement(NamedTuple):
    """SPDX identifiers that one sentence names, whether one of them may be chosen, and whether they are offered instead of those above."""

    names: list[str]
    choice: bool
    offered: bool

    @property
    def expressions(self) -> list[str]:
        return [" OR ".join(self.names)] if self.choice else self.names


def licences_named(text: str) -> list[str]:
    """SPDX expressions of the licences that a text says it is under, by name; none that it says it is not under.

    Where it may speak of something else, a permissive licence is not believed and another is: a mistake leaves a file out.
    """
    return [expression for each in _statements(text, others=True) for expression in each.expressions]


def names_one(text: str) -> bool:
    """Whether a licence that is known stands in a text by name, whatever is said of it."""
    return _NAME.search(text) is not None or any(word.lower() in categories() for word in _WORD.findall(text))


def licence_titled(text: str) -> list[str]:
    """The binding licence whose title a text begins with, in a line of its own; a permissive one may have been changed."""
    title = _TITLE.match(text)
    named = _name(text, title) if title else None
    return [named.identifier] if named and named.identifier and named.binding and _LINE_END.match(text, named.end) else []


def with_binding(known: list[str], text: str) -> list[str]:
    """Known licences, and where all are permissive, those that bind and that the text says it is under as well, or instead."""
    if not known or not all(is_permissive(name.lower()) for name in known):
        return known
    bound, offered = list[str](), list[str]()
    for each in _statements(text, others=False):
        (offered if each.offered else bound).extend(said for said in each.expressions if not is_permissive(said.lower()))
    above = joined(known)
    if bound or not offered:
        return known + bound
    return [" OR ".join([f"({above})" if len(known) > 1 else str(above), *dict.fromkeys(offered)])]


def _statements(text: str, *, others: bool) -> Iterator[_Statement]:
    """What each sentence names. `others`: licences that bind and that may be those of another work count, too."""
    place, told = 0, 0
    while grant := _GRANT.search(text, place):
        before = text[max(0, grant.start() - _BACK) : grant.start()]
        named, choice = _chain(text, grant)
        place = named[-1].end if named else grant.end()
        believed = bool(named) and _given(before, grant, named[0])
        if not believed:
            named = [each for each in named if others and each.binding and not _NOT.search(before.rpartition(",")[2])]
        names = list(dict.fromkeys(each.identifier for each in named if each.identifier))
        if believed and _LIMITS.match(text, place):
            names = [RESTRICTED]
        if names:
            said = _SENTENCE.split(text[max(told, grant.start() - _BEFORE) : grant.start()])[-1]
            choice = believed and (choice or len(named) > 1 and _CHOICE.search(said + grant[0]) is not None)
            yield _Statement(names, choice, offered=len(names) == 1 and _CHOICE.search(said) is not None)
            told = place


def _given(before: str, grant: re.Match[str], first: _Named) -> bool:
    """Whether a permissive licence is believed, too: what stands before it says that it is given, not denied, and not of another work."""
    if _NOT.search(before) or not first.known:
        return False
    if grant["field"] or grant["tag"]:
        return True
    sure = (
        not grant["under"]
        or first.worded
        or first.binding
        or "terms" in grant["terms"].lower()
        or (_GIVES.search(before) and not _WORKS.search(before))
    )
    return bool(sure) and (_INCLUDES.search(before) is not None and first.binding or not _OF_ANOTHER.search(before))


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
    version, later = said or usual.removesuffix("+"), match["later"] or before["beyond"] or (not said and usual.endswith("+"))
    if begins == "CC-BY":
        rest = re.split(r"[.;]\s|\n\s*\n", text[match.end() : match.end() + _BACK])[0]
        parts = match["parts"] or (short := _BY.search(text)) and short[0] or ""
        begins, version = _creative_commons(parts + "".join(_PARTS.findall(rest)), version)
    name = "-".join(filter(None, (begins, version + ".0" * (version.isdigit())))) if usual or begins.startswith("CC-BY") else begins
    if begins in ("AGPL", "LGPL", "GPL", "GFDL"):
        name += "-or-later" if later else "-only"
    return _Named(categories().get(name.lower(), (None,))[0], match.end(), worded)


def _creative_commons(parts: str, version: str) -> tuple[str, str]:
    """The name of a Creative Commons licence by its parts; where one binds, a version that is not said is the newest."""
    said = parts.lower()
    kept = [
        "CC-BY",
        *(short for short, sign in (("NC", r"non|nc"), ("SA", "sh|sa"), ("ND", r"no.?d|nd")) if re.search(rf"\b(?:{sign})", said)),
    ]
    return "-".join(kept), version or ("4.0" if len(kept) > 1 else "")


def _joined(text: str, place: int) -> bool:
    """Whether another name follows at a place."""
    joint = _NEXT.match(text, place)
    return joint is not None and _NAME.match(text, joint.end()) is not None
