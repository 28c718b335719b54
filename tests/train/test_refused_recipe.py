"""A command that is refused leaves the run as it was, its recipe too: the next command goes on as the run began."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from test_train import train_until_stopped
from training_runs import Prepare, logged
from watching import content

from finetune.__main__ import main
from finetune.run import Run, open_run


def refused(run: Run, capsys: pytest.CaptureFixture[str], verb: str, *words: str) -> str:
    """What is said when the command is refused; asserts that nothing in the run's folder changes."""
    before = content(run.folder)
    assert main([verb, str(run.folder), *words]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and content(run.folder) == before
    return said


def test_a_stopped_training_goes_on_after_another_recipe_was_refused(prepare: Prepare, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = prepare("train.max_steps=9")
    train_until_stopped(recipe, step=2)
    run = open_run(recipe)
    assert "with another recipe; it would be lost. Go on as it began" in refused(run, capsys, "train", "adapter.r=4")
    assert main(["train", str(run.folder)]) == 0
    assert [*logged(run.adapter)] == [*range(1, 10)]


def test_a_built_run_trains_after_rows_of_another_length_were_refused(prepare: Prepare, capsys: pytest.CaptureFixture[str]) -> None:
    run = open_run(prepare("train.max_steps=1"))
    said = refused(run, capsys, "train", "data.row_length=64")
    assert "the result of 'build' was made by another recipe" in said
    assert "type: finetune build with the recipe and the settings typed here" in said  # the folder's own recipe would not do
    assert main(["train", str(run.folder)]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the base model changed"),
        (["adapter.targets=[nothing]"], "adapter.targets"),
    ],
)
def test_a_finished_training_stays_finished_when_another_one_can_not_begin(
    prepare: Prepare, capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_base: Path, words: list[str], said: str
) -> None:
    """What the weights and the method refuse comes after the recipe was read, and before the old training is given up."""
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    run = open_run(prepare("train.max_steps=1", base=base))
    assert main(["train", str(run.folder)]) == 0
    if not words:
        weights = load_file(base / "model.safetensors")
        del weights["model.norm.weight"]
        save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    assert said in refused(run, capsys, "train", *(words or ["adapter.r=4"]))
    assert run.done("train")


def test_a_trained_run_is_measured_and_exported_after_another_adapter_was_refused(
    small_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("evaluate", "export"):
        said = refused(small_run, capsys, verb, "adapter.r=16")
        assert "the result of 'train' was made by another recipe" in said and "settings typed here" in said
    assert main(["evaluate", str(small_run.folder)]) == 0
    assert json.loads(small_run.report.read_text())["metrics"]


def test_a_step_that_is_done_keeps_what_was_typed_for_the_next_one(prepare: Prepare) -> None:
    run = open_run(prepare("train.max_steps=1"))
    for _ in range(2):
        assert main(["train", str(run.folder), "evaluate.resamples=150"]) == 0
    assert "resamples: 150" in (run.folder / "recipe.yaml").read_text()
