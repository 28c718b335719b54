"""Runs whose rows are made on the spot, so that training is tested without git."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from training_runs import ROW_LENGTH, Prepare, write_side

from finetune.base import read_base
from finetune.recipe import Recipe, parse_recipe
from finetune.run import open_run


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices are quicker on one core, and their sums come out the same however busy the machine is."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def prepare(tiny_base: Path, tmp_path: Path) -> Prepare:
    """A recipe on the tiny base whose build is done: 40 training samples, 10 held out. Exact arithmetic unless it says otherwise."""

    def make(*overrides: str, name: str = "run", base: Path = tiny_base) -> Recipe:
        settings = {
            "model.path": str(base),
            "model.dtype": "float32",
            "runs": str(tmp_path / "runs"),
            "data.row_length": str(ROW_LENGTH),
            "train.batch_size": "2",
            "train.accumulation": "2",
            "train.learning_rate": "5e-3",
            "train.warmup_steps": "0",
            "train.max_steps": "6",
            "train.gradient_checkpointing": "false",
            "train.eval_every": "3",
            "train.save_every": "2",
        }
        recipe = parse_recipe("", [*(f"{key}={value}" for key, value in settings.items()), *overrides], name=name)
        run = open_run(recipe)
        if not run.done("build"):
            with run.step("build") as notes:
                notes["inputs"] = {"base": read_base(recipe.model).digest}
                write_side(run.data / "train", recipe, range(40))
                write_side(run.data / "valid", recipe, range(40, 50))
        return recipe

    return make
