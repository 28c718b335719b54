"""Every recipe that we ship is sound as far as a machine without its base model can tell."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from finetune.base import DEMO
from finetune.methods import METHODS
from finetune.recipe import Recipe, load_recipe
from finetune.sweep.points import points

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


ASTRAIOS = ["full", "lora", "ia3", "p_tuning", "adapter_h", "adapter_p", "parallel"]


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("astraios-*.yaml")), ids=lambda path: path.stem)
def test_an_astraios_sweep_has_its_seven_methods_with_its_numbers(path: Path) -> None:
    """Every run of it is checked, on the embedded base where the real one is not on this machine."""
    here = ["model.path=demo", "data.row_length=512"]
    runs = [point.recipe for point in points(load_recipe(path, here))]
    assert [run.adapter.kind for run in runs] == ASTRAIOS
    row_length = 512 if path.stem.endswith("demo") else 2048
    assert load_recipe(path).data.row_length == row_length
    for run in runs:
        section = run.train
        assert (section.learning_rate, section.schedule, section.warmup_steps, section.weight_decay) == (1e-4, "cosine", 12, 0.05)
        assert (section.max_steps, section.batch_size * section.accumulation) == (200, 32)
        assert run.adapter == METHODS[run.adapter.kind](), "Astraios's sizes are the defaults"


@pytest.mark.parametrize("path", sorted((ROOT / "recipes" / "accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_launch_config_is_one_that_accelerate_reads(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(path)).num_processes >= 1
