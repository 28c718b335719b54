"""The language of a file, in linguist's names: by file name, by ending, by interpreter line, by a look at the text.

Types are linguist's: programming, markup, prose, data. `build` keeps programming, markup and prose, and of data what people write
by hand (see the filter `data_format`), as StarCoder 2's sets do.
"""

from __future__ import annotations

import functools
import json
import re
from collections import defaultdict
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

Type = Literal["programming", "markup", "prose", "data"]

HEAD = 20_000  # characters a heuristic looks at

# The language of an ending that linguist gives to several, where no heuristic below knows better.
USUAL = {
    ".as": "ActionScript", ".asc": "AsciiDoc", ".asm": "Assembly", ".b": "Limbo", ".bas": "BASIC", ".bb": "BitBake", ".cairo": "Cairo",
    ".cgi": "Perl", ".cl": "OpenCL", ".cls": "Apex", ".d": "D", ".e": "Eiffel", ".ecl": "ECL", ".es": "JavaScript", ".f": "Fortran",
    ".fcgi": "Perl", ".for": "Fortran", ".frag": "GLSL", ".fs": "F#", ".ftl": "FreeMarker", ".gml": "Game Maker Language",
    ".gs": "JavaScript", ".h": "C", ".hh": "C++", ".html": "HTML", ".inc": "PHP", ".i": "SWIG", ".jq": "jq", ".json": "JSON",
    ".l": "Lex", ".lean": "Lean 4", ".lsp": "Common Lisp", ".m": "Objective-C", ".m4": "M4", ".man": "Roff Manpage", ".md": "Markdown",
    ".mdoc": "Roff Manpage", ".ml": "OCaml", ".mo": "Modelica", ".mqh": "MQL5", ".nu": "Nushell", ".odin": "Odin", ".pc": "pkg-config",
    ".pkl": "Pkl", ".pl": "Perl", ".plist": "XML Property List", ".pm": "Perl", ".pod": "Pod", ".pp": "Puppet", ".prc": "PLSQL",
    ".pro": "QMake", ".q": "q", ".qs": "Q#", ".r": "R", ".rs": "Rust", ".s": "Unix Assembly", ".sc": "Scala", ".scm": "Scheme",
    ".spec": "RPM Spec", ".sql": "SQL", ".st": "Smalltalk", ".star": "Starlark", ".t": "Perl", ".tl": "Teal", ".tpl": "Smarty",
    ".ts": "TypeScript", ".tsp": "TypeSpec", ".tst": "Scilab", ".tsx": "TSX", ".txt": "Text", ".uc": "UnrealScript", ".v": "Verilog",
    ".vba": "VBA", ".vhost": "Nginx", ".workflow": "HCL", ".yaml": "YAML", ".yml": "YAML", ".yy": "Yacc", ".cfg": "INI", ".frm": "VBA",
}  # fmt: skip

XML = r"\A\s*<(?:\?xml|!DOCTYPE|TS\b|tileset|[\w:.-]+\s+xmlns)"
CXX = (
    r"^[ \t]*(?:template\s*<|(?:public|private|protected)\s*:|namespace\b|using\s+[\w:]+|class[ \t]+\w+[\w \t]{0,80}\n?[{;:]"
    r"|#\s*include\s*<(?:c?string|vector|map|memory|iostream|algorithm|functional|utility|type_traits|optional|c(?:std\w+|math))>"
    r")|\bstd::\w|\b(?:constexpr|noexcept|nullptr|static_cast|dynamic_cast)\b"
)
OBJECTIVE_C = r"^[ \t]*(?:@(?:interface|implementation|protocol|property|class|import|end)\b|#import\s+[\"<])"
PROLOG = r"^[^#\n%]*:-|^[ \t]*%"
RAKU = r"^[ \t]*(?:use\s+v6|unit\s+(?:module|class)|(?:my|our|has)\s+(?:class|role|grammar)|(?:grammar|role)\s+\w+\s*\{)"

