from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest

from finetune.plan import Plan, plan, planned_steps, table
from finetune.recipe import Recipe, parse_recipe
from finetune.run import open_run

GIB = 1 << 30
THREE_BILLION = {
    "vocab_size": 49152,
    "hidden_size": 3072,
    "num_hidden_layers": 30,
    "num_attention_heads": 24,
    "num_key_value_heads": 2,
    "intermediate_size": 12288,
    "max_position_embeddings": 16384,
    "sliding_window": 4096,
}


@pytest.fixture
def three_billion(tiny_base: Path, tmp_path: Path) -> Path:
    """A folder that says it holds StarCoder 2 3B; its weights are never read."""
    folder = Path(shutil.copytree(tiny_base, tmp_path / "three_billion"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | THREE_BILLION))
    return folder


def recipe_for(base: Path, tmp_path: Path, *overrides: str) -> Recipe:
    return parse_recipe("", [f"model.path={base}", f"runs={tmp_path / 'runs'}", *overrides])


def sizes(found: Plan) -> dict[str, float]:
    return {term.name: term.size / GIB for term in found.terms}


def test_the_plan_of_3b_in_4_bit_is_that_of_the_published_arithmetic(three_billion: Path, tmp_path: Path) -> None:
    settings = ("model.quantization=nf4", "model.dtype=bfloat16", "train.optimizer=paged_adamw_8bit", "data.row_length=2048")
    found = plan(recipe_for(three_billion, tmp_path, *settings))
    assert found.trainable == 2 * 11_919_360
    part = sizes(found)
    assert part["linear layers"] + part["embeddings and the rest"] == pytest.approx(1.67, abs=0.03)
    assert part["logits and loss"] == pytest.approx(0.94, abs=0.01)
    assert found.size / GIB == pytest.approx(3.4, abs=0.3)


def test_every_choice_that_saves_memory_shows_in_the_plan(three_billion: Path, tmp_path: Path) -> None:
    def size(*overrides: str) -> int:
        return plan(recipe_for(three_billion, tmp_path, *overrides)).size

    full = size()
    assert size("model.quantization=nf4") < size("model.quantization=int8") < size("model.dtype=bfloat16") < full
    assert size("train.gradient_checkpointing=false") > full
    assert size("data.row_length=1024") < full
    assert size("adapter.r=64") > full


def test_steps_are_known_once_rows_are_built_and_are_those_of_the_trainer(tiny_base: Path, tmp_path: Path) -> None:
    recipe = recipe_for(tiny_base, tmp_path, "train.accumulation=4", "train.batch_size=2", "train.epochs=1.5", "data.row_length=128")
    run = open_run(recipe)
    assert plan(recipe).steps is None
    with run.step("build"):
        write_report(run.data, rows=21)
    assert planned_steps(recipe, run) == steps_of_trainer(recipe, rows=21) == 5
    assert plan(recipe).tokens == 5 * 2 * 4 * 128


def write_report(folder: Path, *, rows: int) -> None:
    from finetune.data.report import BuildReport, Counts, Tokens

    none = Counts(0, 0, {})
    report = BuildReport(
        repositories=(),
        items=none,
        files=none,
        changes=none,
        samples={},
        rows={"train": rows, "valid": 0},
        tokens=Tokens(0, 0, 0, 0, 0.0),
        redactions={},
        languages={},
        licences={},
        heldout=0,
    )
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(report.as_dict()))


def steps_of_trainer(recipe: Recipe, *, rows: int) -> int:
    from torch import nn
    from transformers import Trainer

    from finetune.train.engine import arguments

    settings = arguments(recipe, Path(recipe.runs) / "trainer", measured=False, fresh=False)
    trainer = Trainer(model=nn.Linear(1, 1), args=settings, train_dataset=list(range(rows)))  # type: ignore[arg-type]
    return trainer.set_initial_training_values(settings, trainer.get_train_dataloader())[-1]


def test_the_table_says_that_it_is_arithmetic(tiny_base: Path, tmp_path: Path) -> None:
    from rich.console import Console

    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(table(plan(recipe_for(tiny_base, tmp_path))))
    shown = console.export_text()
    assert "by arithmetic (not measured)" in shown and "not known before `finetune build`" in shown
