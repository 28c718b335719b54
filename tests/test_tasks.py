"""Holes in held-out files: whole, of the right kind, spread over files, fitted to the context."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.base import read_base
from finetune.data.render import Encoder, encode_prompt
from finetune.errors import EvaluateError
from finetune.families import plain_family
from finetune.recipe import ModelSection
from finetune.records import FimPrompt, Origin, SourceFile, TextPrompt
from finetune.tasks import Hole, Kind, draw_holes, first_tokens, fit, holes_of, last_tokens, lines_of, prompt_of

KINDS: tuple[Kind, ...] = ("line", "span", "block")
PYTHON = """import os


class Store:
    def __init__(self, path):
        self.path = path
        self.rows = []
        self.open = False

    def add(self, row):
        self.rows.append(row)
"""
GO = "package main\r\n\r\nfunc add(a int, b int) int {\r\n\tsum := a + b\r\n\tif sum > 3 {\r\n\t\treturn 3\r\n\t}\r\n\treturn sum\r\n}\r\n"


def source(text: str, path: str = "a.py", repo: str = "shop") -> SourceFile:
    return SourceFile(Origin(repo, "c0ffee", path), "Python", text)


def draw(files: list[SourceFile], kind: Kind, count: int = 50, seed: int = 0) -> list[Hole]:
    return draw_holes(files, kind, count=count, seed=seed, accept=lambda _: True)


@pytest.fixture(scope="session")
def encoder(tiny_base: Path) -> Encoder:
    base = read_base(ModelSection(path=str(tiny_base)))
    return Encoder(base.tokenizer, base.family)


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(alphabet="ab1 \t\n\r{}é\U0001f600", max_size=120))
@settings(max_examples=60, deadline=None)
def test_the_parts_of_a_hole_join_to_the_file(kind: Kind, text: str) -> None:
    for hole in holes_of(source(text), kind, seed=1):
        assert hole.prefix + hole.truth + hole.suffix == text
        assert any(character.isalnum() for character in hole.truth)
        assert hole.suffix[:1] in ("", "\n", "\r") or kind == "span"


@pytest.mark.parametrize("text", [PYTHON, GO])
def test_a_line_hole_is_a_whole_line_or_the_rest_of_one(text: str) -> None:
    lines = text.replace("\r", "").split("\n")
    for hole in draw([source(text)], "line"):
        line = hole.prefix.split("\n")[-1] + hole.truth
        assert line in lines
        assert "\n" not in hole.truth and "\r" not in hole.truth


def test_line_holes_are_both_whole_lines_and_rests() -> None:
    starts = Counter(hole.prefix.split("\n")[-1].strip() == "" for hole in draw([source(PYTHON * 10)], "line"))
    assert starts[True] > 5 and starts[False] > 5


def test_a_span_is_short_and_may_cross_lines() -> None:
    spans = draw([source(PYTHON * 10)], "span", count=90)
    assert {hole.truth.count("\n") for hole in spans} == {0, 1, 2}


def test_a_block_hole_takes_the_whole_body_where_one_begins() -> None:
    truths = {hole.truth for hole in draw([source(PYTHON)], "block")}
    assert "        self.path = path\n        self.rows = []\n        self.open = False" in truths
    assert all(3 <= hole.truth.count("\n") + 1 <= 8 for hole in draw([source(PYTHON * 5)], "block"))


def test_a_body_begins_in_braces_as_well() -> None:
    assert "\tsum := a + b\r\n\tif sum > 3 {\r\n\t\treturn 3\r\n\t}\r\n\treturn sum" in {h.truth for h in draw([source(GO)], "block")}


def test_a_large_file_does_not_outweigh_the_rest() -> None:
    files = [source(PYTHON * 200, "large.py"), *(source(PYTHON, f"{i}.py") for i in range(4))]
    counts = Counter(hole.origin.path for hole in draw(files, "line", count=20))
    assert counts == {path: 4 for path in ("large.py", "0.py", "1.py", "2.py", "3.py")}


def test_no_hole_comes_twice_and_fewer_than_asked_are_given_when_there_are_fewer() -> None:
    holes = draw([source("a = 1\nb = 2\n")], "line", count=100)
    assert len(holes) == len(set(holes)) == 2


def test_a_draw_depends_on_the_seed_the_repository_and_the_path_alone() -> None:
    files = [source(PYTHON, "a.py"), source(GO, "b.go")]
    assert draw(files, "span") == draw(files[::-1], "span")
    assert draw(files, "span") != draw(files, "span", seed=1)
    alone = [hole for hole in draw(files, "span") if hole.origin.path == "a.py"]
    assert alone == draw(files[:1], "span")
    later = [source(PYTHON, "a.py"), replace(files[1], origin=replace(files[1].origin, commit="later"))]
    assert [hole.truth for hole in draw(files, "span")] == [hole.truth for hole in draw(later, "span")]


def test_what_is_not_accepted_is_drawn_again_from_the_same_file() -> None:
    holes = draw_holes([source(PYTHON)], "line", count=3, seed=0, accept=lambda hole: "self" in hole.truth)
    assert len(holes) == 3
    assert all("self" in hole.truth for hole in holes)


@pytest.mark.parametrize("text", ["", "\n\n \n", "}\n)\n"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_nothing_to_ask_for_gives_no_hole(kind: Kind, text: str) -> None:
    assert draw([source(text)], kind) == []


@given(text=st.text(alphabet="ab \n\ré\U0001f600", max_size=60), count=st.integers(0, 20))
@settings(max_examples=100, deadline=None)
def test_a_cut_text_is_an_end_or_a_beginning_of_at_most_so_many_tokens(encoder: Encoder, text: str, count: int) -> None:
    end, beginning = last_tokens(text, encoder, count=count), first_tokens(text, encoder, count=count)
    assert text.endswith(end) and text.startswith(beginning)
    for part in (end, beginning):
        assert len(encoder.text(part)) <= count
        # A tokenizer of bytes: no more is lost than the character that did not fit.
        assert len(encoder.text(part)) > min(count, len(text.encode())) - 4


@pytest.mark.parametrize("limit", [8, 40, 200, 10_000])
def test_a_fitted_prompt_keeps_what_is_near_the_hole(encoder: Encoder, limit: int) -> None:
    hole = next(holes_of(source("a" * 90 + "\nb = 1\n" + "c" * 90), "line", seed=0))
    whole = replace(hole, prefix="p" * 90, truth="b = 1", suffix="s" * 90)
    fitted = fit(whole, encoder, limit=limit)
    assert whole.prefix.endswith(fitted.prefix) and whole.suffix.startswith(fitted.suffix)
    ids = encode_prompt(prompt_of(fitted, encoder.family), encoder)
    assert len(ids) == min(limit, 183)
    assert len(fitted.prefix) >= len(fitted.suffix)


def test_room_that_one_side_leaves_goes_to_the_other(encoder: Encoder) -> None:
    hole = Hole(Origin("r", "c", "p"), "line", prefix="p", truth="x", suffix="s" * 200)
    assert len(fit(hole, encoder, limit=103).suffix) == 99
    assert len(fit(replace(hole, prefix="p" * 200, suffix="s"), encoder, limit=103).prefix) == 99


def test_a_family_without_fim_is_asked_from_the_left(tiny_base: Path) -> None:
    encoder = Encoder(tiny_base / "tokenizer.json", plain_family("<|endoftext|>"))
    hole = fit(Hole(Origin("r", "c", "p"), "line", prefix="p" * 50, truth="x", suffix="s"), encoder, limit=20)
    assert prompt_of(hole, encoder.family) == TextPrompt("p" * 20)


def test_a_prompt_asks_with_both_sides(encoder: Encoder) -> None:
    assert prompt_of(Hole(Origin("r", "c", "p"), "line", "a", "b", "c"), encoder.family) == FimPrompt("a", "c")


def test_no_room_for_a_prompt_is_said(encoder: Encoder) -> None:
    with pytest.raises(EvaluateError, match=r"evaluate\.max_new_tokens.*smaller"):
        fit(Hole(Origin("r", "c", "p"), "line", "a", "b", "c"), encoder, limit=3)


def test_lines_end_at_both_kinds_of_line_end() -> None:
    assert [(line.start, line.end, line.indent) for line in lines_of("ab\r\n  c\n\n")] == [(0, 2, 0), (4, 7, 2), (8, 8, 0), (9, 9, 0)]


SYNTAX: tuple[Kind, ...] = ("expression", "arguments", "body")


@pytest.mark.parametrize("kind", SYNTAX)
@given(text=st.text(alphabet="ab(x, y)[1]{} \n\r:=\U0001f600", max_size=80))
@settings(max_examples=30, deadline=None)
def test_holes_of_the_syntax_join_to_the_file_too(kind: Kind, text: str) -> None:
    for hole in holes_of(source(PYTHON + text), kind, seed=1):
        assert hole.prefix + hole.truth + hole.suffix == PYTHON + text
        assert hole.truth == hole.truth.strip()
        assert any(character.isalnum() for character in hole.truth)


def test_holes_of_the_syntax_are_its_parts() -> None:
    truths = {kind: {hole.truth for hole in draw([source(PYTHON)], kind)} for kind in SYNTAX}
    assert truths["arguments"] == {"row"}
    assert truths["expression"] == {"self.path", "self.rows", "self.open", "self.rows.append", "self.rows.append(row)"}
    assert "self.rows.append(row)" in truths["body"] and len(truths["body"]) == 3
    assert draw([source(PYTHON)], "expression") != draw([source(PYTHON)], "expression", seed=1)


def test_a_file_without_a_grammar_has_no_holes_of_the_syntax() -> None:
    ruby = replace(source("puts f(1 + 2)\n", path="a.rb"), language="Ruby")
    assert draw([ruby, source(PYTHON)], "body") == draw([source(PYTHON)], "body")
    assert draw([ruby], "expression") == []