# Per ending: (language, pattern), the first that is found wins; else USUAL.
LOOKS: dict[str, list[tuple[str, str]]] = {
    ".h": [("Objective-C", OBJECTIVE_C), ("C++", CXX)],
    ".inc": [
        ("PHP", r"<\?(?:php|=)"),
        ("C++", CXX),
        ("HTML", r"\A\s*<\w"),
        ("SQL", r"^(?:SELECT|INSERT|CREATE|ALTER)\s"),
        ("Pascal", r"^[ \t]*(?:procedure|function)[ \t]+\w+[^\n]*;|^\{\$"),
        ("BitBake", r"^\w+(?:_\w+)*\s*(?:\?|\+|\?\?|:)?=\s*\""),
        ("Assembly", r"^[ \t]*(?:%(?:macro|define|include)|\w+\s+equ\s)"),
    ],
    ".m": [
        ("Objective-C", OBJECTIVE_C + r"|^[ \t]*[-+]\s*\(|#\s*include"),
        ("Mercury", r"^:-\s*module"),
        ("Wolfram Language", r"\(\*|^[ \t]*\w+\[.*\]\s*:="),
        ("MATLAB", r"^[ \t]*(?:%|function\b|end\b|\.\.\.)|\.\*|;[ \t]*$"),
    ],
    ".mm": [("XML", XML)],
    ".pl": [
        ("Raku", RAKU),
        ("Perl", r"\A#!.*\bperl|^[ \t]*(?:use\s+(?:strict|warnings|v?5|\w+::)|package\s+[\w:]+\s*;|sub\s+\w+|my\s+[\$@%(])"),
        ("Prolog", PROLOG),
    ],
    ".pm": [("X PixMap", r"/\*\s*XPM"), ("Raku", RAKU)],
    ".t": [("Raku", RAKU), ("Turing", r"^[ \t]*(?:%|setscreen|var\s+\w+\s*:)|:=")],
    ".ts": [("XML", XML)],
    ".tsx": [("XML", XML)],
    ".rs": [("RenderScript", r"^#pragma\s+(?:version|rs)"), ("XML", XML)],
    ".md": [("GCC Machine Description", r"^\(define_(?:insn|expand|attr|constants)")],
    ".cs": [("Smalltalk", r"^![\w\s]+methodsFor:"), ("C#", r"")],
    ".fs": [
        ("GLSL", r"^[ \t]*(?:#version|precision|uniform|varying)\s"),
        ("Forth", r"^: \S+.*;[ \t]*$|^\\ "),
        ("Filterscript", r"#pragma\s+rs"),
    ],
    ".v": [
        ("Rocq Prover", r"^[ \t]*(?:Require|Theorem|Lemma|Definition|Proof|Inductive|Section)\b"),
        ("V", r"^(?:pub\s+)?(?:fn|struct|enum)\s+\w+|^module\s+\w+[ \t]*$|^import\s+\w+(?:\.\w+)*[ \t]*$"),
    ],
    ".r": [("Rebol", r"(?i)\bREBOL\s*\["), ("Rez", r"^[ \t]*(?:resource|data)\s+'\w{4}'")],
    ".sc": [("SuperCollider", r"\{\s*\||\bSynthDef\b|^[ \t]*\w+\s*:\s*\w+\s*\{")],
    ".d": [("Makefile", r"^[\w./-]+\s*:(?:\s|$).*\\?$"), ("DTrace", r"^#!.*dtrace|^#pragma\s+D\s|^\w*:\w*:\w*:\w*")],
    ".php": [("Hack", r"\A<\?hh")],
    ".hh": [("Hack", r"\A<\?hh")],
    ".pro": [("Prolog", r"^[^\[#\n]*:-"), ("Proguard", r"^-(?:keep|dontwarn)"), ("IDL", r"(?i)^[ \t]*(?:pro|function)\s+\w+\s*,")],
    ".cls": [
        ("TeX", r"^[ \t]*\\\w"),
        ("VBA", r"^(?:VERSION \d|Attribute VB_|Option Explicit)"),
        ("OpenEdge ABL", r"(?i)^[ \t]*(?:USING|CLASS)\s[\w.]+.*[:.][ \t]*$"),
    ],
    ".ml": [("Standard ML", r"^[ \t]*(?:structure|signature|functor|fun|datatype)\s+\w+")],
    ".cl": [("Common Lisp", r"^[ \t]*\((?:defun|in-package|defpackage|defmacro)\b"), ("Cool", r"^[ \t]*class\s+\w+\s+inherits\b")],
    ".html": [("Ecmarkup", r"<emu-(?:alg|clause|grammar)")],
    ".asc": [("Public Key", r"\A-----BEGIN")],
    ".spec": [("Python", r"^[ \t]*(?:a|exe|coll)\s*=\s*\w+\("), ("Ruby", r"^[ \t]*(?:describe|require)\b")],
    ".cgi": [("Python", r"\A#!.*python"), ("Shell", r"\A#!.*\b(?:ba|z|k)?sh\b")],
    ".tpl": [("Go Template", r"\{\{-?\s*(?:\.|range|if|define|template|include|with)\b")],
    ".st": [("StringTemplate", r"^\w+\([\w,\s]*\)\s*::=|<[\w.]+>"), ("Smalltalk", r"")],
    ".s": [("Assembly", r"(?i)^[ \t]*(?:global|section|extern)\s+\.?\w+")],
    ".plist": [("OpenStep Property List", r"\A\s*\{")],
    ".workflow": [("XML", XML)],
    ".frag": [("JavaScript", r"^\(function|^[ \t]*\$\(|^[ \t]*(?:var|let|const)\s")],
    ".for": [("Forth", r"^: \S+")],
    ".yy": [("JSON", r"\A\s*\{")],
    ".lsp": [("NewLisp", r"^[ \t]*\(define\b")],
    ".json": [],
}
# Plain text by its name alone, beside those linguist lists.
TEXT_NAMES = frozenset({"README", "CHANGES", "CHANGELOG", "TODO", "NOTES", "HACKING", "CONTRIBUTING", "HISTORY"})
INTERPRETER = re.compile(r"\A#![ \t]*(?P<program>\S+)(?P<rest>[^\n]*)")
VERSION = re.compile(r"[\d.]+$")


