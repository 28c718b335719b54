"""Licences that a text only names: "released under the GNU GPL, version 2 or later", "License: MIT"."""

from __future__ import annotations

import re

from finetune.data.spdx import categories

_LICENCE = r"\s+Licen[sc]e"
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
)
_LATER = r"\+|[\s,;(]*or[\s,(]+(?:at\s+your\s+option[\s,)]+)?(?:any\s+)?(?:later|newer|higher)\b"
_PUBLISHED = r"(?:\s+(?:as\s+)?published\s+by\s+the\s+Free\s+Software\s+Foundation[;,.]?(?:\s+either)?)?"
_NAME = (
    rf"(?:{'|'.join(f'(?P<n{place}>{written})' for place, (_, written, _) in enumerate(_NAMES))})(?!(?!v\d)[a-z])"
    rf"(?:{_LICENCE})?s?{_PUBLISHED}(?:\s*\([\w\s\"']{{2,12}}\))?(?:[\s,:-]*(?:version|ver\.?|v\.?|-)?\s*(?P<version>[1-4](?:\.\d)?)(?!\d|\.\d))?"
    rf"(?:\s+of\s+the{_LICENCE})?(?P<later>{_LATER})?"
)
_TERMS = r"(?:(?:the|a|an|either|both|same|terms|and|conditions|of)\s+){0,9}(?:version\s+(?P<before>[1-4](?:\.\d)?)\s+of\s+(?:the\s+)?)?"
_GRANT = re.compile(
    rf"\b(?:under|(?:governed|covered)\s+by|subject\s+to|licen[sc]ed|licen[sc]e\s*[:=]|licen[sc]e\s+is)\s+{_TERMS}{_NAME}", re.IGNORECASE
)
_NEXT = re.compile(rf"\s*(?P<joins>,|/|\bor\b|\band/or\b|\band\b)\s*{_TERMS}{_NAME}", re.IGNORECASE)
_NOT = re.compile(r"\b(?:not?|never|neither|nor|incompatible|instead\s+of|unlike)\b[^.;]*\Z", re.IGNORECASE)
_CHOICE = re.compile(r"\bdual|\bchoice\b|\boption\b|\beither\b", re.IGNORECASE)
_BACK = 60  # characters before a name in which it may be denied, or said to be one of several


def licences_named(text: str) -> list[str]:
    """SPDX expressions of the licences that a text says it is under, by name; none that it says it is not under."""
    found = []
    for match in _GRANT.finditer(text):
        if not _NOT.search(text, max(0, match.start() - _BACK), match.start()):
            found += _chain(text, match)
    return found


def _chain(text: str, match: re.Match[str]) -> list[str]:
    """A name, and those that are joined to it: several at choice are one expression."""
    names, choice = [_identifier(match)], _CHOICE.search(text, max(0, match.start() - _BACK), match.start()) is not None
    while following := _NEXT.match(text, match.end()):
        match = following
        names.append(_identifier(match))
        choice = choice or "or" in match["joins"].lower()
    known = list(dict.fromkeys(filter(None, names)))
    return [" OR ".join(known)] if choice and known else known


def _identifier(match: re.Match[str]) -> str | None:
    place = next(number for number in range(len(_NAMES)) if match[f"n{number}"])
    begins, _, usual = _NAMES[place]
    said = match["version"] or match["before"]
    version, later = said or usual.removesuffix("+"), match["later"] or (not said and usual.endswith("+"))
    name = "-".join(filter(None, (begins, version + ".0" * (version.isdigit())))) if usual else begins
    if begins in ("AGPL", "LGPL", "GPL", "GFDL"):
        name += "-or-later" if later else "-only"
    return categories().get(name.lower(), (None,))[0]
