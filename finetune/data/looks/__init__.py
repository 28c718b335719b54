"""Which language an ending stands for where linguist gives it to several: a look at the text, else the usual one.

The looks follow linguist's heuristics in what they look for; each is a search in the first characters of a file.
"""

from __future__ import annotations

from finetune.data.looks.frequent import FREQUENT
from finetune.data.looks.patterns import DECLARED_XML
from finetune.data.looks.rare import RARE

__all__ = ["DECLARED_XML", "LOOKS", "USUAL"]

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
    ".fx": "HLSL", ".nas": "Assembly", ".fpp": "Fortran", ".msg": "ROS Interface", ".pbt": "Protocol Buffer Text Format", ".al": "AL",
    ".bf": "Befunge", ".fr": "Frege", ".ncl": "NCL",
    ".vba": "VBA", ".vhost": "Nginx", ".workflow": "HCL", ".yaml": "YAML", ".yml": "YAML", ".yy": "Yacc", ".cfg": "INI", ".frm": "VBA",
}  # fmt: skip

MANUALS = (".1", ".1in", ".1m", ".1x", ".2", ".3", ".3in", ".3m", ".3p", ".3pm", ".3qt", ".3x", ".4", ".5", ".6", ".7", ".8", ".9", ".mdoc")
MANUAL = [("Roff Manpage", r"^\.(?:TH|Dd|SH)[ \t]"), ("Roff", r"^[.'][A-Za-z]{2}(?:[ \t]|$)")]
# Per ending: (language, pattern), the first that is found wins; else USUAL.
LOOKS: dict[str, list[tuple[str, str]]] = FREQUENT | RARE | dict.fromkeys(MANUALS, MANUAL)
