"""Runs whose rows are made on the spot, so that training is tested without git."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune.base import read_base
from finetune.data.pack import pack
from finetune.data.render import Encoder, encode_sample
from finetune.data.store import write_rows
from finetune.recipe import Recipe, parse_recipe
from finetune.records import FimSample, Origin
from finetune.run import open_run

ROW_LENGTH = 128
Prepare = Callable[..., Recipe]


def fim_sample(number: int) -> FimSample:
    """A line of code that can be learnt: the same words in varied order, with a hole in it."""
    draw = random.Random(number)
    words = [draw.choice(["load", "save", "read", "send"]) for _ in range(4)]
    middle = f"{words[1]}({words[2]})"
    origin = Origin("project", "0" * 40, f"{number}.py")
    return FimSample(origin, f"def {words[0]}():\n    return ", middle, f"  # {words[3]}\n", form=draw.choice(["psm", "spm"]))


def write_side(folder: Path, recipe: Recipe, numbers: range) -> None:
    base = read_base(recipe.model)
    encoder = Encoder(base.tokenizer, base.family)
    encoded = (encode_sample(fim_sample(number), encoder, learn=recipe.data.learn) for number in numbers)
    rows = pack(encoded, row_length=recipe.data.row_length, pad_id=encoder.pad_id)
    write_rows(rows, folder, vocabulary_size=encoder.vocabulary_size)


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


def logged(folder: Path) -> dict[int, float]:
    """Step to training loss, of a folder that holds metrics.jsonl."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["loss"] is not None}
