"""Licences told by their clauses: BSD, MIT, ISC, HPND and zlib texts whose authors changed words that a whole text is known by.

A text is cut into sentences. Each has to be one of a family's own, to its last word, or one that asks nothing: a disclaimer, a line of
copyright, a heading. With any other sentence, or one word more, the text is no licence that is known: a mistake leaves a file out.
"""

from __future__ import annotations

import re

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
)
_GRANT = re.compile(r"(?=\b(?:redistributions? and use|use and redistribution|permission (?:is|to use)|copying and distribution of)\b)")

# Sentences are of small letters and digits with one space between words. A word with which something may be asked is part of no name.
_ASKS = (
    r"must|shall|should|may|might|can|cannot|not|no|nor|never|only|solely|exclusively|merely|unless|except\w*|exclud\w*|without|provided"
    r"|if|permi\w+|allow\w*|disallow\w*|prohib\w*|forb\w+|ban(?:s|ned)?|restrict\w*|requir\w*|need\w*|have|has|fees?|pay\w*|paid"
    r"|royalt\w*"
    r"|com+erc\w*|kommerz\w*|business\w*|\w*profit\w*|sell\w*|sold|sales?|patent\w*|\w*licen[sc]\w*|uses?|used|users?|usage|using"
    r"|cop(?:y|ies|ied)"
    r"|copying|modif\w+|unmodified|chang\w+|\w*distribut\w*|publish\w*|shar(?:e|ed|ing)|academi\w*|educat\w*|evaluat\w*|personal\w*"
    r"|privat\w*|internal\w*|agree\w*|consent|terminat\w*|export\w*|evil|subject|gpl\w*|source|give|return|verboten|interdit\w*|nutzung"
    r"|under|terms|members?|students?|employees?|customers?|destroy\w*|delet\w*|contact|until|before|after|when|where|while"
    r"|appl(?:y|ies)|which|who|whom|you|your|we|our|they|he|confidential|proprietary|secrets?|[^\W\d]*[^\x00-\u024f]\w*"
)
_OWNER = rf"(?!(?:{_ASKS})\b)\w+"
_NAME = rf"(?!(?:{_ASKS}|is|are|as|be|in|for|to|with|from|on|that|it)\b)\w+"
_NAMES = rf"{_NAME}(?: {_NAME}){{0,15}}"
_WORK = (
    r"(?:softwares?|works?|library|programs?|scripts?|files?|code|product|package|documentation|modules?|fonts?|document|materials?"
    r"|data|it)"
    r"(?: and (?:its |associated |accompanying )?documentation(?: files)?)?"
)
_THIS = rf"(?:the|this|these|any|that) {_WORK}"
_OF_THIS = rf"(?:of|in|with|to|from) (?:{_THIS}|{_WORK})"
_ITEM = r"(?:\d{1,2} |[a-f] |i{1,3} |iv )?"
_HOLD = r"(?:must|shall|should) (?:also )?(?:reproduce|include|contain|retain|keep|preserve)"
_NOTICE = (
    r"above|any|all|each|every|prior|current|existing|original|entire|complete|full|copyright|notices?|this|these|that|following"
    r"|licen[sc]e"
    r"|list of conditions|conditions|disclaimers?|disclaimers? of (?:all )?warrant(?:y|ies)|permission notice|and|or|the|both|text|intact"
    r"|in (?:its|their) entirety|including the (?:disclaimers?(?: of warrant(?:y|ies))?|next paragraph)|(?:notices?|disclaimers?"
    r"|conditions) (?:without modification|unmodified)|next paragraph|below"
    r"|(?:in|on) (?:all|any|every|each)(?: such)? cop(?:y|ies)(?: or (?:all )?(?:substantial )?portions)?|thereof"
    r"|(?:shall|must|should|will) be (?:included|retained|reproduced|kept|preserved)|(?:is|are) (?:included|retained|reproduced|kept"
    r"|preserved)"
    rf"|appears?|(?:and )?that|{_OF_THIS}|(?:in|on) (?:all |the |its |any |supporting |accompanying |associated )*documentation"
    r"|and or other materials(?: provided with the distribution)?|provided with the distribution|at the beginning of the file"
)
_SAID = r"(?:without|without the) (?:(?:specific|express|explicit|prior|written|the) )*(?:permission|consent|authori[sz]ation|approval)"
_PROMOTES = (
    r"be used (?:to endorse or promote|to endorse and promote|to promote or endorse|to (?:endorse|promote)|in advertising|in)"
    r"|in advertising|advertising|or publicity|or promotion|publicity|or otherwise to promote the sale use or other dealings"
    r"|to promote the sale use or other dealings|pertaining to (?:the )?(?:use or )?distribution|endorse or promote"
    rf"|products|(?:which are )?(?:derived|derivatives|based)(?: (?:from|on))?(?: {_THIS})?|{_OF_THIS}|{_SAID}|their(?: {_SAID})?"
    rf"|(?:from|of|by) {_NAMES}"
    r"|without their (?:(?:specific|express|prior|written) )*(?:permission|consent)"
)
_USE_OF_NAMES = (
    rf"\d{{1,2}}|[a-f]|{_PROMOTES}|except as contained in this notice|neither|(?:nor )?the names?(?: of {_NAMES}| {_NAMES})?"
    rf"|(?:nor )?names? of {_NAMES}"
    rf"|nor (?:the names of )?{_NAMES}|(?:may|must|shall)(?: not)?|names?|not"
)
_FEES = (
    r"with or without fee|and without fee|without fee|without charge|free of charge|without written agreement"
    r"|and without (?:a )?royalty fee"
)
_DAMAGE = r"(?:direct|indirect|incidental|special|exemplary|consequential|punitive|compensatory|general|other|similar)"
_DISCLAIMS = (
    rf"{_THIS}|{_WORK}|(?:is|are)(?: being)? (?:provided|offered|distributed|supplied)|provided|as (?:it )?is|by {_NAMES}|by"
    rf"|{_OF_THIS}|in"
    r"|in the hope that it will be useful|but|and|or|any|all|the|a|of|its|other|either|without|(?:without|with no|no|nor) (?:any "
    r"|even the )?"
    r"(?:express(?:ed)?|implied)?(?: ?or implied)? ?(?:warrant(?:y|ies)|representations?|guarantees?)|of any kind"
    r"|without (?:even )?(?:any )?(?:the )?"
    r"|express(?:ed)?|implied|statutory|warrant(?:y|ies)|merchantability|merchantibility|(?:and |or |of )?fitness(?: for (?:a"
    r"|any) (?:particular|specific) purpose)?"
    r"|for (?:a|any) (?:particular )?purpose|title|(?:non ?)?infringement|quality|suitability|accuracy|including"
    r"|(?:including )?(?:but )?not limited to"
    r"|including without limitation|(?:are|is) (?:hereby )?disclaimed|(?:hereby )?disclaims?|with (?:regard|respect) to"
    rf"|in no event|under no circumstances|(?:shall|will|must)(?: {_NAMES})?(?: not)? be(?: held)? liable|(?:is|are) not liable"
    rf"|{_NAMES} (?:shall|will) not be liable"
    rf"|for|to any (?:person|party)|{_DAMAGE}|claims?|damages?(?: whatsoever)?|losses|procurement of substitute goods or services"
    r"|loss of (?:mind )?use(?: of)? data or profits|resulting from|or business interruption|however caused|and on any theory of"
    r"|theory|liability|whether|an action of"
    r"|contract|strict|tort|tortious|action|negligence|negligent|otherwise|arising|(?:in any way )?(?:from )?(?:out of|from)"
    r"|in connection with|in any way"
    r"|(?:or )?the use or (?:other dealings|performance|inability to use)|(?:or )?(?:the )?use of|or (?:the )?use|or performance"
    r"|even if|if|advised of the possibility|such|even|has been|have been|been"
    rf"|{_NAMES} (?:hereby )?(?:disclaims?|makes? no (?:representations?|warrant(?:y|ies)))|makes? no (?:representations?|warrant(?:y"
    rf"|ies))|about"
)

