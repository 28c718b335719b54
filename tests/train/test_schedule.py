"""The learning rate of each step and what weight decay takes away, against the closed forms."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_runs import Prepare

from finetune.run import open_run
from finetune.train import train

RATE, STEPS, WARM = 5e-3, 7, 2
SMALL = ("train.accumulation=1", "data.valid_share=0", f"train.learning_rate={RATE}")
# Of what is left after the warm-up, the share that is done: 0 to 1.
AFTER: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "linear": lambda done: 1 - done,
    "constant": lambda _: 1.0,
}


def rates(adapter: Path) -> list[float]:
    lines = [json.loads(line) for line in (adapter / "metrics.jsonl").read_text().splitlines()]
    return [line["learning_rate"] for line in lines if line["loss"] is not None]


@pytest.mark.parametrize("schedule", AFTER)
def test_the_rate_of_each_step_is_that_of_the_schedule_after_a_warm_up(prepare: Prepare, schedule: str) -> None:
    recipe = prepare(*SMALL, f"train.schedule={schedule}", f"train.max_steps={STEPS}", f"train.warmup_steps={WARM}")
    train(recipe)
    warming = [RATE * before / WARM for before in range(WARM)]
    after = [RATE * AFTER[schedule](before / (STEPS - WARM)) for before in range(STEPS - WARM)]
    assert rates(open_run(recipe).adapter) == pytest.approx([*warming, *after], rel=1e-9, abs=1e-15)


def test_weight_decay_takes_its_share_of_each_weight_at_each_step(prepare: Prepare) -> None:
    """AdamW's is apart from the gradient. LoRA's B begins at zero, so A has no gradient in the first step and only decays in it."""
    decay, weights = 0.5, {}
    for name, wanted in (("plain", 0.0), ("decayed", decay)):
        recipe = prepare(*SMALL, "train.schedule=constant", "train.max_steps=1", f"train.weight_decay={wanted}", name=name)
        train(recipe)
        weights[name] = load_file(open_run(recipe).adapter / "adapter_model.safetensors")
    for key, plain in weights["plain"].items():
        kept = 1 - RATE * decay if "lora_A" in key else 1.0
        torch.testing.assert_close(weights["decayed"][key], plain * kept, rtol=1e-6, atol=1e-9)
        assert plain.abs().max() > 0
