"""The road on a GPU: build, train, stop, go on, evaluate, export."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finetune.data.build import build
from finetune.recipe import Recipe, dump_recipe, parse_recipe
from finetune.run import Run, run_of
from finetune.train import train
from finetune.train.log import LogLine

ROAD = ("evaluate.items=8", "evaluate.resamples=100", "evaluate.max_new_tokens=16", "export=merged")


def finetune(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "finetune", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def changed(recipe: Recipe, *overrides: str) -> Recipe:
    return parse_recipe(dump_recipe(recipe), overrides)


def lines(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.adapter / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
def test_the_whole_road(on_demo: Recipe, tmp_path: Path, quantization: str) -> None:
    recipe = changed(on_demo, f"model.quantization={quantization}", *ROAD)
    path = tmp_path / "gpu.yaml"
    path.write_text(dump_recipe(recipe))
    for command in ("build", "train", "evaluate", "export"):
        finetune(command, str(path))
    run = run_of(recipe)
    mark = run.mark("train")
    assert mark["on_cpu_instead"] == []
    assert mark["training"]["valid_loss"] < mark["training"]["valid_loss_before"] - 0.05
    (report,) = run.folder.glob("export/**/merge_report.json")
    assert "kl" in report.read_text()


class EnoughError(Exception):
    """Ends a training."""


@pytest.mark.parametrize(
    "settings",
    [
        ("model.quantization=nf4", "train.optimizer=paged_adamw_8bit"),
        ("adapter.dropout=0.2",),
        ("adapter=full", "train.learning_rate=1e-4"),
    ],
    ids=["paged nf4", "dropout", "full"],
)
def test_a_training_that_ended_early_goes_on_as_an_undisturbed_one(on_demo: Recipe, settings: tuple[str, ...]) -> None:
    """On a GPU sums come in any order, so that the curves are equal to rounding and not to the bit."""

    def enough(line: LogLine) -> None:
        if line.step == 6:
            raise EnoughError

    undisturbed, stopped = (changed(on_demo, f"name={name}", *settings) for name in ("undisturbed", "stopped"))
    for recipe in (undisturbed, stopped):
        build(recipe)
    train(undisturbed)
    with pytest.raises(EnoughError):
        train(stopped, heard=enough)
    kept = [json.loads(line) for line in (run_of(stopped).checkpoints / "metrics.jsonl").read_text().splitlines()]
    train(stopped)
    found, expected = lines(run_of(stopped)), lines(run_of(undisturbed))
    before = [line for line in kept if line["step"] <= 4]
    assert before and found[: len(before)] == before, "a step that was kept was done again"
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["step"] == theirs["step"]
        for name in ("loss", "valid_loss"):
            assert (ours[name] is None) == (theirs[name] is None)
            assert theirs[name] is None or ours[name] == pytest.approx(theirs[name], rel=5e-3)
