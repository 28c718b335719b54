"""Whether the comment at a file's head states terms that are no known licence's: "Confidential", "licensed under the ACME licence"."""

from __future__ import annotations

import re

from finetune.data.named_licences import names_one

# Words, in small letters, without one of which nothing below is found.
WORDS = (
    "licen",
    "permission",
    "consent",
    "propriet",
    "confidential",
    "prohibit",
    "forbidden",
    "authori",
    "internal use",
    "agreement",
    "may not",
)

_LEGAL = re.compile(
    r"\bcopyright|©|\(c\)|\ball\s+rights\s+reserved|\bpropert(?:y|ies)\s+of\b|\blicen[sc]ed\b|(?-i:\bCONFIDENTIAL\b)", re.IGNORECASE
)
_SENTENCE = re.compile(r"(?<=[.;!?])\s+|\n\s*\n")
_ACT = (
    r"(?:copied|copying|reproduc\w+|(?:re-?)?distribut\w+|disclos\w+|us(?:e|ed|age)|modif\w+|publish\w*|transmi\w+|transferr?\w*|sold|shared"
    r"|duplicat\w+|dissemin\w+)"
)
_ACTS = rf"{_ACT}(?:\W+(?:(?:and|or|and/or|nor)\W+)?{_ACT}){{0,6}}"
_FORBIDS = re.compile(
    rf"\b(?:may|must|shall|can|is|are|should)(?:\s*not|n't)\s+(?:to\s+)?(?:be\s+)?(?:\w+\s+){{0,2}}?{_ACTS}\b(?!\s+(?:in\s+advertis|to\s+(?:endorse|promote)))"
    r"(?:(?!\bwarrant)[^.;]){0,200}"
    r"\b(?:without|except|unless|other\s+than|to\s+any(?:one|body)?|outside)\b"
    rf"|\bun-?authori[sz]ed\s+{_ACTS}\b|\b{_ACTS}\b(?:(?!\bwarrant)[^.;]){{0,160}}\b(?:strictly\s+)?(?:prohibited|forbidden)\b"
    rf"|\b(?:no|not?\s+any)\s+part\s+of\s+(?:this|the)\s+\w+(?:\s+\w+)?\s+(?:may|shall|can)\s+be\s+{_ACTS}\b"
    r"|\bno\s+(?:licen[sc]e|rights?)\s+(?:is|are)\s+(?:hereby\s+)?granted\b|\bfor\s+internal\s+use\s+only\b|\binternal\s+use\s+only\b",
    re.IGNORECASE,
)
_SECRET = re.compile(
    r"\bpropriet(?:ary|[ae]l)\s*(?:and|&|/|,|or)\s*confidential\b|\bconfidential\s*(?:and|&|/|,|or)\s*propriet\w+"
    r"|\bproprietary\s+(?:information|software|licen[sc]e|code|source|material|work|rights|property|to\b|of\b)"
    r"|\bcontains?\s+(?:\w+\s+){0,3}trade\s+secrets?\b"
    r"|\b(?:strictly|company|\w+)\s+confidential\b|\bconfidential\s+(?:information|property|material)\b|\A\W*confidential\b"
    r"|\bunpublished\s+(?:work|proprietary)",
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


def states_own_terms(comment: str) -> bool:
    """Whether a comment speaks of rights and states terms, or another's licence, in words that name no known one.

    A line of copyright alone states none, nor does one that sends the reader to the licence file.
    """
    lowered = comment.lower()
    if not any(word in lowered for word in WORDS) or not _LEGAL.search(comment):
        return False
    if _FORBIDS.search(comment) or _SECRET.search(comment):
        return True
    return any(_under_own_name(sentence) for sentence in _SENTENCE.split(comment))


def _under_own_name(sentence: str) -> bool:
    found = _UNDER.search(sentence)
    if found is None or _FILE.search(sentence):
        return False
    if names_one(sentence) or _ELSEWHERE.search(sentence):
        return False
    return bool(_NAMED.search(found["name"]) or _SUBJECT.search(found[0]))
