from __future__ import annotations

import json
import time
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.languages import TEXT_NAMES, language_of, table, type_of
from finetune.data.looks import LOOKS, USUAL
from finetune.data.write_linguist import linguist_table

BY_PATH = [
    ("src/a.py", "Python"), ("a.PY", "Python"), ("a.test.tsx", "TSX"), ("Makefile", "Makefile"), ("deep/Dockerfile", "Dockerfile"),
    ("CMakeLists.txt", "CMake"), ("notes.txt", "Text"), ("README", "Text"), ("readme.md", "Markdown"), ("a.rs", "Rust"), ("a.go", "Go"),
    ("a.java", "Java"), ("a.kt", "Kotlin"), ("a.cs", "C#"), ("a.sql", "SQL"), ("a.yml", "YAML"), ("a.yaml", "YAML"), ("a.json", "JSON"),
    ("package.json", "JSON"), ("a.html", "HTML"), ("a.html.erb", "HTML+ERB"), ("a.blade.php", "Blade"), ("a.d.ts", "TypeScript"),
    ("a.php", "PHP"), ("a.fs", "F#"), ("a.scala", "Scala"), ("a.sc", "Scala"), ("a.v", "Verilog"), ("a.ml", "OCaml"), ("a.r", "R"),
    ("a.R", "R"), ("a.jl", "Julia"), ("a.S", "Unix Assembly"), ("a.proto", "Protocol Buffer"), ("go.mod", "Go Module"), ("a.vue", "Vue"),
    ("a.tf", "HCL"), ("a.toml", "TOML"), ("a.rst", "reStructuredText"), (".bashrc", "Shell"), ("a.tex", "TeX"), ("pom.xml", "Maven POM"),
    ("a.h", "C"), ("a.hpp", "C++"), ("a.m", "Objective-C"), ("a.pl", "Perl"), ("a.t", "Perl"), ("a.zzz", None), ("binary", None),
    ("a.", None),
]  # fmt: skip

