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


def swap_two_tokens(base: Path) -> None:
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))


def test_a_dataset_of_another_tokenizer_is_refused_before_the_first_run(
    make_recipe: Callable[..., Recipe], tiny_base: Path, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    recipe = make_recipe("{adapter.r: [2, 4]}", model__path=base)
    build.build(points(recipe)[0].recipe)
    swap_two_tokens(base)
    before = content(tmp_path / "runs")
    otherwise = make_recipe(model__path=base, model__dtype="bfloat16", sweep__search=SEARCH)  # one of whose choices those runs may be
    for changed in (recipe, make_recipe(model__path=base, sweep__search=SEARCH), otherwise):
        with pytest.raises(
            RecipeError, match=f"^{base}: the base model changed since the rows of .*; bring its files back, or write name=NEW"
        ):
            sweep(changed)
        assert content(tmp_path / "runs") == before


def test_a_base_of_another_path_was_not_changed(make_recipe: Callable[..., Recipe], tiny_base: Path, tmp_path: Path) -> None:
    """Its points build their rows anew."""
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    build.build(points(make_recipe("{adapter.r: [2]}"))[0].recipe)
    swap_two_tokens(base)
    assert sweep(make_recipe("{adapter.r: [2]}", model__path=base)).rows[0].error is None


def test_runs_of_a_base_that_is_gone_do_not_block_a_search(make_recipe: Callable[..., Recipe], tiny_base: Path, tmp_path: Path) -> None:
    """What lies below it is another base's, or no recipe."""
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    build.build(points(make_recipe("{adapter.r: [2]}", model__path=base))[0].recipe)
    moved = base.rename(tmp_path / "moved")
    for name, written in {"torn": b"name: [", "binary": b"\xff\xfe", "older": b"no_such_key: 1"}.items():
        place = tmp_path / "runs" / "ranks" / name
        place.mkdir()
        (place / "recipe.yaml").write_bytes(written)
    search = SEARCH.replace("trials: 2", "trials: 1")
    assert [row.error for row in sweep(make_recipe(model__path=moved, sweep__search=search)).rows] == [None]
