"""Recipes: what is read, what is refused, and with which words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.errors import RecipeError
from finetune.methods import Lora
from finetune.recipe import Recipe, dump_recipe, load_recipe, parse_recipe

FIVE_MISTAKES = """\
model: {pth: x}
trian: 3
adapter: {kind: lora, r: many}
data:
  filters: [long_lins, {kind: long_lines, max_lenght: 3}]
"""


def test_a_number_without_a_point_is_a_number() -> None:
    """T18: PyYAML reads 2e-4 as a string."""
    assert parse_recipe("train: {learning_rate: 2e-4}").train.learning_rate == 2e-4
    assert parse_recipe("", ["train.learning_rate=1E-3"]).train.learning_rate == 1e-3


def test_all_mistakes_are_named_at_once_with_their_lines() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(FIVE_MISTAKES, source="mine.yaml")
    assert str(caught.value).splitlines() == [
        "mine.yaml:1: model.pth: no such key; did you mean path?",
        "mine.yaml:2: trian: no such key; did you mean train?",
        "mine.yaml:3: adapter.r: found 'many'; write a valid integer, unable to parse string as an integer",
        "mine.yaml:5: data.filters.0: no filter is called 'long_lins'; did you mean long_lines?",
        "mine.yaml:5: data.filters.1.max_lenght: no such key; did you mean max_length?",
    ]


def test_a_mistake_in_an_override_names_the_override() -> None:
    with pytest.raises(
        RecipeError, match=r"override 'train.lerning_rate=1': train.lerning_rate: no such key; did you mean learning_rate\?"
    ):
        parse_recipe("", ["train.lerning_rate=1"])


def test_an_override_wins_over_the_file() -> None:
    recipe = parse_recipe("adapter: {kind: lora, r: 4, alpha: 7}", ["adapter.r=32"])
    assert recipe.adapter == Lora(r=32, alpha=7)


def test_an_override_reaches_into_a_choice_given_by_name() -> None:
    assert parse_recipe("adapter: lora", ["adapter.r=3"]).adapter == Lora(r=3)


def test_an_override_replaces_one_entry_of_a_list() -> None:
    recipe = parse_recipe("data: {miners: [fim, commits]}", ["data.miners.0={kind: fim, rate: 0}"])
    assert [miner.kind for miner in recipe.data.miners] == ["fim", "commits"]
    assert recipe.data.miners[0].model_dump()["rate"] == 0


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.epochs", "no key=value"),
        ("=3", "no key=value"),
        ("data.miners.7=fim", "nothing stands at data.miners"),
        ("train.epochs=[1", "is no YAML value"),
    ],
)
def test_an_override_that_is_none_is_refused(override: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        parse_recipe("", [override])


def test_a_key_that_stands_twice_is_refused() -> None:
    with pytest.raises(RecipeError, match="r.yaml:3: train.epochs stands twice, first on line 2"):
        parse_recipe("train:\n  epochs: 1\n  epochs: 2\n", source="r.yaml")


@pytest.mark.parametrize("text", ["- a\n", "just words", "a: [1", "a: b: c"])
def test_what_is_no_mapping_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(RecipeError, match="r.yaml:1: "):
        parse_recipe(text, source="r.yaml")


def test_a_missing_or_binary_file_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="can not be read as text"):
        load_recipe(tmp_path / "binary.yaml")


def test_a_recipe_takes_its_file_name_when_it_gives_none(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 1")
    assert load_recipe(tmp_path / "mine.yaml").name == "mine"


def test_a_line_end_that_only_yaml_knows_survives() -> None:
    recipe = Recipe.model_validate({"name": "x", "data": {"repositories": ["a\x85b\u2028c"]}})
    assert parse_recipe(dump_recipe(recipe)) == recipe


@given(
    seed=st.integers(0, 2**31),
    rate=st.floats(1e-8, 1, exclude_min=True),
    r=st.integers(1, 512),
    repositories=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0"), max_size=20).map("a{}b".format),
        max_size=3,
    ),
)
def test_a_written_recipe_loads_as_an_equal_one(seed: int, rate: float, r: int, repositories: list[str]) -> None:
    values = {"seed": seed, "train": {"learning_rate": rate}, "adapter": {"kind": "lora", "r": r}, "data": {"repositories": repositories}}
    recipe = Recipe.model_validate({"name": "x", **values})
    assert parse_recipe(dump_recipe(recipe)) == recipe
