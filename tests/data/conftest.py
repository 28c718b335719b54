"""Tokenizers, a base model's folder and recipes for the data stages, without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from office import make_office

from finetune.data.render import Encoder
from finetune.families import FAMILIES, Family
from finetune.recipe import Recipe, parse_recipe

MakeRecipe = Callable[..., Recipe]
MakeTokenizer = Callable[[Sequence[str]], Path]
EncoderOf = Callable[[Family], Encoder]


@pytest.fixture(scope="session")
def encoder_of(byte_tokenizer: MakeTokenizer) -> EncoderOf:
    """An encoder of one token a byte for a family."""
    return lambda family: Encoder(byte_tokenizer(family.sentinels) / "tokenizer.json", family)


@pytest.fixture(scope="session")
def encoder(encoder_of: EncoderOf) -> Encoder:
    """StarCoder 2's sentinels, one token a byte."""
    return encoder_of(FAMILIES[0])


@pytest.fixture(scope="session")
def byte_base(byte_tokenizer: MakeTokenizer) -> Path:
    """A base model's folder as far as building data reads it: no weight is ever looked at."""
    folder = byte_tokenizer(FAMILIES[0].sentinels)
    (folder / "config.json").write_text(json.dumps({"model_type": "starcoder2", "vocab_size": 320, "max_position_embeddings": 8192}))
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return folder


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of office.py. Do not write into it."""
    return make_office(tmp_path_factory.mktemp("office") / "office")


@pytest.fixture
def recipe_of(byte_base: Path, tmp_path: Path) -> MakeRecipe:
    """Makes a recipe on the byte tokenizer for repositories, with overrides."""

    def make(*repositories: Path, **data: Any) -> Recipe:
        values = {"repositories": [str(each) for each in repositories], "row_length": 256, "valid_share": 0.3} | data
        head = {"name": values.pop("name", "made"), "runs": str(tmp_path / values.pop("runs", "runs")), "seed": values.pop("seed", 0)}
        return parse_recipe(json.dumps(head | {"model": {"path": str(byte_base)}, "data": values}))

    return make
