"""The fast tokenizer: the reference's ids and places, or the reference itself, with a warning."""

from __future__ import annotations

import json
import warnings
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.base import DEMO
from finetune.data.render import Encoder
from finetune.data.tokens import TextTokenizer
from finetune.families import FAMILIES

ALPHABET = "ab=  \n\n\r\t0149é日😀👩\u200d💻\u0301\u00a0'sI'LL<|endoftext|>_{}();"
LONG = "def f(x):\r\n\treturn x + 12345  # naïve 日本語 😀 <|endoftext|>\r\n" * 40


def description(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads((DEMO / "tokenizer.json").read_text())
    for token in whole["added_tokens"]:
        token["special"] = True
    return whole | changes


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return TextTokenizer(description())


def reference(texts: list[str], tokenizer: TextTokenizer) -> list[array[int]]:
    return [array("i", tokenizer.reference.encode(text, add_special_tokens=False).ids) for text in texts]


@given(texts=st.lists(st.text(st.sampled_from(ALPHABET), max_size=200), max_size=6))
def test_ids_are_the_references(tokenizer: TextTokenizer, texts: list[str]) -> None:
    assert tokenizer.engine == "fastokens"
    assert tokenizer.many(texts) == reference(texts, tokenizer)


@given(text=st.text(st.sampled_from(ALPHABET), max_size=60), times=st.integers(1, 40))
def test_tokens_begin_where_the_reference_says(tokenizer: TextTokenizer, text: str, times: int) -> None:
    long = text * times + LONG
    expected = [start for start, _ in tokenizer.reference.encode(long, add_special_tokens=False).offsets]
    assert list(tokenizer.starts(long)) == expected


def test_short_and_long_texts_are_read_alike(tokenizer: TextTokenizer) -> None:
    assert tokenizer.one(LONG) == tokenizer.reference.encode(LONG, add_special_tokens=False).ids
    assert tokenizer.one("a = 1") == tokenizer.many(["a = 1"])[0].tolist()


def test_a_tokenizer_that_gives_other_ids_from_the_start_is_left_aside() -> None:
    """The fast one reads a description whose merges are in another order: a difference as a defect of it would make."""
    found = TextTokenizer(description())
    model = found._plain["model"]
    found._plain["model"] = model | {"merges": model["merges"][::-1]}
    with pytest.warns(UserWarning, match=r"fastokens is left aside, it gives other ids: .*versions of constraints.txt"):
        assert found.engine == "tokenizers"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        assert found.many([LONG]) == reference([LONG], found)
        assert list(found.starts(LONG)) == [start for start, _ in found.reference.encode(LONG, add_special_tokens=False).offsets]


def test_a_difference_in_the_first_documents_is_found() -> None:
    """A word that none of the hard texts has: only the documents can show that it is read otherwise."""
    whole = description()
    word = {"id": 0, "content": "zqzq", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    found = TextTokenizer(whole)
    found._plain["added_tokens"] = [word]
    assert found.engine == "fastokens"
    texts = ["plain text", "with zqzq in it"]
    with pytest.warns(UserWarning, match="other ids for one of the first documents"):
        assert found.many(texts) == reference(texts, found)
    assert found.engine == "tokenizers"


def test_what_the_fast_tokenizer_can_not_read_is_left_to_the_reference() -> None:
    found = TextTokenizer(description())
    found._plain["pre_tokenizer"] = {"type": "Nonsense"}
    with pytest.warns(UserWarning, match="can not be used here"):
        assert found.many([LONG]) == reference([LONG], found)


def test_a_normaliser_leaves_places_to_the_reference() -> None:
    """Qwen's: one composed letter stands for two characters, so bytes of tokens do not add up to places in the text."""
    found = TextTokenizer(description(normalizer={"type": "NFC"}))
    text = "e\u0301 = 1\n" * 300
    assert found.many([text]) == reference([text], found)
    assert list(found.starts(text)) == [start for start, _ in found.reference.encode(text, add_special_tokens=False).offsets]


def test_added_words_that_are_text_stay_one_token(byte_tokenizer, tmp_path: Path) -> None:
    """Runs of blanks, as some tokenizers add them; both libraries and the places know them."""
    whole = json.loads((byte_tokenizer(FAMILIES[0].sentinels) / "tokenizer.json").read_text())
    size = max([*whole["model"]["vocab"].values(), *(token["id"] for token in whole["added_tokens"])]) + 1
    whole["added_tokens"].append(
        {"id": size, "content": " " * 8, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    )
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    encoder = Encoder(tmp_path / "tokenizer.json", FAMILIES[0])
    text = "é        x\n" * 200
    assert encoder.engine == "fastokens"
    assert encoder.texts([text])[0].tolist().count(size) == 200
    assert list(encoder.token_starts(text))[:4] == [0, 0, 1, 9]
