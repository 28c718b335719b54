"""Which language an ending stands for where linguist gives it to several: a look at the text, else the usual one.

The looks follow linguist's heuristics in what they look for; each is a search in the first characters of a file.
"""

from __future__ import annotations

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
    ".lisp": [("NewLisp", r"^[ \t]*\(define\b")],
    ".sql": [
        ("PLpgSQL", r"(?i)^\\i\b|\bAS[ \t]*\n?\$\w*\$|\bLANGUAGE[ \t]+'?plpgsql\b"),
        ("SQLPL", r"(?i)\bALTER MODULE\b|\bMODE DB2SQL\b|\bSYS(?:CAT|PROC)\.|\bASSOCIATE RESULT SET\b|\bEND!\s*$"),
        (
            "PLSQL",
            r"(?i)\$\$PLSQL_|\bXMLTYPE\b|\bSYSTIMESTAMP\b|\.nextval\b|\bCONNECT[ \t]+BY\b|\bAUTHID[ \t]+(?:DEFINER|CURRENT_USER)\b"
            r"|\bCONSTRUCTOR\W+FUNCTION\b|\bVARCHAR2\b|\bDBMS_OUTPUT\.",
        ),
        (
            "TSQL",
            r"(?i)^[ \t]*GO\b[ \t]*$|\bBEGIN[ \t]+(?:TRY|CATCH)\b|\bOUTPUT[ \t]+INSERTED\b|\bDECLARE[ \t]+@|\[dbo\]|\bNVARCHAR\b",
        ),
    ],
    ".cfg": [("HAProxy", r"^(?:global|defaults|frontend[ \t]+\S+|backend[ \t]+\S+)[ \t]*$")],
    ".properties": [("Java Properties", r"^[^\[\s#!;][^=:\n]*[=:]"), ("INI", r"^[;\[]")],
    ".ex": [("Euphoria", r"^[ \t]*(?:namespace[ \t]|with[ \t]+trace|include[ \t]+std/)")],
    ".es": [("Erlang", r"^[ \t]*(?:%%|main[ \t]*\([^\n]*\)[ \t]*->)|\A#!.*escript")],
    ".pp": [("Pascal", r"(?i)^[ \t]*(?:unit|program|uses|interface|implementation)\b[^\n{]*;?[ \t]*$|\bend\.\s*\Z")],
    ".f": [
        ("Forth", r"^: \S+"),
        ("Filebench WML", r"\bflowop\b"),
    ],
    ".g": [("GAP", r"^[ \t]*(?:\w+[ \t]*:=|DeclareOperation|InstallMethod)"), ("G-code", r"^[ \t]*[GMT]\d{1,3}\b")],
    ".gd": [("GAP", r"\b(?:Declare(?:Global\w+|Operation|Attribute|Property|Category|Synonym)|BindGlobal)\b")],
    ".gml": [("XML", XML), ("Graph Modeling Language", r"^[ \t]*graph[ \t\n]*\["), ("Gerber Image", r"\A[ \t\n]*(?:%FS|G04)")],
    ".gs": [
        ("GLSL", r"^[ \t]*#version[ \t]+\d{3}\b"),
        ("Gosu", r"^[ \t]*uses[ \t]+(?:java|gw)\.|^[ \t]*(?:package[ \t]+[\w.]+|enhancement[ \t]+\w+)[ \t]*:?[ \t]*\w*$"),
        ("Genie", r"^[ \t]*\[indent=\d+\]"),
    ],
    ".ch": [("xBase", r"(?i)^[ \t]*#(?:define|command|xcommand|translate|include)\b")],
    ".bas": [
        ("FreeBASIC", r"(?i)^[ \t]*#(?:define|if|include|lang|macro|pragma)\b|^[ \t]*dim[ \t]+as\b"),
        ("VBA", r"(?im)\bVBA\b|^[ \t]*(?:Private|Public)?[ \t]*Declare[ \t]+PtrSafe\b|\b(?:ActiveSheet|Worksheets|Range)\b"),
        ("Visual Basic 6.0", r"(?im)^[ \t]*Attribute VB_Name[ \t]*="),
        ("QuickBASIC", r"(?im)^[ \t]*(?:CONST|DECLARE|DEF(?:DBL|INT|LNG|SNG|STR)|TYPE)[ \t]"),
    ],
    ".asm": [("Motorola 68K Assembly", r"(?im)\b(?:move|add|sub|cmp|clr)\.[bwl]\b|\bmovem\.l\b|^[ \t]*(?:m?c68k|xdef)\b")],
    ".i": [
        ("Motorola 68K Assembly", r"(?im)\b(?:move|add|sub)\.[bwl]\b|\bmovem\.l\b|^[ \t]*xdef\b"),
        ("SWIG", r"^[ \t]*%[a-z_]+\b|^%[{}]"),
        ("Assembly", r"(?im)^[ \t]*(?:section|global|\.(?:text|globl|macro))\b|^\w+:[ \t]*(?:mov|push|db)\b"),
    ],
    ".l": [
        ("Lex", r"^%[%{}]|^%option\b"),
        ("Common Lisp", r"(?i)\((?:def(?:un|macro|var|package)|in-package)\b"),
        ("Roff", r"^\.[A-Za-z]{2}(?:\s|$)"),
        ("PicoLisp", r"^\((?:de|class|rel|code|scl)\b"),
    ],
    ".lean": [("Lean", r"^import [a-z]")],
    ".ls": [("LoomScript", r"^[ \t]*package[ \t]*[\w./*\s]*\{")],
    ".man": [("Roff Manpage", r"^\.(?:TH|Dd|SH)\b"), ("Roff", r"^[.']\w")],
    ".mod": [
        ("XML", XML),
        ("Linux Kernel Module", r"\A(?:\S+\.k?o[ \t\n]*)+\Z"),
        ("AMPL", r"^[ \t]*(?:param|set|var|minimize|maximize|subject to)\b"),
        ("Modula-2", r"^[ \t]*(?:(?:DEFINITION|IMPLEMENTATION)[ \t]+)?MODULE\b|\bEND[ \t]+\w+\."),
        ("NMODL", r"^[ \t]*(?:NEURON|UNITS|PARAMETER|ASSIGNED|BREAKPOINT)[ \t]*\{"),
    ],
    ".mo": [("Motoko", r"^[ \t]*(?:import[ \t]+\w+[ \t]+\"mo:|(?:shared[ \t]+)?actor\b|module[ \t]*\{|persistent[ \t]+actor)")],
    ".ms": [
        ("Roff", r"^[.'][A-Za-z]{2}(?:\s|$)"),
        ("Unix Assembly", r"(?<!\S)\.(?:include|globa?l)\s"),
        ("MAXScript", r"(?i)^[ \t]*(?:fn|rollout|utility|struct|macroscript)\b"),
    ],
    ".n": [("Roff", r"^[.']"), ("Nemerle", r"^[ \t]*(?:module|namespace|using)[ \t]")],
    ".nb": [("Wolfram Language", r"\A[ \t\n]*(?:\(\*|Notebook\[)")],
    ".nr": [("Roff", r"^\."), ("Noir", r"^[ \t]*(?:fn|mod|struct|use|global)[ \t]")],
    ".odin": [("Object Data Instance Notation", r"(?:^|<)[ \t]*[A-Za-z0-9_]+[ \t]*=[ \t]*<")],
    ".p": [("Gnuplot", r"^s?plot\b|^set[ \t]+(?:term|terminal|out|output|[xy]tics|[xy]label|[xy]range|style)\b")],
    ".plt": [("Prolog", r"^[ \t]*:-|^\w+\([^\n]*\)[ \t]*:-")],
    ".pod": [("Pod 6", r"^[ \t]*(?:=begin pod|=for)\b")],
    ".prc": [("PLSQL", r"(?i)\bCREATE[ \t]+(?:OR[ \t]+REPLACE[ \t]+)?(?:PROCEDURE|FUNCTION|PACKAGE)\b"), ("SQL", r"")],
    ".ddl": [("PLSQL", r"(?i)\bVARCHAR2\b|\bNUMBER\(|\.nextval\b"), ("SQL", r"")],
    ".q": [("HiveQL", r"(?i)^[ \t]*(?:SELECT[ \t]+[\w*,]|SET[ \t]+hive\.|CREATE[ \t]+(?:EXTERNAL[ \t]+)?TABLE|FROM[ \t]+\w)")],
    ".qs": [("Q#", r"\b(?:operation|namespace|Qubit)\b"), ("Qt Script", r"\b(?:function|var|Component|installer)\b")],
    ".re": [("C++", r"^[ \t]*#(?:(?:if|ifdef|define|pragma)[ \t]+\w|[ \t]*include[ \t]+[<\"])|^[ \t]*template[ \t]*<")],
    ".res": [("XML", XML)],
    ".rpy": [
        ("Ren'Py", r"^[ \t]*(?:label[ \t]+\w+.*:|define[ \t]+\w+|screen[ \t]+\w+|init\b.*:)"),
        ("Python", r"^(?:import|from|class|def)[ \t]"),
    ],
    ".scd": [("SuperCollider", r"(?:^|[ \t])(?:\(|\)|SynthDef|Synth|\w+\.ar)\b|^\("), ("Markdown", r"^#+[ \t]+[A-Z][a-z]")],
    ".sch": [("XML", XML), ("KiCad Schematic", r"\AEESchema"), ("Scheme", r"^[ \t]*[;(]")],
    ".scm": [("Tree-sitter Query", r"\(#[\w-]+[?!]|\)[ \t]*@[\w.]+|^[ \t]*\"[^\"\n]*\"[ \t]*@\w"), ("Scheme", r"")],
    ".shader": [("GLSL", r"^[ \t]*#version\b|\bgl_\w+\b"), ("ShaderLab", r"")],
    ".sls": [("Scheme", r"(?m)^#!r[67]rs|^[ \t]*\((?:library|import|define)\b")],
    ".srt": [("SubRip Text", r"^\d{2}:\d{2}:\d{2},\d{3}[ \t]*-->")],
    ".toc": [("World of Warcraft Addon Data", r"^## |@no-lib-strip@"), ("TeX", r"^[ \t]*\\(?:contentsline|defcounter|beamer|boolfalse)")],
    ".trigger": [("Shell", r"\A#!"), ("Apex", r"(?i)^[ \t]*trigger\b")],
    ".txt": [("Vim Help File", r"(?:^|[ \t])(?:vim?|ex)[ \t]*:[^\n]*\b(?:ft|filetype)=help\b"), ("Adblock Filter List", r"\A\[Adblock")],
    ".w": [("OpenEdge ABL", r"&ANALYZE-SUSPEND\b|&SCOPED-DEFINE\b"), ("CWeb", r"^@(?:<|\w+\.)|^@[* ]")],
    ".x": [
        ("Linker Script", r"\b(?:OUTPUT_(?:ARCH|FORMAT)|SECTIONS)\b"),
        ("RPC", r"\b(?:program|version)[ \t]+\w+[ \t\n]*\{|\bunion[ \t]+\w+[ \t]+switch\b"),
        ("Logos", r"^%(?:end|ctor|hook|group)\b"),
        ("DirectX 3D File", r"\Axof "),
    ],
    ".cairo": [("Cairo Zero", r"^[ \t]*(?:func\b|%lang\b|%builtins\b)")],
    ".as": [("AngelScript", r"^[ \t]*(?:array<|shared\b|mixin\b|#include\b)|@[ \t]*\w+[ \t]*=")],
    ".vhost": [("ApacheConf", r"^[ \t]*<VirtualHost")],
    ".frm": [("INI", r"^\[\w")],
    ".cake": [("CoffeeScript", r"->[ \t]*$|^[ \t]*\w+[ \t]*=[ \t]*require[ \t]")],
    ".tl": [("Type Language", r"^---(?:functions|types)---|^\w+#[0-9a-f]{8}\b")],
    ".uc": [("ucode", r"^[ \t]*(?:let|const|import|export)[ \t]|\{%")],
    ".tst": [("GAP", r"\bgap> ")],
    ".star": [("STAR", r"^(?:data_|loop_)\S*[ \t]*$")],
    ".nu": [("Nu", r"^[ \t]*\((?:class|function|set|load|import)\b")],
    ".ftl": [("Fluent", r"^-?[a-zA-Z][\w-]*[ \t]*=[ \t]|^###?[ \t]")],
    ".csl": [("XML", XML)],
    ".j": [("Objective-J", r"^[ \t]*@(?:import|implementation|class)\b"), ("Jasmin", r"^\.(?:class|method|super)\b")],
    ".json": [],
}
MANUALS = (".1", ".1in", ".1m", ".1x", ".2", ".3", ".3in", ".3m", ".3p", ".3pm", ".3qt", ".3x", ".4", ".5", ".6", ".7", ".8", ".9", ".mdoc")
for _ending in MANUALS:
    LOOKS[_ending] = [("Roff Manpage", r"^\.(?:TH|Dd|SH)[ \t]"), ("Roff", r"^[.'][A-Za-z]{2}(?:[ \t]|$)")]
