from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest
from counting import counted
from hypothesis import given
from hypothesis import strategies as st

from finetune.data import encodings, filters
from finetune.data.filters import (
    FILTERS,
    DataFormat,
    EncodedData,
    Filter,
    Generated,
    LittleVisible,
    LongLines,
    LowAlphabetic,
    PlainText,
    TooLarge,
    TooManyLines,
    Vendored,
    default_filters,
    keep,
)
from finetune.data.tally import Tally
from finetune.data.visible import visible_text
from finetune.records import Change, Origin, SourceFile


def file(text: str = "value = 1\n", path: str = "a.py", language: str = "Python") -> SourceFile:
    return SourceFile(Origin("repo", "commit", path), language, text)


def change(before: str, after: str, path: str = "a.py") -> Change:
    return Change(Origin("repo", "commit", path), "Python", "Message", before, after)


def noise(size: int) -> bytes:
    return b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(size // 32 + 1))[:size]


def page(visible: int, size: int) -> SourceFile:
    """HTML of so many characters, of which a reader sees some."""
    text = "<p>" + "v" * visible + "</p>"
    return file("<script>" + "s" * (size - len(text) - 17) + "</script>" + text, "a.html", "HTML")


def assembly(alphanumeric: int) -> SourceFile:
    return file("1" * alphanumeric + "," * (100 - alphanumeric), "a.asm", "Motorola 68K Assembly")


def web_assembly(alphanumeric: int) -> SourceFile:
    return file("1" * alphanumeric + "(" * (100 - alphanumeric), "a.wat", "WebAssembly")


# StarCoder 2's limits as they are by default, then the same rules at numbers that are easy to read.
LIMITS: list[tuple[Filter, SourceFile, SourceFile, str]] = [
    (TooManyLines(), file("a\n" * 100_000), file("a\n" * 100_001), "too_many_lines"),
    (TooManyLines(), file("a\n" * 99_999 + "a"), file("a\n" * 100_000 + "a"), "too_many_lines"),
    (TooManyLines(), file("a\n" * 512, "a.json", "JSON"), file("a\n" * 513, "a.json", "JSON"), "too_many_lines_of_data"),
    (TooManyLines(), file("a\n" * 511 + "a", "a.json", "JSON"), file("a\n" * 512 + "a", "a.json", "JSON"), "too_many_lines_of_data"),
    (TooManyLines(), file("a\n" * 512, "a.yml", "YAML"), file("a\n" * 513, "a.yml", "YAML"), "too_many_lines_of_data"),
    (TooManyLines(), file("a\n" * 512, "todo", "Text"), file("a\n" * 513, "todo", "Text"), "too_many_lines_of_data"),
    (
        TooManyLines(),
        file("a\n" * 512, "a.owl", "Web Ontology Language"),
        file("a\n" * 513, "a.owl", "Web Ontology Language"),
        "too_many_lines_of_data",
    ),
    (TooManyLines(), file("a\n" * 512, "a.dot", "Graphviz (DOT)"), file("a\n" * 513, "a.dot", "Graphviz (DOT)"), "too_many_lines_of_data"),
    (LowAlphabetic(), file("a" * 25 + "1" * 75), file("a" * 24 + "1" * 76), "low_alphabetic"),
    (LowAlphabetic(), web_assembly(25), web_assembly(24), "low_alphabetic"),
    (LowAlphabetic(), assembly(25), assembly(24), "low_alphabetic"),
    (LowAlphabetic(), assembly(25), file("1" * 100, "a.asm", "Assembly"), "low_alphabetic"),
    (LowAlphabetic(), file("字" * 25 + "。" * 75), file("字" * 24 + "。" * 76), "low_alphabetic"),
    (LowAlphabetic(), file("é" * 24 + "a" + "─" * 75), file("─┼╳🙂" * 25), "low_alphabetic"),
    (LittleVisible(), page(100, 500), page(99, 400), "little_visible"),
    (LittleVisible(), page(200, 1000), page(199, 1000), "little_visible"),
    (TooLarge(), file("x" * 1_000_000), file("x" * 1_000_001), "too_large"),
    (TooLarge(max_bytes=10), file("ü" * 5), file("ü" * 5 + "x"), "too_large"),
    (
        TooManyLines(max_lines_of_data=3),
        file("a\n" * 4, "pom.xml", "Maven POM"),
        file("a\n" * 4, "a.yaml", "YAML"),
        "too_many_lines_of_data",
    ),
    (LongLines(), file("x" * 1000 + "\n" * 20), file("x" * 1001 + "\n" * 20), "long_line"),
    (LongLines(), file(("x" * 99 + "\n") * 9), file(("x" * 100 + "\n") * 9), "long_lines"),
    (LongLines(), file("x" * 100), file("x" * 101), "long_lines"),
    (LongLines(), file("x\n" + "y" * 197 + "\n"), file("x" * 1001), "minified"),
    *(
        (LongLines(), file("x" * 100_000, "a", language), file("x" * 100_001, "a", language), "long_line")
        for language in ("HTML", "JSON", "Markdown", "Roff", "Roff Manpage", "SMT", "TeX", "Text", "XML")
    ),
    (EncodedData(), file("a b c " * 900 + "Q" * 1024), file("a b c " * 900 + "Q" * 1025), "encoded_data"),
    (EncodedData(), file("a b c d e " * 10 + "Q" * 100), file("a b c d e " * 10 + "Q" * 101), "encoded_data"),
    (EncodedData(), file("0x01, 0x02, 0x03"), file("x = {" + "0x01, 0x0f, " * 40 + "}"), "encoded_data"),
    (EncodedData(), file("word " * 900 + "00 " * 341), file("word " * 900 + "00 " * 342), "encoded_data"),
    (EncodedData(), file("dead beef"), file("00 01 02 03 04 05 06 07\n" * 8), "encoded_data"),
    (EncodedData(), file(r"'\u00e4\u00f6' is ä and ö"), file(r"'\u0001\u0002" + r"\u0003" * 40 + "'"), "encoded_data"),
    (EncodedData(), file("ä " * 3000 + r"\u0001" * 170), file("ä " * 3000 + r"\u0001" * 171), "encoded_data"),
    # Half of the file: 24 characters of hex beside as many or fewer, 48 of escapes.
    (EncodedData(), file("00 " * 8 + "." * 24), file("00 " * 8 + "." * 23), "encoded_data"),
    (EncodedData(), file(r"\u0001" * 8 + "." * 48), file(r"\u0001" * 8 + "." * 47), "encoded_data"),
    (EncodedData(), file(r"b'\x00\x01'"), file("b'" + r"\x00\xff" * 40 + "'"), "encoded_data"),
    (Generated(), file("a\n" * 5 + "# automatically generated\n"), file("a\n" * 4 + "# automatically generated\n"), "generated"),
]


@pytest.mark.parametrize(("check", "under", "over", "reason"), LIMITS)
def test_a_limit_keeps_what_is_on_it_and_drops_what_is_past_it(check, under, over, reason):
    assert check(under) is None
    assert check(over) == reason


VENDORED = [
    "node_modules/a/index.js", "web/node_modules/a.js", "vendor/github.com/x/y.go", "third_party/zlib/zlib.c", "src/third-party/a.h",
    "pkg/_vendor/six.py", "externals/a.c", "Godeps/x.go", "ios/Pods/A/a.m", "venv/lib/site-packages/x.py", "static/js/jquery.js",
    "static/jquery-3.6.0.min.js", "static/bootstrap.bundle.min.js", "lib/react-dom.js", "gradlew", "android/gradlew.bat", "config.guess",
    "src/sqlite3.c", "stb_image.h", "versioneer.py", ".yarn/releases/yarn-3.cjs", "deps/lua/lua.c", "Dependencies/a.c", "tools/cpplint.py",
    "erlang.mk", "m4/ltoptions.m4",
]  # fmt: skip
OWN = [
    "src/vendoring.py", "vendor.py", "app/vendor_list.ts", "src/node_modules.py", "third_party.md", "src/extern.rs", "src/vue.config.ts",
    "src/prototype.py", "src/react/hooks.ts", "lib/my-jquery-plugin.js", "src/normalize.go", "missing.py", "src/respond.py", "dist/a.py",
    "build/rules.bzl", "src/lib/a.c", "src/deps/resolve.py", "deps.py", "m4/lint.m4",
    "external_api.go", "docs/vendor", "src/external_link.rb",
]  # fmt: skip


@pytest.mark.parametrize("path", VENDORED)
def test_other_peoples_code_is_vendored(path):
    assert Vendored()(file(path=path)) == "vendored"


@pytest.mark.parametrize("path", OWN)
def test_own_code_is_not_vendored(path):
    assert Vendored()(file(path=path)) is None


def test_a_recipe_can_name_further_vendored_folders():
    check = Vendored(paths=("lib/imported",))
    assert check(file(path="lib/imported/a.c")) == "vendored"
    assert check(file(path="lib/imported_by_us/a.c")) is None


GENERATED = [
    ("package-lock.json", "{}", "generated"), ("sub/yarn.lock", "", "generated"), ("Cargo.lock", "", "generated"),
    ("go.sum", "", "generated"),
    ("api/user_pb2.py", "", "generated"), ("api/user_pb2_grpc.pyi", "", "generated"), ("api/user.pb.go", "", "generated"),
    ("api/user_grpc.pb.go", "", "generated"), ("Form.Designer.cs", "", "generated"), ("a.g.dart", "", "generated"),
    ("a.snap", "", "generated"),
    ("src/zz_generated.deepcopy.go", "", "generated"), ("static/app.min.js", "", "minified"), ("static/app.min.css", "", "minified"),
    ("static/main.chunk.js", "", "minified"), ("static/app.js.map", "{}", "generated"), ("schema_generated.h", "", "generated"),
    ("a.go", "// Code generated by mockgen. DO NOT EDIT.\npackage a\n", "generated"),
    ("a.py", "# This file is generated from schema.xml\n", "generated"), ("a.ts", "/* eslint-disable */\n/** @generated */\n", "generated"),
    ("a.cs", "// <auto-generated>\n", "generated"), ("a.c", "/* A Bison parser, automatically generated */\n", "generated"),
    ("Makefile.inc", "# Makefile.in generated by automake 1.16 from Makefile.am.\n", "generated"),
    ("configure", "#! /bin/sh\n# Guess values.\n# Generated by GNU Autoconf 2.71 for tool 1.0.\n", "generated"),
    ("a.c", "/* A Bison parser, made by GNU Bison 3.8.  */\n", "generated"), ("a.c", "/* Generated by Cython 3.0 */\n", "generated"),
    ("a.js", "// Generated by CoffeeScript 1.9\n", "generated"), ("a.js", "/* parser generated by jison 0.4.18 */\n", "generated"),
    ("A.java", "// Generated from Rules.g4 by ANTLR 4.9\n", "generated"),
    ("a.ts", "// This class is auto generated by the tool.\n", "generated"),
    ("a.py", "# This file was generated by a script\n", "generated"), ("a.h", "/* This is a generated file. */\n", "generated"),
    ("a.h", "// AUTOGENERATED FILE\n", "generated"), ("a.java", "// Generated by the protocol buffer compiler.\n", "generated"),
]  # fmt: skip
WRITTEN = [
    ("a.py", '"""Writes files that say Code generated."""\n'), ("generate.py", "def generated():\n    pass\n"),
    ("a.py", "x = 1\n" * 5 + "# Code generated by hand. DO NOT EDIT\n"), ("package.json", "{}"), ("lock.py", ""),
    ("locks/yarn.lock.md", ""),
    ("hooks.go.tmpl", "// Code generated by `go generate`. DO NOT EDIT.\npackage {{.Package}}\n"), ("admin.js", "let x = 1\n"),
    ("src/pb.go", "package a\n"), ("migrations/0001.py", "# Generated by Django 5.1 on 2026-01-02\n"),
    ("a.py", "# The tables are made by bisonette\n"), ("a.py", "# This file was written by hand\n"),
    ("a.py", "# do not edit the table below without asking\n"), ("minify.js", "let x = 1\n"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "text", "reason"), GENERATED)
def test_what_a_tool_writes_is_generated(path, text, reason):
    assert Generated()(file(text, path)) == reason


@pytest.mark.parametrize(("path", "text"), WRITTEN)
def test_what_people_write_is_not_generated(path, text):
    assert Generated()(file(text, path)) is None


@pytest.mark.parametrize(
    "mark", ["auto-generated", "autogenerated", "automatically generated", "generated automatically", "this file is generated"]
)
def test_each_of_starcoder_2s_marks_counts_in_the_first_five_lines(mark):
    assert Generated()(file("\n" * 4 + f"// {mark.upper()}\n")) == "generated"
    assert Generated()(file("\n" * 5 + f"// {mark}\n")) is None


def test_a_reader_sees_no_scripts_styles_comments_and_tags():
    page = "<html><head><title>No</title></head><style>p{}</style><!-- no --><p class='no'>Fish &amp; <b>chips</b></p><script>no()"
    assert visible_text(page) == "Fish & chips"
    assert visible_text("<header>Seen</header> a < b") == "Seen a < b"
    assert LittleVisible()(file("x", "a.py")) is None


def test_prose_may_speak_of_generated_files():
    text = "Commit with an auto-generated message.\n"
    assert Generated()(file(text, "a.md", "Markdown")) is None
    assert Generated()(file("<!-- This file is generated. -->\n", "a.md", "Markdown")) == "generated"


@pytest.mark.parametrize(
    ("language", "reason"),
    [("CSV", "data_format"), ("SVG", "data_format"), ("Python", None), ("YAML", None), ("HTML", None), ("Pip Requirements", None)],
)
def test_data_stays_where_people_write_it(language, reason):
    assert DataFormat()(file(language=language)) == reason


def test_plain_text_stays_when_its_name_says_that_it_explains():
    assert PlainText()(file(path="words.txt", language="Text")) == "plain_text"
    for name in ("README.txt", "notes.txt", "TODO", "description.txt", "CMakeLists.txt", "dev-requirements.txt", "Requirements_ci.txt"):
        assert PlainText()(file(path=f"docs/{name}", language="Text")) is None
    for name in ("footnotes.txt", "exchanges.txt", "require.txt", "readme-words.txt"):
        assert PlainText()(file(path=f"docs/{name}", language="Text")) == "plain_text"
    assert PlainText()(file(path="words.py")) is None


def test_both_versions_of_a_change_are_looked_at():
    long = "x" * 1001
    for item in (change(long, "x"), change("x", long)):
        assert LongLines()(item) == "minified"
        assert TooLarge(max_bytes=1000)(item) == "too_large"
        assert EncodedData(max_length=1000)(item) == "encoded_data"
    assert Generated()(change("# @generated\n", "x = 1\n")) == "generated"


def test_keep_counts_the_first_reason_alone():
    tally = Tally(read=3)
    items = [file(), file("x" * 2000, "vendor/a.min.js"), file("x" * 2000)]
    assert list(counted(keep(items, default_filters(), tally), tally)) == items[:1]
    assert tally.dropped == {"vendored": 1, "minified": 1}
    assert tally.lost == 0


def test_ordinary_code_passes_every_default_filter():
    text = Path(filters.__file__).read_text(encoding="utf-8")
    assert [check(file(text)) for check in default_filters()] == [None] * len(default_filters())


def test_every_filter_can_be_named_in_a_recipe_and_is_on_by_default():
    assert {kind for kind, _ in FILTERS} == {check.kind for check in default_filters()}


@pytest.mark.parametrize("width", [64, 76, 10_000])
def test_base64_is_found_however_it_is_wrapped(width):
    encoded = base64.b64encode(noise(3000)).decode()
    lines = "\n".join(encoded[place : place + width] for place in range(0, len(encoded), width))
    assert EncodedData()(file('logo = """\n' + lines + '\n"""\n')) == "encoded_data"


# StarCoder 2's expressions (arXiv 2402.19173, section 2.1); bytes in hex may have blanks about the comma, which its own find nothing in.
HEX = re.compile(r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:\s*,\s*|\b\s*)){8,}")
ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4}){8,}")
BASE64 = re.compile(r"(?<![a-zA-Z0-9+/\n=])[a-zA-Z0-9+/\n=]{64,}")


