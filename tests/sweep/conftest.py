"""Recipes of seconds, on a repository made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from finetune.recipe import Recipe, parse_recipe

if TYPE_CHECKING:
    from conftest import MakeRepository

FUNCTION = "def {0}_{1}(x):\n y = x + {1}\n return y\n\n"
FILES = {f"src/{name}.py": "".join(FUNCTION.format(name, i) for i in range(5)) for name in "abcdefgh"}
MakeRecipe = Callable[..., Recipe]


@pytest.fixture(autouse=True, scope="session")
def tiny_matrices(one_thread: None) -> None:
    pass


@pytest.fixture
def repository(make_repository: MakeRepository) -> Path:
    return make_repository([("Add everything", FILES)])


@pytest.fixture
def make_recipe(tiny_base: Path, tmp_path: Path, repository: Path) -> MakeRecipe:
    """A recipe of seconds with the given grid, and more settings."""

    def make(grid: str = "{}", **more: object) -> Recipe:
        settings = {
            "runs": tmp_path / "runs",
            "model.path": tiny_base,
            "model.dtype": "float32",
            "data.repositories": f"[{repository}]",
            "data.row_length": 512,
            "data.valid_share": 0.4,
            "data.miners": "[fim]",
            "train.max_steps": 1,
            "train.accumulation": 1,
            "train.gradient_checkpointing": "false",
            "evaluate.items": 3,
            "evaluate.holes": "[line]",
            "evaluate.max_new_tokens": 24,
            "evaluate.resamples": 100,
            "evaluate.metrics": "[bits_per_byte, exact_match]",
            "train.fit": "ignore",
            "sweep.grid": grid,
            **{key.replace("__", "."): value for key, value in more.items()},
        }
        return parse_recipe("", [f"{key}={value}" for key, value in settings.items()], name="ranks")

    return make
