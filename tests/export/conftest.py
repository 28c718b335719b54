"""Runs that look trained: packed rows, an adapter of random numbers, the marks of build and train."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune.run import Run

TrainedRun = Callable[..., Run]


def packed_rows(count: int, seed: int) -> Iterator[Any]:
    """Rows of two samples of random bytes and some padding."""
    from finetune.records import IGNORED, PackedRow

    draw = random.Random(seed)
    for _ in range(count):
        lengths = (30, 20)
        ids = [draw.randrange(7, 263) for _ in range(sum(lengths))]
        labels = [IGNORED if position == 0 else ids[start + position] for start, n in ((0, 30), (30, 20)) for position in range(n)]
        positions = [position for n in (*lengths, 14) for position in range(n)]
        yield PackedRow([*ids, *[4] * 14], [*labels, *[IGNORED] * 14], positions)


@pytest.fixture
def trained_run(tiny_base: Path, tmp_path: Path) -> TrainedRun:
    """Makes a run of a recipe (sections as keywords) whose adapter really changes the answers: its B matrices are random."""

    def make(*, size: float = 0.05, valid_rows: int = 4, **sections: Any) -> Run:
        import torch

        from finetune.base import read_base
        from finetune.data.store import write_rows
        from finetune.methods import save_adapter
        from finetune.model import load_model
        from finetune.recipe import Recipe
        from finetune.run import open_run

        model = {"path": str(tiny_base), "dtype": "float32"} | sections.pop("model", {})
        recipe = Recipe.model_validate({"name": "tried", "runs": str(tmp_path / "runs"), "model": model, "adapter": "lora", **sections})
        run = open_run(recipe)
        with run.step("build"):
            for side, count in (("train", 2), ("valid", valid_rows)):
                write_rows(packed_rows(count, seed=count), run.data / side, vocabulary_size=320)
        with run.step("train"):
            base = read_base(recipe.model)
            tuned = recipe.adapter(load_model(base, recipe.model), base.family)
            generator = torch.Generator().manual_seed(2)
            for name, parameter in tuned.named_parameters():
                if ".lora_B." in name:
                    parameter.data = size * torch.randn(parameter.shape, generator=generator)
            run.adapter.mkdir(exist_ok=True)
            save_adapter(tuned, run.adapter, base)
        return run

    return make