# What a sentence is: the kind, how it begins and what stands in it, the words and phrases that all of it is made of. The first that fits.
_KINDS = (
    (
        "bsd",
        r"(?:redistributions? and use|use and redistribution)\b(?=.*\bsource\b)"
        r"(?=.*\b(?:with (?:or|and) without (?:any )?modif|modified or unmodified))(?=.*\b(?:permitted|allowed)\b)",
        r"redistributions?|use|and|or|in|of|source|binary|object|compiled|executable|both|forms?|code|with (?:or|and) without (?:any )?"
        rf"(?:modifications?|modifying)|modified or unmodified|(?:is|are)(?: hereby)? (?:permitted|allowed)|provided|that|the"
        rf"|following|conditions?"
        rf"|(?:are|is) met|{_THIS}|of {_NAMES}|freely",
    ),
    (
        "mit",
        r"permission is\b(?=.*\bto any person obtaining a copy\b)(?=.*\bto (?:deal|use)\b)(?=.*\bmodify\b)(?=.*\bdistribute\b)"
        r"(?=.*\b(?:sub ?licen[sc]e|sell))",
        rf"permission is(?: hereby)? granted|free of charge|without charge|to any person obtaining a copy|{_OF_THIS}|{_THIS}|{_WORK}"
        rf"|and|or|the|to"
        r"|deal|in|without (?:any )?restrictions?|including|without limitation(?: on)?|rights?|use|copy|modify|merge|publish|distribute"
        r"|sub ?licen[sc]e|sell|copies|to permit persons to whom|(?:is|are) furnished|to do so|subject to|provided that"
        r"|the following conditions?",
    ),
    (
        "fsf",
        r"copying and distribution of this \w+ with or without modification are permitted in any medium\b(?=.*\bpreserved)",
        rf"copying and distribution|{_OF_THIS}|with or without modification|are permitted|in any medium|without royalty|provided"
        rf"|{_NOTICE}",
    ),
    (
        "zlib",
        r"permission is granted to anyone to use this \w+ for any purpose including commercial applications"
        r" and to alter it and redistribute it freely",
        r"permission is granted|to anyone|to use this \w+|for any purpose|including commercial applications|and|to alter it"
        r"|redistribute it|freely"
        r"|subject to|the following|restrictions|conditions",
    ),
    (
        "old",
        r"permission to use copy (?:and )?modify\b(?=.*\bdistribute\b)(?=.*\bis hereby granted\b)",
        rf"permission to|use|copy|modify|and or|and|or|distribute|sell|{_THIS}|for any purpose(?= (?:with|and with|is hereby|provided"
        rf"|without))"
        rf"|is hereby granted|{_FEES}|provided|{_NOTICE}|(?:and )?that the names? of {_NAMES} not|{_PROMOTES}",
    ),
    (
        "advertising",
        r"all advertising materials? mentioning features",
        rf"all advertising materials? mentioning features|or use|{_OF_THIS}|must display(?: the following)?|acknowledge?ment"
        rf"|this product includes software"
        rf"|(?:developed )?by {_NAMES}",
    ),
    (
        "advertising",
        r"this product includes software (?:developed|by)\b",
        rf"this product includes software|developed(?: (?:by|at)(?: {_NAMES})?)?|by {_NAMES}|for use in {_NAMES}",
    ),
    ("name", r"(?=.*\bnames?\b)(?=.*\b(?:not|neither)\b)(?=.*\b(?:endorse|promote|advertising|publicity)\b)", _USE_OF_NAMES),
    (
        "source",
        rf"{_ITEM}redistributions? (?:of|in) (?:the )?source\b(?=.* {_HOLD}\b)",
        rf"\d{{1,2}}|[a-f]|i{{1,3}}|iv|redistributions?|(?:of|in) (?:the )?source(?: (?:code|works?|files?|forms?))*|{_HOLD}|{_NOTICE}",
    ),
    (
        "binary",
        rf"{_ITEM}redistributions? in (?:binary|object|compiled)\b(?=.* {_HOLD}\b)",
        rf"\d{{1,2}}|[a-f]|i{{1,3}}|iv|redistributions?|in (?:binary|object|compiled)(?: (?:or|and|binary|object|compiled|executable"
        rf"|code|forms?))*|{_HOLD}|{_NOTICE}",
    ),
    (
        "origin",
        r"the origin of this \w+ must not be misrepresented",
        r"the origin of this \w+ must not be misrepresented|you must not claim that you wrote|the original \w+",
    ),
    ("origin", "you must not claim", r"you must not claim that you wrote|the original \w+"),
    (
        "marked",
        r"altered \w+ versions must be plainly marked",
        r"altered \w+ versions|must be plainly marked as such|and|must not be misrepresented|as being the original \w+",
    ),
    (
        "kept",
        r"this notice may not be removed or altered from any",
        rf"this notice may not be removed or altered|from any(?: source)?|distribution|{_OF_THIS}",
    ),
    (
        "credit",
        r"if you use this \w+ in a product",
        r"if you use this \w+ in a product|an acknowledge?ment|in the product documentation|would be appreciated|but is not required",
    ),
    (
        "notice",
        r"(?=.*\b(?:notices?|disclaimer)\b)(?=.*\b(?:included|appears?|retained|reproduced|kept|preserved)\b)",
        rf"{_NOTICE}|provided",
    ),
    ("harmless", "", _DISCLAIMS),
    ("harmless", r"(?:portions? )?copyrights?\b", rf"portions?|copyrights?|{_OWNER}"),
    ("harmless", "", r"all rights(?: are)? reserved|(?:the )?following conditions|subject to|provided that|(?:are|is) met"),
    ("harmless", "", r"\d{1,2}|[a-f]|i{1,3}|iv|(?:clause )?(?:removed|deleted|rescinded|intentionally left blank)"),
    ("harmless", "removed see", r"removed see|(?:ftp|http|https|www|cs|berkeley|edu|pub|4bsd|readme|impt|license|change|org|com|html)"),
    (
        "harmless",
        "",
        r"the|(?:mit|bsd|isc|zlib|libpng|expat|x11|new|modified|revised|simplified|original|[0-4]|clause|style)|licen[sc]e",
    ),
    ("harmless", "changes to this", r"changes to this licen[sc]e can be made only by the copyright author|with explicit written consent"),
    ("harmless", r"(?:written|developed|maintained|authors?)\b", rf"(?:written|developed|maintained|authors?)(?: by)? {_NAMES}"),
    (
        "harmless",
        r"this (?:code|software) is derived",
        rf"this (?:code|software) is derived from software|contributed to {_NAMES}|(?:written )?by {_NAMES}",
    ),
    (
        "harmless",
        "this",
        rf"{_THIS} is free software"
        rf"|{_THIS} consists of voluntary contributions made by(?: many individuals)?(?: on behalf of)?(?: {_NAMES})?",
    ),
)


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


_SENTENCES = tuple((kind, _fitting(begins, made_of)) for kind, begins, made_of in _KINDS)
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
    for sentence in _sentences(text.lower()):
        kind = next((kind for kind, fitting in _SENTENCES if fitting.match(sentence)), None)
        if kind is None:
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
