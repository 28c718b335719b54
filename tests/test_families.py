"""The table of model families and how a model finds its row."""

from __future__ import annotations

import pytest

from finetune.errors import ModelError, RecipeError
from finetune.families import FAMILIES, NAMES, find_family
from finetune.recipe import parse_recipe


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.name)
def test_every_family_is_found_by_its_own_vocabulary(row) -> None:
    assert find_family("auto", row.model_types[0], (*row.sentinels, *row.marks), eos="</s>") is row


def test_starcoder_and_santacoder_share_an_architecture_and_differ_by_a_hyphen() -> None:
    santacoder = ["<|endoftext|>", "<fim-prefix>", "<fim-middle>", "<fim-suffix>", "<fim-pad>"]
    assert find_family("auto", "gpt_bigcode", santacoder, eos=None).name == "santacoder"


def test_granite_and_mellum_share_sentinels_and_differ_by_the_words_of_a_dialogue() -> None:
    starcoders = ["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<filename>", "<reponame>"]
    assert find_family("auto", "llama", starcoders, eos=None).name == "granite-code"
    assert find_family("auto", "llama", [*starcoders, "<assistant>", "<think>"], eos=None).name == "mellum"
    assert find_family("granite-code", "gpt_bigcode", starcoders, eos=None).name == "granite-code"
    assert find_family("mellum", "llama", starcoders, eos=None).name == "mellum"


def test_a_model_without_fim_tokens_is_none_and_ends_in_its_own_eos() -> None:
    row = find_family("auto", "starcoder2", ["a", "</s>"], eos="</s>")
    assert (row.name, row.fim, row.end, row.stop) == ("none", None, "</s>", ("</s>",))


def test_a_family_asked_for_by_name_must_fit_the_tokenizer() -> None:
    with pytest.raises(ModelError, match="the tokenizer has no <fim_prefix>, <fim_middle>"):
        find_family("starcoder2", "starcoder2", ["<|endoftext|>", "<file_sep>", "<repo_name>", "<fim_suffix>", "<fim_pad>"], eos=None)


def test_a_tokenizer_without_eos_is_refused() -> None:
    with pytest.raises(ModelError, match="names no eos token"):
        find_family("auto", "llama", ["a"], eos=None)


@pytest.mark.parametrize("name", ["auto", *NAMES])
def test_a_recipe_can_name_every_row(name: str) -> None:
    assert parse_recipe(f"model: {{family: {name}}}").model.family == name


def test_a_row_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(RecipeError, match="model.family: found 'granite'") as refused:
        parse_recipe("model: {family: granite}")
    assert all(f"'{name}'" in str(refused.value) for name in NAMES)


def test_an_answer_always_stops_at_what_training_teaches() -> None:
    assert all(row.end in row.stop for row in FAMILIES)