BY_TEXT = [
    ("a.h", "#include <string>\nstd::string name();\n", "C++"),
    ("a.h", "class Point {\npublic:\n  int x;\n};\n", "C++"),
    ("a.h", "#ifndef A_H\n#define A_H\nstruct point { int x; };\nint class_of(void);\n#endif\n", "C"),
    ("a.h", '#import "Thing.h"\n@interface Thing : NSObject\n@end\n', "Objective-C"),
    ("a.m", "function y = f(x)\n% doubles\ny = 2 .* x;\nend\n", "MATLAB"),
    ("a.m", "#import <Foundation/Foundation.h>\n@implementation A\n@end\n", "Objective-C"),
    ("a.m", ":- module hello.\n:- interface.\n", "Mercury"),
    ("a.pl", "use strict;\nmy $x = 1;\n", "Perl"),
    ("a.pl", "parent(tom, bob).\ngrand(X, Y) :- parent(X, Z), parent(Z, Y).\n", "Prolog"),
    ("a.pl", "use v6;\nclass A {}\n", "Raku"),
    ("a.ts", "<?xml version='1.0'?>\n<!DOCTYPE TS>\n<TS></TS>\n", "XML"),
    ("a.ts", "const x: Array<string> = [];\n", "TypeScript"),
    ("a.tsx", "export const A = () => <b>x</b>;\n", "TSX"),
    ("a.md", '(define_insn "add")\n', "GCC Machine Description"),
    ("a.md", "# Title\n", "Markdown"),
    ("a.rs", "#pragma version(1)\n#pragma rs java_package_name(a)\n", "RenderScript"),
    ("a.v", "Theorem x : 1 = 1.\nProof. reflexivity. Qed.\n", "Rocq Prover"),
    ("a.v", "module main\n\nfn main() {\n}\n", "V"),
    ("a.fs", "#version 330\nuniform vec4 c;\n", "GLSL"),
    ("a.cls", "\\NeedsTeXFormat{LaTeX2e}\n", "TeX"),
    ("a.cls", "public class A { }\n", "Apex"),
    ("a.inc", "<?php echo 1;\n", "PHP"),
    ("a.inc", "    push r2\n    nop\n", "Assembly"),
    ("a.inc", "// parts of a class\n#undef NAME\n#define NAME x\n", "C++"),
    ("a.inc", "</ul>\n<p>end</p>\n", "HTML"),
    ("a.frm", 'VERSION 5.00\nBegin VB.Form Main \n   Caption = "x"\nEnd\n', "Visual Basic 6.0"),
    ("a.frm", "VERSION 5.00\nBegin {C62A69F0} UserForm1 \nEnd\n", "VBA"),
    ("a.frm", "TYPE=VIEW\nquery=select 1\n", "INI"),
    ("a.cls", "VERSION 1.0 CLASS\nBEGIN\n  MultiUse = -1\n  Persistable = 0\nEND\n", "Visual Basic 6.0"),
    ("a.cls", "VERSION 1.0 CLASS\nBEGIN\n  MultiUse = -1\nEND\n", "VBA"),
    ("a.bas", 'Attribute VB_Name = "A"\n#If Mac Then\n#End If\nRange("A1").Select\n', "VBA"),
    ("a.ml", "structure A = struct\nfun f x = x\nend\n", "Standard ML"),
    ("a.sql", "CREATE FUNCTION f() RETURNS int AS $$\nBEGIN\nEND;\n$$ LANGUAGE plpgsql;\n", "PLpgSQL"),
    ("a.sql", "CREATE TABLE t (name VARCHAR2(20));\n", "PLSQL"),
    ("a.sql", "USE [db]\nGO\nDECLARE @x INT\n", "TSQL"),
    ("a.sql", "SELECT name FROM t;\n", "SQL"),
    ("a.cfg", "global\n    maxconn 10\n", "HAProxy"),
    ("a.properties", "name = value\n", "Java Properties"),
    ("a.pp", "unit Shapes;\ninterface\n", "Pascal"),
    ("a.pp", "class web { }\n", "Puppet"),
    ("a.1", ".TH TOOL 1\n.SH NAME\n", "Roff Manpage"),
    ("a.l", "%{\n#include <stdio.h>\n%}\n", "Lex"),
    ("a.l", "(defun f (x) x)\n", "Common Lisp"),
    ("a.mod", "MODULE Main;\nEND Main.\n", "Modula-2"),
    ("a.re", "#include <vector>\n", "C++"),
    ("a.scm", "(call function: (identifier) @function)\n", "Tree-sitter Query"),
    ("a.scm", "(define (f x) x)\n", "Scheme"),
    ("a.gml", "<?xml version='1.0'?>\n", "XML"),
    ("a.yaml", "openapi: 3.0.0\n", "YAML"),
    ("a.asm", "  move.l d0,d1\n", "Motorola 68K Assembly"),
    ("a.x", "SECTIONS\n{\n}\n", "Linker Script"),
    ("a.t", "use Test::More;\nmy %seen = (a => 1);\n%seen = ();\n", "Perl"),
    ("a.t", "use Test;\nplan 2;\n", "Raku"),
    ("a.pm", "has Int $.size;\n", "Raku"),
    ("a.m", "greet ; say it\n ; comment\n quit\n", "M"),
    ("a.m", "- (void)run;\n", "Objective-C"),
    ("a.m", "; nothing\n@interface Thing\n@end\n", "Objective-C"),
    ("a.ml", "let rec len = function [] -> 0 | _ :: t -> 1 + len t\n", "OCaml"),
    ("a.d", "import std.stdio;\nvoid main() {\n}\n", "D"),
    ("a.d", "out/a.o: a.c \\\n a.h\n", "Makefile"),
    ("a.fx", "float4 main() : SV_Target { return 0; }\n", "HLSL"),
    ("a.nas", "section .text\nmov eax, 1\n", "Assembly"),
    ("a.nas", "var speed = 3;\n", "Nasal"),
    ("a.inc", "#declare Red = 1;\n", "POV-Ray SDL"),
    ("a.inc", "<!-- part -->\n<p>Hello</p>\n", "HTML"),
    ("a.asc", "Some words\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n", "Public Key"),
    ("a.al", "package Tool;\nsub run { }\n", "Perl"),
    ("a.al", "codeunit 50100 Tool\n{\n}\n", "AL"),
    ("a.properties", "[part]\nname = value\n", "INI"),
    ("a.ice", '{\n  "a": 1\n}\n', "JSON"),
    ("a.sw", "<?xml version='1.0'?>\n<a/>\n", "XML"),
    ("a.brd", "<!DOCTYPE eagle SYSTEM 'eagle.dtd'>\n", "Eagle"),
    ("a.msg", "float64 x\nfloat64 y\n", "ROS Interface"),
    ("a.msg", "packet Ping {\n    int id;\n}\n", "OMNeT++ MSG"),
    ("a.cs", "!Point methodsFor: 'x'!\n", "Smalltalk"),
    ("a.cs", "namespace A { }\n", "C#"),
    ("run", "#!/bin/bash\n", "Shell"),
    ("run", "#!/usr/bin/env -S FOO=1 python3.12 -u\n", "Python"),
    ("run", "#! /usr/local/bin/node\n", "JavaScript"),
    ("run", "#!/usr/bin/env\n", None),
    ("run.cgi", "#!/usr/bin/python\n", "Python"),
    ("run", "print(1)\n", None),
]


