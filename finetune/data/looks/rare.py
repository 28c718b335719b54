"""Endings that are met seldom, and more seldom for the second of their languages."""

from __future__ import annotations

from finetune.data.looks.patterns import GERBER, JSON

RARE: dict[str, list[tuple[str, str]]] = {
    ".al": [
        ("Perl", r"^[ \t]*(?:package\s+[\w:]+\s*;|sub\s+\w+|use\s+\w+)"),
    ],
    ".ash": [
        ("AGS Script", r"^(?:import|export|managed|#(?:define|ifdef|ifndef|region))\b"),
    ],
    ".asy": [
        ("LTspice Symbol", r"\AVersion \d"),
    ],
    ".bf": [
        ("Beef", r"^[ \t]*(?:using\s+[\w.]+;|namespace\b|(?:public\s+)?class\b)"),
        ("HyPhy", r"^[ \t]*(?:#include\b|function\s|global\s|ExecuteAFile|VERBOSITY|\w+[ \t]*=[^=\n]*;)"),
        ("Brainfuck", r">\+>|>\+<|[-+<>.\[\]]{16}"),
    ],
    ".brd": [
        ("Eagle", r"<\?xml|<!DOCTYPE eagle"),
    ],
    ".bs": [
        ("BrighterScript", r"(?i)^[ \t]*(?:end )?(?:sub|function|namespace)\b"),
        ("Bluespec BH", r"^(?:package|import|interface|data|type)[ \t]+[A-Z(]|^\w+[ \t]*::"),
    ],
    ".bst": [
        ("BuildStream", r"^(?:kind|depends|build-depends|sources|config|variables):"),
    ],
    ".cp": [
        ("C++", r"^[ \t]*#\s*(?:include|if|define)\b"),
    ],
    ".cue": [
        ("Cue Sheet", r"^[ \t]*(?:FILE|TRACK|REM|PERFORMER|INDEX)\s"),
    ],
    ".dsc": [
        ("DenizenScript", r"^[ \t]*type:[ \t]"),
    ],
    ".dsp": [
        ("Microsoft Developer Studio Project", r"^# Microsoft (?:Developer|eMbedded)"),
    ],
    ".fpp": [
        ("FPP", r"^[ \t]*(?:module|(?:active|passive|queued)\s+component|topology|port|deployment)\s+\w+[^\n]*\{"),
    ],
    ".fr": [
        ("Forth", r"^(?:: |\\ |also )"),
        ("Frege", r"^(?:module|package|import|data|type|\w+[ \t]*::)"),
        ("Text", r""),
    ],
    ".gts": [
        ("Gerber Image", GERBER),
    ],
    ".ice": [
        ("JSON", JSON),
    ],
    ".tact": [
        ("JSON", JSON),
    ],
    ".jq": [
        ("JSONiq", r"^(?:jsoniq|xquery) version|^[ \t]*(?:let|for)[ \t]+\$|\bfor \$\w+ in\b"),
    ],
    ".k": [
        ("KFramework", r"^[ \t]*(?:module\s+[A-Z-]+|syntax\s|endmodule|imports\s)"),
    ],
    ".ks": [
        ("Kickstart", r"^(?:%(?:packages|post|pre)|rootpw|bootloader|timezone)\b"),
    ],
    ".lp": [
        ("Lambdapi", r"^[ \t]*(?:require|open|rule|(?:\w+[ \t]+)*symbol)\b"),
        ("Linear Programming", r"(?i)^[ \t]*(?:minimi[sz]e|maximi[sz]e|min|max|subject to|st|bounds)\b[ \t]*:?"),
    ],
    ".mask": [
        ("Unity3D Asset", r"tag:unity3d\.com"),
    ],
    ".mc": [
        ("Win32 Message File", r"^(?:MessageId|MessageIdTypedef|SeverityNames|LanguageNames)[ \t]*="),
        ("M4", r"^dnl\b|^divert\b"),
    ],
    ".moo": [
        ("Mercury", r"^:-\s*module"),
    ],
    ".mps": [
        ("Mathematical Programming System", r"^(?:NAME|ROWS|COLUMNS)\b"),
    ],
    ".msg": [
        ("OMNeT++ MSG", r"^[ \t]*(?:message|packet|class|struct|enum|cplusplus|namespace|import)\b"),
    ],
    ".nas": [
        ("Nasal", r"^[ \t]*(?:var\s+\w+[ \t]*=|#)"),
    ],
    ".ncl": [
        ("Gerber Image", GERBER),
        ("Nickel", r"^[ \t]*(?:let|fun|import)\b[^\n]*(?:=|in|=>)|\|[ \t]*(?:String|Number|doc)\b"),
        ("NCL", r"^[ \t]*(?:;|load\b|begin\b)|:=|\bprint\("),
        ("Text", r""),
    ],
    ".pbt": [
        ("PowerBuilder", r"\A(?:Save Format|\$PBExport)"),
    ],
    ".reds": [
        ("Red", r"(?i)\A\s*Red(?:/System)?\s*\["),
    ],
    ".rsc": [
        (
            "RouterOS Script",
            r"^/(?:interface|ip|ipv6|system|user|queue|tool|routing|log|file)\b|^[ \t]*:(?:local|global|if|foreach|put|log)\b",
        ),
    ],
    ".svx": [
        ("mdsvex", r"\A(?:---|#|<)"),
    ],
    ".vcf": [
        ("TSV", r"\A##fileformat=VCF"),
    ],
    ".e": [
        ("Eiffel", r"(?i)^[ \t]*(?:(?:deferred |expanded )?class|feature|indexing|inherit)\b[ \t]*(?:\w+[ \t]*)?$"),
        ("Euphoria", r"^[ \t]*(?:--|global\s|include\s|procedure\s|end (?:procedure|function)\b)"),
        ("E", r"^[ \t]*(?:def\s|var\s|\?|#|>)|\bdef\s+\w+"),
    ],
    ".vba": [
        ("Vim script", r"^UseVimball"),
    ],
    ".ecl": [
        ("ECLiPSe", r"^[^#\n]*:-"),
    ],
    ".b": [
        ("Brainfuck", r"\A[-+<>.,\[\]\s]+\Z"),
        ("B", r"^[ \t]*(?:auto|extrn)\s"),
    ],
    ".bb": [
        ("BlitzBasic", r"(?i)^[ \t]*(?:;|graphics\s|(?:global|local|function|type)\s+\w|include\s+\")"),
    ],
    ".fcgi": [
        ("PHP", r"<\?php"),
    ],
}
