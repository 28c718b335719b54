"""Tokenizers, a base model's folder and recipes for the data stages, without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from office import make_office
from village import make_village, write_dialogues
from watching import content

from finetune.data.build import build
from finetune.data.render import Encoder
from finetune.families import FAMILIES, Family
from finetune.recipe import Recipe, parse_recipe
from finetune.run import open_run

MakeRecipe = Callable[..., Recipe]
MakeTokenizer = Callable[[Sequence[str]], Path]
MINERS: list[Any] = ["fim", {"kind": "repository", "fim_rate": 0.5}, "docstrings", "unit_tests", "commits", "fixes"]
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


@pytest.fixture(scope="session")
def village(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The repositories of village.py. Do not write into them."""
    return make_village(tmp_path_factory.mktemp("village") / "all")


@pytest.fixture(scope="session")
def cut_recipe(village: list[Path], byte_base: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeRecipe:
    """Makes a recipe for the village by the size of a shard in megabytes, each in a folder of its own."""
    dialogues = write_dialogues(tmp_path_factory.mktemp("dialogues") / "said.jsonl")

    def make(shard_mb: float, **data: Any) -> Recipe:
        miners = [*MINERS, {"kind": "jsonl", "path": str(dialogues), "share": 0.05}]
        values = {"repositories": [str(each) for each in village], "row_length": 1024, "valid_share": 0.3, "miners": miners}
        head = {"name": "made", "runs": str(tmp_path_factory.mktemp("runs")), "model": {"path": str(byte_base)}}
        return parse_recipe(json.dumps(head | {"data": values | {"shard_mb": shard_mb} | data}))

    return make


@pytest.fixture(scope="session")
def whole(cut_recipe: MakeRecipe) -> Recipe:
    """A recipe for the village that was built in one piece."""
    recipe = cut_recipe(256.0)
    build(recipe)
    return recipe


@pytest.fixture
def expected(whole: Recipe) -> dict[str, bytes | None]:
    """Its dataset, byte by byte."""
    return content(open_run(whole).data)
