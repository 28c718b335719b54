"""Parts of programs: the right places in nine languages, and never a fault of what does not parse."""

from __future__ import annotations

import importlib
import random
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from finetune.data.languages import table
from finetune.data.miners import Bench
from finetune.data.miners.fim import Fim
from finetune.data.miners.holes import Parts, Window
from finetune.data.render import Encoder
from finetune.data.syntax import GRAMMARS, KINDS, Kind, spans
from finetune.records import FimSample, Origin, SourceFile

SOURCES = {
    "Python": 'class A:\n    """é 😀"""\n\n    def f(self, x):\n        if x:\n            return g(x + 1, [2])\n        return {}\n',
    "JavaScript": "function f(x) {\r\n  if (x) {\r\n    return g(x + 1, 'é');\r\n  }\r\n}\r\n",
    "TypeScript": "class A { f(x: number): string { for (;;) { return g(x + 1, 'é') as string } } }\n",
    "TSX": "const f = (x: number) => { while (x) { return <b>{g(x + 1, 'é')}</b>; } };\nfunction h() { f(1); }\n",
    "Java": 'class A {\n  int f(int x) {\n    if (x > 0) { return g(x + 1, "é"); }\n    return 0;\n  }\n}\n',
    "Go": 'package a\n\nfunc f(x int) int {\n\tif x > 0 {\n\t\treturn g(x + 1, "é")\n\t}\n\treturn 0\n}\n',
    "Rust": 'fn f(x: i32) -> i32 {\n    if x > 0 { return g(x + 1, "é"); }\n    0\n}\n',
    "C": '#define X {\nint f(int x) {\n  if (x > 0) { return g(x + 1, "é"); }\n  return 0;\n}\n',
    "C++": 'class A {\npublic:\n  int f(int x) { while (x) { return g(x + 1, "é"); } return 0; }\n};\n',
}


def parts(language: str) -> dict[str, list[str]]:
    text = SOURCES[language]
    return {kind: [text[start:end] for start, end in found] for kind, found in spans(text, language).items()}


def test_every_language_of_a_grammar_is_one_of_linguists() -> None:
    assert set(GRAMMARS) == set(SOURCES)
    assert set(GRAMMARS) <= set(table().types)


@pytest.mark.parametrize("language", GRAMMARS)
def test_every_name_of_a_part_is_in_its_grammar(language: str) -> None:
    from tree_sitter import Language

    grammar = GRAMMARS[language]
    loaded = Language(getattr(importlib.import_module(grammar.package), grammar.entry)())
    names = {loaded.node_kind_for_id(index) for index in range(loaded.node_kind_count)}
    asked = " ".join((grammar.holders, grammar.blocks, grammar.arguments, grammar.expressions)).split()
    assert not set(asked) - names


@pytest.mark.parametrize("language", GRAMMARS)
def test_the_parts_of_a_program_are_found(language: str) -> None:
    found = parts(language)
    inner = next(part for part in found["arguments"] if "x" in part)
    assert inner.replace(" ", "").startswith("x+1,")
    assert "x + 1" in found["expression"]
    assert any(part.startswith("g(x + 1") for part in found["expression"])
    assert any("return" in part and "g(x + 1" in part and "if" not in part and "while" not in part for part in found["block"])
    assert any(part.startswith(("if", "for", "while")) and "g(x + 1" in part for part in found["body"])
    assert not set(found["block"]) & {part for part in found["body"] if part.startswith("if")}


def test_brackets_and_blanks_around_a_part_are_not_of_it() -> None:
    assert parts("Go")["body"] == ['if x > 0 {\n\t\treturn g(x + 1, "é")\n\t}\n\treturn 0']
    assert parts("Go")["block"] == ['return g(x + 1, "é")']
    assert parts("Go")["arguments"] == ['x + 1, "é"']
    assert "[2]" in parts("Python")["expression"]  # an expression keeps its own


@pytest.mark.parametrize("language", GRAMMARS)
@given(data=st.data())
@settings(max_examples=15)
def test_parts_lie_in_their_text_whatever_is_in_it(language: str, data: st.DataObject) -> None:
    """Cut and spliced programs, with characters of one to four bytes: offsets are characters, parts are bare, and no two are equal."""
    source = SOURCES[language]
    start, end = data.draw(st.integers(0, len(source))), data.draw(st.integers(0, len(source)))
    text = source[:start] + data.draw(st.text(st.sampled_from("é😀\u0301\r\n\t (){};:#x"), max_size=12)) + source[end:]
    for kind, found in spans(text, language).items():
        assert kind in KINDS
        assert found == sorted(set(found))
        for first, last in found:
            assert 0 <= first < last <= len(text)
            assert text[first:last] == text[first:last].strip()


