"""Rows that can be learnt, made on the spot, and what a training of them logged."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune.base import read_base
from finetune.data.pack import pack
from finetune.data.render import Encoder, encode_sample
from finetune.data.store import write_rows
from finetune.recipe import Recipe
from finetune.records import FimSample, Origin

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


def logged(folder: Path) -> dict[int, float]:
    """Step to training loss, of a folder that holds metrics.jsonl."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["loss"] is not None}
