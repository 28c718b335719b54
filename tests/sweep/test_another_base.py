"""A sweep whose base was changed after its dataset was built: no run of it is begun, and all that is there stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from watching import content

from finetune.data import build
from finetune.errors import RecipeError
from finetune.recipe import Recipe
from finetune.sweep import sweep
from finetune.sweep.points import points

SEARCH = "{trials: 2, space: {adapter.r: [2, 4]}}"


def test_a_dataset_of_another_tokenizer_is_refused_before_the_first_run(
    make_recipe: Callable[..., Recipe], tiny_base: Path, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    recipe = make_recipe("{adapter.r: [2, 4]}", model__path=base)
    build.build(points(recipe)[0].recipe)
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))
    before = content(tmp_path / "runs")
    for changed in (recipe, make_recipe(model__path=base, sweep__search=SEARCH)):
        with pytest.raises(
            RecipeError, match=f"^{base}: the base model changed since the rows of .*; bring its files back, or write name=NEW"
        ):
            sweep(changed)
        assert content(tmp_path / "runs") == before
