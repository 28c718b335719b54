"""Whether the comment at a file's head states terms that are no known licence's: "Confidential", "licensed under the ACME licence"."""

from __future__ import annotations

import re

from finetune.data.named_licences import names_one
from finetune.data.spdx import UNKNOWN

RESERVED = "LicenseRef-reserved"  # between a file's head and its folder's licence only: what it comes to depends on that one

# In small letters: without one of RIGHTS and one of WORDS nothing below is found, by test.
RIGHTS = ("copyright", "©", "(c)", "rights", "propert", "confidential", "licen")
WORDS = (
    *("licen", "permi", "consent", "propriet", "confidential", "prohibit", "forbidden", "authori", "approv", "internal", "agreement"),
    *("eula", "terms", "secret", "unpublished", "reproduc", "distribut", "copied", "duplicat", "disclos", "grant", "not copy"),
)

_LEGAL = re.compile(
    r"\bcopyright|©|\(c\)|\ball\s+rights\s+reserved|\bpropert(?:y|ies)\s+of\b|\blicen[sc]ed\b|(?-i:\bCONFIDENTIAL\b)", re.IGNORECASE
)
_SENTENCE = re.compile(r"(?<=[.;!?])\s+|\n\s*\n")
_WORK = (
    r"(?:(?:this|the|such|these)\s+(?:(?!of\b)[\w-]+\s+){0,2}?(?:files?|software|(?:source\s+)?code|sources|works?|documents?|programs?"
    r"|materials?|information)|(?:this|the)\s+product)"
)
_ACT = (
    r"(?:cop(?:ied|ying|y)|reproduc\w+|(?:re-?)?distribut\w+|disclos\w+|us(?:e|ed|age)|modif\w+|publish\w*|transmi\w+|transferr?\w*"
    r"|sold|shar(?:ed?|ing)|duplicat\w+|dissemin\w+)"
)
_ACTS = rf"{_ACT}(?:\W+(?:(?:and|or|and/or|nor)\W+)?{_ACT}){{0,6}}"
# What makes a ban one of rights: who may lift it, or to whom nothing is to be given.
_BY = (
    r"(?:\bwithout\b[^.;]{0,60}?\b(?:permission|consent|authori[sz]ation|approval|agreement|licen[sc]e)"
    r"|\b(?:except|unless|other\s+than)\b[^.;]{0,60}?\b(?:permi\w+|authori[sz]\w+|licen[sc]\w+|agreement|terms|consent|approv\w+)"
    r"|\bdisclos\w+[^.;]{0,40}?\bto\s+(?:any\s?one|any\s?body|(?:any\s+)?(?:third|other)\s+part\w+)"
    r"|\bdistribut\w+[^.;]{0,40}?\b(?:outside|to\s+(?:any\s?one|any\s?body|(?:any\s+)?(?:third|other)\s+part\w+)))"
)
_NOT = r"(?:may|must|shall|can|is|are|should)\s*(?:not|n't)\s+(?:to\s+)?(?:be\s+)?(?:\w+\s+){0,2}?"
_MANNER = r"(?:\W+(?:in\s+(?:whole|part|any)|or\s+in\s+part|via\s+any|by\s+any|without|or\s+any\s+(?:part|portion))\b[^.;]{0,80}?)?"
_BANS = (
    rf"(?:\b{_WORK}(?:\W+\w+){{0,12}}?\s+{_NOT}|\A\W*{_NOT}|\b(?:you|nor|and)\s+(?=(?:may|must|shall|can)\s*not\s+{_ACTS}\s+{_WORK}){_NOT})"
    rf"(?=[^.;]{{0,260}}?{_BY}){_ACTS}\b(?!\s+(?:in\s+advertis|to\s+(?:endorse|promote)|[^.;]{{0,40}}?\bnames?\b))"
)
_FORBIDDEN = (
    rf"{_BANS}|(?:\A\W*|\b(?:any|the|all)\s+){_ACTS}(?:\s+(?:of|or\s+use\s+of)\s+{_WORK})?{_MANNER}\W+(?:(?:is|are)\s+)?(?:(?:hereby"
    rf"|strictly|expressly)\s+)?(?:prohibited|forbidden)\b"
    rf"|\bno\s+part\s+of\s+{_WORK}(?:(?!\b(?:may|shall|can)\b)[^.;]){{0,60}}\b(?:may|shall|can)\s+be\s+(?:used\W+(?:or\W+)?)?"
    r"(?:reproduc|distribut|copied|disclos|duplicat)"
    r"|\bno\s+(?:licen[sc]e|rights?)\s+(?:is|are)\s+(?:hereby\s+)?(?:granted|licen[sc]ed)\b(?![^.;]{0,60}\b(?:trade\s?marks?|patents?|names?)\b)"
    rf"|\bdo\s+not\s+copy(?:\W+(?:(?:and|or)\W+)?(?:(?:re)?distribute|share|disclose|reproduce|publish)\b|\s+{_WORK})"
)
_FORBIDS = re.compile(rf"{_FORBIDDEN}|\bun-?authori[sz]ed\s+{_ACTS}\b(?!\s+of\s+(?!{_WORK}|it\b))", re.IGNORECASE)
_INTERNAL = re.compile(rf"(?:\A\W*(?-i:[A-Z][\w&]*\s+){{0,2}}|\b{_WORK}\s+is\s+)(?:for\s+)?internal\s+use\s+only\b", re.IGNORECASE)
_SECRET = re.compile(
    r"\bpropriet(?:ary|[ae]l)\s*(?:and|&|/|,|or)\s*confidential\b|\bconfidential\s*(?:and|&|/|,|or)\s*propriet\w+"
    r"|(?<!\ba )(?<!\ban )(?<!\bany )(?<!\bno )(?<!\bnon )(?<!\binto )(?<!\bwith )(?<!\bin )(?<!'s )(?<!-)"
    r"\bproprietary\s+(?:information|software|licen[sc]e|code|source|material|work|rights|property|to\b|of\b)"
    rf"|\b{_WORK}\s+(?:is|are)\s+(?:an?\s+)?(?:(?!not\b)\w+\s+)?(?:proprietary|confidential)\b"
    r"|\bcontains?\s+(?:\w+\s+){0,3}trade\s+secrets?\b"
    r"|\b(?:strictly|company)\s+confidential\b|\b(?:contains?|is|are)\s+(?:\w+\s+){0,3}?confidential\s+(?:information|property|material)\b"
    r"|\A\W*confidential\s*(?:[.,:!]|\Z)|(?-i:(?:^|(?<=\n)|(?<=\. ))[^\w\n]*(?:[A-Z][\w&]*[ \t]+){0,3}CONFIDENTIAL[^\w\n]*(?:\Z|\n))"
    r"|\bunpublished\s+(?:work|proprietary)",
    re.IGNORECASE,
)
# Beside a known licence a sentence is more often one of what the code does: "replaces the proprietary licence server", "prevents
# unauthorised use". There only one that speaks of this work, or begins with the word, maybe behind a name, takes anything back.
_BEGINS = r"(?:\A\W*|(?<=\n)[^\w\n]*(?=(?-i:[A-Z])))(?:(?:(?-i:[A-Z])[\w&]*[ \t]+){1,3}(?=(?-i:[A-Z])))?"
_SECRETS = r"(?:strictly\s+|company\s+)?(?:proprietary|confidential)"
_TAKES_BACK = re.compile(
    rf"{_FORBIDDEN}|(?:\A\W*|(?<=\n)[^\w\n]*(?=(?-i:[A-Z])))(?:(?:any|all)\s+)?un-?authori[sz]ed\s+{_ACTS}"
    rf"(?:\s+of\s+(?:{_WORK}|it\b)|[^.;]{{0,120}}?\b(?:prohibited|forbidden|unlawful|illegal|violat\w+)\b)"
    rf"|{_BEGINS}(?:{_SECRETS}(?:\s*(?:and|&|/|,|or)\s*{_SECRETS})?|unpublished\s+(?:proprietary\s+)?work)"
    r"\s*(?:[^\w\s]|\n|\Z|\b(?:to|of)\b|\b(?:information|property|materials?)\b\s*(?:[^\w\s]|\n|\Z|of\b))"
    rf"|\b(?!the\s+(?:information|documents?|materials?|files?)\b){_WORK}\s+(?:is|are|contains?)\s+(?:(?!not\b|no\b)\w+\s+){{0,3}}?"
    r"(?:(?:proprietary|confidential)\s*(?:[^\w\s]|\Z|\b(?:and|or|to|of|information|property|materials?|software|code|work)\b)|trade\s+secrets?\b)",
    re.IGNORECASE,
)
# "Licensed under the ACME Internal Licence", "use is subject to licence terms": terms somewhere, of a name that no list has.
_UNDER = re.compile(
    r"\b(?:licen[sc]ed|released|distributed|provided|available|furnished|supplied|use[ds]?|governed|covered|subject"
    r"|bound)\b(?:[^.;]){0,60}?"
    r"\b(?:under|by|to|with)\s+(?:the\s+terms\s+(?:and\s+conditions\s+)?(?:of|in)\s+)?(?P<name>(?:[^.;,]|\.(?=\w)){0,80}?)"
    r"\b(?:licen[sc]es?|agreement|eula|terms(?:\s+(?:and|of|&)\s+\w+)?)\b",
    re.IGNORECASE,
)
_NAMED = re.compile(r"\b(?!(?:The|This|These|That|An?|All|Your|Its|Licen[cs]ed?|Terms|Software|See|In|Use|By|It)\b)[A-Z][\w&-]*")
_SUBJECT = re.compile(r"subject", re.IGNORECASE)
# What is no name of one's own: that of the work's other parts, or of a family.
_ELSEWHERE = re.compile(
    r"\b(?:same|similar|following|above|below|original|respective|any|some|multiple|several|different|various|contribut\w+"
    r"|open\W?source|free)\b"
    r"|\b(?:GNU|Mozilla|Perl|Python|PHP|Ruby|Unicode|X11|Creative|Eclipse|W3C)v?[\d.]*\b|\bpublic\s+(?:domain|licen[sc]e)\b"
    r"|-(?:style|like|compatible)\b",
    re.IGNORECASE,
)
_FILE = re.compile(
    r"\b(?:UN)?LICEN[CS]E(?:[-_.]\w+)*\b|\bCOPYING\b|\bCOPYRIGHT(?=\s+file|\.\w)|\bNOTICE\b|\bREADME\b"
    r"|(?i:\blicen[cs]es?(?:\.\w+|\s+(?:file|header|text|information|details|notice)|\s+(?:that\s+(?:is"
    r"|can\s+be)\s+)?(?:found|included|contained|described)))"
    r"|(?i:\b(?:found|included|described|contained|distributed)\s+(?:in|with)\b|\baccompanying\b|\broot\s+(?:director"
    r"|folder)|\bsee\s+(?:the\s+)?(?:file|top)|https?://)",
)


