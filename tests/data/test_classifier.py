from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from licenseclassifier._engine.dictionary import to_fold
from licenseclassifier._engine.scan import builtin_scanner, scan

from finetune.data import classifier
from finetune.data.classifier import licences_in, words_in

TEXTS = Path(__file__).parent / "texts"
PIECES = [
    *("(c)", "(s)", "(S)", "copyright", "Copyright ©", "&amp;", "&copy;", "&#12;", "](http://a.b/c)", "](c)", "<br>", "<a href='x:/y'>"),
    *("{#name}", "https", "HTTP", "copies", "Those", "e\u0301", *"aZ9 \n<&]():/@éÉßİΣ²½“_-'"),
]


def packages_words(text: str) -> list[tuple[int, str]]:
    """Number and spelling; of the copyright sign the package keeps the letter, or the entity, that it is written by."""
    found = builtin_scanner().dict.split(text)
    spelt = [(number, to_fold(text[low:high])) for number, low, high in found]
    sign = builtin_scanner().dict.lookup("copyright")
    return [(number, "©" if number == sign and word in ("c", "&copy;") else word) for number, word in spelt]


def our_words(text: str) -> list[tuple[int, str]]:
    words = words_in(text)
    assert len(words.spans()) == len(words.numbers)
    return [
        (number, "©" if word in ("c", "&copy;") and number >= 0 else word) for number, word in zip(words.numbers, words.spelt, strict=True)
    ]


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


def edited(text: str, places: list[int], words: list[str]) -> str:
    """A licence as authors change it: some of its words left out, misspelt, run together or other ones."""
    split = text.split(" ")
    for place, word in zip(places, words, strict=False):
        at = place % len(split)
        done = {"out": "", "short": split[at][:-1], "long": split[at] + "s", "joined": split[at] + split[(at + 1) % len(split)]}
        split[at] = done.get(word, word)
    return " ".join(split)


EDITS = st.sampled_from(["out", "short", "long", "joined", "Lorem", "https://www.apache.org/licenses/LICENSE-2.0", "(c) 2020 Jane", "the"])


@settings(max_examples=20)
@given(st.sampled_from(["mit.txt", "apache.txt"]), st.lists(st.integers(0, 10_000), max_size=8), st.lists(EDITS, max_size=8), st.data())
def test_the_licences_of_a_changed_text_are_those_the_package_finds(name, places, words, data):
    text = edited((TEXTS / name).read_text(), places, words)
    text = text[data.draw(st.integers(0, 200)) :] + edited((TEXTS / "mit.txt").read_text(), places[::-1], words)
    found = scan(text)
    coverage = data.draw(st.sampled_from([0.0, found.percent, found.percent + 0.01]))
    assert licences_in(text, coverage=coverage) == (sorted({each.id for each in found.match}) if found.percent >= coverage else [])
