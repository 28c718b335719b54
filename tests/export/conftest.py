"""Runs that look trained: packed rows, an adapter of random numbers, the marks of build and train."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune.records import IGNORED, PackedRow
from finetune.run import Run

TrainedRun = Callable[..., Run]


def packed_rows(count: int, seed: int) -> Iterator[PackedRow]:
    """Rows of two samples of random bytes and some padding."""
    draw = random.Random(seed)
    for _ in range(count):
        ids = [draw.randrange(7, 263) for _ in range(50)]
        positions = [*range(30), *range(20)]
        labels = [IGNORED if position == 0 else token for token, position in zip(ids, positions, strict=True)]
        yield PackedRow([*ids, *[4] * 14], [*labels, *[IGNORED] * 14], [*positions, *range(14)])


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Here and in the fresh processes: with matrices this small, threads on a busy machine only wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def trained_run(tiny_base: Path) -> TrainedRun:
    """Makes a run from a recipe's sections, in the folder given; its adapter really changes the answers: B is random."""

    def make(runs: Path, **sections: Any) -> Run:
        import torch

        from finetune.base import read_base
        from finetune.data.store import write_rows
        from finetune.methods import save_adapter
        from finetune.model import load_model
        from finetune.recipe import Recipe
        from finetune.run import open_run

        model = {"path": str(tiny_base), "dtype": "float32"} | sections.pop("model", {})
        data = {"row_length": 64}
        run = open_run(Recipe.model_validate({"name": "tried", "runs": str(runs), "model": model, "data": data, **sections}))
        with run.step("build"):
            write_rows(packed_rows(2, seed=0), run.data / "train", vocabulary_size=320)
            write_rows(packed_rows(4, seed=1), run.data / "valid", vocabulary_size=320)
        with run.step("train"):
            base = read_base(run.recipe.model)
            torch.manual_seed(1)
            tuned = run.recipe.adapter(load_model(base, run.recipe.model), base.family)
            for name, parameter in tuned.named_parameters():
                if ".lora_B." in name:
                    parameter.data = 0.05 * torch.randn(parameter.shape)
            run.adapter.mkdir(exist_ok=True)
            save_adapter(tuned, run.adapter, base)
        return run

    return make
