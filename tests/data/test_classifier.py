from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licenseclassifier._engine.scan import builtin_scanner

from finetune.data import classifier
from finetune.data.classifier import licences_in

TEXTS = Path(__file__).parent / "texts"
PIECES = [
    *("(c)", "(s)", "(S)", "copyright", "Copyright ©", "&amp;", "&copy;", "&#12;", "](http://a.b/c)", "](c)", "<br>", "<a href='x:/y'>"),
    *("{#name}", "https", "HTTP", "copies", "Those", "e\u0301", *"aZ9 \n<&]():/@éÉßİΣ²½“_-'"),
]


def packages_words(text: str) -> list[tuple[int, int, int]]:
    return builtin_scanner().dict.split(text)


def our_words(text: str) -> list[tuple[int, int, int]]:
    return classifier._scanner().dict.split(text)


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_the_words_of_a_text_are_those_the_package_finds(text):
    assert our_words(text) == packages_words(text)


@pytest.mark.parametrize("name", ["mit.txt", "apache.txt"])
def test_the_words_of_a_licence_are_found_the_quick_way_and_are_the_same(name):
    text = "<p>Copyright © 2020 “Jané”</p>\n" + (TEXTS / name).read_text()
    assert classifier._plain(text) is not None
    assert our_words(text) == packages_words(text)
    assert len(our_words(text)) > 100


def test_a_text_counts_as_known_from_its_share_of_the_words_on():
    mit = (TEXTS / "mit.txt").read_text()
    words = len(our_words(mit))
    around = " ".join(["Lorem"] * words)  # half the words are the licence's
    assert licences_in(f"{mit}\n{around}", coverage=45) == ["MIT"]
    assert licences_in(f"{mit}\n{around}", coverage=55) == []
