"""Texts of permissive licences in which a word that grants was struck out or put otherwise: they are those licences no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from finetune.data.licences import UNKNOWN, licence_of_file

TEXTS = Path(__file__).parent / "texts"
# What the licence says of itself, how it is applied, and where it can be read: not what it grants or asks.
BODIES = {
    "Apache-2.0": ("apache.txt", "1. Definitions.", "END OF TERMS"),
    "Unlicense": ("unlicense.txt", "free and unencumbered", "For more information"),
    "BSL-1.0": ("bsl.txt", "Permission is hereby", "\0"),
}
OF_NO_WEIGHT = {"electronic", "s", "a", "b", "c", "d"}  # "any form of electronic, verbal, or written communication"; (s); items of a list
CHANGED = [
    ("Unlicense", "commercial or non-commercial", "non-commercial"),
    ("Unlicense", "commercial or non-commercial", "barring commercial"),
    ("Unlicense", "compile, sell, or distribute", "or compile"),
    ("Unlicense", "Anyone is free", "Every hobbyist is free"),
    ("BSL-1.0", "use, reproduce, display, distribute, execute, and transmit the", "use the"),
    (
        "BSL-1.0",
        "and to prepare derivative works of the Software, and to permit third-parties to whom the Software is furnished to do so,",
        "",
    ),
    ("BSL-1.0", "free of charge,", ""),
    ("BSL-1.0", "any person or organization", "any hospital"),
    ("BSL-1.0", "any person or organization", "any person or organization barring militaries"),
    ("BSL-1.0", "hereby granted", "hereby temporarily granted"),
]


def text_of(licence: str) -> str:
    return " ".join((TEXTS / BODIES[licence][0]).read_text().split())


@pytest.mark.parametrize("licence", BODIES)
def test_a_permissive_licence_with_one_word_struck_out_or_another_in_its_place_is_unknown(licence: str) -> None:
    text = text_of(licence)
    assert licence_of_file(text) == licence
    _, begins, ends = BODIES[licence]
    body = text.index(begins), text.index(ends) if ends in text else len(text)
    spans = [word.span() for word in re.finditer(r"[A-Za-z]+", text) if body[0] <= word.start() < body[1]]
    assert len(spans) > 150
    for place, (start, end) in enumerate(spans if len(spans) < 300 else spans[::5]):
        changed = text[:start] + ("" if place % 2 else "hobbyists") + text[end:]
        assert licence_of_file(changed) == UNKNOWN or text[start:end] in OF_NO_WEIGHT, text[start - 40 : end]


@pytest.mark.parametrize("licence, said, put", CHANGED)
def test_a_permissive_licence_that_grants_less_or_to_fewer_is_unknown(licence: str, said: str, put: str) -> None:
    text = text_of(licence)
    assert said in text
    assert licence_of_file(text.replace(said, put)) == UNKNOWN