def test_what_does_not_parse_is_used_as_far_as_it_does() -> None:
    text = "#define BEGIN {\nvoid broken( {\n}}\n" + SOURCES["C"].replace("#define X {\n", "")
    whole = {text[start:end] for start, end in spans(text, "C")["arguments"]}
    assert whole == {'x + 1, "é"'}


def test_a_language_without_a_grammar_has_no_parts() -> None:
    assert spans("puts 1 + 1", "Ruby") == {kind: [] for kind in KINDS}


def file(text: str, language: str, path: str) -> SourceFile:
    return SourceFile(Origin("project", "c0ffee", path), language, text)


def mined(fim: Fim, source: SourceFile, bench: Bench) -> list[FimSample]:
    samples = fim(source, bench)
    assert not isinstance(samples, str)
    return [sample for sample in samples if isinstance(sample, FimSample)]


def test_holes_of_the_syntax_are_parts_of_the_whole_files_tree(encoder: Encoder) -> None:
    """Windows cut functions in two; what a hole is, is still read off the whole file."""
    text = SOURCES["Go"] + "".join(SOURCES["Go"].removeprefix("package a\n\n").replace("f(", f"f{number}(") for number in range(60))
    fim = Fim(rate=1, line_share=0, block_share=0, syntax_share=1)
    samples = mined(fim, file(text, "Go", "a.go"), Bench(encoder, 256, 0))
    assert len(samples) > 10
    everything = {kind: {text[start:end] for start, end in found} for kind, found in spans(text, "Go").items()}
    kinds = Counter(next(kind for kind in KINDS if sample.middle in everything[kind]) for sample in samples)
    assert set(kinds) == {*KINDS}
    assert "".join(sample.text for sample in samples) == text


def test_only_the_kinds_that_are_asked_for_are_cut_out(encoder: Encoder) -> None:
    fim = Fim(rate=1, line_share=0, block_share=0, syntax_share=1, syntax=("arguments",))
    for seed in range(20):
        (sample,) = mined(fim, file(SOURCES["Java"], "Java", "A.java"), Bench(encoder, 512, seed))
        assert sample.middle == 'x + 1, "é"'


@pytest.mark.parametrize(("language", "path"), [("Ruby", "a.rb"), ("Python", "a.py")])
def test_lines_are_cut_out_where_there_is_no_part(encoder: Encoder, language: str, path: str) -> None:
    text = "# one\n# two\n\n# three\n"
    fim = Fim(rate=1, line_share=0, block_share=0, syntax_share=1)
    for seed in range(20):
        (sample,) = mined(fim, file(text, language, path), Bench(encoder, 512, seed))
        assert sample.middle.startswith("#") and sample.suffix.startswith("\n")


@given(text=st.text(st.sampled_from("ab(x){}\n\r é😀"), max_size=60), seed=st.integers(0, 99))
@example(text="", seed=0)
def test_a_hole_of_the_syntax_joins_to_its_window(text: str, seed: int) -> None:
    fim = Fim(rate=1, line_share=0, block_share=0, syntax_share=1)
    whole = SOURCES["Python"] + text
    begin = seed % len(whole)
    window = Window(Origin("r", "c", "a.py"), whole[begin:], begin, Parts(whole, "Python"))
    sample = fim.cut_out(window, "psm", random.Random(seed))
    assert sample.text == whole[begin:]


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_that_a_window_cuts_is_none_of_it(kind: Kind) -> None:
    whole = SOURCES["Python"]
    parts = Parts(whole, "Python")
    for begin, end in spans(whole, "Python")[kind]:
        if begin > 0:
            assert (1, 1 + end - begin) in parts.within(kind, begin - 1, end)
        assert all(stop <= end - 1 for _, stop in parts.within(kind, 0, end - 1))
        assert (0, end - begin) not in parts.within(kind, begin, end), "something of the window must stay"


def test_a_window_cut_in_two_keeps_its_language(encoder: Encoder) -> None:
    fim = Fim(rate=1, line_share=0, block_share=0, syntax_share=1, syntax=("arguments",))
    text = SOURCES["Python"]
    halves = fim.smaller(FimSample(Origin("r", "c", "a.py"), "", text, "", "psm"), Bench(encoder, 64, 0))
    assert "".join(half.text for half in halves if isinstance(half, FimSample)) == text
    assert any(isinstance(half, FimSample) and half.middle == "x + 1, [2]" for half in halves)