class Table(NamedTuple):
    """linguist's rules the other way round; `endings` has the main language of each ending first."""

    types: dict[str, Type]
    names: dict[str, str]
    endings: dict[str, list[str]]
    interpreters: dict[str, str]


@functools.cache
def table() -> Table:
    """The vendored table."""
    languages = json.loads((files("finetune.data") / "linguist.json").read_text(encoding="utf-8"))["languages"]
    names: dict[str, str] = {}
    interpreters: dict[str, str] = {}
    ranked: dict[str, list[tuple[bool, str]]] = defaultdict(list)
    for language, row in languages.items():
        names |= dict.fromkeys(row.get("filenames", ()), language)
        for program in row.get("interpreters", ()):
            interpreters.setdefault(program, language)
        for place, ending in enumerate(row.get("extensions", ())):
            ranked[ending.lower()].append((place > 0, language))
    endings = {ending: [language for _, language in sorted(found)] for ending, found in ranked.items()}
    return Table({language: row["type"] for language, row in languages.items()}, names, endings, interpreters)


def type_of(language: str) -> Type | None:
    """programming, markup, prose or data; None for a name linguist does not have."""
    return table().types.get(language)


def language_of(path: str, text: str) -> str | None:
    """The language of a file, None when it has none that is known."""
    name = PurePosixPath(path).name
    if language := table().names.get(name):
        return language
    for ending in _endings(name.lower()):
        if found := table().endings.get(ending):
            return _chosen(ending, found, text[:HEAD])
    return "Text" if name in TEXT_NAMES else _by_interpreter(text)


def _endings(name: str) -> list[str]:
    """The endings of a name, longest first: a.test.py gives .test.py and .py."""
    parts = name.split(".")[1:]
    return ["." + ".".join(parts[place:]) for place in range(len(parts))]


def _chosen(ending: str, found: list[str], head: str) -> str:
    for language, look in LOOKS.get(ending, ()):
        if _compiled(look).search(head):
            return language
    stated = _by_interpreter(head) if len(found) > 1 else None
    if stated is not None and stated in found:
        return stated
    return USUAL.get(ending, found[0])


@functools.cache
def _compiled(look: str) -> re.Pattern[str]:
    return re.compile(look, re.MULTILINE)


def _by_interpreter(text: str) -> str | None:
    if not (line := INTERPRETER.match(text)):
        return None
    program = line["program"].rpartition("/")[2]
    if program == "env":
        words = [word for word in line["rest"].split() if not word.startswith("-") and "=" not in word]
        program = words[0].rpartition("/")[2] if words else ""
    found = table().interpreters
    return found.get(program) or found.get(VERSION.sub("", program))
