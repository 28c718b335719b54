"""Every recipe that we ship is sound as far as a machine without its base model can tell."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from finetune.base import DEMO
from finetune.recipe import Recipe, load_recipe

ROOT = Path(__file__).parent.parent
RECIPES = [*sorted((ROOT / "recipes").glob("*.yaml")), DEMO / "demo.yaml"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_loads(path: Path) -> None:
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_writes_no_default_again(path: Path) -> None:
    """Defaults live once, in the class; a recipe holds what differs, and OctoPack's and LoRA's own numbers."""
    stated = yaml.safe_load(path.read_text())
    default = Recipe().model_dump(mode="json")
    for section in ("model", "data", "train", "evaluate"):
        for key, value in stated.get(section, {}).items():
            assert load_recipe(path).model_dump(mode="json")[section][key] != default[section][key] or value == []


@pytest.mark.parametrize("path", sorted((ROOT / "recipes" / "accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_launch_config_is_one_that_accelerate_reads(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(path)).num_processes >= 1
