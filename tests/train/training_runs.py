"""Rows that can be learnt, made on the spot, and what a training of them logged."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune.base import read_base
from finetune.data.collate import collate
from finetune.data.pack import apart, pack
from finetune.data.render import Encoder, encode_sample
from finetune.data.store import read_rows, write_rows
from finetune.methods import load_adapter
from finetune.model import load_model
from finetune.recipe import Recipe, parse_recipe
from finetune.records import FimSample, Origin
from finetune.run import Run, open_run

ROW_LENGTH = 128
Prepare = Callable[..., Recipe]


def fim_sample(number: int) -> FimSample:
    """A line of code that can be learnt: the same words in varied order, with a hole in it."""
    draw = random.Random(number)
    words = [draw.choice(["load", "save", "read", "send"]) for _ in range(4)]
    middle = f"{words[1]}({words[2]})"
    origin = Origin("project", "0" * 40, f"{number}.py")
    return FimSample(origin, f"def {words[0]}():\n    return ", middle, f"  # {words[3]}\n", form=draw.choice(["psm", "spm"]))


SETTINGS = {
    "model.dtype": "float32",
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


def preparing(tiny_base: Path, runs: Path) -> Prepare:
    """Makes recipes whose build is done, below the folder `runs`."""

    def make(*overrides: str, name: str = "run", base: Path = tiny_base) -> Recipe:
        settings = {"model.path": str(base), "runs": str(runs), **SETTINGS}
        recipe = parse_recipe("", [*(f"{key}={value}" for key, value in settings.items()), *overrides], name=name)
        run = open_run(recipe)
        if not run.done("build"):
            with run.step("build") as notes:
                notes["inputs"] = {"base": read_base(recipe.model).digest}
                write_side(run.data / "train", recipe, range(40))
                write_side(run.data / "valid", recipe, range(40, 50))
        return recipe

    return make


def encoder_of(recipe: Recipe) -> Encoder:
    base = read_base(recipe.model)
    return Encoder(base.tokenizer, base.family)


def write_side(folder: Path, recipe: Recipe, numbers: range) -> None:
    encoder = encoder_of(recipe)
    encoded = (encode_sample(fim_sample(number), encoder, learn=recipe.data.learn) for number in numbers)
    row_length = recipe.data.row_length
    rows = pack(encoded, row_length=row_length, pad_id=encoder.pad_id) if recipe.data.packing else apart(encoded)
    write_rows(rows, folder, vocabulary_size=encoder.vocabulary_size, longest=row_length)


def logged(folder: Path) -> dict[int, float]:
    """Step to training loss, of a folder that holds metrics.jsonl."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["loss"] is not None}


def newest_step(run: Run) -> int:
    """The step of the newest whole checkpoint; -1 where there is none."""
    whole = [path.parent for path in run.checkpoints.glob("checkpoint-*/files.json")]
    return max((int(path.name.removeprefix("checkpoint-")) for path in whole), default=-1)


class Kept:
    """What a training that goes on must not do again, taken before it goes on."""

    def __init__(self, run: Run, step: int | None = None) -> None:
        """`step`: of the checkpoint to go on from, where it is not the newest."""
        self.run = run
        self.step = newest_step(run) if step is None else step
        log = run.checkpoints / "metrics.jsonl"
        whole = [line for line in log.read_text().split("\n") if line.endswith("}")] if log.exists() else []
        self.lines = [line for line in whole if json.loads(line)["step"] <= self.step]

    def require(self) -> None:
        """That the lines up to the kept step are the very ones, with their times: a step that is done again has others."""
        assert self.step > 0 and self.lines, "nothing was kept"
        self.require_if_any()

    def require_if_any(self) -> None:
        lines = (self.run.adapter / "metrics.jsonl").read_text().splitlines()
        assert lines[: len(self.lines)] == self.lines, f"a step up to {self.step}, which was kept, was done again"
        steps = [line["step"] for line in (json.loads(line) for line in lines[len(self.lines) :]) if line["loss"] is not None]
        first, every = max(self.step, 0) + 1, self.run.recipe.train.log_every
        assert not steps or steps[0] in range(first, first + every), f"the first new step is {steps[0]}, not {first}"


def held_out(folder: Path) -> dict[int, float]:
    """Step to loss on held-out rows, of a folder that holds metrics.jsonl."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["valid_loss"] for line in lines if line["valid_loss"] is not None}


def outcome(adapter: Path) -> dict[str, object]:
    """What a training came to, to the bit: the adapter's files and both curves."""
    names = ("adapter_model.safetensors", "adapter_config.json", "base.json")
    return {name: (adapter / name).read_bytes() for name in names} | {"losses": logged(adapter), "held out": held_out(adapter)}


def mean_of_valid(recipe: Recipe) -> float:
    """Nats per learnt token of the run's adapter, loaded from its folder, on the held-out rows."""
    import torch

    run, base = open_run(recipe), read_base(recipe.model)
    model = load_adapter(load_model(base, recipe.model), run.adapter)
    model.config.use_cache = False
    batch = collate([*read_rows(run.data / "valid").with_format("numpy")])
    with torch.no_grad():
        return float(model(**batch).loss)
