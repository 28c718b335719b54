"""Runs that look trained: packed rows, an adapter of random numbers, the marks of build and train."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune.exporters import MergeReport
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
def tiny_matrices(one_thread: None) -> None:
    pass


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
        data = {"row_length": 64} | sections.pop("data", {})
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


@pytest.fixture(scope="session")
def plain(trained_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, MergeReport]:
    """A run in full precision, exported by default. Do not write into it."""
    from finetune.export import export

    run = trained_run(tmp_path_factory.mktemp("plain"))
    return run, export(run.recipe)[0]


@pytest.fixture(scope="session")
def deployed_run(trained_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on the embedded base whose held-out files are sources of ours, exported as base.gguf and adapter.gguf."""
    pytest.importorskip("xllamacpp")
    from finetune.data.store import write_heldout
    from finetune.export import export
    from finetune.records import Origin, SourceFile

    run = trained_run(
        tmp_path_factory.mktemp("deployed"),
        model={"path": "demo"},
        data={"row_length": 320},
        evaluate={"holes": ["line", "span"], "items": 12, "max_new_tokens": 24},
        export={"kind": "gguf_lora", "type": "f32", "verify_tokens": 24},
    )
    source = Path(__file__).parents[2] / "finetune"
    files = [source / name for name in ("hashing.py", "files.py", "registry.py", "errors.py", "progress.py", "quiet.py")]
    write_heldout(
        [SourceFile(Origin("ours", "0" * 40, path.name), "Python", path.read_text()) for path in files], run.data / "heldout.jsonl"
    )
    export(run.recipe)
    return run