@pytest.mark.parametrize(("path", "language"), BY_PATH)
def test_a_path_tells_the_language(path, language):
    assert language_of(path, "plain words\n") == language


@pytest.mark.parametrize(("path", "text", "language"), BY_TEXT)
def test_a_look_at_the_text_settles_an_ambiguous_ending(path, text, language):
    assert language_of(path, text) == language


@pytest.mark.parametrize(
    ("language", "kind"),
    [("Python", "programming"), ("HTML", "markup"), ("Markdown", "prose"), ("JSON", "data"), ("SQL", "data"), ("None", None)],
)
def test_a_language_has_linguists_type(language, kind):
    assert type_of(language) == kind


def test_every_language_named_here_is_one_of_linguists():
    named = {*USUAL.values(), *(language for looks in LOOKS.values() for language, _ in looks)}
    assert named <= set(table().types)
    assert "Text" in table().types
    assert not TEXT_NAMES & set(table().names)


def test_every_usual_language_has_its_ending():
    assert {ending: language for ending, language in USUAL.items() if language not in table().endings[ending]} == {}


@given(st.text(), st.text())
def test_any_path_and_text_has_a_language_or_none(path, text):
    language = language_of(path, text)
    assert language is None or language in table().types


@pytest.mark.parametrize("ending", sorted(LOOKS))
def test_a_look_at_a_long_line_takes_no_time(ending):
    # Twenty thousand characters of the kind that makes careless patterns quadratic, or worse.
    started = time.process_time()
    repeated = ("a ", "(", " ", "a.", "\n", "a:\n", "class a ", "_", "a.o", "a\n")
    for line in (each * (20_000 // len(each)) for each in repeated):
        assert language_of("a" + ending, line)
    assert time.process_time() - started < 5


def test_the_vendored_table_names_its_source_and_licence():
    stored = json.loads((files("finetune.data") / "linguist.json").read_text(encoding="utf-8"))
    assert "linguist-languages" in stored["source"]
    assert stored["license"].startswith("MIT")


def test_the_table_is_made_of_an_unpacked_package(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "package.json").write_text('{"name": "linguist-languages", "version": "1.2.3", "license": "MIT"}')
    (tmp_path / "data" / "Toy.js").write_text(
        "export default {\n  name: 'Toy',\n  type: 'data',\n  color: '#fff',\n  extensions: [\n    '.toy',\n  ],\n}\n"
    )
    made = linguist_table(tmp_path)
    assert made["languages"] == {"Toy": {"type": "data", "extensions": [".toy"]}}
    assert "1.2.3" in str(made["source"])
