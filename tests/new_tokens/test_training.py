"""New rows beside an adapter: what is counted, what a checkpoint holds, and going on from one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.base import read_base
from finetune.data.pack import pack
from finetune.data.render import Encoder, encode_sample
from finetune.data.store import write_rows
from finetune.errors import ModelError
from finetune.merge import BaseWeights, MergeOptions, merge, read_adapter
from finetune.merge import Part as MergePart
from finetune.methods import Lora, coverage, load_adapter
from finetune.model import load_model
from finetune.new_tokens import mean_row
from finetune.plan import planned
from finetune.plan.counter import Part
from finetune.plan.limits import Device
from finetune.recipe import Recipe
from finetune.records import FimSample, Origin
from finetune.run import Run, open_run
from finetune.train import train

LORA_OF_ALL_LINEAR = 2 * 4 * (2 * (64 + 64) + 2 * (64 + 32) + 2 * (64 + 128) + (128 + 64))


def prepared(recipe: Recipe) -> Run:
    """The run of a recipe, whose build is done."""
    run, base = open_run(recipe), read_base(recipe.model)
    encoder = Encoder(base.tokenizer, base.family)
    with run.step("build") as notes:
        notes["inputs"] = {"base": base.digest}
        for side in ("train", "valid"):
            samples = (FimSample(Origin("r", "c", f"{n}.py"), f"x{n} = ", f"{n * 7}", "\n", form=("psm", "spm")[n % 2]) for n in range(40))
            rows = pack((encode_sample(sample, encoder, learn="all") for sample in samples), row_length=128, pad_id=encoder.pad_id)
            write_rows(rows, run.data / side, vocabulary_size=encoder.vocabulary_size, longest=128)
    return run


def keys_of(folder: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        return {*file.keys()}


def test_the_mean_is_that_of_all_rows() -> None:
    rows_VH = torch.randn(9000, 3)
    assert torch.allclose(mean_row(rows_VH), rows_VH.double().mean(dim=0), rtol=0, atol=1e-12)


def test_a_new_tokens_logit_is_the_mean_of_the_others_and_those_stay(untied: Path, recipe_on: Callable[..., Recipe]) -> None:
    recipe = recipe_on(untied)
    grown = load_model(read_base(recipe.model), recipe.model)
    section = recipe.model.model_copy(update={"add_fim_tokens": False})
    plain = load_model(read_base(section), section)
    ids = torch.arange(5, 45)[None]
    with torch.no_grad():
        ours, theirs = grown(ids).logits[0], plain(ids).logits[0, :, :257]
    assert torch.equal(ours[:, :257], theirs)
    assert torch.allclose(ours[:, 257:], theirs.mean(dim=1, keepdim=True).expand(-1, 4), atol=1e-5)


@pytest.mark.parametrize(("name", "matrices"), [("tied", 1), ("untied", 2)])
def test_rows_count_as_trained_and_the_head_not_as_a_layer_of_a_block(
    name: str, matrices: int, recipe_on: Callable[..., Recipe], request: pytest.FixtureRequest
) -> None:
    recipe = recipe_on(request.getfixturevalue(name))
    base = read_base(recipe.model)
    model = recipe.adapter(load_model(base, recipe.model), base.family)
    found = coverage(model)
    assert found.trainable == LORA_OF_ALL_LINEAR + matrices * 4 * 64
    assert found.adapted == found.linear == 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)


def test_a_plan_counts_the_rows_and_what_the_embeddings_take_while_they_train(untied: Path, recipe_on: Callable[..., Recipe]) -> None:
    """peft writes the trained rows into a copy of each matrix."""
    parts = planned(recipe_on(untied), Device(gpu=False, size=None)).highest.parts
    trained = LORA_OF_ALL_LINEAR + 2 * 4 * 64
    assert parts[Part.ADAPTER] == 4 * trained and parts[Part.OPTIMIZER] >= 8 * trained
    copies = 4 * 2 * 261 * 64
    assert sum(parts[part] for part in (Part.ACTIVATIONS, Part.LOSS, Part.BACKWARD)) > copies


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tied", "untied"])
def test_a_training_that_was_cut_goes_on_to_the_same_rows(
    name: str, recipe_on: Callable[..., Recipe], request: pytest.FixtureRequest
) -> None:
    base = request.getfixturevalue(name)
    whole, cut = (prepared(recipe_on(base, name=each)) for each in ("whole", "cut"))
    train(whole.recipe)

    class Cut(Exception):
        pass

    def until_five(line: Any) -> None:
        if line.step == 5:
            raise Cut

    with pytest.raises(Cut):
        train(cut.recipe, heard=until_five)
    checkpoint = cut.checkpoints / "checkpoint-4"
    assert {key for key in keys_of(checkpoint) if "lora" not in key} == {key for key in keys_of(whole.adapter) if "lora" not in key}
    assert len([key for key in keys_of(checkpoint) if "trainable_tokens_delta" in key]) == (1 if name == "tied" else 2)
    train(cut.recipe)
    file = "adapter_model.safetensors"
    assert (cut.adapter / file).read_bytes() == (whole.adapter / file).read_bytes()


def test_rows_of_a_4_bit_base_are_merged_into_both_embeddings(untied: Path, recipe_on: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = recipe_on(untied, "model.quantization=nf4", "model.dtype=bfloat16", "train.max_steps=2", "train.gradient_checkpointing=true")
    run, base = prepared(recipe), read_base(recipe.model)
    train(recipe)
    adapter = read_adapter(run.adapter)
    merge(BaseWeights(base, recipe.model), [MergePart(adapter)], folder=tmp_path, options=MergeOptions(dtype="float32"))
    from safetensors.torch import load_file

    merged, rows = load_file(tmp_path / "model.safetensors"), load_file(run.adapter / "adapter_model.safetensors")
    model = load_adapter(load_model(base, recipe.model), run.adapter)
    inner: Any = model.get_base_model()
    for name, layer in (("model.embed_tokens", inner.get_input_embeddings()), ("lm_head", inner.get_output_embeddings())):
        weight, trained = merged[f"{name}.weight"], rows[f"base_model.model.{name}.token_adapter.trainable_tokens_delta"]
        assert torch.equal(weight[257:], trained) and trained.dtype == torch.float32
        assert (trained[0] - trained[1]).abs().max() > 1e-3
        assert torch.equal(weight.bfloat16(), layer.weight)


def test_a_merge_without_the_rows_is_refused(untied: Path, recipe_on: Callable[..., Recipe], tmp_path: Path) -> None:
    from finetune.errors import ExportError

    recipe = recipe_on(untied)
    with pytest.raises(ExportError, match="the recipe adds tokens, and nothing here says what their rows are"):
        merge(BaseWeights(read_base(recipe.model), recipe.model), [], folder=tmp_path, options=MergeOptions())


def test_a_head_with_a_bias_is_refused_as_peft_would_drop_it(untied: Path, recipe_on: Callable[..., Recipe]) -> None:
    recipe = recipe_on(untied)
    base = read_base(recipe.model)
    model: Any = load_model(base, recipe.model)
    model.lm_head.bias = torch.nn.Parameter(torch.randn(261))
    with pytest.raises(ModelError, match="the output head of this llama model has a bias"):
        Lora()(model, base.family)


def test_peft_still_drops_the_bias_of_a_head() -> None:
    """When this fails, the refusal above can go."""
    from peft.tuners.trainable_tokens import TrainableTokensConfig, TrainableTokensLayer

    head = torch.nn.Linear(4, 6)
    layer: Any = TrainableTokensLayer(head, "one", TrainableTokensConfig(token_indices=[5]))
    layer.update_layer("one", TrainableTokensConfig(token_indices=[5]))
    x = torch.randn(2, 4)
    assert torch.allclose(layer(x), head(x) - head.bias, atol=1e-6)
