"""The sentences that licences of the families BSD, MIT, ISC, HPND, zlib and their kin are made of, as patterns of their words."""

from __future__ import annotations

# Sentences are of small letters and digits with one space between words. A word with which something may be asked is part of no name.
ASKS = (
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
_OWNER = rf"(?!(?:{ASKS})\b)\w+"
_NAME = rf"(?!(?:{ASKS}|is|are|as|be|in|for|to|with|from|on|that|it)\b)\w+"
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
KINDS = (
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
        "acknowledged",
        r"the end user documentation included with the redistribution if any must include the following",
        r"the end user documentation included with the redistribution if any must include the following acknow?l[ed]+ge?ments?",
    ),
    (
        "harmless",
        r"this product includes software developed by\b(?=.*\balternat(?:iv)?ely\b)",
        rf"this product includes software developed by (?:(?!alternat){_NAME} ?){{1,16}}(?<! )|alternat(?:iv)?ely this"
        rf" acknow?l[ed]+ge?ments? may appear in the software itself"
        r"|if and wherever such third party acknow?l[ed]+ge?ments? normally appears?",
    ),
    (
        "called",
        r"products derived from this software may not be called\b",
        rf"products derived from this software may not be called(?: {_NAMES})?|nor may(?: {_NAMES})? appear in their names?"
        rf"|{_SAID}|of {_NAMES}",
    ),
    (
        "harmless",
        r"for (?:written permission|more information)\b",
        rf"for written permission|for more information on {_NAMES}|please (?:contact|see) {_NAMES}",
    ),
    (
        "source open",
        r"redistributions in any form must be accompanied by information on how to obtain complete source code",
        r"redistributions in any form must be accompanied by information on how to obtain complete source code for the \w+ software"
        r"|and any accompanying software that uses the \w+ software",
    ),
    (
        "source open",
        r"the source code must either be included in the distribution or be available",
        r"the source code must either be included in the distribution|or be available for no more than the cost of"
        r" distribution plus a nominal fee"
        r"|and must be freely redistributable under reasonable conditions",
    ),
    (
        "harmless",
        r"(?:for an executable file complete source code means|it does not include source code for modules or files that typically)",
        r"for an executable file complete source code means the source code for all modules it contains"
        r"|it does not include source code for modules or files that typically accompany"
        r"|the (?:major|operating)|components of the operating system on which the executable file runs",
    ),
    ("beer", r"as long as you retain this notice", r"as long as you retain this notice you can do whatever you want with this stuff"),
    (
        "harmless",
        r"if we meet some day",
        rf"if we meet some day and you think this stuff is worth it you can buy me a beer(?: in return)?|{_NAMES}",
    ),
    ("harmless", rf"{_NAMES} wrote this \w+", rf"{_NAMES}|wrote this (?:file|software|code|program)"),
    (
        "harmless",
        r"(?:if you (?:use|redistribute)\b.*\bwe would appreciate\b|the sources are provided for free|please read the faq|it"
        r" does not include third|jean loup gailly)",
        r"if you use the \w+ library in a product|if you redistribute modified sources|we would appreciate"
        r"|not receiving lengthy legal documents to sign"
        r"|that you include in the file changelog history information documenting your changes|the sources are provided for free"
        r"|but without warranty of any kind|please read the faq for more information on the distribution of modified source versions"
        r"|it does not include third party code|jean loup gailly|mark adler|jloup gzip org|madler alumni caltech edu",
    ),
    ("harmless", r"the library has been entirely written by", rf"the library has been entirely written by {_NAMES}"),
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
        r"the|(?:mit|bsd|isc|zlib|libpng|expat|x11|apache|software|version|new|modified|revised|simplified|original|[0-4]"
        r"|clause|style)|licen[sc]e",
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
