"""What several endings are looked at for."""

from __future__ import annotations

DECLARED_XML = r"\A\s*<\?xml\b"
XML = r"\A\s*<(?:\?xml|!DOCTYPE|TS\b|tileset|[\w:.-]+\s+xmlns)"
CXX = (
    r"^[ \t]*(?:template\s*<|(?:public|private|protected)\s*:|namespace\b|using\s+[\w:]+|class[ \t]+\w+[\w \t]{0,80}\n?[{;:]"
    r"|#\s*include\s*<(?:c?string|vector|map|memory|iostream|algorithm|functional|utility|type_traits|optional|c(?:std\w+|math))>"
    r")|\bstd::\w|\b(?:constexpr|noexcept|nullptr|static_cast|dynamic_cast)\b"
)
JSON = r"\A\s*[\[{]\s*[\[{\]}\"]"
OBJECTIVE_C = r"^[ \t]*(?:@(?:interface|implementation|protocol|property|class|import|end)\b|#import\s+[\"<])"
PROLOG = r"^[^#\n%]*:-|^[ \t]*%"
RAKU = (
    r"^[ \t]*(?:use\s+(?:v6|Test;)|unit\s+(?:module|class)|(?:my\s+)?class\s+[\w:]+\s*[;{]|(?:my|our|has)\s+(?:class|role|grammar)"
    r"|(?:grammar|role)\s+\w+\s*\{|(?:multi|proto)\s+(?:sub|method|\w+\s*\()|has\s+(?:\w+\s+)?[$@%&][!.])"
)
GERBER = r"\A\s*(?:%|G04)"