# What a known licence says itself, in words like those of a reservation.
_GRANTED = re.compile(
    r"\bin\s+compliance\s+with\b|\b(?:this|the|that)\s+licen[cs]e\b|\bthose\s+terms\b|\bnotices?\b|\bnames?\s+of\b", re.IGNORECASE
)
# A way to the licence file, which says what holds where a comment only bars something.
_SENT = re.compile(r"\b(?:UN)?LICEN[CS]E(?:[-_.]\w+)*\s+file\b|\bCOPYING\b|(?i:\blicen[cs]e\s+that\s+can\s+be\s+found\b)")


def may_state(lowered: str) -> bool:
    """Whether a text, in small letters, has the words without which it states no terms of its own."""
    return any(word in lowered for word in RIGHTS) and any(word in lowered for word in WORDS)


def own_terms(comment: str) -> str | None:
    """UNKNOWN for a comment that speaks of rights and names another's licence or agreement, RESERVED for one that only reserves them.

    None for a line of copyright alone, and for one that sends the reader to the licence file.
    """
    if not may_state(comment.lower()) or not _LEGAL.search(comment):
        return None
    sentences = _SENTENCE.split(comment)
    under = [found for sentence in sentences if (found := _under_terms(sentence))]
    if any(_NAMED.search(found["name"]) for found in under):
        return UNKNOWN
    subject = any(_SUBJECT.search(found[0]) for found in under)  # to terms without a name
    internal = not _SENT.search(comment) and any(_INTERNAL.search(sentence) for sentence in sentences)
    return RESERVED if subject or internal or any(map(_reserves, sentences)) else None


def reserves_beside(comment: str) -> bool:
    """Whether a comment that states a known licence reserves what that grants, in a sentence that is no part of such a licence."""
    if not may_state(comment.lower()) or not _LEGAL.search(comment):
        return False
    return any(_TAKES_BACK.search(sentence) and not _GRANTED.search(sentence) for sentence in _SENTENCE.split(comment))


def _reserves(sentence: str) -> bool:
    return _SECRET.search(sentence) is not None or _FORBIDS.search(sentence) is not None


def _under_terms(sentence: str) -> re.Match[str] | None:
    found = _UNDER.search(sentence)
    if found is None or _FILE.search(sentence) or names_one(sentence) or _ELSEWHERE.search(sentence):
        return None
    return found