@given(st.lists(st.sampled_from(["QUJD" * 5, "é", " ", "=", "\n", r"\u00e4" * 3, "00 " * 5, "0xff, " * 4, r"\x0a" * 4]), max_size=40))
def test_runs_of_encoded_data_are_those_of_the_plain_patterns(pieces):
    text = "".join(pieces)
    plain = ([len(found[0]) for found in form.finditer(text)] for form in (BASE64, HEX, ESCAPES))
    assert [lengths for lengths in encodings.encoded_runs(text) if lengths] == [lengths for lengths in plain if lengths]


@given(st.lists(st.sampled_from(["\n", "x", "xxxx", "é\n"]), max_size=30), st.integers(0, 12))
def test_a_line_is_over_a_length_exactly_when_the_longest_is(pieces, length):
    text = "".join(pieces)
    assert filters.has_line_over(text, length) == (max(map(len, text.split("\n"))) > length)


@given(
    st.lists(
        st.sampled_from(["Code ", "generated", " by hand", "do not ", "edit", "\n", "auto-", "İ", "# @", "GENERATED by ", "is "]),
        max_size=8,
    )
)
def test_the_quick_look_for_a_mark_passes_over_none(pieces):
    text = "".join(pieces)
    assert Generated(lines=99)(file(text)) == ("generated" if filters.GENERATED_TEXT.search(text) else None)


@given(st.text(alphabet="a1é,字٣─🙂", max_size=60), st.sampled_from(["Python", "WebAssembly"]))
def test_letters_are_counted_over_the_whole_text(text, language):
    letters = sum(map(str.isalnum if language == "WebAssembly" else str.isalpha, text))
    assert LowAlphabetic()(file(text, language=language)) == ("low_alphabetic" if letters < 0.25 * len(text) else None)


UNITS = st.sampled_from(["ff", "0xff", r"\x0a", "00"] * 8 + ["0x", "x", "\\", "g", "_", "é", "a", "012"])


@given(st.lists(st.tuples(UNITS, st.sampled_from([" ", ", ", ",", "\n", " ,  ", ""])), min_size=8, max_size=40))
def test_the_fast_pattern_for_hex_finds_what_the_plain_one_finds(pieces):
    text = "".join(unit + gap for unit, gap in pieces)
    assert [found.span() for found in encodings.HEX.finditer(text)] == [found.span() for found in HEX.finditer(text)]
