"""Astraios' seven methods and QLoRA on the demo base: trained, cut short, gone on with, saved, loaded and, where they can be, merged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_train_methods import mean_loss
from training_runs import Kept, Prepare
from transformers import AutoModelForCausalLM

from finetune.base import DEMO, read_base
from finetune.data.store import read_rows
from finetune.merge import BaseWeights, MergeOptions, Part, merge, read_adapter
from finetune.methods import METHODS, load_adapter
from finetune.model import load_model
from finetune.run import Run, open_run
from finetune.train import train
from finetune.train.log import LogLine

SMALL = ("train.max_steps=2", "train.save_every=1", "train.accumulation=1", "train.learning_rate=1e-3")
WAYS = {
    "lora": (),
    "qlora": ("model.quantization=nf4",),
    "full": ("adapter=full",),
    "ia3": ("adapter=ia3",),
    "p_tuning": ("adapter=p_tuning", "data.packing=false", "export=adapter"),
    "adapter_h": ("adapter=adapter_h", "export=adapter"),
    "adapter_p": ("adapter=adapter_p", "export=adapter"),
    "parallel": ("adapter=parallel", "export=adapter"),
}


class CutShort(Exception):
    """The training was ended from outside."""


def cut_at(step: int, line: LogLine) -> None:
    if line.step == step:
        raise CutShort


@pytest.mark.parametrize("way", WAYS)
def test_a_method_walks_the_whole_road_on_the_demo_base(prepare: Prepare, tmp_path: Path, way: str) -> None:
    recipe = prepare(*SMALL, *WAYS[way], base=DEMO)
    run = open_run(recipe)
    with pytest.raises(CutShort):
        train(recipe, heard=lambda line: cut_at(2, line))
    before = Kept(run)
    assert before.step == 1
    result = train(recipe)
    before.require()
    assert result.valid_loss is not None and result.valid_loss_before is not None
    assert result.valid_loss < result.valid_loss_before
    assert valid_loss(run, loaded(run)) == pytest.approx(result.valid_loss, abs=1e-4)
    if METHODS[recipe.adapter.kind].merges:
        expected = valid_loss(run, loaded(run, dequantised=True))
        assert valid_loss(run, merged(run, tmp_path / "merged")) == pytest.approx(expected, abs=1e-4)


def loaded(run: Run, *, dequantised: bool = False) -> torch.nn.Module:
    """The base under the adapter that lies in the run."""
    model = load_model(read_base(run.recipe.model), run.recipe.model)
    if dequantised and run.recipe.model.quantization != "none":
        model = model.dequantize()  # 4-bit layers compute in another rounding
    adapted = load_adapter(model, run.adapter)
    adapted.config.use_cache = False
    return adapted


def merged(run: Run, folder: Path) -> torch.nn.Module:
    """A plain model of the merged weights."""
    folder.mkdir()
    weights = BaseWeights(read_base(run.recipe.model), run.recipe.model)
    written = merge(weights, [Part(read_adapter(run.adapter))], folder=folder, options=MergeOptions(dtype="float32"))
    plain = AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32)
    plain.config.use_cache = False  # with a cache, samples in a row see each other
    for file in written.files:
        assert not plain.load_state_dict(load_file(folder / file), strict=False).unexpected_keys
    model: torch.nn.Module = plain
    return model


def valid_loss(run: Run, model: torch.nn.Module) -> float:
    rows = read_rows(run.data / "valid").with_format("numpy")
    return mean_loss(model, rows, packed=run.recipe.data.packing)
